/* Amounts of resources: cpu in thousandths, memory and ephemeral storage in bytes, pods, and named
 * further ones. */
#ifndef SCHEDULER_RESOURCES_H
#define SCHEDULER_RESOURCES_H

#include "api/gen/core_v1.h"
#include "base/str.h"

/* Kinds of further resources (nvidia.com/gpu, hugepages-2Mi …) that one pod or node may have; more
 * are refused by the fit plugin rather than forgotten. */
#define RESOURCES_EXTENDED_MAX 16

/* Names are interned for the life of the process: compared by pointer. */
struct extended_resource {
    const struct str *name;
    int64_t value;
};

struct resources {
    int64_t milli_cpu, memory, ephemeral, pods;
    uint32_t n_extended;
    bool overflow; /* more than RESOURCES_EXTENDED_MAX */
    struct extended_resource *extended;
};

/* Frees the further resources. */
void resources_deinit(struct resources *r);
/* sign is 1 or -1. */
void resources_add(struct resources *to, const struct resources *what, int sign);
int64_t resources_extended(const struct resources *r, const struct str *name);
/* From a node's allocatable. */
void resources_of_list(struct resources *ret, const struct api_str_pair *list, size_t n);
/*
 * What a pod asks for (KEP-753 sidecars, "Effective requests"): the larger of the sum of its
 * containers and restartable init containers, and of each step of its init containers; pod-level
 * requests in their place where given (KEP-2837); plus overhead. 'non_zero' (may be NULL) gets cpu
 * and memory with 100m and 200Mi for containers that ask for none, as scoring wants it.
 */
void resources_of_pod(struct resources *ret, struct resources *non_zero,
                      const struct core_v1_pod_spec *spec);

#endif
