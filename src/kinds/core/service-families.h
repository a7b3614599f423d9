/*
 * IP families of a Service: ipFamilyPolicy, ipFamilies and clusterIPs, which say the same thing three times and may each be left out
 * (KEP-563; https://kubernetes.io/docs/concepts/services-networking/dual-stack/). What is left out is inferred from what is there and
 * from which families the cluster has; what contradicts is an error before anything else is looked at, as upstream has it.
 */
#ifndef KINDS_CORE_SERVICE_FAMILIES_H
#define KINDS_CORE_SERVICE_FAMILIES_H

#include "api/gen/core_v1.h"
#include "kinds/kind.h"

/* Fills in and checks; 'old' is NULL on create. Errors are appended to the context's. clusterIP and clusterIPs are in step before. */
void service_families_fill(struct kind_ctx *ctx, struct core_v1_service *s, const struct core_v1_service *old);

/* What an update may not change: the first address and family ever, the second while it stays. */
void service_families_validate_update(struct kind_ctx *ctx, const struct core_v1_service *s, const struct core_v1_service *old);

/* ["a","b"] */
struct str service_list_json(struct arena *a, const struct str *items, size_t n);

#endif
