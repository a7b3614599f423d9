/*
 * The annotation of kubectl's client-side apply, kubectl.kubernetes.io/last-applied-configuration, as server-side apply by the
 * manager "kubectl" treats it: fields that were applied by the client before and have not changed since may be taken over without
 * a conflict, and the annotation follows what is applied.
 */
#ifndef API_LAST_APPLIED_H
#define API_LAST_APPLIED_H

#include "api/managed-fields.h"

/* The fields of live's annotation whose values are still those of 'live'; empty without a usable annotation. */
MUST_CHECK bool last_applied_allowed(struct arena *a, const struct managed_writer *w, const struct val *live,
                                     struct fields *ret);
/* Writes 'config' into the annotation of '*object', if it has one; copies what it changes. */
MUST_CHECK bool last_applied_update(struct arena *a, const struct val *config, struct val *object);

#endif
