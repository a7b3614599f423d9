/* ResourceQuota and LimitRange: what may be said in them. */
#include "kinds/core/quota.h"

#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "api/quantity.h"
#include "kinds/rules.h"
#include "kinds/table.h"

/* ---- ResourceQuota ---- */

static bool one_of(struct str s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(s, list[i])) {
            return true;
        }
    }
    return false;
}

static bool is_counted(struct str name)
{
    static const char *const names[] = { "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
                                         "persistentvolumeclaims", "services.nodeports", "services.loadbalancers" };
    return one_of(name, names, ARRAY_SIZE(names)) || str_starts(name, STR("count/"));
}

static bool is_standard_for_quota(struct str name)
{
    static const char *const names[] = { "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
                                         "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage" };
    return one_of(name, names, ARRAY_SIZE(names)) || is_counted(name) || str_starts(name, STR("hugepages-")) ||
           str_starts(name, STR("requests.hugepages-"));
}

static void quota_amount(struct kind_ctx *ctx, struct str path, struct str name, struct str value)
{
    struct str at = path_key(ctx->arena, path, name);
    struct quantity q = quantity_of(value);
    if (rule_name(ctx->errs, at, name, names_qualified) && str_find_char(name, '/') < 0 && !is_standard_for_quota(name)) {
        if (!str_eq_c(name, "storage")) {
            field_invalid_str(ctx->errs, at, name, "must be a standard resource type or fully qualified");
        }
        field_invalid_str(ctx->errs, at, name, "must be a standard resource for quota");
    }
    if (quantity_sign(q) < 0) {
        field_invalid_str(ctx->errs, at, value, "must be greater than or equal to 0");
    } else if (is_counted(name) && !quantity_is_whole(q)) {
        field_invalid_str(ctx->errs, at, value, "must be an integer");
    }
}

static void quota_scopes(struct kind_ctx *ctx, const struct core_v1_resource_quota_spec *s)
{
    static const char *const scopes[] = { "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
                                          "CrossNamespacePodAffinity", "VolumeAttributesClass" };
    static const char *const opposite[][2] = { { "BestEffort", "NotBestEffort" }, { "Terminating", "NotTerminating" } };
    struct str all = STR("[");
    bool seen[2][2] = { { false, false }, { false, false } }, unknown = false;
    for (size_t i = 0; i < s->n_scopes; i++) {
        all = arena_printf(ctx->arena, "%.*s%s\"%.*s\"", STR_ARG(all), i ? "," : "", STR_ARG(s->scopes[i]));
        unknown |= !one_of(s->scopes[i], scopes, ARRAY_SIZE(scopes));
        for (size_t k = 0; k < 2; k++) {
            seen[k][0] |= str_eq_c(s->scopes[i], opposite[k][0]);
            seen[k][1] |= str_eq_c(s->scopes[i], opposite[k][1]);
        }
    }
    all = arena_printf(ctx->arena, "%.*s]", STR_ARG(all));
    if (unknown) {
        field_invalid_json(ctx->errs, STR("spec.scopes"), all, "unsupported scope");
    }
    for (size_t k = 0; k < 2; k++) {
        if (seen[k][0] && seen[k][1]) {
            field_invalid_json(ctx->errs, STR("spec.scopes"), all, "conflicting scopes");
        }
    }
}

void quota_validate(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_resource_quota *q = obj;
    for (size_t i = 0; i < q->spec.n_hard; i++) {
        quota_amount(ctx, STR("spec.hard"), q->spec.hard[i].key, q->spec.hard[i].value);
    }
    quota_scopes(ctx, &q->spec);
}

void quota_validate_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_resource_quota *q = obj, *old = old_obj;
    quota_validate(ctx, obj);
    bool same = q->spec.n_scopes == old->spec.n_scopes;
    for (size_t i = 0; same && i < q->spec.n_scopes; i++) {
        same = str_eq(q->spec.scopes[i], old->spec.scopes[i]);
    }
    if (!same) {
        field_invalid_json(ctx->errs, STR("spec.scopes"), STR("null"), "field is immutable");
    }
}

/* ---- LimitRange ---- */

struct limit {
    struct str text;
    struct quantity q;
};

/* The amount under 'key', or false. */
static bool amount(const struct api_str_pair *list, size_t n, struct str key, struct limit *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            *ret = (struct limit){ list[i].value, quantity_of(list[i].value) };
            return true;
        }
    }
    return false;
}

/* Of two that are both there: is the first larger? */
static bool larger(bool has_a, const struct limit *a, bool has_b, const struct limit *b)
{
    return has_a && has_b && quantity_cmp(a->q, b->q) > 0;
}

