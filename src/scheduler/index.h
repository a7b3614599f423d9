/*
 * Counts of pods that plugins ask for, kept while pods come and go in place of being made for each pod that is scheduled:
 *
 *   family   pods of one controller that are not ending: made with its first pod on a node, gone with its last
 *   podset   pods that a selector (or several together) matches: made when a cycle asks first, kept while it is asked for
 *   holding  pods that carry one and the same (anti-)affinity term themselves: there while a pod on a node carries it
 *
 * A pod finds the podsets and holdings that concern it by one of its labels (buckets), so that a thousand Deployments with a thousand
 * selectors cost a pod no more than one.
 */
#ifndef SCHEDULER_INDEX_H
#define SCHEDULER_INDEX_H

#include "api/selector.h"
#include "scheduler/census.h"

/* Podsets that are kept; the one asked for longest ago goes. Each takes 0.5 KB and 16 bytes a node that has such pods. */
#define PODSETS_MOST 4096

struct pod_info;

/* Which pods a term of affinity, or a constraint, speaks of. */
struct pod_term {
    struct selector selector;
    struct str *ns; /* namespaces by name */
    size_t n_ns;
    bool by_namespace_selector; /* or those whose labels match */
    struct selector namespaces;
};

enum holding_kind { HOLDS_AFFINITY, HOLDS_ANTI_AFFINITY, HOLDS_PREFERENCE, HOLDS_ANTI_PREFERENCE };
#define N_HOLDING_KINDS 4

/* What podsets and holdings are found by. */
struct matcher {
    struct str text; /* owned: its key in the table */
    struct arena arena;
    struct pod_term *terms; /* all must match */
    size_t n_terms;
    struct matcher_bucket *bucket;
    struct list in_bucket;
};

struct podset {
    struct matcher matcher;
    struct census census;
    bool living; /* pods that are ending do not count */
    struct list lru;
};

struct holding {
    struct matcher matcher;
    struct census census;
    enum holding_kind kind;
    int32_t weight; /* of preferences */
    const struct view *view; /* by the term's topology key */
    size_t n_pods;
};

struct family {
    struct str key; /* owned: "namespace/uid" */
    struct census census;
    size_t n_pods;
};

struct matcher_table {
    struct map by_text; /* -> the matcher */
    struct map buckets; /* "namespace\nkey=value", either may be missing -> struct matcher_bucket */
    size_t n_wide;      /* matchers of no single namespace */
};

/* Labels of a namespace, for namespaceSelector. */
typedef const struct api_str_pair *namespace_labels_fn(void *data, struct str ns, size_t *ret_n);

struct index {
    struct areas areas;
    struct map families;
    struct matcher_table podsets, holdings;
    struct list lru; /* podsets */
    size_t n_holdings[N_HOLDING_KINDS];
    namespace_labels_fn *namespace_labels; /* NULL: no namespace has labels */
    void *namespace_data;
};

void index_init(struct index *x);
void index_deinit(struct index *x);
/* The pod is in the slot from now on; remove before the pod_info changes. */
void index_add_pod(struct index *x, struct pod_info *p, uint32_t slot);
void index_remove_pod(struct index *x, struct pod_info *p, uint32_t slot);
/* Counts a pod that is in the index less or more once, for a look at what would be without it. */
void index_count_pod(struct index *x, const struct pod_info *p, uint32_t slot, int sign);
/* A node came, changed, or went; it may hold pods. */
void index_set_node(struct index *x, uint32_t slot, const struct core_v1_node *old, const struct core_v1_node *node, bool holds_pods);
/* Labels of namespaces changed: what depends on them is counted anew when asked for. */
void index_namespaces_changed(struct index *x);
/* Forgets what nobody has asked for in a long time. Between cycles: what the three below return is valid until then, or the next
 * change of a pod. */
void index_trim(struct index *x);

/* The pods that all of the terms match. */
struct podset *index_podset(struct index *x, const struct pod_term *terms, size_t n, bool living);
/* The pods of the controller of 'p' that are not ending; NULL: none is on a node, or 'p' has no controller. */
struct family *index_family(const struct index *x, const struct pod_info *p);
/* Every term that pods on nodes carry and that means 'p'. */
void index_holdings(struct index *x, const struct pod_info *p, void (*each)(void *arg, const struct holding *h), void *arg);

/* From the API's term; 'owner' is the pod that carries it. False past the arena's budget, or when it is not valid. */
bool pod_term_make(struct arena *a, const struct core_v1_pod_affinity_term *t, struct str owner_ns, struct pod_term *ret);
bool pod_term_matches(const struct index *x, const struct pod_term *t, const struct core_v1_pod *pod);

#endif
