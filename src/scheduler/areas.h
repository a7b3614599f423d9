/*
 * How nodes fall into domains: by the value of a label (a topology), and which nodes a pod may choose from (a selection). Both are
 * worked out when nodes change, so that a cycle compares numbers where labels would have to be compared as text.
 *
 * A topology stays while a node has its label or somebody holds one of its partitions; a selection up to a bound, because pods of one
 * Deployment ask for the same again and again. Nodes are known by their slots (node_info.slot).
 */
#ifndef SCHEDULER_AREAS_H
#define SCHEDULER_AREAS_H

#include "api/gen/core_v1.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"

/* Selections that are kept though nobody counts by them: each takes a bit for every node. */
#define SELECTIONS_MOST 128

struct node_info;

/* The domains of one label key. A domain's number is free again when its last node has gone. */
struct topology {
    struct str key; /* owned */
    unsigned refs;  /* partitions */
    struct list partitions;
    struct map ids;       /* label value -> number + 1 */
    uint32_t *of;         /* by slot: number of the node's domain + 1; 0: the label is missing. NULL: on all of them */
    size_t capacity;      /* of 'of' */
    uint32_t *n_nodes;    /* by number */
    uint32_t n_numbers;   /* numbers given out so far, those that are free included */
    uint32_t n_capacity;
    uint32_t *free_numbers; /* 'n_capacity' of room */
    uint32_t n_free;
};

/* The nodes that pods with one nodeSelector and one required node affinity may choose from. */
struct selection {
    struct str text; /* owned */
    struct arena arena;
    const struct core_v1_pod_spec *spec; /* nodeSelector and affinity.nodeAffinity of it; in 'arena' */
    struct str *keys;                    /* labels that the node must have besides; in 'arena' */
    size_t n_keys;
    uint8_t *has; /* a bit by slot */
    size_t capacity; /* bytes */
    unsigned refs; /* partitions */
    struct list lru;
};

/* A topology over the nodes of a selection. */
struct partition {
    struct topology *topology;
    struct selection *selection; /* NULL: all nodes */
    struct list link;            /* in topology.partitions */
    unsigned refs;
    uint32_t *n_nodes; /* by number of domain: nodes of the selection in it */
    uint32_t capacity;
    uint32_t n_domains; /* with a node at least */
};

struct areas {
    struct map topologies; /* key -> struct topology */
    struct map selections; /* text -> struct selection */
    struct list lru;       /* selections, the one that was used last at the end */
    struct node_info *const *nodes; /* those that exist: the cache's */
    size_t n_nodes;
    struct node_info *const *slots; /* all that pods are on, by slot, NULL between them: the cache's */
    size_t n_slots;
};

void areas_init(struct areas *a);
/* Nobody holds a partition any more. */
void areas_deinit(struct areas *a);
/* The node in a slot came (old NULL), changed, or went (node NULL). Nothing is counted for it at that moment. */
void areas_set_node(struct areas *a, uint32_t slot, const struct core_v1_node *old, const struct core_v1_node *node);

/* The selection of a pod, with 'keys' as labels that a node must have besides; NULL when it chooses from all nodes. Valid until
 * areas_trim(), or as long as a partition of it is held. */
struct selection *areas_selection(struct areas *a, const struct core_v1_pod_spec *spec, const struct str *keys, size_t n_keys);
/* Forgets selections past the bound that nobody holds. Between cycles. */
void areas_trim(struct areas *a);
/* The topology, or NULL: no node has the label. Valid until nodes change. */
const struct topology *areas_topology(struct areas *a, struct str key);
/* Takes a reference, to be given back. */
struct partition *areas_partition(struct areas *a, struct str key, struct selection *s);
void areas_partition_unref(struct areas *a, struct partition *p);

static inline bool selection_has(const struct selection *s, uint32_t slot)
{
    return !s || (slot / 8 < s->capacity && (s->has[slot / 8] >> (slot % 8) & 1));
}
/* The number of the node's domain plus one, or 0 when the label is missing. */
static inline uint32_t topology_at(const struct topology *t, uint32_t slot)
{
    return slot < t->capacity ? t->of[slot] : 0;
}
/* The same, and 0 too when the node is not of the selection. */
static inline uint32_t partition_at(const struct partition *p, uint32_t slot)
{
    return selection_has(p->selection, slot) ? topology_at(p->topology, slot) : 0;
}

#endif
