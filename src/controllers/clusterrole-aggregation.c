/*
 * clusterrole-aggregation-controller: a ClusterRole with an aggregationRule has the rules of all
 * ClusterRoles that its selectors match, in the order of their names, each once.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "api/gen/rbac_v1.h"
#include "api/selector.h"
#include "controllers/controllers.h"

struct state {
    struct controller *controller;
    const struct api_resource *roles_resource;
    struct informer *roles;
};

/* Any role may be a part of any aggregated one. */
static void on_role(void *data, const void *old UNUSED, const void *obj UNUSED)
{
    struct state *s = data;
    const struct rbac_v1_cluster_role *r;
    for (size_t pos = 0; (r = informer_next(s->roles, &pos));) {
        if (r->aggregation_rule) {
            controller_enqueue(s->controller, r->metadata.name);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->roles_resource =
        api_resource_find(STR("rbac.authorization.k8s.io"), STR("v1"), STR("clusterroles"));
    struct informer_spec spec = { .resource = s->roles_resource, .fields = fields };
    s->roles = informers_get(informers, &spec, on_role, s);
    return s;
}

struct rules {
    struct arena *arena;
    struct rbac_v1_policy_rule *items;
    size_t n, capacity;
};

static void add_rule(struct rules *list, const struct rbac_v1_policy_rule *rule)
{
    for (size_t i = 0; i < list->n; i++) {
        if (api_equal(&rbac_v1_policy_rule_type, &list->items[i], rule)) {
            return;
        }
    }
    if (list->n == list->capacity) {
        size_t more = MAX(2 * list->capacity, (size_t)64);
        list->items = arena_grow_n(list->arena, list->items, list->n, more, sizeof(*list->items));
        list->capacity = more;
        if (!list->items) {
            abort();
        }
    }
    list->items[list->n++] = *rule;
}

static bool same_rules(const struct rbac_v1_policy_rule *a, size_t n_a,
                       const struct rbac_v1_policy_rule *b, size_t n_b)
{
    for (size_t i = 0; i < n_a && n_a == n_b; i++) {
        if (!api_equal(&rbac_v1_policy_rule_type, &a[i], &b[i])) {
            return false;
        }
    }
    return n_a == n_b;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct rbac_v1_cluster_role *target = informer_get(s->roles, STR_NULL, key), *r;
    struct rules rules = { .arena = act_arena(a) };
    if (!target || !target->aggregation_rule || target->metadata.deletion_timestamp.set) {
        return;
    }
    for (size_t i = 0; i < target->aggregation_rule->n_cluster_role_selectors; i++) {
        struct selector selector;
        struct err err;
        if (!selector_from_label_selector(act_arena(a),
                                          &target->aggregation_rule->cluster_role_selectors[i],
                                          &selector, &err)) {
            act_fail(a, "a selector of its aggregationRule: %s", err.msg);
            return;
        }
        for (size_t pos = 0; (r = informer_next(s->roles, &pos));) { /* by name */
            bool itself = str_eq(r->metadata.name, target->metadata.name);
            if (!itself && selector_matches(&selector, r->metadata.labels, r->metadata.n_labels)) {
                for (size_t k = 0; k < r->n_rules; k++) {
                    add_rule(&rules, &r->rules[k]);
                }
            }
        }
    }
    if (same_rules(rules.items, rules.n, target->rules, target->n_rules)) {
        return;
    }
    struct rbac_v1_cluster_role changed = *target;
    changed.rules = rules.items;
    changed.n_rules = rules.n;
    act_update(a, s->roles_resource, &changed);
}

const struct controller_ops controller_clusterrole_aggregation = {
    .name = "clusterrole-aggregation-controller",
    .service_account = "clusterrole-aggregation-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
