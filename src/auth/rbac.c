#include "auth/rbac.h"

#include <assert.h>

#include "api/copy.h"
#include "api/gen/rbac_v1.h"
#include "auth/limits.h"
#include "auth/rbac-private.h"

/* ---- keys and roles ---- */

#define KEY_SIZE 600

/* "namespace/name"; neither can hold a slash. False when they are longer than any name can be. */
static bool key_of(struct str namespace_, struct str name, char dst[KEY_SIZE])
{
    int n = snprintf(dst, KEY_SIZE, "%.*s/%.*s", STR_ARG(namespace_), STR_ARG(name));
    return n > 0 && n < KEY_SIZE;
}

struct rbac *rbac_new(void)
{
    struct rbac *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    map_init(&r->roles);
    map_init(&r->bindings);
    map_init(&r->scopes);
    map_init(&r->cluster.users);
    map_init(&r->cluster.groups);
    return r;
}

static struct rbac_role *role_at(struct rbac *r, struct str namespace_, struct str name)
{
    char key[KEY_SIZE];
    if (!key_of(namespace_, name, key)) {
        return NULL;
    }
    struct rbac_role *role = map_get(&r->roles, str_c(key));
    if (!role) {
        role = calloc(1, sizeof(*role));
        if (!role || !(role->key = strdup(key))) {
            abort();
        }
        role->namespace_ = str_n(role->key, namespace_.len);
        role->name = str_n(role->key + namespace_.len + 1, name.len);
        arena_init_chunk(&role->arena, RBAC_MAX_OBJECT, 512); /* most roles are small, and stay */
        (void)map_put(&r->roles, str_c(key), role);
    }
    return role;
}

static void role_forget(struct rbac *r, struct rbac_role *role)
{
    if (!role->present && role->bindings == 0) {
        (void)map_remove(&r->roles, str_c(role->key));
        arena_deinit(&role->arena);
        free(role->key);
        free(role);
    }
}

static void role_empty(struct rbac_role *role)
{
    arena_deinit(&role->arena);
    arena_init_chunk(&role->arena, RBAC_MAX_OBJECT, 512); /* most roles are small, and stay */
    role->rules = NULL;
    role->n_rules = 0;
    role->labels = NULL;
    role->n_labels = 0;
    role->selectors = NULL;
    role->n_selectors = 0;
    role->aggregated = false;
}

static void put_role(struct rbac *r, struct str namespace_, const struct meta_v1_object_meta *meta,
                     const struct rbac_v1_policy_rule *rules, size_t n_rules,
                     const struct rbac_v1_aggregation_rule *aggregation)
{
    struct rbac_role *role = role_at(r, namespace_, meta->name);
    if (!role) {
        return;
    }
    role_empty(role);
    role->present = true;
    struct arena *a = &role->arena;
    struct rbac_compiled *compiled = arena_new_n(a, struct rbac_compiled, n_rules + 1);
    struct rbac_v1_policy_rule *copies = arena_new_n(a, struct rbac_v1_policy_rule, n_rules + 1);
    struct api_str_pair *labels = arena_new_n(a, struct api_str_pair, meta->n_labels + 1);
    /* Past the budget (which no object of the API reaches) the role grants nothing: the safe side.
     */
    if (!compiled || !copies || !labels) {
        role_empty(role);
        return;
    }
    for (size_t i = 0; i < n_rules; i++) {
        bool ok = api_copy_into(a, &rbac_v1_policy_rule_type, &rules[i], &copies[i], true);
        struct rbac_rule one = rbac_rule_of_typed(&copies[i]);
        if (!ok || !rbac_compile(a, &one, &compiled[i])) {
            role_empty(role);
            return;
        }
    }
    for (size_t i = 0; i < meta->n_labels; i++) {
        labels[i].key = arena_str(a, meta->labels[i].key);
        labels[i].value = arena_str(a, meta->labels[i].value);
    }
    role->rules = compiled;
    role->n_rules = n_rules;
    role->labels = labels;
    role->n_labels = meta->n_labels;
    if (aggregation) {
        struct rbac_v1_aggregation_rule *copy =
            api_copy(a, &rbac_v1_aggregation_rule_type, aggregation);
        role->aggregated = true;
        role->selectors = copy ? copy->cluster_role_selectors : NULL;
        role->n_selectors = copy ? copy->n_cluster_role_selectors : 0;
    }
}

