/*
 * The scale subresource shows one field of its parent as an object of its own (autoscaling/v1 Scale). Its managed fields are a
 * view: who owns the parent's replicas owns the scale's, and what a write to the scale changes goes back to the parent.
 *
 * To write a scale: managed_to_scale(); managed_update() or apply_config() on the Scale with api_version "autoscaling/v1" and
 * subresource "scale"; managed_from_scale(). The answer itself shows no managedFields.
 */
#ifndef API_MANAGED_SCALE_H
#define API_MANAGED_SCALE_H

#include "api/managed-fields.h"

#define MANAGED_SCALE_VERSION "autoscaling/v1"

/* The entries of the Scale of an object with entries 'parent'. 'path' leads to its replicas: {"spec", "replicas"}, or what a
 * custom resource's specReplicasPath says. */
MUST_CHECK bool managed_to_scale(struct arena *a, struct managed *parent, const char *const *path, size_t n,
                                 struct managed *ret);
/* Brings the Scale's entries back into the parent's, whose version is 'api_version'. Entries that come to own the replicas by the
 * scale bear no time, as upstream's do. */
MUST_CHECK bool managed_from_scale(struct arena *a, struct managed *parent, struct str api_version, const char *const *path,
                                   size_t n, const struct managed *scale);

#endif
