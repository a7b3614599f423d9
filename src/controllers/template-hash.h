/*
 * The hash that names the ReplicaSet or revision of a pod template: 32-bit FNV-1a over the
 * template's JSON (and the collision count), written in the alphabet of Kubernetes' safe names.
 * Controllers find the ReplicaSet of a template by comparing templates, never by this name, so it
 * need not be the value that other implementations compute.
 */
#ifndef CONTROLLERS_TEMPLATE_HASH_H
#define CONTROLLERS_TEMPLATE_HASH_H

#include "api/gen/core_v1.h"
#include "base/arena.h"

#define TEMPLATE_HASH_LABEL STR("pod-template-hash")

struct str template_hash(struct arena *a, const struct core_v1_pod_template_spec *t,
                         int32_t collisions);

#endif
