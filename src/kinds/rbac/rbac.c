/* Role, ClusterRole, RoleBinding, ClusterRoleBinding. Whether somebody may grant what they grant is the apiserver's question. */
#include "api/equal.h"
#include "api/gen/rbac_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

#define GROUP STR_INIT("rbac.authorization.k8s.io")

static void rule(struct kind_ctx *ctx, struct str path, const struct rbac_v1_policy_rule *r, bool namespaced)
{
    if (r->n_verbs == 0) {
        field_required(ctx->errs, path_child(ctx->arena, path, "verbs"), "verbs must contain at least one value");
    }
    if (r->n_non_resource_urls > 0) {
        struct str list = STR_EMPTY;
        for (size_t i = 0; i < r->n_non_resource_urls; i++) {
            list = arena_printf(ctx->arena, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(r->non_resource_urls[i]));
        }
        list = arena_printf(ctx->arena, "[%.*s]", STR_ARG(list));
        if (namespaced) {
            field_invalid_json(ctx->errs, path_child(ctx->arena, path, "nonResourceURLs"), list,
                               "namespaced rules cannot apply to non-resource URLs");
        }
        if (r->n_api_groups > 0 || r->n_resources > 0 || r->n_resource_names > 0) {
            field_invalid_json(ctx->errs, path_child(ctx->arena, path, "nonResourceURLs"), list,
                               "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if (r->n_api_groups == 0) {
        field_required(ctx->errs, path_child(ctx->arena, path, "apiGroups"), "resource rules must supply at least one api group");
    }
    if (r->n_resources == 0) {
        field_required(ctx->errs, path_child(ctx->arena, path, "resources"), "resource rules must supply at least one resource");
    }
}

static void role(struct kind_ctx *ctx, const void *obj)
{
    const struct rbac_v1_role *r = obj;
    for (size_t i = 0; i < r->n_rules; i++) {
        rule(ctx, path_index(ctx->arena, STR("rules"), i), &r->rules[i], true);
    }
}

static void role_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    role(ctx, obj);
}

static void cluster_role(struct kind_ctx *ctx, const void *obj)
{
    const struct rbac_v1_cluster_role *r = obj;
    for (size_t i = 0; i < r->n_rules; i++) {
        rule(ctx, path_index(ctx->arena, STR("rules"), i), &r->rules[i], false);
    }
    if (r->aggregation_rule) {
        if (r->aggregation_rule->n_cluster_role_selectors == 0) {
            field_required(ctx->errs, STR("aggregationRule.clusterRoleSelectors"), "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (size_t i = 0; i < r->aggregation_rule->n_cluster_role_selectors; i++) {
            rule_label_selector(ctx->errs, path_index(ctx->arena, STR("aggregationRule.clusterRoleSelectors"), i),
                                &r->aggregation_rule->cluster_role_selectors[i]);
        }
    }
}

static void cluster_role_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    cluster_role(ctx, obj);
}

static void subject(struct kind_ctx *ctx, struct str path, const struct rbac_v1_subject *s, bool namespaced)
{
    static const struct str kinds[] = { STR_INIT("ServiceAccount"), STR_INIT("User"), STR_INIT("Group"), STR_NULL };
    static const struct str core_group[] = { STR_INIT(""), STR_NULL };
    static const struct str rbac_group[] = { STR_INIT("rbac.authorization.k8s.io"), STR_NULL };
    if (str_empty(s->name)) {
        field_required(ctx->errs, path_child(ctx->arena, path, "name"), "%s", "");
    }
    if (str_eq_c(s->kind, "ServiceAccount")) {
        if (!str_empty(s->name)) {
            (void)rule_name(ctx->errs, path_child(ctx->arena, path, "name"), s->name, names_dns1123_subdomain);
        }
        if (!str_empty(s->api_group)) {
            field_not_supported(ctx->errs, path_child(ctx->arena, path, "apiGroup"), s->api_group, core_group);
        }
        if (!namespaced && str_empty(s->namespace)) {
            field_required(ctx->errs, path_child(ctx->arena, path, "namespace"), "%s", "");
        }
    } else if (str_eq_c(s->kind, "User") || str_eq_c(s->kind, "Group")) {
        if (!str_eq_c(s->api_group, "rbac.authorization.k8s.io")) {
            field_not_supported(ctx->errs, path_child(ctx->arena, path, "apiGroup"), s->api_group, rbac_group);
        }
    } else {
        field_not_supported(ctx->errs, path_child(ctx->arena, path, "kind"), s->kind, kinds);
    }
}

static void binding(struct kind_ctx *ctx, const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects, size_t n, bool namespaced)
{
    static const struct str both[] = { STR_INIT("ClusterRole"), STR_INIT("Role"), STR_NULL };
    static const struct str cluster[] = { STR_INIT("ClusterRole"), STR_NULL };
    static const struct str groups[] = { STR_INIT("rbac.authorization.k8s.io"), STR_NULL };
    if (!str_eq_c(ref->api_group, "rbac.authorization.k8s.io")) {
        field_not_supported(ctx->errs, STR("roleRef.apiGroup"), ref->api_group, groups);
    }
    (void)rule_enum(ctx->errs, STR("roleRef.kind"), ref->kind, namespaced ? both : cluster);
    if (str_empty(ref->name)) {
        field_required(ctx->errs, STR("roleRef.name"), "%s", "");
    } else {
        (void)rule_name(ctx->errs, STR("roleRef.name"), ref->name, names_path_segment);
    }
    for (size_t i = 0; i < n; i++) {
        subject(ctx, path_index(ctx->arena, STR("subjects"), i), &subjects[i], namespaced);
    }
}

static void role_binding(struct kind_ctx *ctx, const void *obj)
{
    const struct rbac_v1_role_binding *b = obj;
    binding(ctx, &b->role_ref, b->subjects, b->n_subjects, true);
}

static void cluster_role_binding(struct kind_ctx *ctx, const void *obj)
{
    const struct rbac_v1_cluster_role_binding *b = obj;
    binding(ctx, &b->role_ref, b->subjects, b->n_subjects, false);
}

static void same_ref(struct kind_ctx *ctx, const struct rbac_v1_role_ref *new, const struct rbac_v1_role_ref *old)
{
    if (!api_equal(&rbac_v1_role_ref_type, new, old)) {
        struct str shown = arena_printf(ctx->arena, "{\"APIGroup\":\"%.*s\",\"Kind\":\"%.*s\",\"Name\":\"%.*s\"}", STR_ARG(new->api_group),
                                        STR_ARG(new->kind), STR_ARG(new->name));
        field_invalid_json(ctx->errs, STR("roleRef"), shown, "cannot change roleRef");
    }
}

static void role_binding_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    role_binding(ctx, obj);
    same_ref(ctx, &((const struct rbac_v1_role_binding *)obj)->role_ref, &((const struct rbac_v1_role_binding *)old)->role_ref);
}

