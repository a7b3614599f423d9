#include "auth/rbac-bootstrap.h"

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/gen/rbac_v1.h"
#include "auth/rbac.h"

/* Generated from schema/rbac-bootstrap.json. */
extern const char rbac_bootstrap_json[];
extern const size_t rbac_bootstrap_json_len;

/* Reads an array of objects of one type. NULL when the reader failed. */
static void *read_list(struct json_reader *r, const struct api_type *t, size_t *ret_n)
{
    char *items = NULL;
    size_t n = 0, capacity = 0;
    int more;
    if (!json_array_begin(r)) {
        return NULL;
    }
    while ((more = json_array_next(r)) > 0) {
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 32;
            items = arena_grow_n(r->arena, items, n, capacity, t->size);
            if (!items) {
                (void)json_fail(r, ERR_NO_MEMORY, "out of memory");
                return NULL;
            }
        }
        if (!api_read_json(r, t, NULL, items + n * t->size)) {
            return NULL;
        }
        n++;
    }
    *ret_n = n;
    return more == 0 ? items : NULL;
}

/* What every bootstrap object carries beside its own labels. Labels stay sorted by key. */
static bool mark(struct arena *a, struct meta_v1_object_meta *m)
{
    static struct api_str_pair autoupdate = {
        STR_INIT("rbac.authorization.kubernetes.io/autoupdate"),
        STR_INIT("true"),
    };
    struct api_str_pair own = { STR("kubernetes.io/bootstrapping"), STR("rbac-defaults") };
    struct api_str_pair *labels = arena_new_n(a, struct api_str_pair, m->n_labels + 1);
    if (!labels) {
        return false;
    }
    size_t at = 0;
    while (at < m->n_labels && str_cmp(m->labels[at].key, own.key) < 0) {
        labels[at] = m->labels[at];
        at++;
    }
    labels[at] = own;
    for (; at < m->n_labels; at++) {
        labels[at + 1] = m->labels[at];
    }
    m->labels = labels;
    m->n_labels++;
    m->annotations = &autoupdate;
    m->n_annotations = 1;
    return true;
}

#define MARK_ALL(a, list, n, api_kind)                                                             \
    for (size_t i_ = 0; ok && i_ < (n); i_++) {                                                    \
        (list)[i_].api_version = STR("rbac.authorization.k8s.io/v1");                              \
        (list)[i_].kind = STR(api_kind);                                                           \
        ok = mark((a), &(list)[i_].metadata);                                                      \
    }

static bool read_all(struct json_reader *r, struct rbac_bootstrap *b)
{
    struct str key;
    int more;
    if (!json_object_begin(r)) {
        return false;
    }
    while ((more = json_object_next(r, &key)) > 0) {
        const void *list;
        if (str_eq(key, STR("clusterRoles"))) {
            list = b->cluster_roles = read_list(r, &rbac_v1_cluster_role_type, &b->n_cluster_roles);
        } else if (str_eq(key, STR("clusterRoleBindings"))) {
            list = b->cluster_role_bindings =
                read_list(r, &rbac_v1_cluster_role_binding_type, &b->n_cluster_role_bindings);
        } else if (str_eq(key, STR("roles"))) {
            list = b->roles = read_list(r, &rbac_v1_role_type, &b->n_roles);
        } else if (str_eq(key, STR("roleBindings"))) {
            list = b->role_bindings = read_list(r, &rbac_v1_role_binding_type, &b->n_role_bindings);
        } else {
            return json_fail(r, ERR_INTERNAL, "unknown section \"%.*s\"", STR_ARG(key));
        }
        if (!list) {
            return json_fail(r, ERR_INTERNAL, "section \"%.*s\" is empty", STR_ARG(key));
        }
    }
    return more == 0 && json_end(r);
}

static struct str *copy_strs(struct arena *a, const struct str *src, size_t n)
{
    struct str *dst = arena_new_n(a, struct str, n + 1);
    for (size_t i = 0; dst && i < n; i++) {
        dst[i] = arena_str(a, src[i]);
    }
    return n > 0 ? dst : NULL;
}

