/* For test-index.c: a cluster that changes at random, and the documentation's rules worked out pod by pod. */
#ifndef SCHEDULER_TEST_INDEX_WORLD_H
#define SCHEDULER_TEST_INDEX_WORLD_H

#include "scheduler/test-fixture.h"

#define N_NODES 12
#define N_PODS 60

struct world {
    struct arena arena;
    struct cache cache;
    const struct core_v1_node *nodes[N_NODES];
    struct pod_info *pods[N_PODS]; /* on nodes */
    int at[N_PODS];
    uint64_t random;
    unsigned serial;
    bool team_is_red; /* a label of namespace "b" */
};

/* ---- test-index-world.c ---- */

/* A number below n. */
unsigned world_below(struct world *w, unsigned n);
const struct api_str_pair *world_labels_of_namespace(void *data, struct str ns, size_t *ret_n);
void *world_decode(struct world *w, const struct api_type *type, struct str json);
struct str world_node_json(struct world *w, unsigned i);
struct str world_term_json(struct world *w);
struct str world_pod_json(struct world *w);

/* ---- test-index-rules.c ---- */

uint32_t count_plainly(struct world *w, const struct pod_term *t, bool living, const struct core_v1_pod_spec *spec, struct str key, struct str value);
bool spread_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node);
bool affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node);
bool anti_affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node);
int64_t score_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node);

#endif
