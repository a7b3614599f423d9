/*
 * Claims of pods in scheduling (documentation, "Volume Binding Mode"). A claim that waits for its first consumer gets its volume
 * here: the plugin VolumeBinding asks for each node whether there are volumes, and a decision for a node reserves them, writes
 * spec.claimRef (or names the node to a provisioner) and waits until the controller has bound the claims; then the pod is bound.
 */
#ifndef SCHEDULER_VOLUMES_H
#define SCHEDULER_VOLUMES_H

#include "api/gen/storage_v1.h"
#include "api/volume-match.h"
#include "client/informer.h"

struct loop;

/* What there is of claims, volumes and classes. Functions, so that the plugin's tests need no server. */
struct volume_view {
    void *data;
    const volume_claim_t *(*claim)(void *data, struct str ns, struct str name);
    const volume_t *(*volume)(void *data, struct str name);
    const volume_t *(*next_volume)(void *data, size_t *pos); /* all, from '*pos' = 0 */
    const struct storage_v1_storage_class *(*class)(void *data, struct str name);
    bool (*is_reserved)(void *data, const volume_t *pv); /* by a decision that is being written */
};

/* Of one pod: what it claims, sorted out once a cycle. In the arena. */
struct pod_claims {
    const volume_t **bound; /* volumes that it has already */
    size_t n_bound;
    const volume_claim_t **late; /* claims that wait for a node, those that ask for least first */
    size_t n_late;
    bool lost; /* a claim is bound to a volume that is not there */
};
/* NULL: the pod may be scheduled as far as its claims go. Otherwise why on no node, a literal or in the arena. */
struct str volumes_of_pod(const struct volume_view *v, struct arena *a, const struct core_v1_pod *pod, struct pod_claims *ret);
/* Chooses a volume for each late claim on the node: 'ret' has room for n_late; NULL is one that a provisioner is to make there.
 * False: there are not enough. */
MUST_CHECK bool volumes_choose(const struct volume_view *v, struct arena *a, const struct pod_claims *claims,
                               const struct core_v1_node *node, const volume_t **ret);
bool pod_has_claims(const struct core_v1_pod *pod);
bool pod_names_claim(const struct core_v1_pod *pod, const volume_claim_t *claim);

/* ---- the component's side ---- */

struct sched_volumes;
/* Claims, volumes or classes have changed, or a volume is free that was reserved; 'claim' when it was just that one. */
typedef void sched_volumes_change_fn(void *data, const volume_claim_t *claim);
/* Asks for its informers. */
struct sched_volumes *sched_volumes_new(struct informers *set, struct client *client, struct loop *loop, sched_volumes_change_fn *on_change,
                                        void *data);
struct sched_volumes *sched_volumes_free(struct sched_volumes *v);
const struct volume_view *sched_volumes_view(const struct sched_volumes *v);
/* The pod goes to the node: its late claims get their volumes. 'done' with NULL once all are bound (never from inside this call),
 * with an error when that failed or took longer than ten minutes; then nothing is reserved any more. */
typedef void sched_volumes_done_fn(void *data, const struct err *err);
void sched_volumes_bind(struct sched_volumes *v, const struct core_v1_pod *pod, const struct core_v1_node *node,
                        sched_volumes_done_fn *done, void *data);

#endif
