/*
 * Which PersistentVolume a PersistentVolumeClaim may have (Kubernetes documentation, "Persistent Volumes: Binding"). One rule for
 * the controller, which binds at once, and the scheduler, which binds for a pod on a node it considers.
 */
#ifndef API_VOLUME_MATCH_H
#define API_VOLUME_MATCH_H

#include "api/gen/core_v1.h"
#include "api/selector.h"
#include "base/arena.h"

/* Annotations of the binding, on claims and volumes. */
#define VOLUME_BIND_COMPLETED STR("pv.kubernetes.io/bind-completed")
#define VOLUME_BOUND_BY_CONTROLLER STR("pv.kubernetes.io/bound-by-controller")
#define VOLUME_PROVISIONED_BY STR("pv.kubernetes.io/provisioned-by")
#define VOLUME_SELECTED_NODE STR("volume.kubernetes.io/selected-node")

typedef struct core_v1_persistent_volume volume_t;
typedef struct core_v1_persistent_volume_claim volume_claim_t;

/* The class of a volume or claim: its beta annotation, else its field; empty or absent: none. */
struct str volume_class(const volume_t *pv);
struct str volume_claim_class(const volume_claim_t *claim);
/* An annotation's value, or absent. */
struct str volume_annotation(const struct meta_v1_object_meta *m, struct str key);
/* Does spec.claimRef name this claim (by uid, too, once it has one)? */
bool volume_is_of(const volume_t *pv, const volume_claim_t *claim);
/* Filesystem or Block: are both the same, an unset one being Filesystem? */
bool volume_same_mode(const volume_t *pv, const volume_claim_t *claim);
/* May the node reach the volume? */
bool volume_is_on(const volume_t *pv, const struct core_v1_node *node);
/* NULL: the claim that names the volume by spec.volumeName may have it. Otherwise why not, as the controller words it. */
const char *volume_mismatch(const volume_t *pv, const volume_claim_t *claim);

/* A search: begin, offer volumes in any order, read 'best'. */
struct volume_search {
    const volume_claim_t *claim;
    const struct core_v1_node *node; /* NULL: any */
    bool bound_only;                 /* only one that somebody bound to the claim: the rest is the scheduler's to choose */
    bool fewest_modes;               /* a volume with fewer access modes goes before a smaller one */
    struct selector selector;
    const volume_t *best;            /* NULL: none */
    bool best_is_bound;
};
/* False when the claim's selector cannot be read: it matches nothing. */
MUST_CHECK bool volume_search_begin(struct volume_search *s, struct arena *a, const volume_claim_t *claim);
void volume_search_offer(struct volume_search *s, const volume_t *pv);

#endif