static void limits_of(struct kind_ctx *ctx, struct str path, const struct core_v1_limit_range_item *l, struct str key)
{
    struct field_errs *e = ctx->errs;
    struct arena *a = ctx->arena;
    struct limit min, max, def, req, ratio;
    bool has_min = amount(l->min, l->n_min, key, &min), has_max = amount(l->max, l->n_max, key, &max);
    bool has_def = amount(l->default_, l->n_default_, key, &def), has_req = amount(l->default_request, l->n_default_request, key, &req);
    struct str at_min = path_key(a, path_child(a, path, "min"), key), at_def = path_key(a, path_child(a, path, "default"), key);
    struct str at_req = path_key(a, path_child(a, path, "defaultRequest"), key);
    if (larger(has_min, &min, has_max, &max)) {
        field_invalid_str(e, at_min, min.text, "min value %.*s is greater than max value %.*s", STR_ARG(min.text), STR_ARG(max.text));
    }
    if (larger(has_min, &min, has_req, &req)) {
        field_invalid_str(e, at_req, req.text, "min value %.*s is greater than default request value %.*s", STR_ARG(min.text), STR_ARG(req.text));
    }
    if (larger(has_req, &req, has_max, &max)) {
        field_invalid_str(e, at_req, req.text, "default request value %.*s is greater than max value %.*s", STR_ARG(req.text), STR_ARG(max.text));
    }
    if (larger(has_req, &req, has_def, &def)) {
        field_invalid_str(e, at_req, req.text, "default request value %.*s is greater than default limit value %.*s", STR_ARG(req.text),
                          STR_ARG(def.text));
    }
    if (larger(has_min, &min, has_def, &def)) {
        field_invalid_str(e, at_def, min.text, "min value %.*s is greater than default value %.*s", STR_ARG(min.text), STR_ARG(def.text));
    }
    if (larger(has_def, &def, has_max, &max)) {
        field_invalid_str(e, at_def, max.text, "default value %.*s is greater than max value %.*s", STR_ARG(def.text), STR_ARG(max.text));
    }
    if (amount(l->max_limit_request_ratio, l->n_max_limit_request_ratio, key, &ratio) &&
        quantity_cmp(ratio.q, quantity_from_i64(1, QUANTITY_DECIMAL)) < 0) {
        field_invalid_str(e, path_key(a, path_child(a, path, "maxLimitRequestRatio"), key), ratio.text, "ratio %.*s is less than 1",
                          STR_ARG(ratio.text));
    }
}

/* Calls limits_of() once for every key that occurs. */
static void every_key(struct kind_ctx *ctx, struct str path, const struct core_v1_limit_range_item *l)
{
    const struct {
        const struct api_str_pair *list;
        size_t n;
    } all[] = { { l->min, l->n_min }, { l->max, l->n_max }, { l->default_, l->n_default_ }, { l->default_request, l->n_default_request },
                { l->max_limit_request_ratio, l->n_max_limit_request_ratio } };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        for (size_t j = 0; j < all[i].n; j++) {
            struct limit before;
            bool seen = false;
            for (size_t k = 0; k < i && !seen; k++) {
                seen = amount(all[k].list, all[k].n, all[i].list[j].key, &before);
            }
            if (!seen) {
                limits_of(ctx, path, l, all[i].list[j].key);
            }
        }
    }
}

static void limit_range(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_limit_range *r = obj;
    for (size_t i = 0; i < r->spec.n_limits; i++) {
        const struct core_v1_limit_range_item *l = &r->spec.limits[i];
        struct str at = path_index(ctx->arena, STR("spec.limits"), i);
        struct limit unused;
        (void)rule_name(ctx->errs, path_child(ctx->arena, at, "type"), l->type, names_qualified);
        for (size_t j = 0; j < i; j++) {
            if (str_eq(r->spec.limits[j].type, l->type)) {
                field_duplicate_str(ctx->errs, path_child(ctx->arena, at, "type"), l->type);
                break;
            }
        }
        if (str_eq_c(l->type, "Pod")) {
            if (l->n_default_ > 0) {
                field_forbidden(ctx->errs, path_child(ctx->arena, at, "default"), "may not be specified when `type` is 'Pod'");
            }
            if (l->n_default_request > 0) {
                field_forbidden(ctx->errs, path_child(ctx->arena, at, "defaultRequest"), "may not be specified when `type` is 'Pod'");
            }
        }
        if (str_eq_c(l->type, "PersistentVolumeClaim") && !amount(l->min, l->n_min, STR("storage"), &unused) &&
            !amount(l->max, l->n_max, STR("storage"), &unused)) {
            field_required(ctx->errs, path_child(ctx->arena, at, "limits"),
                           "either minimum or maximum storage value is required, but neither was provided");
        }
        every_key(ctx, at, l);
    }
}

static void limit_range_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    limit_range(ctx, obj);
}

const struct kind_ops core_limit_range_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("limitranges"), .validate_create = limit_range, .validate_update = limit_range_update,
};