void rbac_put_role(struct rbac *r, const struct rbac_v1_role *o)
{
    if (!str_empty(o->metadata.namespace)) {
        put_role(r, o->metadata.namespace, &o->metadata, o->rules, o->n_rules, NULL);
    }
}

void rbac_put_cluster_role(struct rbac *r, const struct rbac_v1_cluster_role *o)
{
    put_role(r, STR_EMPTY, &o->metadata, o->rules, o->n_rules, o->aggregation_rule);
}

void rbac_delete_role(struct rbac *r, struct str namespace_, struct str name)
{
    char key[KEY_SIZE];
    struct rbac_role *role = key_of(namespace_, name, key) ? map_get(&r->roles, str_c(key)) : NULL;
    if (role) {
        role_empty(role);
        role->present = false;
        role_forget(r, role);
    }
}

void rbac_delete_cluster_role(struct rbac *r, struct str name)
{
    rbac_delete_role(r, STR_EMPTY, name);
}

const struct rbac_role *rbac_find_role(const struct rbac *r, struct str namespace_, struct str name)
{
    char key[KEY_SIZE];
    const struct rbac_role *role =
        key_of(namespace_, name, key) ? map_get(&r->roles, str_c(key)) : NULL;
    return role && role->present ? role : NULL;
}

/* ---- bindings ---- */

static struct rbac_scope *scope_of(struct rbac *r, struct str namespace_)
{
    if (str_empty(namespace_)) {
        return &r->cluster;
    }
    struct rbac_scope *s = map_get(&r->scopes, namespace_);
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        map_init(&s->users);
        map_init(&s->groups);
        (void)map_put(&r->scopes, namespace_, s);
    }
    return s;
}

static void scope_deinit(struct rbac_scope *s)
{
    struct map *maps[] = { &s->users, &s->groups };
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        struct str key;
        void *value;
        for (size_t pos = 0; map_next(maps[i], &pos, &key, &value);) {
            free(((struct rbac_grants *)value)->items);
            free(value);
        }
        map_deinit(maps[i]);
    }
}

static struct map *members_of(struct rbac_scope *s, const struct rbac_subject *subject)
{
    return str_eq(subject->kind, STR("Group")) ? &s->groups : &s->users;
}

static void grant(struct rbac_scope *s, const struct rbac_binding *b,
                  const struct rbac_subject *subject)
{
    struct map *m = members_of(s, subject);
    struct rbac_grants *g = map_get(m, subject->member);
    if (!g) {
        g = calloc(1, sizeof(*g));
        if (!g) {
            abort();
        }
        (void)map_put(m, subject->member, g);
    }
    struct rbac_grant *grown = realloc(g->items, (g->n + 1) * sizeof(*grown));
    if (!grown) {
        abort();
    }
    g->items = grown;
    size_t at = g->n++;
    while (at > 0 && str_cmp(g->items[at - 1].binding->name, b->name) > 0) {
        g->items[at] = g->items[at - 1];
        at--;
    }
    g->items[at] = (struct rbac_grant){ .binding = b, .subject = subject };
    s->n++;
}

static void ungrant(struct rbac_scope *s, const struct rbac_binding *b,
                    const struct rbac_subject *subject)
{
    struct map *m = members_of(s, subject);
    struct rbac_grants *g = map_get(m, subject->member);
    for (size_t i = 0; g && i < g->n; i++) {
        if (g->items[i].subject == subject) {
            memmove(&g->items[i], &g->items[i + 1], (g->n - i - 1) * sizeof(*g->items));
            g->n--;
            s->n--;
            break;
        }
    }
    if (g && g->n == 0) {
        (void)map_remove(m, subject->member);
        free(g->items);
        free(g);
    }
    (void)b;
}

static void binding_free(struct rbac_binding *b)
{
    struct arena a = b->arena; /* the binding lies in it */
    arena_deinit(&a);
}

static void delete_binding(struct rbac *r, struct str namespace_, struct str name)
{
    char key[KEY_SIZE];
    struct rbac_binding *b =
        key_of(namespace_, name, key) ? map_remove(&r->bindings, str_c(key)) : NULL;
    if (!b) {
        return;
    }
    struct rbac_scope *s = scope_of(r, namespace_);
    for (size_t i = 0; i < b->n_subjects; i++) {
        if (b->subjects[i].member.ptr) {
            ungrant(s, b, &b->subjects[i]);
        }
    }
    if (s != &r->cluster && s->n == 0) {
        (void)map_remove(&r->scopes, namespace_);
        scope_deinit(s);
        free(s);
    }
    b->role->bindings--;
    role_forget(r, b->role);
    binding_free(b);
}

