/* ClusterRoles that are made of others (aggregationRule). */
#include "api/gen/meta_v1.h"
#include "api/selector.h"
#include "auth/rbac-private.h"

static int by_name(const void *a, const void *b)
{
    const struct rbac_role *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

/* All ClusterRoles that exist, sorted by name. NULL past the budget. */
static const struct rbac_role **cluster_roles(const struct rbac *r, struct arena *a, size_t *ret_n)
{
    const struct rbac_role **list = arena_new_n(a, const struct rbac_role *, r->roles.n + 1);
    struct str key;
    void *value;
    size_t n = 0;
    for (size_t pos = 0; list && map_next(&r->roles, &pos, &key, &value);) {
        const struct rbac_role *role = value;
        if (role->present && str_empty(role->namespace_)) {
            list[n++] = role;
        }
    }
    if (list) {
        qsort(list, n, sizeof(const struct rbac_role *), by_name);
    }
    *ret_n = n;
    return list;
}

static bool same_list(const struct str *a, size_t n_a, const struct str *b, size_t n_b)
{
    for (size_t i = 0; i < n_a && n_a == n_b; i++) {
        if (!str_eq(a[i], b[i])) {
            return false;
        }
    }
    return n_a == n_b;
}

static bool same_rule(const struct rbac_rule *a, const struct rbac_rule *b)
{
    return same_list(a->verbs, a->n_verbs, b->verbs, b->n_verbs) &&
           same_list(a->api_groups, a->n_api_groups, b->api_groups, b->n_api_groups) &&
           same_list(a->resources, a->n_resources, b->resources, b->n_resources) &&
           same_list(a->resource_names, a->n_resource_names, b->resource_names,
                     b->n_resource_names) &&
           same_list(a->non_resource_urls, a->n_non_resource_urls, b->non_resource_urls,
                     b->n_non_resource_urls);
}

static bool add_new_rules(struct rbac_rule_set *out, struct arena *a, const struct rbac_role *role)
{
    for (size_t i = 0; i < role->n_rules; i++) {
        bool there = false;
        for (size_t j = 0; j < out->n && !there; j++) {
            there = same_rule(&out->rules[j], &role->rules[i].rule);
        }
        if (!there && !rbac_rule_set_add(out, a, &role->rules[i].rule)) {
            return false;
        }
    }
    return true;
}

bool rbac_aggregate(const struct rbac *r, struct str cluster_role, struct arena *a,
                    struct rbac_rule_set *out)
{
    const struct rbac_role *target = rbac_find_role(r, STR_EMPTY, cluster_role);
    size_t n = 0;
    if (!target || !target->aggregated) {
        return false;
    }
    const struct rbac_role **all = cluster_roles(r, a, &n);
    bool ok = all != NULL;
    for (size_t s = 0; ok && s < target->n_selectors; s++) {
        struct selector sel;
        if (!selector_from_label_selector(a, &target->selectors[s], &sel, NULL)) {
            continue; /* validation refuses such selectors; they select nothing */
        }
        for (size_t i = 0; ok && i < n; i++) {
            if (all[i] != target && selector_matches(&sel, all[i]->labels, all[i]->n_labels)) {
                ok = add_new_rules(out, a, all[i]);
            }
        }
    }
    return ok;
}

bool rbac_aggregated_roles(const struct rbac *r, struct arena *a, struct str **ret_names,
                           size_t *ret_n)
{
    size_t n = 0, found = 0;
    const struct rbac_role **all = cluster_roles(r, a, &n);
    struct str *names = arena_new_n(a, struct str, n + 1);
    if (!all || !names) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (all[i]->aggregated) {
            names[found++] = all[i]->name;
        }
    }
    *ret_names = names;
    *ret_n = found;
    return true;
}
