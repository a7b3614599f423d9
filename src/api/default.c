#include "api/default.h"

#include "api/decode-json.h"
#include "api/default-rules.h"
#include "api/gen/index.h"
#include "api/quantity.h"

static default_rule_fn *const rules[API_RULE_MAX] = {
    [API_RULE_APIEXTENSIONS_V1_CUSTOM_RESOURCE_DEFINITION] = default_crd,
    [API_RULE_APIEXTENSIONS_V1_CUSTOM_RESOURCE_DEFINITION_NAMES] = default_crd_names,
    [API_RULE_APPS_V1_DAEMON_SET_UPDATE_STRATEGY] = default_daemon_set_update_strategy,
    [API_RULE_APPS_V1_DEPLOYMENT_STRATEGY] = default_deployment_strategy,
    [API_RULE_APPS_V1_ROLLING_UPDATE_STATEFUL_SET_STRATEGY] = default_stateful_set_rolling_update,
    [API_RULE_APPS_V1_STATEFUL_SET_UPDATE_STRATEGY] = default_stateful_set_update_strategy,
    [API_RULE_AUTOSCALING_V2_HORIZONTAL_POD_AUTOSCALER_BEHAVIOR] = default_hpa_behavior,
    [API_RULE_AUTOSCALING_V2_HORIZONTAL_POD_AUTOSCALER_SPEC] = default_hpa_spec,
    [API_RULE_BATCH_V1_JOB] = default_job,
    [API_RULE_CORE_V1_CONTAINER] = default_container,
    [API_RULE_CORE_V1_EPHEMERAL_CONTAINER] = default_ephemeral_container,
    [API_RULE_CORE_V1_IMAGE_VOLUME_SOURCE] = default_image_volume,
    [API_RULE_CORE_V1_LIMIT_RANGE_ITEM] = default_limit_range_item,
    [API_RULE_CORE_V1_NAMESPACE] = default_namespace,
    [API_RULE_CORE_V1_NODE_STATUS] = default_node_status,
    [API_RULE_CORE_V1_PERSISTENT_VOLUME] = default_persistent_volume,
    [API_RULE_CORE_V1_PERSISTENT_VOLUME_CLAIM] = default_persistent_volume_claim,
    [API_RULE_CORE_V1_POD] = default_pod,
    [API_RULE_CORE_V1_POD_LOG_OPTIONS] = default_pod_log_options,
    [API_RULE_CORE_V1_REPLICATION_CONTROLLER] = default_replication_controller,
    [API_RULE_CORE_V1_SERVICE] = default_service,
    [API_RULE_CORE_V1_SERVICE_PORT] = default_service_port,
    [API_RULE_CORE_V1_SERVICE_SPEC] = default_service_spec,
    [API_RULE_CORE_V1_VOLUME] = default_volume,
    [API_RULE_NETWORKING_V1_NETWORK_POLICY_SPEC] = default_network_policy_spec,
    [API_RULE_RBAC_V1_CLUSTER_ROLE_BINDING] = default_cluster_role_binding,
    [API_RULE_RBAC_V1_ROLE_BINDING] = default_role_binding,
    [API_RULE_RBAC_V1_SUBJECT] = default_subject,
    [API_RULE_RESOURCE_V1_DEVICE_SUB_REQUEST] = default_device_sub_request,
    [API_RULE_RESOURCE_V1_DEVICE_TAINT] = default_device_taint,
    [API_RULE_RESOURCE_V1_EXACT_DEVICE_REQUEST] = default_device_request,
    [API_RULE_STORAGE_V1_CSI_DRIVER_SPEC] = default_csi_driver_spec,
};

bool default_gate(const struct defaulting *d, struct str name)
{
    return api_gate_on(d->ctx ? d->ctx->gates : NULL, name);
}

/* ---- pairs ---- */

static size_t pairs_place(const struct api_str_pair *pairs, size_t n, struct str key)
{
    size_t lo = 0;

    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;

        if (str_cmp(pairs[mid].key, key) < 0) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    return lo;
}

struct str *default_pairs_get(struct api_str_pair *pairs, size_t n, struct str key)
{
    size_t i = pairs_place(pairs, n, key);

    return i < n && str_eq(pairs[i].key, key) ? &pairs[i].value : NULL;
}

bool default_pairs_add(struct defaulting *d, struct api_str_pair **pairs, size_t *n, struct str key, struct str value)
{
    size_t i = pairs_place(*pairs, *n, key);
    struct api_str_pair *p = arena_grow_n(d->arena, *pairs, *n, *n + 1, sizeof(*p));

    if (!p) {
        return false;
    }
    memmove(p + i + 1, p + i, (*n - i) * sizeof(*p));
    p[i] = (struct api_str_pair){ .key = key, .value = value };
    *pairs = p;
    ++*n;
    return true;
}

bool default_pairs_merge(struct defaulting *d, struct api_str_pair **pairs, size_t *n, const struct api_str_pair *from, size_t n_from)
{
    for (size_t i = 0; i < n_from; i++) {
        if (!default_pairs_get(*pairs, *n, from[i].key) && !default_pairs_add(d, pairs, n, from[i].key, from[i].value)) {
            return false;
        }
    }
    return true;
}