/* Fills one subject; 'member' stays absent when nobody can be meant. */
static bool copy_subject(struct arena *a, const struct rbac_v1_subject *src, struct str namespace_,
                         struct rbac_subject *dst)
{
    *dst = (struct rbac_subject){
        .kind = arena_str(a, src->kind),
        .name = arena_str(a, src->name),
        .namespace_ = arena_str(a, src->namespace),
    };
    if ((src->kind.ptr && !dst->kind.ptr) || (src->name.ptr && !dst->name.ptr)) {
        return false;
    }
    if (str_eq(src->kind, STR("ServiceAccount"))) {
        struct str ns = str_empty(src->namespace) ? namespace_ : src->namespace;
        if (!str_empty(ns)) {
            dst->namespace_ = arena_str(a, ns);
            dst->member =
                arena_printf(a, "system:serviceaccount:%.*s:%.*s", STR_ARG(ns), STR_ARG(src->name));
            return dst->member.ptr != NULL;
        }
    } else if (str_eq(src->kind, STR("User")) || str_eq(src->kind, STR("Group"))) {
        dst->member = dst->name;
    }
    return true;
}

static void put_binding(struct rbac *r, struct str namespace_, struct str name,
                        const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects,
                        size_t n_subjects)
{
    char key[KEY_SIZE];
    struct arena a;
    delete_binding(r, namespace_, name);
    bool cluster_role = str_eq(ref->kind, STR("ClusterRole"));
    bool local_role = str_eq(ref->kind, STR("Role")) && !str_empty(namespace_);
    if ((!cluster_role && !local_role) || !key_of(namespace_, name, key)) {
        return; /* names no role there can be: grants nothing */
    }
    arena_init_chunk(&a, RBAC_MAX_OBJECT, 512);
    struct rbac_binding *b = arena_new(&a, struct rbac_binding);
    struct rbac_role *role = role_at(r, cluster_role ? STR_EMPTY : namespace_, ref->name);
    struct rbac_subject *copies = arena_new_n(&a, struct rbac_subject, n_subjects + 1);
    bool ok = b && role && copies;
    for (size_t i = 0; ok && i < n_subjects; i++) {
        ok = copy_subject(&a, &subjects[i], namespace_, &copies[i]);
    }
    if (!ok) {
        if (role) {
            role_forget(r, role);
        }
        arena_deinit(&a);
        return;
    }
    *b = (struct rbac_binding){
        .namespace_ = arena_str(&a, namespace_),
        .name = arena_str(&a, name),
        .role_kind = arena_str(&a, ref->kind),
        .role_name = arena_str(&a, ref->name),
        .role = role,
        .subjects = copies,
        .n_subjects = n_subjects,
    };
    b->arena = a;
    role->bindings++;
    struct rbac_scope *s = scope_of(r, namespace_);
    for (size_t i = 0; i < n_subjects; i++) {
        if (copies[i].member.ptr) {
            grant(s, b, &copies[i]);
        }
    }
    (void)map_put(&r->bindings, str_c(key), b);
}

void rbac_put_role_binding(struct rbac *r, const struct rbac_v1_role_binding *o)
{
    if (!str_empty(o->metadata.namespace)) {
        put_binding(r, o->metadata.namespace, o->metadata.name, &o->role_ref, o->subjects,
                    o->n_subjects);
    }
}

void rbac_put_cluster_role_binding(struct rbac *r, const struct rbac_v1_cluster_role_binding *o)
{
    put_binding(r, STR_EMPTY, o->metadata.name, &o->role_ref, o->subjects, o->n_subjects);
}

void rbac_delete_role_binding(struct rbac *r, struct str namespace_, struct str name)
{
    delete_binding(r, namespace_, name);
}

void rbac_delete_cluster_role_binding(struct rbac *r, struct str name)
{
    delete_binding(r, STR_EMPTY, name);
}