static void cluster_role_binding_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    cluster_role_binding(ctx, obj);
    same_ref(ctx, &((const struct rbac_v1_cluster_role_binding *)obj)->role_ref, &((const struct rbac_v1_cluster_role_binding *)old)->role_ref);
}

static struct str subjects_text(struct arena *a, const struct rbac_v1_subject *s, size_t n, const char *kind)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq_c(s[i].kind, kind)) {
            continue;
        }
        bool account = str_eq_c(s[i].kind, "ServiceAccount");
        list = arena_printf(a, "%.*s%s%.*s%s%.*s", STR_ARG(list), str_empty(list) ? "" : ", ", account ? (int)s[i].namespace.len : 0,
                            s[i].namespace.ptr ? s[i].namespace.ptr : "", account ? "/" : "", STR_ARG(s[i].name));
    }
    return list;
}

static void binding_cells(struct kind_cells *c, const struct meta_v1_object_meta *m, const struct rbac_v1_role_ref *ref,
                          const struct rbac_v1_subject *s, size_t n)
{
    cell_str(c, m->name);
    cell_printf(c, "%.*s/%.*s", STR_ARG(ref->kind), STR_ARG(ref->name));
    cell_age(c, m->creation_timestamp);
    cell_str(c, subjects_text(c->arena, s, n, "User"));
    cell_str(c, subjects_text(c->arena, s, n, "Group"));
    cell_str(c, subjects_text(c->arena, s, n, "ServiceAccount"));
}

static void role_binding_cells(struct kind_cells *c, const void *obj)
{
    const struct rbac_v1_role_binding *b = obj;
    binding_cells(c, &b->metadata, &b->role_ref, b->subjects, b->n_subjects);
}

static void cluster_role_binding_cells(struct kind_cells *c, const void *obj)
{
    const struct rbac_v1_cluster_role_binding *b = obj;
    binding_cells(c, &b->metadata, &b->role_ref, b->subjects, b->n_subjects);
}

const struct kind_ops rbac_role_ops = {
    .group = GROUP, .resource = STR_INIT("roles"), .name_rule = KIND_NAME_PATH_SEGMENT, .flags = KIND_CREATE_ON_UPDATE,
    .validate_create = role, .validate_update = role_update,
};
const struct kind_ops rbac_cluster_role_ops = {
    .group = GROUP, .resource = STR_INIT("clusterroles"), .name_rule = KIND_NAME_PATH_SEGMENT, .flags = KIND_CREATE_ON_UPDATE,
    .validate_create = cluster_role, .validate_update = cluster_role_update,
};
const struct kind_ops rbac_role_binding_ops = {
    .group = GROUP, .resource = STR_INIT("rolebindings"), .name_rule = KIND_NAME_PATH_SEGMENT, .flags = KIND_CREATE_ON_UPDATE,
    .validate_create = role_binding, .validate_update = role_binding_update, .cells = role_binding_cells,
};
const struct kind_ops rbac_cluster_role_binding_ops = {
    .group = GROUP, .resource = STR_INIT("clusterrolebindings"), .name_rule = KIND_NAME_PATH_SEGMENT, .flags = KIND_CREATE_ON_UPDATE,
    .validate_create = cluster_role_binding, .validate_update = cluster_role_binding_update, .cells = cluster_role_binding_cells,
};
