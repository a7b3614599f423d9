/* StorageClass, CSIDriver, CSINode, VolumeAttachment, VolumeAttributesClass. */
#include "api/equal.h"
#include "api/gen/storage_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

/* ---- StorageClass ---- */

static bool annotated_true(const struct meta_v1_object_meta *m, const char *key)
{
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq_c(m->annotations[i].key, key) && str_eq_c(m->annotations[i].value, "true")) {
            return true;
        }
    }
    return false;
}

static void class_cells(struct kind_cells *c, const void *obj)
{
    const struct storage_v1_storage_class *s = obj;
    bool is_default = annotated_true(&s->metadata, "storageclass.kubernetes.io/is-default-class") ||
                      annotated_true(&s->metadata, "storageclass.beta.kubernetes.io/is-default-class");
    cell_printf(c, "%.*s%s", STR_ARG(s->metadata.name), is_default ? " (default)" : "");
    cell_str(c, s->provisioner);
    cell_str(c, str_empty(s->reclaim_policy) ? STR("Delete") : s->reclaim_policy);
    cell_str(c, str_empty(s->volume_binding_mode) ? STR("Immediate") : s->volume_binding_mode);
    cell_bool(c, s->has_allow_volume_expansion && s->allow_volume_expansion);
    cell_age(c, s->metadata.creation_timestamp);
}

static void class_validate(struct kind_ctx *ctx, const void *obj)
{
    static const struct str policies[] = { STR_INIT("Delete"), STR_INIT("Retain"), STR_NULL };
    static const struct str bindings[] = { STR_INIT("Immediate"), STR_INIT("WaitForFirstConsumer"), STR_NULL };
    const struct storage_v1_storage_class *s = obj;
    if (str_empty(s->provisioner)) {
        field_required(ctx->errs, STR("provisioner"), "%s", "");
    }
    if (!str_empty(s->reclaim_policy)) {
        (void)rule_enum(ctx->errs, STR("reclaimPolicy"), s->reclaim_policy, policies);
    }
    if (str_empty(s->volume_binding_mode)) {
        field_required(ctx->errs, STR("volumeBindingMode"), "%s", "");
    } else {
        (void)rule_enum(ctx->errs, STR("volumeBindingMode"), s->volume_binding_mode, bindings);
    }
}

static void class_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct storage_v1_storage_class *s = obj, *old = old_obj;
    class_validate(ctx, obj);
    bool same = s->n_parameters == old->n_parameters;
    for (size_t i = 0; same && i < s->n_parameters; i++) {
        same = str_eq(s->parameters[i].key, old->parameters[i].key) && str_eq(s->parameters[i].value, old->parameters[i].value);
    }
    if (!same) {
        field_invalid_json(ctx->errs, STR("parameters"), rule_labels_json(ctx->arena, s->parameters, s->n_parameters), "field is immutable");
    }
    rule_immutable_str(ctx->errs, STR("provisioner"), s->provisioner, old->provisioner);
    rule_immutable_str(ctx->errs, STR("reclaimPolicy"), s->reclaim_policy, old->reclaim_policy);
    rule_immutable_str(ctx->errs, STR("volumeBindingMode"), s->volume_binding_mode, old->volume_binding_mode);
}

const struct kind_ops storage_class_ops = {
    .group = STR_INIT("storage.k8s.io"), .resource = STR_INIT("storageclasses"), .flags = KIND_RETURN_DELETED, .validate_create = class_validate,
    .validate_update = class_update, .cells = class_cells,
};

/* ---- CSIDriver, CSINode ---- */

static void driver_cells(struct kind_cells *c, const void *obj)
{
    const struct storage_v1_csi_driver *d = obj;
    struct str modes = STR_EMPTY, audiences = STR_EMPTY;
    for (size_t i = 0; i < d->spec.n_volume_lifecycle_modes; i++) {
        modes = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(modes), i ? "," : "", STR_ARG(d->spec.volume_lifecycle_modes[i]));
    }
    for (size_t i = 0; i < d->spec.n_token_requests; i++) {
        audiences = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(audiences), i ? "," : "", STR_ARG(d->spec.token_requests[i].audience));
    }
    cell_str(c, d->metadata.name);
    cell_bool(c, !d->spec.has_attach_required || d->spec.attach_required);
    cell_bool(c, d->spec.has_pod_info_on_mount && d->spec.pod_info_on_mount);
    cell_bool(c, d->spec.has_storage_capacity && d->spec.storage_capacity);
    cell_str(c, d->spec.n_token_requests ? audiences : STR("<unset>"));
    cell_bool(c, d->spec.has_requires_republish && d->spec.requires_republish);
    cell_str(c, d->spec.n_volume_lifecycle_modes ? modes : STR("<none>"));
    cell_age(c, d->metadata.creation_timestamp);
}

const struct kind_ops storage_csi_driver_ops = {
    .group = STR_INIT("storage.k8s.io"), .resource = STR_INIT("csidrivers"), .flags = KIND_RETURN_DELETED, .cells = driver_cells,
};

static void node_cells(struct kind_cells *c, const void *obj)
{
    const struct storage_v1_csi_node *n = obj;
    cell_str(c, n->metadata.name);
    cell_int(c, (int64_t)n->spec.n_drivers);
    cell_age(c, n->metadata.creation_timestamp);
}

const struct kind_ops storage_csi_node_ops = {
    .group = STR_INIT("storage.k8s.io"), .resource = STR_INIT("csinodes"), .flags = KIND_RETURN_DELETED, .cells = node_cells,
};

/* ---- VolumeAttachment, VolumeAttributesClass ---- */

static void attachment_cells(struct kind_cells *c, const void *obj)
{
    const struct storage_v1_volume_attachment *a = obj;
    cell_str(c, a->metadata.name);
    cell_str(c, a->spec.attacher);
    cell_str(c, a->spec.source.persistent_volume_name);
    cell_str(c, a->spec.node_name);
    cell_bool(c, a->status.attached);
    cell_age(c, a->metadata.creation_timestamp);
}

static void attachment_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct storage_v1_volume_attachment *a = obj, *old = old_obj;
    if (!api_equal(&storage_v1_volume_attachment_spec_type, &a->spec, &old->spec)) {
        field_invalid_json(ctx->errs, STR("spec"), rule_json(ctx->arena, &storage_v1_volume_attachment_spec_type, &a->spec), "field is immutable");
    }
}

const struct kind_ops storage_attachment_ops = {
    .group = STR_INIT("storage.k8s.io"), .resource = STR_INIT("volumeattachments"), .flags = KIND_RETURN_DELETED,
    .validate_update = attachment_update, .cells = attachment_cells,
};

static void attributes_cells(struct kind_cells *c, const void *obj)
{
    const struct storage_v1_volume_attributes_class *a = obj;
    cell_str(c, a->metadata.name);
    cell_str(c, a->driver_name);
    cell_age(c, a->metadata.creation_timestamp);
}

const struct kind_ops storage_attributes_class_ops = {
    .group = STR_INIT("storage.k8s.io"), .resource = STR_INIT("volumeattributesclasses"), .flags = KIND_RETURN_DELETED,
    .cells = attributes_cells,
};
