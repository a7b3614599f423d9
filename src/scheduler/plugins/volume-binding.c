/* VolumeBinding: a node must reach the volumes that the pod's claims have, and have some for those that wait for a node. */
#include <stdlib.h>

#include "scheduler/plugins/plugins.h"
#include "scheduler/volumes.h"

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r)
{
    const struct core_v1_pod *pod = c->pod->pod;
    const struct volume_view *v = c->cache->volumes;
    if (!v || !pod_has_claims(pod)) {
        return SCHED_SKIP;
    }
    struct pod_claims *claims = arena_new(c->arena, struct pod_claims);
    if (!claims) {
        abort();
    }
    struct str why = volumes_of_pod(v, c->arena, pod, claims);
    if (why.ptr) {
        reject(r, why);
        return SCHED_UNRESOLVABLE;
    }
    *state = claims;
    return SCHED_OK;
}

static enum sched_verdict filter(struct cycle *c, void *state, const struct node_info *n, struct rejection *r)
{
    const struct pod_claims *claims = state;
    if (claims->lost) {
        reject(r, STR("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"));
        return SCHED_UNRESOLVABLE;
    }
    for (size_t i = 0; i < claims->n_bound; i++) {
        if (!volume_is_on(claims->bound[i], n->node)) {
            reject(r, STR("node(s) didn't match PersistentVolume's node affinity"));
            return SCHED_UNRESOLVABLE;
        }
    }
    const volume_t **chosen = arena_new_n(c->arena, const volume_t *, claims->n_late);
    if (!chosen) {
        abort();
    }
    if (!volumes_choose(c->cache->volumes, c->arena, claims, n->node, chosen)) {
        reject(r, STR("node(s) didn't find available persistent volumes to bind"));
        return SCHED_UNRESOLVABLE;
    }
    return SCHED_OK;
}

/* A claim matters to the pods that name it: others it can only take a volume from. */
static bool hint(struct cache *cache UNUSED, const struct pod_info *p, const struct sched_change *change)
{
    return !change->claim || pod_names_claim(p->pod, change->claim);
}

const struct sched_plugin plugin_volume_binding = {
    .name = "VolumeBinding",
    .events = EVENT_VOLUME | EVENT_NODE_ADD | EVENT_NODE_LABEL,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
};