/* A rule set as typed rules of its own, or NULL. */
static struct rbac_v1_policy_rule *typed_rules(struct arena *a, const struct rbac_rule_set *set)
{
    struct rbac_v1_policy_rule *rules = arena_new_n(a, struct rbac_v1_policy_rule, set->n + 1);
    for (size_t i = 0; rules && i < set->n; i++) {
        const struct rbac_rule *s = &set->rules[i];
        rules[i] = (struct rbac_v1_policy_rule){
            .verbs = copy_strs(a, s->verbs, s->n_verbs),
            .n_verbs = s->n_verbs,
            .api_groups = copy_strs(a, s->api_groups, s->n_api_groups),
            .n_api_groups = s->n_api_groups,
            .resources = copy_strs(a, s->resources, s->n_resources),
            .n_resources = s->n_resources,
            .resource_names = copy_strs(a, s->resource_names, s->n_resource_names),
            .n_resource_names = s->n_resource_names,
            .non_resource_urls = copy_strs(a, s->non_resource_urls, s->n_non_resource_urls),
            .n_non_resource_urls = s->n_non_resource_urls,
        };
    }
    return rules;
}

/* Gives roles that are made of others their rules, so that they are whole from the first moment on.
 */
static bool aggregate(struct arena *a, struct rbac_bootstrap *b)
{
    struct rbac *r = rbac_new();
    bool ok = true;
    for (size_t i = 0; i < b->n_cluster_roles; i++) {
        rbac_put_cluster_role(r, &b->cluster_roles[i]);
    }
    /* Twice: admin is made of edit, which is made of others. */
    for (size_t round = 0; ok && round < 2; round++) {
        for (size_t i = 0; ok && i < b->n_cluster_roles; i++) {
            struct rbac_rule_set set = { 0 };
            struct rbac_v1_cluster_role *o = &b->cluster_roles[i];
            if (!o->aggregation_rule || !rbac_aggregate(r, o->metadata.name, a, &set)) {
                continue;
            }
            struct rbac_v1_policy_rule *rules = typed_rules(a, &set);
            ok = rules != NULL;
            if (ok) {
                o->rules = rules;
                o->n_rules = set.n;
                rbac_put_cluster_role(r, o);
            }
        }
    }
    rbac_free(r);
    return ok;
}

bool rbac_bootstrap_decode(struct arena *a, struct rbac_bootstrap *ret, struct err *err)
{
    struct rbac_bootstrap b = { 0 };
    struct json_reader r;
    json_reader_init(&r, str_n(rbac_bootstrap_json, rbac_bootstrap_json_len), a, 64, err);
    if (!read_all(&r, &b)) {
        return err_wrap(err, "the embedded RBAC bootstrap cannot be read");
    }
    bool ok = true;
    MARK_ALL(a, b.cluster_roles, b.n_cluster_roles, "ClusterRole")
    MARK_ALL(a, b.cluster_role_bindings, b.n_cluster_role_bindings, "ClusterRoleBinding")
    MARK_ALL(a, b.roles, b.n_roles, "Role")
    MARK_ALL(a, b.role_bindings, b.n_role_bindings, "RoleBinding")
    if (!ok || !aggregate(a, &b)) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while the RBAC bootstrap was read");
    }
    *ret = b;
    return true;
}

/* Is metadata.name of the object 'name'? */
static bool is_named(struct str object, struct str name, struct arena *a)
{
    struct json_reader r;
    struct str key, value;
    bool found = false;
    json_reader_init(&r, object, a, 64, NULL);
    if (!json_object_begin(&r)) {
        return false;
    }
    while (!found && json_object_next(&r, &key) > 0) {
        if (!str_eq(key, STR("metadata"))) {
            if (!json_skip(&r)) {
                return false;
            }
            continue;
        }
        if (!json_object_begin(&r)) {
            return false;
        }
        while (!found && json_object_next(&r, &key) > 0) {
            bool is_name = str_eq(key, STR("name"));
            if (is_name ? !json_string(&r, &value) : !json_skip(&r)) {
                return false;
            }
            found = is_name && str_eq(value, name);
        }
        break;
    }
    return found;
}