/* The names of a kind's objects, gathered first because deleting changes the maps. */
static void forget_roles(struct rbac *r, bool cluster)
{
    struct rbac_role **list = calloc(r->roles.n + 1, sizeof(struct rbac_role *));
    struct str key;
    void *value;
    size_t n = 0;
    if (!list) {
        abort();
    }
    for (size_t pos = 0; map_next(&r->roles, &pos, &key, &value);) {
        struct rbac_role *role = value;
        if (role->present && str_empty(role->namespace_) == cluster) {
            list[n++] = role;
        }
    }
    for (size_t i = 0; i < n; i++) {
        role_empty(list[i]);
        list[i]->present = false;
        role_forget(r, list[i]);
    }
    free(list);
}

static void forget_bindings(struct rbac *r, bool cluster)
{
    struct rbac_binding **list = calloc(r->bindings.n + 1, sizeof(struct rbac_binding *));
    struct str key;
    void *value;
    size_t n = 0;
    if (!list) {
        abort();
    }
    for (size_t pos = 0; map_next(&r->bindings, &pos, &key, &value);) {
        struct rbac_binding *b = value;
        if (str_empty(b->namespace_) == cluster) {
            list[n++] = b;
        }
    }
    for (size_t i = 0; i < n; i++) {
        delete_binding(r, list[i]->namespace_, list[i]->name);
    }
    free(list);
}

void rbac_forget(struct rbac *r, enum rbac_kind kind)
{
    if (kind == RBAC_ROLES || kind == RBAC_CLUSTER_ROLES) {
        forget_roles(r, kind == RBAC_CLUSTER_ROLES);
    } else {
        forget_bindings(r, kind == RBAC_CLUSTER_ROLE_BINDINGS);
    }
}

struct rbac *rbac_free(struct rbac *r)
{
    struct str key;
    void *value;
    if (!r) {
        return NULL;
    }
    for (size_t pos = 0; map_next(&r->bindings, &pos, &key, &value);) {
        binding_free(value);
    }
    for (size_t pos = 0; map_next(&r->scopes, &pos, &key, &value);) {
        scope_deinit(value);
        free(value);
    }
    for (size_t pos = 0; map_next(&r->roles, &pos, &key, &value);) {
        struct rbac_role *role = value;
        arena_deinit(&role->arena);
        free(role->key);
        free(role);
    }
    scope_deinit(&r->cluster);
    map_deinit(&r->bindings);
    map_deinit(&r->scopes);
    map_deinit(&r->roles);
    free(r);
    return NULL;
}

/* ---- decisions ---- */

static bool visit_grants(const struct map *m, struct str member,
                         bool (*fn)(void *ctx, const struct rbac_grant *g), void *ctx)
{
    const struct rbac_grants *g = map_get(m, member);
    for (size_t i = 0; g && i < g->n; i++) {
        if (fn(ctx, &g->items[i])) {
            return true;
        }
    }
    return false;
}

static bool visit_scope(const struct rbac_scope *s, const struct auth_user *user,
                        bool (*fn)(void *ctx, const struct rbac_grant *g), void *ctx)
{
    if (visit_grants(&s->users, user->name, fn, ctx)) {
        return true;
    }
    for (size_t i = 0; i < user->n_groups; i++) {
        if (visit_grants(&s->groups, user->groups[i], fn, ctx)) {
            return true;
        }
    }
    return false;
}

bool rbac_visit(const struct rbac *r, const struct auth_user *user, struct str namespace_,
                bool (*fn)(void *ctx, const struct rbac_grant *g), void *ctx)
{
    if (visit_scope(&r->cluster, user, fn, ctx)) {
        return true;
    }
    const struct rbac_scope *s =
        str_empty(namespace_) || r->scopes.n == 0 ? NULL : map_get(&r->scopes, namespace_);
    return s && visit_scope(s, user, fn, ctx);
}

struct str rbac_missing_text(struct arena *a, struct str kind, struct str name)
{
    return arena_printf(a, "%s.rbac.authorization.k8s.io \"%.*s\" not found",
                        str_eq(kind, STR("Role")) ? "role" : "clusterrole", STR_ARG(name));
}

struct question {
    const struct authz_attributes *attr;
    uint32_t bit;
    struct arena *arena; /* NULL: no texts */
    const struct rbac_grant *by;
    struct str missing;
    size_t n_missing;
};

static void note_missing(struct question *q, const struct rbac_binding *b)
{
    struct str one = rbac_missing_text(q->arena, b->role_kind, b->role_name);
    if (q->n_missing > 0 && str_find(q->missing, one) >= 0) {
        return; /* the same role, bound twice */
    }
    q->missing = q->n_missing == 0
                     ? one
                     : arena_printf(q->arena, "%.*s, %.*s", STR_ARG(q->missing), STR_ARG(one));
    q->n_missing++;
}

