/* NodeAffinity: spec.nodeSelector and node affinity, required and preferred. */
#include "scheduler/plugins/plugins.h"

static bool in_values(const struct core_v1_node_selector_requirement *r, struct str value)
{
    for (size_t i = 0; i < r->n_values; i++) {
        if (str_eq(r->values[i], value)) {
            return true;
        }
    }
    return false;
}

/* 'value' absent: the node has no such label. */
static bool requirement_matches(const struct core_v1_node_selector_requirement *r, struct str value)
{
    bool has = value.ptr != NULL;
    if (str_eq(r->operator, STR("In"))) {
        return has && in_values(r, value);
    }
    if (str_eq(r->operator, STR("NotIn"))) {
        return !has || !in_values(r, value);
    }
    if (str_eq(r->operator, STR("Exists"))) {
        return has;
    }
    if (str_eq(r->operator, STR("DoesNotExist"))) {
        return !has;
    }
    int64_t a, b;
    if (!has || r->n_values != 1 || !str_to_i64(value, &a) || !str_to_i64(r->values[0], &b)) {
        return false;
    }
    return str_eq(r->operator, STR("Gt")) ? a > b : str_eq(r->operator, STR("Lt")) ? a < b : false;
}

bool node_selector_term_matches(const struct core_v1_node_selector_term *t,
                                const struct core_v1_node *node)
{
    if (!t->n_match_expressions && !t->n_match_fields) {
        return false; /* a term that says nothing matches nothing */
    }
    for (size_t i = 0; i < t->n_match_expressions; i++) {
        if (!requirement_matches(&t->match_expressions[i],
                                 node_label(node, t->match_expressions[i].key))) {
            return false;
        }
    }
    for (size_t i = 0; i < t->n_match_fields; i++) {
        if (!str_eq(t->match_fields[i].key, STR("metadata.name")) ||
            !requirement_matches(&t->match_fields[i], node->metadata.name)) {
            return false;
        }
    }
    return true;
}

bool node_affinity_matches(const struct core_v1_pod_spec *spec, const struct core_v1_node *node)
{
    for (size_t i = 0; i < spec->n_node_selector; i++) {
        struct str value = node_label(node, spec->node_selector[i].key);
        if (!value.ptr || !str_eq(value, spec->node_selector[i].value)) {
            return false;
        }
    }
    const struct core_v1_node_selector *required =
        spec->affinity && spec->affinity->node_affinity
            ? spec->affinity->node_affinity->required_during_scheduling_ignored_during_execution
            : NULL;
    if (!required) {
        return true;
    }
    for (size_t i = 0; i < required->n_node_selector_terms; i++) {
        if (node_selector_term_matches(&required->node_selector_terms[i], node)) {
            return true;
        }
    }
    return false;
}

static enum sched_verdict pre_filter(struct cycle *c, void **state UNUSED,
                                     struct rejection *r UNUSED)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    bool any = spec->n_node_selector || (spec->affinity && spec->affinity->node_affinity);
    return any ? SCHED_OK : SCHED_SKIP;
}

static enum sched_verdict filter(struct cycle *c, void *state UNUSED, const struct node_info *n,
                                 struct rejection *r)
{
    if (node_affinity_matches(&c->pod->pod->spec, n->node)) {
        return SCHED_OK;
    }
    reject(r, STR("node(s) didn't match Pod's node affinity/selector"));
    return SCHED_UNRESOLVABLE;
}

static enum sched_verdict pre_score(struct cycle *c, void **state UNUSED,
                                    struct node_info *const *nodes UNUSED, size_t n_nodes UNUSED)
{
    const struct core_v1_affinity *a = c->pod->pod->spec.affinity;
    bool any = a && a->node_affinity &&
               a->node_affinity->n_preferred_during_scheduling_ignored_during_execution;
    return any ? SCHED_OK : SCHED_SKIP;
}

static int64_t score(struct cycle *c, void *state UNUSED, const struct node_info *n)
{
    const struct core_v1_node_affinity *a = c->pod->pod->spec.affinity->node_affinity;
    int64_t sum = 0;
    for (size_t i = 0; i < a->n_preferred_during_scheduling_ignored_during_execution; i++) {
        const struct core_v1_preferred_scheduling_term *t =
            &a->preferred_during_scheduling_ignored_during_execution[i];
        if (node_selector_term_matches(&t->preference, n->node)) {
            sum += t->weight;
        }
    }
    return sum;
}

static void normalize(struct cycle *c UNUSED, void *state UNUSED,
                      struct node_info *const *nodes UNUSED, int64_t *scores, size_t n)
{
    normalize_default(scores, n, false);
}

const struct sched_plugin plugin_node_affinity = {
    .name = "NodeAffinity",
    .events = EVENT_NODE_ADD | EVENT_NODE_LABEL,
    .weight = 2,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
};