/* ---- fields ---- */

static bool is_unset(const struct api_field *f, const char *obj, const char *p)
{
    const struct str *s = (const struct str *)(const void *)p;
    bool pointer = (f->flags & API_F_POINTER) != 0;

    if (f->card != API_SINGLE) {
        return *(const size_t *)(const void *)(p + sizeof(void *)) == 0;
    }
    if (f->has_offset) {
        return *(obj + f->has_offset) == 0;
    }
    switch (f->ftype) {
    case API_BOOL:
        return !*p;
    case API_INT32:
        return *(const int32_t *)(const void *)p == 0;
    case API_INT64:
        return *(const int64_t *)(const void *)p == 0;
    case API_MESSAGE:
        return pointer && *(void *const *)(const void *)p == NULL;
    case API_INT_OR_STRING:
        return ((const struct api_int_or_string *)(const void *)p)->kind == API_IOS_UNSET;
    default:
        return pointer ? s->ptr == NULL : s->len == 0;
    }
}

/* Sets the field to a value told as JSON text by the schema. */
static bool fill(struct defaulting *d, const struct api_type *t, const struct api_field *f, char *obj)
{
    struct str json = f->facts->fill_json.ptr ? f->facts->fill_json : f->facts->default_json;
    char *p = obj + f->offset;
    int64_t v;

    if (f->card == API_SINGLE && f->ftype == API_STRING) {
        *(struct str *)(void *)p = str_sub(json, 1, json.len - 2); /* no default needs an escape */
        return true;
    }
    if (f->card == API_SINGLE && (f->ftype == API_INT32 || f->ftype == API_INT64) && str_to_i64(json, &v)) {
        if (f->ftype == API_INT32) {
            *(int32_t *)(void *)p = (int32_t)v;
        } else {
            *(int64_t *)(void *)p = v;
        }
    } else if (f->card == API_SINGLE && f->ftype == API_BOOL) {
        *(bool *)(void *)p = str_eq(json, STR("true"));
    } else {
        struct str text = arena_printf(d->arena, "{\"%.*s\":%.*s}", STR_ARG(f->name), STR_ARG(json));

        return text.ptr && api_decode_json(d->arena, t, text, NULL, obj, NULL);
    }
    if (f->has_offset) {
        *(obj + f->has_offset) = 1;
    }
    return true;
}

/* Rounds up what is finer than thousandths. */
static bool round_to_milli(struct defaulting *d, char *p)
{
    struct api_str_pair *pairs = *(struct api_str_pair **)(void *)p;
    size_t n = *(size_t *)(void *)(p + sizeof(void *));

    for (size_t i = 0; i < n; i++) {
        struct str s = pairs[i].value;

        /* Only these spell a fraction finer than that in canonical form. */
        if (s.len && (s.ptr[s.len - 1] == 'n' || s.ptr[s.len - 1] == 'u' || str_find(s, STR("e-")) >= 0)) {
            struct quantity q = quantity_of(s);

            pairs[i].value = quantity_str(d->arena, quantity_from_milli(quantity_milli(q), q.format));
            if (!pairs[i].value.ptr) {
                return false;
            }
        }
    }
    return true;
}

static bool default_message(struct defaulting *d, const struct api_type *t, char *obj);

static bool default_below(struct defaulting *d, const struct api_field *f, char *p)
{
    if (f->card != API_SINGLE) {
        char *items = *(char **)(void *)p;
        size_t n = *(size_t *)(void *)(p + sizeof(void *));
        size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

        for (size_t i = 0; i < n; i++) {
            if (!default_message(d, f->message, items + i * size + (f->card == API_MAP ? API_ENTRY_VALUE : 0))) {
                return false;
            }
        }
        return true;
    }
    if (f->flags & API_F_POINTER) {
        p = *(char **)(void *)p;
    }
    return !p || default_message(d, f->message, p);
}

static bool default_message(struct defaulting *d, const struct api_type *t, char *obj)
{
    if (!(t->flags & API_T_DEFAULTS)) {
        return true;
    }
    if (t->rule && !rules[t->rule](d, obj)) {
        return false;
    }
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        char *p = obj + f->offset;

        if ((f->flags & API_F_FILL) && is_unset(f, obj, p) && !fill(d, t, f, obj)) {
            return false;
        }
        if ((f->flags & API_F_MILLI) && !round_to_milli(d, p)) {
            return false;
        }
        if (f->message && (f->message->flags & API_T_DEFAULTS) && !default_below(d, f, p)) {
            return false;
        }
    }
    return true;
}

bool api_default(struct arena *a, const struct api_type *t, void *obj, const struct api_default_ctx *ctx)
{
    struct defaulting d = { .arena = a, .ctx = ctx };

    return default_message(&d, t, obj);
}


bool default_rules_complete(void)
{
    for (int i = API_RULE_NONE + 1; i < API_RULE_MAX; i++) {
        if (!rules[i]) {
            return false;
        }
    }
    return true;
}
