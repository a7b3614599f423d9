/* TaintToleration: NoSchedule and NoExecute taints filter, PreferNoSchedule taints score. */
#include "api/toleration.h"
#include "scheduler/plugins/plugins.h"

const struct core_v1_taint *untolerated_taint(const struct core_v1_pod_spec *spec,
                                              const struct core_v1_node *node,
                                              bool prefer_no_schedule)
{
    for (size_t i = 0; i < node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        if (str_eq(t->effect, STR("PreferNoSchedule")) == prefer_no_schedule &&
            !tolerations_match(spec->tolerations, spec->n_tolerations, t)) {
            return t;
        }
    }
    return NULL;
}

/* By number of a set of taints: what the pod's tolerations make of it, found out at the first node that has it. */
struct judgement {
    bool known;
    struct str reason; /* absent: tolerated */
};

static enum sched_verdict pre_filter(struct cycle *c, void **state, struct rejection *r UNUSED)
{
    if (!c->cache->n_taints_hard) {
        return SCHED_SKIP;
    }
    *state = arena_new_n(c->arena, struct judgement, c->cache->n_taint_sets);
    if (!*state) {
        abort();
    }
    return SCHED_OK;
}

static void judge(struct cycle *c, const struct node_info *n, struct judgement *j)
{
    const struct core_v1_taint *t = untolerated_taint(&c->pod->pod->spec, n->node, false);
    j->known = true;
    if (t) {
        j->reason = arena_printf(c->arena, "node(s) had untolerated taint {%.*s: %.*s}", STR_ARG(t->key), STR_ARG(t->value));
    }
}

static enum sched_verdict filter(struct cycle *c, void *state, const struct node_info *n,
                                 struct rejection *r)
{
    if (!n->taints_hard) {
        return SCHED_OK;
    }
    struct judgement *j = &((struct judgement *)state)[n->taints->number];
    if (!j->known) {
        judge(c, n, j);
    }
    if (!j->reason.ptr) {
        return SCHED_OK;
    }
    reject(r, j->reason);
    return SCHED_UNRESOLVABLE;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    int64_t count = 0;
    for (size_t i = 0; n->taints_soft && i < n->node->spec.n_taints; i++) {
        const struct core_v1_taint *t = &n->node->spec.taints[i];
        if (str_eq(t->effect, STR("PreferNoSchedule")) &&
            !tolerations_match(spec->tolerations, spec->n_tolerations, t)) {
            count++;
        }
    }
    return count;
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    normalize_default(scores, n, true);
}

static bool hint(struct cache *cache UNUSED, const struct pod_info *p, const struct sched_change *change)
{
    return !change->node || !change->node->node || !untolerated_taint(&p->pod->spec, change->node->node, false);
}

const struct sched_plugin plugin_taint_toleration = {
    .name = "TaintToleration",
    .events = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .weight = 3,
    .hint = hint,
    .pre_filter = pre_filter,
    .filter = filter,
    .score = score,
    .normalize = normalize,
};
