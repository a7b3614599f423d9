/* What a scheduler plugin is, and running them over nodes ("Scheduling Framework" of the
 * documentation). */
#ifndef SCHEDULER_FRAMEWORK_H
#define SCHEDULER_FRAMEWORK_H

#include "api/node-affinity.h"
#include "base/arena.h"
#include "scheduler/cache.h"
#include "scheduler/profile.h"
#include "scheduler/queue.h"

#define SCHED_SCORE_MAX 100
#define SCHED_REASONS_MAX 8

enum sched_verdict {
    SCHED_OK,
    SCHED_SKIP,          /* of pre_filter and pre_score: nothing to do for this pod */
    SCHED_UNSCHEDULABLE, /* not now; removing pods could help */
    SCHED_UNRESOLVABLE,  /* not now, and preemption cannot help */
};

/* Why a node was rejected; texts are literals or in the cycle's arena. */
struct rejection {
    struct str reasons[SCHED_REASONS_MAX];
    size_t n;
};
void reject(struct rejection *r, struct str reason);

struct sched_plugin;

/* One pod's decision. Lives for one cycle. */
struct cycle {
    struct cache *cache;
    struct pod_info *pod;
    struct arena *arena;
    const struct sched_profile *profile; /* NULL: the default one */

    void *state[SCHED_PLUGINS_MAX];       /* what a plugin's pre_filter computed */
    void *score_state[SCHED_PLUGINS_MAX]; /* what its pre_score computed */
    uint8_t filters[SCHED_PLUGINS_MAX];   /* plugins that have something to filter, in their order */
    size_t n_filters;
    bool indexed; /* one of them asks the cache's index */
    /* A pre_filter may say that no other nodes come into question (upstream's PreFilterResult): in the arena, no node twice.
     * NULL: all do. */
    struct node_info **only;
    size_t n_only;
    uint64_t only_by; /* a bit per plugin that said so */
};

struct sched_plugin {
    const char *name; /* "NodeResourcesFit" */
    unsigned events;  /* enum sched_event: what may help a pod that this plugin rejected */
    int weight;       /* of its score; 0: does not score */
    bool indexed;     /* its pre_filter and filter ask the cache's index */
    /* Once a cycle. A rejection here counts for all nodes. May be NULL. */
    enum sched_verdict (*pre_filter)(struct cycle *c, void **state, struct rejection *r);
    enum sched_verdict (*filter)(struct cycle *c, void *state, const struct node_info *n,
                                 struct rejection *r);
    /* Could a pod that this plugin rejected fit now? NULL: yes ("QueueingHint"). */
    bool (*hint)(struct cache *cache, const struct pod_info *p, const struct sched_change *change);
    /* Once a cycle, over the nodes that fit. May be NULL. */
    enum sched_verdict (*pre_score)(struct cycle *c, void **state, struct node_info *const *nodes,
                                    size_t n_nodes);
    int64_t (*score)(struct cycle *c, void *state, const struct node_info *n);
    /* Brings the scores to 0..SCHED_SCORE_MAX. NULL: they are there already. */
    void (*normalize)(struct cycle *c, void *state, struct node_info *const *nodes, int64_t *scores,
                      size_t n);
    /* The cycle is over: frees what is not in its arena. Either state may be NULL. May be NULL
     * itself. */
    void (*done)(struct cycle *c, void *filter_state, void *score_state);
};

extern const struct sched_plugin *const sched_plugins[];
extern const size_t sched_n_plugins;

/* Never NULL. */
const struct sched_profile *cycle_profile(const struct cycle *c);
/* Runs every pre_filter. False when one rejected the pod for all nodes: '*ret_plugin' is its index.
 */
bool framework_pre_filter(struct cycle *c, struct rejection *r, size_t *ret_plugin);
/* Runs the filters on one node. '*ret_plugin' is the index of the one that rejected it. */
enum sched_verdict framework_filter(struct cycle *c, const struct node_info *n, struct rejection *r,
                                    size_t *ret_plugin);
/* Weighted sums of all scores; 'totals' has room for n_nodes. */
void framework_score(struct cycle *c, struct node_info *const *nodes, size_t n_nodes,
                     int64_t *totals);

/* Calls every plugin's done(). */
void framework_done(struct cycle *c);

/* ---- what several plugins use ---- */

/* 0..max to 0..SCHED_SCORE_MAX, turned around when 'reverse'. */
void normalize_default(int64_t *scores, size_t n, bool reverse);
/* Of a pre_filter: no other nodes than these. Where another said so too, those that both named. */
void cycle_narrow(struct cycle *c, struct node_info **nodes, size_t n);

/* The first taint of these effects that the pod does not tolerate, or NULL. */
const struct core_v1_taint *untolerated_taint(const struct core_v1_pod_spec *spec,
                                              const struct core_v1_node *node,
                                              bool prefer_no_schedule);

#endif
