/*
 * Taints and tolerations, as the Kubernetes documentation, "Taints and Tolerations", tells them: one rule for the scheduler, the
 * controllers and the kubelet.
 */
#ifndef API_TOLERATION_H
#define API_TOLERATION_H

#include "api/gen/core_v1.h"

/* Does the toleration cover the taint? An empty effect covers every effect; an empty key with Exists every key. */
bool toleration_matches(const struct core_v1_toleration *t, const struct core_v1_taint *taint);

/* Does any of the 'n' tolerations cover the taint? */
bool tolerations_match(const struct core_v1_toleration *t, size_t n, const struct core_v1_taint *taint);

#endif
