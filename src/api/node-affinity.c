#include "api/node-affinity.h"

static struct str label_of(const struct core_v1_node *node, struct str key)
{
    for (size_t i = 0; i < node->metadata.n_labels; i++) {
        if (str_eq(node->metadata.labels[i].key, key)) {
            return node->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}

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
                                 label_of(node, t->match_expressions[i].key))) {
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

bool node_selector_matches(const struct core_v1_node_selector *s, const struct core_v1_node *node)
{
    for (size_t i = 0; i < s->n_node_selector_terms; i++) {
        if (node_selector_term_matches(&s->node_selector_terms[i], node)) {
            return true;
        }
    }
    return false;
}

bool node_affinity_matches(const struct core_v1_pod_spec *spec, const struct core_v1_node *node)
{
    for (size_t i = 0; i < spec->n_node_selector; i++) {
        struct str value = label_of(node, spec->node_selector[i].key);
        if (!value.ptr || !str_eq(value, spec->node_selector[i].value)) {
            return false;
        }
    }
    const struct core_v1_node_selector *required =
        spec->affinity && spec->affinity->node_affinity
            ? spec->affinity->node_affinity->required_during_scheduling_ignored_during_execution
            : NULL;
    return !required || node_selector_matches(required, node);
}