bool rbac_bootstrap_cluster_role(struct arena *a, struct str name, struct rbac_v1_cluster_role *ret, struct err *err)
{
    struct json_reader r;
    struct str key, raw;
    json_reader_init(&r, str_n(rbac_bootstrap_json, rbac_bootstrap_json_len), a, 64, err);
    bool ok = json_object_begin(&r);
    while (ok && json_object_next(&r, &key) > 0) {
        if (!str_eq(key, STR("clusterRoles"))) {
            ok = json_skip(&r);
            continue;
        }
        ok = json_array_begin(&r);
        while (ok && json_array_next(&r) > 0) {
            ok = json_raw(&r, &raw);
            if (ok && is_named(raw, name, a)) {
                return api_decode_json(a, &rbac_v1_cluster_role_type, raw, NULL, ret, err);
            }
        }
    }
    return err_set(err, ERR_INTERNAL, "the embedded RBAC bootstrap has no ClusterRole %.*s", STR_ARG(name));
}

bool rbac_bootstrap_feed(struct rbac *r, struct err *err)
{
    struct arena a;
    struct rbac_bootstrap b;
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = rbac_bootstrap_decode(&a, &b, err);
    for (size_t i = 0; ok && i < b.n_cluster_roles; i++) {
        rbac_put_cluster_role(r, &b.cluster_roles[i]);
    }
    for (size_t i = 0; ok && i < b.n_cluster_role_bindings; i++) {
        rbac_put_cluster_role_binding(r, &b.cluster_role_bindings[i]);
    }
    for (size_t i = 0; ok && i < b.n_roles; i++) {
        rbac_put_role(r, &b.roles[i]);
    }
    for (size_t i = 0; ok && i < b.n_role_bindings; i++) {
        rbac_put_role_binding(r, &b.role_bindings[i]);
    }
    arena_deinit(&a);
    return ok;
}

/* ---- reconciliation at start ---- */

static struct str pair_value(const struct api_str_pair *list, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_NULL;
}

bool rbac_bootstrap_merge_role(const struct rbac_v1_cluster_role *have,
                               const struct rbac_v1_cluster_role *want, struct arena *a,
                               struct rbac_v1_cluster_role *ret)
{
    struct str autoupdate = pair_value(have->metadata.annotations, have->metadata.n_annotations,
                                       STR("rbac.authorization.kubernetes.io/autoupdate"));
    if (str_eq(autoupdate, STR("false")) || want->aggregation_rule) {
        return false; /* its owner wants no changes; or its rules are made of others */
    }
    /* Comparing takes far more memory than the result. */
    struct arena scratch;
    arena_init(&scratch, 16u << 20);
    struct rbac_rule_set held = { 0 };
    bool ok = rbac_rule_set_add_typed(&held, &scratch, have->rules, have->n_rules), changed = false;
    struct rbac_v1_policy_rule *rules =
        ok ? arena_grow_n(a, have->rules, have->n_rules, have->n_rules + want->n_rules,
                          sizeof(*rules))
           : NULL;
    size_t n = have->n_rules;
    for (size_t i = 0; rules && i < want->n_rules; i++) {
        struct rbac_rule_set one = { 0 };
        struct auth_user nobody = { 0 };
        struct buf message;
        buf_init(&message, 64 << 10);
        if (rbac_rule_set_add_typed(&one, &scratch, &want->rules[i], 1) &&
            !rbac_covers(&held, &one, &nobody, STR_NULL, &scratch, &message)) {
            rules[n++] = want->rules[i];
            changed = true;
        }
        buf_deinit(&message);
    }
    arena_deinit(&scratch);
    if (!rules || !changed) {
        return false;
    }
    *ret = *have;
    ret->rules = rules;
    ret->n_rules = n;
    return true;
}
