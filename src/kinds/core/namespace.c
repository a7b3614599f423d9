/* Namespace: is taken down in steps; spec.finalizers hold it until the controller has emptied it. */
#include "api/gen/core_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static void prepare_create(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_namespace *n = obj;
    bool have = false;
    n->status = (struct core_v1_namespace_status){ .phase = STR("Active") };
    for (size_t i = 0; i < n->spec.n_finalizers; i++) {
        have |= str_eq_c(n->spec.finalizers[i], "kubernetes");
    }
    if (!have) {
        struct str *list = arena_grow_n(ctx->arena, n->spec.finalizers, n->spec.n_finalizers, n->spec.n_finalizers + 1, sizeof(*list));
        if (list) {
            list[n->spec.n_finalizers++] = STR("kubernetes");
            n->spec.finalizers = list;
        }
    }
    kind_set_label(ctx, &n->metadata, STR("kubernetes.io/metadata.name"), n->metadata.name);
}

static void prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct core_v1_namespace *n = obj;
    const struct core_v1_namespace *old = old_obj;
    n->spec.finalizers = old->spec.finalizers;
    n->spec.n_finalizers = old->spec.n_finalizers;
    n->status = old->status;
    kind_set_label(ctx, &n->metadata, STR("kubernetes.io/metadata.name"), n->metadata.name);
}

static void finalizers(struct kind_ctx *ctx, const struct core_v1_namespace *n)
{
    for (size_t i = 0; i < n->spec.n_finalizers; i++) {
        struct str f = n->spec.finalizers[i];
        if (rule_name(ctx->errs, STR("spec.finalizers"), f, names_qualified) && str_find_char(f, '/') < 0 && !str_eq_c(f, "kubernetes")) {
            field_invalid_str(ctx->errs, STR("spec.finalizers"), f, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    finalizers(ctx, obj);
}

static bool begin_delete(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_namespace *n = obj;
    if (!n->metadata.deletion_timestamp.set) {
        n->metadata.deletion_timestamp = (struct api_time){ .sec = ctx->now_sec, .set = true };
        n->status.phase = STR("Terminating");
        return false;
    }
    n->status.phase = STR("Terminating");
    return n->spec.n_finalizers == 0;
}

static bool holds(const void *obj)
{
    return ((const struct core_v1_namespace *)obj)->spec.n_finalizers > 0;
}

static void cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_namespace *n = obj;
    cell_str(c, n->metadata.name);
    cell_str(c, n->status.phase);
    cell_age(c, n->metadata.creation_timestamp);
}

static struct str field_phase(struct arena *a, const void *obj)
{
    (void)a;
    return ((const struct core_v1_namespace *)obj)->status.phase;
}

static const struct kind_field fields[] = { { STR_INIT("status.phase"), field_phase }, { STR_NULL, NULL } };

const struct kind_ops core_namespace_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("namespaces"), .name_rule = KIND_NAME_LABEL, .prepare_create = prepare_create,
    .prepare_update = prepare_update, .validate_create = validate_create, .begin_delete = begin_delete, .holds = holds,
    .cells = cells, .fields = fields,
};
