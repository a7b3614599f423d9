/* ConfigMap and Secret: keys, sizes, immutability, types of secrets. */
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "base/encoding.h"
#include "kinds/rules.h"
#include "kinds/table.h"

#define DATA_MAX (1u << 20) /* bytes of all values: what etcd takes comfortably */

static size_t keys(struct kind_ctx *ctx, const char *field, const struct api_str_pair *data, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        (void)rule_name(ctx->errs, path_key(ctx->arena, str_c(field), data[i].key), data[i].key, names_config_key);
        total += data[i].value.len;
    }
    return total;
}

static bool has_key(const struct api_str_pair *data, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(data[i].key, key)) {
            return true;
        }
    }
    return false;
}

static void config_map(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_config_map *cm = obj;
    size_t total = 0;
    for (size_t i = 0; i < cm->n_data; i++) {
        (void)rule_name(ctx->errs, path_key(ctx->arena, STR("data"), cm->data[i].key), cm->data[i].key, names_config_key);
        if (has_key(cm->binary_data, cm->n_binary_data, cm->data[i].key)) {
            field_invalid_str(ctx->errs, path_key(ctx->arena, STR("data"), cm->data[i].key), cm->data[i].key,
                              "duplicate of key present in binaryData");
        }
        total += cm->data[i].value.len;
    }
    total += keys(ctx, "binaryData", cm->binary_data, cm->n_binary_data);
    if (total > DATA_MAX) {
        field_too_long(ctx->errs, STR("[]"), DATA_MAX);
    }
}

static void config_map_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_config_map *cm = obj, *old = old_obj;
    if (old->has_immutable && old->immutable) {
        if (!cm->has_immutable || !cm->immutable) {
            field_forbidden(ctx->errs, STR("immutable"), "field is immutable when `immutable` is set");
        }
        if (!api_equal_field(&core_v1_config_map_type, "data", cm, old)) {
            field_forbidden(ctx->errs, STR("data"), "field is immutable when `immutable` is set");
        }
        if (!api_equal_field(&core_v1_config_map_type, "binaryData", cm, old)) {
            field_forbidden(ctx->errs, STR("binaryData"), "field is immutable when `immutable` is set");
        }
    }
    config_map(ctx, cm);
}

static void config_map_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_config_map *cm = obj;
    cell_str(c, cm->metadata.name);
    cell_int(c, (int64_t)(cm->n_data + cm->n_binary_data));
    cell_age(c, cm->metadata.creation_timestamp);
}

const struct kind_ops core_config_map_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("configmaps"), .validate_create = config_map, .validate_update = config_map_update,
    .cells = config_map_cells,
};

/* ---- Secret ---- */

/* stringData is written into data and never kept. */
static void merge_string_data(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_secret *s = obj;
    for (size_t i = 0; i < s->n_string_data; i++) {
        size_t at = 0;
        while (at < s->n_data && str_cmp(s->data[at].key, s->string_data[i].key) < 0) {
            at++;
        }
        if (at < s->n_data && str_eq(s->data[at].key, s->string_data[i].key)) {
            s->data[at].value = s->string_data[i].value;
            continue;
        }
        struct api_str_pair *grown = arena_new_n(ctx->arena, struct api_str_pair, s->n_data + 1);
        if (!grown) {
            return;
        }
        if (s->n_data > 0) {
            memcpy(grown, s->data, at * sizeof(*grown));
            memcpy(grown + at + 1, s->data + at, (s->n_data - at) * sizeof(*grown));
        }
        grown[at] = s->string_data[i];
        s->data = grown;
        s->n_data++;
    }
    s->string_data = NULL;
    s->n_string_data = 0;
}

static void need(struct kind_ctx *ctx, const struct core_v1_secret *s, const char *key)
{
    if (!has_key(s->data, s->n_data, str_c(key))) {
        field_required(ctx->errs, path_key(ctx->arena, STR("data"), str_c(key)), "%s", "");
    }
}

static struct str annotation(const struct core_v1_secret *s, const char *key)
{
    for (size_t i = 0; i < s->metadata.n_annotations; i++) {
        if (str_eq_c(s->metadata.annotations[i].key, key)) {
            return s->metadata.annotations[i].value;
        }
    }
    return STR_NULL;
}

static void secret(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_secret *s = obj;
    size_t total = keys(ctx, "data", s->data, s->n_data);
    if (total > DATA_MAX) {
        field_too_long(ctx->errs, STR("data"), DATA_MAX);
    }
    if (str_eq_c(s->type, "kubernetes.io/service-account-token")) {
        if (str_empty(annotation(s, "kubernetes.io/service-account.name"))) {
            field_required(ctx->errs, STR("metadata.annotations[kubernetes.io/service-account.name]"), "%s", "");
        }
    } else if (str_eq_c(s->type, "kubernetes.io/dockercfg")) {
        need(ctx, s, ".dockercfg");
    } else if (str_eq_c(s->type, "kubernetes.io/dockerconfigjson")) {
        need(ctx, s, ".dockerconfigjson");
    } else if (str_eq_c(s->type, "kubernetes.io/basic-auth")) {
        if (!has_key(s->data, s->n_data, STR("username")) && !has_key(s->data, s->n_data, STR("password"))) {
            need(ctx, s, "username");
            need(ctx, s, "password");
        }
    } else if (str_eq_c(s->type, "kubernetes.io/ssh-auth")) {
        need(ctx, s, "ssh-privatekey");
    } else if (str_eq_c(s->type, "kubernetes.io/tls")) {
        need(ctx, s, "tls.crt");
        need(ctx, s, "tls.key");
    }
}

static void secret_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct core_v1_secret *s = obj, *old = old_obj;
    rule_immutable_str(ctx->errs, STR("type"), s->type, old->type);
    if (old->has_immutable && old->immutable) {
        if (!s->has_immutable || !s->immutable) {
            field_forbidden(ctx->errs, STR("immutable"), "field is immutable when `immutable` is set");
        }
        if (!api_equal_field(&core_v1_secret_type, "data", s, old)) {
            field_forbidden(ctx->errs, STR("data"), "field is immutable when `immutable` is set");
        }
    }
    secret(ctx, s);
}

static void secret_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_secret *s = obj;
    cell_str(c, s->metadata.name);
    cell_str(c, s->type);
    cell_int(c, (int64_t)s->n_data);
    cell_age(c, s->metadata.creation_timestamp);
}

static struct str field_type(struct arena *a, const void *obj)
{
    (void)a;
    return ((const struct core_v1_secret *)obj)->type;
}

static const struct kind_field secret_fields[] = { { STR_INIT("type"), field_type }, { STR_NULL, NULL } };

const struct kind_ops core_secret_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("secrets"), .decoded = merge_string_data,
    .validate_create = secret, .validate_update = secret_update, .cells = secret_cells, .fields = secret_fields,
};