static bool ask(void *ctx, const struct rbac_grant *g)
{
    struct question *q = ctx;
    const struct rbac_role *role = g->binding->role;
    if (!role->present) {
        if (q->arena) {
            note_missing(q, g->binding);
        }
        return false;
    }
    for (size_t i = 0; i < role->n_rules; i++) {
        if (rbac_compiled_allows(&role->rules[i], q->attr, q->bit)) {
            q->by = g;
            return true;
        }
    }
    return false;
}

static struct str allowed_text(struct arena *a, const struct rbac_grant *g)
{
    const struct rbac_binding *b = g->binding;
    bool local = !str_empty(b->namespace_);
    bool account = str_eq(g->subject->kind, STR("ServiceAccount"));
    return arena_printf(
        a, "RBAC: allowed by %s \"%.*s%s%.*s\" of %.*s \"%.*s\" to %.*s \"%.*s%s%.*s\"",
        local ? "RoleBinding" : "ClusterRoleBinding", STR_ARG(b->name), local ? "/" : "",
        STR_ARG(b->namespace_), STR_ARG(b->role_kind), STR_ARG(b->role_name),
        STR_ARG(g->subject->kind), STR_ARG(g->subject->name), account ? "/" : "",
        account ? (int)g->subject->namespace_.len : 0,
        account && g->subject->namespace_.ptr ? g->subject->namespace_.ptr : "");
}

enum authz_result rbac_authorize(const struct rbac *r, const struct authz_attributes *attr,
                                 struct arena *arena, struct str *ret_reason)
{
    struct question q = { .attr = attr, .bit = rbac_verb_bit(attr->verb), .arena = arena };
    bool allowed = rbac_visit(r, attr->user, attr->namespace_, ask, &q);
    if (arena && allowed) {
        *ret_reason = allowed_text(arena, q.by);
    } else if (arena && q.n_missing > 0) {
        *ret_reason = arena_printf(arena, q.n_missing > 1 ? "RBAC: [%.*s]" : "RBAC: %.*s",
                                   STR_ARG(q.missing));
    }
    return allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

/* ---- what somebody may do altogether ---- */

struct collection {
    struct arena *arena;
    struct rbac_rule_set *out;
    struct err *err;
    bool full;
};

static bool add_rules(struct rbac_rule_set *out, struct arena *a, const struct rbac_role *role)
{
    for (size_t i = 0; i < role->n_rules; i++) {
        if (!rbac_rule_set_add(out, a, &role->rules[i].rule)) {
            return false;
        }
    }
    return true;
}

static bool collect(void *ctx, const struct rbac_grant *g)
{
    struct collection *c = ctx;
    const struct rbac_binding *b = g->binding;
    if (!b->role->present) {
        struct str text = rbac_missing_text(c->arena, b->role_kind, b->role_name);
        (void)err_set(c->err, ERR_NOT_FOUND, "%.*s", STR_ARG(text));
        return false;
    }
    c->full = !add_rules(c->out, c->arena, b->role);
    return c->full;
}

bool rbac_rules_for(const struct rbac *r, const struct auth_user *user, struct str namespace_,
                    struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    struct collection c = { .arena = a, .out = out, .err = err };
    (void)rbac_visit(r, user, namespace_, collect, &c);
    return c.full ? err_set(err, ERR_TOO_LARGE, "too many rules") : true;
}

bool rbac_rules_of_ref(const struct rbac *r, struct str namespace_, struct str kind,
                       struct str name, struct arena *a, struct rbac_rule_set *out, struct err *err)
{
    bool local = str_eq(kind, STR("Role"));
    if (!local && !str_eq(kind, STR("ClusterRole"))) {
        return err_set(err, ERR_INVALID, "unsupported role reference kind: \"%.*s\"",
                       STR_ARG(kind));
    }
    const struct rbac_role *role = rbac_find_role(r, local ? namespace_ : STR_EMPTY, name);
    if (!role) {
        struct str text = rbac_missing_text(a, kind, name);
        return err_set(err, ERR_NOT_FOUND, "%.*s", STR_ARG(text));
    }
    return add_rules(out, a, role) || err_set(err, ERR_TOO_LARGE, "too many rules");
}
