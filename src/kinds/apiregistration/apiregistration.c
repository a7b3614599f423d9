/* APIService; CustomResourceDefinition's generation. */
#include "api/gen/apiextensions_v1.h"
#include "api/gen/apiregistration_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static void prepare(struct kind_ctx *ctx, void *obj)
{
    struct apiregistration_v1_api_service *s = obj;
    if (s->spec.service) {
        return;
    }
    struct apiregistration_v1_api_service_condition *c = arena_new_n(ctx->arena, struct apiregistration_v1_api_service_condition, 1);
    if (!c) {
        return;
    }
    *c = (struct apiregistration_v1_api_service_condition){
        .type = STR("Available"), .status = STR("True"), .last_transition_time = { .set = true, .sec = ctx->now_sec }, .reason = STR("Local"),
        .message = STR("Local APIServices are always available"),
    };
    s->status.conditions = c;
    s->status.n_conditions = 1;
}

static void validate(struct kind_ctx *ctx, const void *obj)
{
    enum { MAX_GROUP = 20000, MAX_VERSION = 1000 };
    const struct apiregistration_v1_api_service *s = obj;
    struct str want = arena_printf(ctx->arena, "%.*s.%.*s", STR_ARG(s->spec.version), STR_ARG(s->spec.group));
    if (!str_eq(s->metadata.name, want)) {
        field_invalid_str(ctx->errs, STR("metadata.name"), s->metadata.name, "must be `spec.version+\".\"+spec.group`: \"%.*s\"", STR_ARG(want));
    }
    if (str_empty(s->spec.group)) {
        if (!str_eq_c(s->spec.version, "v1")) {
            field_required(ctx->errs, STR("spec.group"), "only v1 may have an empty group and it better be legacy kube");
        }
    } else {
        (void)rule_name(ctx->errs, STR("spec.group"), s->spec.group, names_dns1123_subdomain);
    }
    (void)rule_name(ctx->errs, STR("spec.version"), s->spec.version, names_dns1035_label);
    if (s->spec.group_priority_minimum <= 0 || s->spec.group_priority_minimum > MAX_GROUP) {
        field_invalid_int(ctx->errs, STR("spec.groupPriorityMinimum"), s->spec.group_priority_minimum, "must be positive and less than 20000");
    }
    if (s->spec.version_priority <= 0 || s->spec.version_priority > MAX_VERSION) {
        field_invalid_int(ctx->errs, STR("spec.versionPriority"), s->spec.version_priority, "must be positive and less than 1000");
    }
    if (!s->spec.service) {
        if (!str_empty(s->spec.ca_bundle)) {
            field_invalid_str(ctx->errs, STR("spec.caBundle"), STR_EMPTY, "local APIServices may not have a caBundle");
        }
        if (s->spec.insecure_skip_tls_verify) {
            field_invalid_json(ctx->errs, STR("spec.insecureSkipTLSVerify"), STR("true"), "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    if (str_empty(s->spec.service->namespace)) {
        field_required(ctx->errs, STR("spec.service.namespace"), "%s", "");
    }
    if (str_empty(s->spec.service->name)) {
        field_required(ctx->errs, STR("spec.service.name"), "%s", "");
    }
    if (s->spec.insecure_skip_tls_verify && !str_empty(s->spec.ca_bundle)) {
        field_invalid_json(ctx->errs, STR("spec.insecureSkipTLSVerify"), STR("true"), "may not be true if caBundle is present");
    }
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    validate(ctx, obj);
}

static void cells(struct kind_cells *c, const void *obj)
{
    const struct apiregistration_v1_api_service *s = obj;
    struct str available = STR("Unknown");
    for (size_t i = 0; i < s->status.n_conditions; i++) {
        const struct apiregistration_v1_api_service_condition *d = &s->status.conditions[i];
        if (str_eq_c(d->type, "Available")) {
            available = str_eq_c(d->status, "True") ? d->status : arena_printf(c->arena, "%.*s (%.*s)", STR_ARG(d->status), STR_ARG(d->reason));
        }
    }
    cell_str(c, s->metadata.name);
    if (s->spec.service) {
        cell_printf(c, "%.*s/%.*s", STR_ARG(s->spec.service->namespace), STR_ARG(s->spec.service->name));
    } else {
        cell_str(c, STR("Local"));
    }
    cell_str(c, available);
    cell_age(c, s->metadata.creation_timestamp);
}

const struct kind_ops apiregistration_service_ops = {
    .group = STR_INIT("apiregistration.k8s.io"), .resource = STR_INIT("apiservices"), .prepare_create = prepare, .validate_create = validate,
    .validate_update = validate_update, .cells = cells,
};

static void crd_prepare(struct kind_ctx *ctx, void *obj)
{
    struct apiextensions_v1_custom_resource_definition *d = obj;
    for (size_t i = 0; i < d->spec.n_versions; i++) {
        struct str *stored = d->spec.versions[i].storage ? arena_new(ctx->arena, struct str) : NULL;
        if (stored) {
            *stored = d->spec.versions[i].name;
            d->status.stored_versions = stored;
            d->status.n_stored_versions = 1;
        }
    }
}

const struct kind_ops apiextensions_crd_ops = {
    .group = STR_INIT("apiextensions.k8s.io"), .resource = STR_INIT("customresourcedefinitions"), .flags = KIND_GENERATION,
    .prepare_create = crd_prepare,
};
