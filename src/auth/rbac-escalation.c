/* Nobody may grant more than they have: does a set of rules cover another? */
#include <assert.h>

#include "auth/limits.h"
#include "auth/rbac-private.h"

static bool has(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], s)) {
            return true;
        }
    }
    return false;
}

/* One right, the smallest piece of a rule: one verb on one resource of one group (perhaps one
 * name), or on one path. */
struct right {
    struct str verb, group, resource, name, url;
    bool on_url, has_name;
};

static bool resource_covered(const struct rbac_rule *held, struct str wanted)
{
    struct str head, sub;
    if (has(held->resources, held->n_resources, STR("*")) ||
        has(held->resources, held->n_resources, wanted)) {
        return true;
    }
    if (!str_cut(wanted, '/', &head, &sub)) {
        return false;
    }
    for (size_t i = 0; i < held->n_resources; i++) {
        if (str_starts(held->resources[i], STR("*/")) &&
            str_eq(str_sub(held->resources[i], 2, held->resources[i].len), sub)) {
            return true;
        }
    }
    return false;
}

static bool url_covered(const struct rbac_rule *held, struct str wanted)
{
    for (size_t i = 0; i < held->n_non_resource_urls; i++) {
        struct str h = held->non_resource_urls[i];
        if (str_eq(h, STR("*")) || str_eq(h, wanted)) {
            return true;
        }
        if (h.len > 0 && h.ptr[h.len - 1] == '*' && str_starts(wanted, str_n(h.ptr, h.len - 1))) {
            return true;
        }
    }
    return false;
}

static bool covered_by(const struct rbac_rule *held, const struct right *w)
{
    if (!has(held->verbs, held->n_verbs, STR("*")) && !has(held->verbs, held->n_verbs, w->verb)) {
        return false;
    }
    if (w->on_url) {
        return url_covered(held, w->url);
    }
    if (!has(held->api_groups, held->n_api_groups, STR("*")) &&
        !has(held->api_groups, held->n_api_groups, w->group)) {
        return false;
    }
    if (held->n_resource_names > 0 &&
        !(w->has_name && has(held->resource_names, held->n_resource_names, w->name))) {
        return false;
    }
    return resource_covered(held, w->resource);
}

/* Rights that are not held, those that differ in the verb alone gathered into one line. */
struct missing {
    struct right right;
    struct str *verbs;
    size_t n_verbs;
};
struct check {
    const struct rbac_rule_set *held;
    struct arena *arena;
    struct missing *missing; /* RBAC_MAX_MISSING of them */
    size_t n_missing;
    size_t steps;
    bool left_out; /* more are missing than are told */
    bool failed;   /* past a limit */
};

static bool note_missing(struct check *c, const struct right *w)
{
    struct missing *m = NULL;
    for (size_t i = 0; i < c->n_missing && !m && !w->on_url; i++) {
        const struct right *r = &c->missing[i].right;
        if (!r->on_url && str_eq(r->group, w->group) && str_eq(r->resource, w->resource) &&
            r->has_name == w->has_name && str_eq(r->name, w->name)) {
            m = &c->missing[i];
        }
    }
    if (m && has(m->verbs, m->n_verbs, w->verb)) {
        return true;
    }
    if (!m) {
        if (c->n_missing == RBAC_MAX_MISSING) {
            c->left_out = true;
            return true;
        }
        m = &c->missing[c->n_missing++];
        m->right = *w;
    }
    /* Room doubles: at 0, 1, 2, 4, … verbs. */
    if ((m->n_verbs & (m->n_verbs - 1)) == 0) {
        struct str *verbs = arena_grow_n(c->arena, m->verbs, m->n_verbs,
                                         m->n_verbs ? 2 * m->n_verbs : 1, sizeof(*verbs));
        if (!verbs) {
            return false;
        }
        m->verbs = verbs;
    }
    m->verbs[m->n_verbs++] = w->verb;
    return true;
}

static void check_right(struct check *c, const struct right *w)
{
    if (c->failed || ++c->steps > RBAC_MAX_BREAKDOWN) {
        c->failed = true;
        return;
    }
    for (size_t i = 0; i < c->held->n; i++) {
        if (covered_by(&c->held->rules[i], w)) {
            return;
        }
    }
    c->failed = !note_missing(c, w);
}

static void check_rule(struct check *c, const struct rbac_rule *r)
{
    for (size_t g = 0; g < r->n_api_groups && !c->failed; g++) {
        for (size_t s = 0; s < r->n_resources && !c->failed; s++) {
            for (size_t v = 0; v < r->n_verbs && !c->failed; v++) {
                struct right w = { .verb = r->verbs[v],
                                   .group = r->api_groups[g],
                                   .resource = r->resources[s] };
                if (r->n_resource_names == 0) {
                    check_right(c, &w);
                }
                for (size_t n = 0; n < r->n_resource_names; n++) {
                    w.has_name = true;
                    w.name = r->resource_names[n];
                    check_right(c, &w);
                }
            }
        }
    }
    for (size_t u = 0; u < r->n_non_resource_urls && !c->failed; u++) {
        for (size_t v = 0; v < r->n_verbs && !c->failed; v++) {
            check_right(c, &(struct right){ .verb = r->verbs[v],
                                            .url = r->non_resource_urls[u],
                                            .on_url = true });
        }
    }
}

