/* One rule: copying, compiling, and what it allows. */
#include "api/gen/rbac_v1.h"
#include "auth/rbac-private.h"

static const struct str verbs[] = {
    STR_INIT("get"),     STR_INIT("list"),        STR_INIT("watch"),  STR_INIT("create"),
    STR_INIT("update"),  STR_INIT("patch"),       STR_INIT("delete"), STR_INIT("deletecollection"),
    STR_INIT("post"),    STR_INIT("put"),         STR_INIT("head"),   STR_INIT("options"),
    STR_INIT("proxy"),   STR_INIT("impersonate"), STR_INIT("bind"),   STR_INIT("escalate"),
    STR_INIT("approve"), STR_INIT("sign"),        STR_INIT("use"),    STR_INIT("attest"),
};

uint32_t rbac_verb_bit(struct str verb)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (str_eq(verb, verbs[i])) {
            return 1u << i;
        }
    }
    return 0;
}

static bool has(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], s)) {
            return true;
        }
    }
    return false;
}

bool rbac_compile(struct arena *a, const struct rbac_rule *rule, struct rbac_compiled *ret)
{
    struct rbac_compiled c = { .rule = *rule };
    c.resources = arena_new_n(a, struct rbac_resource, rule->n_resources + 1);
    if (!c.resources) {
        return false;
    }
    for (size_t i = 0; i < rule->n_verbs; i++) {
        uint32_t bit = str_eq(rule->verbs[i], STR("*")) ? RBAC_ALL : rbac_verb_bit(rule->verbs[i]);
        c.verbs |= bit;
        c.other_verbs = c.other_verbs || bit == 0;
    }
    c.all_groups = has(rule->api_groups, rule->n_api_groups, STR("*"));
    c.all_resources = has(rule->resources, rule->n_resources, STR("*"));
    for (size_t i = 0; i < rule->n_resources; i++) {
        struct str sub = STR_EMPTY;
        if (!str_cut(rule->resources[i], '/', &c.resources[i].resource, &sub)) {
            sub = STR_EMPTY;
        }
        c.resources[i].sub = sub;
    }
    *ret = c;
    return true;
}

/* "/healthz" exactly, "/api/" and below by "/api/" with a star at its end, "*" all. */
static bool url_matches(struct str rule, struct str path)
{
    if (str_eq(rule, STR("*")) || str_eq(rule, path)) {
        return true;
    }
    if (rule.len == 0 || rule.ptr[rule.len - 1] != '*') {
        return false;
    }
    while (rule.len > 0 && rule.ptr[rule.len - 1] == '*') {
        rule.len--;
    }
    return str_starts(path, rule);
}

static bool resource_matches(const struct rbac_compiled *c, const struct authz_attributes *attr)
{
    if (c->all_resources) {
        return true;
    }
    for (size_t i = 0; i < c->rule.n_resources; i++) {
        const struct rbac_resource *r = &c->resources[i];
        if (str_eq(r->sub, attr->subresource) &&
            (str_eq(r->resource, attr->resource) ||
             (attr->subresource.len > 0 && str_eq(r->resource, STR("*"))))) {
            return true;
        }
    }
    return false;
}

bool rbac_compiled_allows(const struct rbac_compiled *c, const struct authz_attributes *attr,
                          uint32_t bit)
{
    const struct rbac_rule *r = &c->rule;
    if (c->verbs != RBAC_ALL && !(c->verbs & bit) &&
        !(c->other_verbs && bit == 0 && has(r->verbs, r->n_verbs, attr->verb))) {
        return false;
    }
    if (!attr->resource_request) {
        for (size_t i = 0; i < r->n_non_resource_urls; i++) {
            if (url_matches(r->non_resource_urls[i], attr->path)) {
                return true;
            }
        }
        return false;
    }
    return (c->all_groups || has(r->api_groups, r->n_api_groups, attr->api_group)) &&
           resource_matches(c, attr) &&
           (r->n_resource_names == 0 || has(r->resource_names, r->n_resource_names, attr->name));
}

bool rbac_rule_allows(const struct rbac_rule *rule, const struct authz_attributes *attr)
{
    struct arena a;
    struct rbac_compiled c;
    arena_init(&a, RBAC_ALL);
    bool ok =
        rbac_compile(&a, rule, &c) && rbac_compiled_allows(&c, attr, rbac_verb_bit(attr->verb));
    arena_deinit(&a);
    return ok;
}

bool rbac_rule_set_add(struct rbac_rule_set *s, struct arena *a, const struct rbac_rule *rule)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 16;
        struct rbac_rule *grown = arena_grow_n(a, s->rules, s->n, capacity, sizeof(*grown));
        if (!grown) {
            return false;
        }
        s->rules = grown;
        s->capacity = capacity;
    }
    s->rules[s->n++] = *rule;
    return true;
}

struct rbac_rule rbac_rule_of_typed(const struct rbac_v1_policy_rule *p)
{
    return (struct rbac_rule){
        .verbs = p->verbs,
        .n_verbs = p->n_verbs,
        .api_groups = p->api_groups,
        .n_api_groups = p->n_api_groups,
        .resources = p->resources,
        .n_resources = p->n_resources,
        .resource_names = p->resource_names,
        .n_resource_names = p->n_resource_names,
        .non_resource_urls = p->non_resource_urls,
        .n_non_resource_urls = p->n_non_resource_urls,
    };
}

bool rbac_rule_set_add_typed(struct rbac_rule_set *s, struct arena *a,
                             const struct rbac_v1_policy_rule *rules, size_t n_rules)
{
    for (size_t i = 0; i < n_rules; i++) {
        struct rbac_rule r = rbac_rule_of_typed(&rules[i]);
        if (!rbac_rule_set_add(s, a, &r)) {
            return false;
        }
    }
    return true;
}
