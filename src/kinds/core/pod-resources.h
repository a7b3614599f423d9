/*
 * Amounts of resources by name, and what a pod asks for as a whole ("Resource Management for Pods and Containers", "Sidecar
 * Containers", KEP-753, KEP-2837): what its containers ask for together, or its largest init container where that is more.
 */
#ifndef KINDS_CORE_POD_RESOURCES_H
#define KINDS_CORE_POD_RESOURCES_H

#include "api/quantity.h"
#include "api/type.h"
#include "base/arena.h"

struct core_v1_pod;

struct amount {
    struct str name;
    struct quantity q;
};

/* Sorted by name; each name once. Zeroed: empty. */
struct amounts {
    struct amount *items;
    size_t n, capacity;
};

/* NULL: not there. */
const struct amount *amounts_find(const struct amounts *l, struct str name);
/* All of these return false past the arena's budget. */
MUST_CHECK bool amounts_set(struct arena *a, struct amounts *l, struct str name, struct quantity q);
MUST_CHECK bool amounts_add(struct arena *a, struct amounts *l, struct str name, struct quantity q);
MUST_CHECK bool amounts_add_pairs(struct arena *a, struct amounts *l, const struct api_str_pair *pairs, size_t n);
MUST_CHECK bool amounts_add_all(struct arena *a, struct amounts *l, const struct amounts *more);
/* The larger of both for each name. */
MUST_CHECK bool amounts_max(struct arena *a, struct amounts *l, const struct amounts *other);
/* As the API writes lists of resources. */
MUST_CHECK bool amounts_pairs(struct arena *a, const struct amounts *l, struct api_str_pair **ret, size_t *ret_n);

enum pod_resources_flag {
    POD_RESOURCES_LIMITS = 1,   /* limits, not requests */
    POD_RESOURCES_STATUS = 2,   /* and not less than what the node has given it already (a resize under way) */
    POD_RESOURCES_OVERHEAD = 4, /* with the runtime class's overhead */
};
MUST_CHECK bool pod_resources(struct arena *a, const struct core_v1_pod *pod, unsigned flags, struct amounts *ret);

#endif