/* ["a" "b"], as Go's %q prints a list. */
static void write_list(struct buf *b, const char *label, const struct str *list, size_t n)
{
    buf_append_c(b, label);
    buf_append_c(b, ":[");
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s\"%.*s\"", i ? " " : "", STR_ARG(list[i]));
    }
    buf_append_c(b, "]");
}

static struct str missing_text(struct arena *a, const struct missing *m)
{
    struct buf b;
    buf_init(&b, 64 << 10);
    buf_append_char(&b, '{');
    if (m->right.on_url) {
        write_list(&b, "NonResourceURLs", &m->right.url, 1);
    } else {
        write_list(&b, "APIGroups", &m->right.group, 1);
        buf_append_c(&b, ", ");
        write_list(&b, "Resources", &m->right.resource, 1);
        if (m->right.has_name) {
            buf_append_c(&b, ", ");
            write_list(&b, "ResourceNames", &m->right.name, 1);
        }
    }
    buf_append_c(&b, ", ");
    write_list(&b, "Verbs", m->verbs, m->n_verbs);
    buf_append_char(&b, '}');
    struct str text = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return text;
}

static void write_message(const struct check *c, const struct auth_user *user,
                          struct str resolution_error, struct buf *message)
{
    buf_printf(message, "user \"%.*s\" (groups=", STR_ARG(user->name));
    buf_append_char(message, '[');
    for (size_t i = 0; i < user->n_groups; i++) {
        buf_printf(message, "%s\"%.*s\"", i ? " " : "", STR_ARG(user->groups[i]));
    }
    buf_append_c(message, "]) is attempting to grant RBAC permissions not currently held:");
    struct str *lines = arena_new_n(c->arena, struct str, c->n_missing + 1);
    for (size_t i = 0; lines && i < c->n_missing; i++) {
        lines[i] = missing_text(c->arena, &c->missing[i]);
    }
    if (lines) {
        qsort(lines, c->n_missing, sizeof(*lines), str_cmp_qsort);
    }
    for (size_t i = 0; lines && i < c->n_missing; i++) {
        if (i == 0 || !str_eq(lines[i], lines[i - 1])) {
            buf_append_char(message, '\n');
            buf_append(message, lines[i]);
        }
    }
    if (c->left_out) {
        buf_append_c(message, "\nand more");
    }
    if (!str_empty(resolution_error)) {
        buf_printf(message, "; resolution errors: [%.*s]", STR_ARG(resolution_error));
    }
}

bool rbac_covers(const struct rbac_rule_set *held, const struct rbac_rule_set *wanted,
                 const struct auth_user *user, struct str resolution_error, struct arena *a,
                 struct buf *message)
{
    struct check c = { .held = held,
                       .arena = a,
                       .missing = arena_new_n(a, struct missing, RBAC_MAX_MISSING) };
    c.failed = !c.missing;
    for (size_t i = 0; i < wanted->n && !c.failed; i++) {
        check_rule(&c, &wanted->rules[i]);
    }
    if (c.failed) {
        buf_printf(message,
                   "the rules are too many to be checked for escalation, at most %u rights",
                   RBAC_MAX_BREAKDOWN);
        return false;
    }
    if (c.n_missing == 0) {
        return true;
    }
    write_message(&c, user, resolution_error, message);
    return false;
}

bool rbac_check_escalation(const struct rbac *r, const struct auth_user *user,
                           struct str namespace_, const struct rbac_rule_set *wanted,
                           struct arena *a, struct buf *message)
{
    struct rbac_rule_set held = { 0 };
    struct err err = { 0 };
    if (!rbac_rules_for(r, user, namespace_, a, &held, &err)) {
        buf_append_c(message, err.msg);
        return false;
    }
    return rbac_covers(&held, wanted, user, err.code ? str_c(err.msg) : STR_NULL, a, message);
}

struct authz_attributes rbac_may_escalate(const struct auth_user *user, struct str namespace_,
                                          struct str resource, struct str name)
{
    return (struct authz_attributes){
        .user = user,
        .verb = STR("escalate"),
        .resource_request = true,
        .namespace_ = namespace_,
        .api_group = STR("rbac.authorization.k8s.io"),
        .api_version = STR("*"),
        .resource = resource,
        .name = name,
    };
}

struct authz_attributes rbac_may_bind(const struct auth_user *user, struct str namespace_,
                                      struct str role_kind, struct str role_name)
{
    return (struct authz_attributes){
        .user = user,
        .verb = STR("bind"),
        .resource_request = true,
        .namespace_ = namespace_,
        .api_group = STR("rbac.authorization.k8s.io"),
        .api_version = STR("*"),
        .resource = str_eq(role_kind, STR("Role")) ? STR("roles") : STR("clusterroles"),
        .name = role_name,
    };
}
