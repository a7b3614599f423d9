/* Webhook configurations and admission policies. */
#include "api/gen/admissionregistration_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static void param_kind(struct kind_cells *c, const struct admissionregistration_v1_param_kind *p)
{
    if (p) {
        cell_printf(c, "%.*s/%.*s", STR_ARG(p->api_version), STR_ARG(p->kind));
    } else {
        cell_str(c, STR("<unset>"));
    }
}

/* A selector as Go prints the struct. */
static void selector_dump(struct kind_cells *c, const struct meta_v1_label_selector *s)
{
    struct str labels = STR_EMPTY, rules = STR_EMPTY;
    for (size_t i = 0; i < s->n_match_labels; i++) {
        labels = arena_printf(c->arena, "%.*s%.*s: %.*s,", STR_ARG(labels), STR_ARG(s->match_labels[i].key), STR_ARG(s->match_labels[i].value));
    }
    for (size_t i = 0; i < s->n_match_expressions; i++) {
        const struct meta_v1_label_selector_requirement *r = &s->match_expressions[i];
        struct str values = STR_EMPTY;
        for (size_t j = 0; j < r->n_values; j++) {
            values = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(values), j ? " " : "", STR_ARG(r->values[j]));
        }
        rules = arena_printf(c->arena, "%.*sLabelSelectorRequirement{Key:%.*s,Operator:%.*s,Values:[%.*s],},", STR_ARG(rules), STR_ARG(r->key),
                             STR_ARG(r->operator), STR_ARG(values));
    }
    cell_printf(c, "&LabelSelector{MatchLabels:map[string]string{%.*s},MatchExpressions:[]LabelSelectorRequirement{%.*s},}", STR_ARG(labels),
                STR_ARG(rules));
}

static void param_ref(struct kind_cells *c, const struct admissionregistration_v1_param_ref *p)
{
    if (!p) {
        cell_str(c, STR("<unset>"));
    } else if (!str_empty(p->name)) {
        cell_printf(c, "%.*s/%.*s", STR_ARG(str_empty(p->namespace) ? STR("*") : p->namespace), STR_ARG(p->name));
    } else if (p->selector) {
        selector_dump(c, p->selector);
    } else {
        cell_str(c, STR("<unset>"));
    }
}

/* ---- webhooks ---- */

/* What both kinds of webhook have. */
struct hook {
    struct str name, side_effects, failure_policy, match_policy;
    const struct admissionregistration_v1_webhook_client_config *client;
    const struct str *versions;
    size_t n_versions;
    int32_t timeout;
    bool has_timeout;
};

static void client_config(struct kind_ctx *ctx, struct str at, const struct admissionregistration_v1_webhook_client_config *c)
{
    if (str_empty(c->url) == (c->service == NULL)) {
        field_required(ctx->errs, at, "exactly one of url or service is required");
    } else if (!str_empty(c->url) && !str_starts(c->url, STR("https://"))) {
        field_invalid_str(ctx->errs, path_child(ctx->arena, at, "url"), c->url, "'https' is the only allowed URL scheme; desired format: https://host[/path]");
    } else if (c->service) {
        struct str service = path_child(ctx->arena, at, "service");
        if (str_empty(c->service->name)) {
            field_required(ctx->errs, path_child(ctx->arena, service, "name"), "service name is required");
        }
        if (str_empty(c->service->namespace)) {
            field_required(ctx->errs, path_child(ctx->arena, service, "namespace"), "service namespace is required");
        }
    }
}

static void hook(struct kind_ctx *ctx, struct str at, const struct hook *h)
{
    static const struct str effects[] = { STR_INIT("None"), STR_INIT("NoneOnDryRun"), STR_NULL };
    static const struct str failures[] = { STR_INIT("Fail"), STR_INIT("Ignore"), STR_NULL };
    static const struct str matches[] = { STR_INIT("Equivalent"), STR_INIT("Exact"), STR_NULL };
    enum { MAX_TIMEOUT = 30 };
    struct str first, rest, second, third, name = path_child(ctx->arena, at, "name");
    if (str_empty(h->name)) {
        field_required(ctx->errs, name, "%s", "");
    } else if (rule_name(ctx->errs, name, h->name, names_dns1123_subdomain) &&
               !(str_cut(h->name, '.', &first, &rest) && str_cut(rest, '.', &second, &third))) {
        field_invalid_str(ctx->errs, name, h->name, "should be a domain with at least three segments separated by dots");
    }
    if (!str_empty(h->failure_policy)) {
        (void)rule_enum(ctx->errs, path_child(ctx->arena, at, "failurePolicy"), h->failure_policy, failures);
    }
    if (!str_empty(h->match_policy)) {
        (void)rule_enum(ctx->errs, path_child(ctx->arena, at, "matchPolicy"), h->match_policy, matches);
    }
    if (str_empty(h->side_effects)) {
        field_required(ctx->errs, path_child(ctx->arena, at, "sideEffects"), "must specify one of None, NoneOnDryRun");
    } else {
        (void)rule_enum(ctx->errs, path_child(ctx->arena, at, "sideEffects"), h->side_effects, effects);
    }
    if (h->has_timeout && (h->timeout > MAX_TIMEOUT || h->timeout < 1)) {
        field_invalid_int(ctx->errs, path_child(ctx->arena, at, "timeoutSeconds"), h->timeout, "the timeout value must be between 1 and 30 seconds");
    }
    client_config(ctx, path_child(ctx->arena, at, "clientConfig"), h->client);
    struct str list = STR_EMPTY, versions = path_child(ctx->arena, at, "admissionReviewVersions");
    bool known = false;
    for (size_t i = 0; i < h->n_versions; i++) {
        list = arena_printf(ctx->arena, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(h->versions[i]));
        known = known || str_eq_c(h->versions[i], "v1") || str_eq_c(h->versions[i], "v1beta1");
    }
    if (h->n_versions == 0) {
        field_required(ctx->errs, versions, "must specify one of v1, v1beta1");
    } else if (!known) {
        field_invalid_json(ctx->errs, versions, arena_printf(ctx->arena, "[%.*s]", STR_ARG(list)), "must include at least one of v1, v1beta1");
    }
}

#define HOOK(w) \
    &(const struct hook){ .name = (w)->name, .side_effects = (w)->side_effects, .failure_policy = (w)->failure_policy, \
                          .match_policy = (w)->match_policy, .client = &(w)->client_config, .versions = (w)->admission_review_versions, \
                          .n_versions = (w)->n_admission_review_versions, .timeout = (w)->timeout_seconds, .has_timeout = (w)->has_timeout_seconds }

static void validating_webhooks(struct kind_ctx *ctx, const void *obj)
{
    const struct admissionregistration_v1_validating_webhook_configuration *c = obj;
    for (size_t i = 0; i < c->n_webhooks; i++) {
        hook(ctx, path_index(ctx->arena, STR("webhooks"), i), HOOK(&c->webhooks[i]));
    }
}

static void mutating_webhooks(struct kind_ctx *ctx, const void *obj)
{
    const struct admissionregistration_v1_mutating_webhook_configuration *c = obj;
    for (size_t i = 0; i < c->n_webhooks; i++) {
        hook(ctx, path_index(ctx->arena, STR("webhooks"), i), HOOK(&c->webhooks[i]));
    }
}

static void validating_webhooks_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    validating_webhooks(ctx, obj);
}

static void mutating_webhooks_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    mutating_webhooks(ctx, obj);
}

/* ---- cells ---- */

static void mutating_policy_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_mutating_admission_policy *p = obj;
    cell_str(c, p->metadata.name);
    cell_int(c, (int64_t)p->spec.n_mutations);
    param_kind(c, p->spec.param_kind);
    cell_age(c, p->metadata.creation_timestamp);
}

static void mutating_binding_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_mutating_admission_policy_binding *b = obj;
    cell_str(c, b->metadata.name);
    cell_str(c, b->spec.policy_name);
    param_ref(c, b->spec.param_ref);
    cell_age(c, b->metadata.creation_timestamp);
}

static void validating_policy_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_validating_admission_policy *p = obj;
    cell_str(c, p->metadata.name);
    cell_int(c, (int64_t)p->spec.n_validations);
    param_kind(c, p->spec.param_kind);
    cell_age(c, p->metadata.creation_timestamp);
}

static void validating_binding_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_validating_admission_policy_binding *b = obj;
    cell_str(c, b->metadata.name);
    cell_str(c, b->spec.policy_name);
    param_ref(c, b->spec.param_ref);
    cell_age(c, b->metadata.creation_timestamp);
}

static void mutating_webhook_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_mutating_webhook_configuration *w = obj;
    cell_str(c, w->metadata.name);
    cell_int(c, (int64_t)w->n_webhooks);
    cell_age(c, w->metadata.creation_timestamp);
}

static void validating_webhook_cells(struct kind_cells *c, const void *obj)
{
    const struct admissionregistration_v1_validating_webhook_configuration *w = obj;
    cell_str(c, w->metadata.name);
    cell_int(c, (int64_t)w->n_webhooks);
    cell_age(c, w->metadata.creation_timestamp);
}

const struct kind_ops admission_mutating_policy_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("mutatingadmissionpolicies"), .flags = KIND_GENERATION,
    .cells = mutating_policy_cells,
};
const struct kind_ops admission_mutating_binding_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("mutatingadmissionpolicybindings"), .flags = KIND_GENERATION,
    .cells = mutating_binding_cells,
};
const struct kind_ops admission_validating_policy_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("validatingadmissionpolicies"), .flags = KIND_GENERATION,
    .cells = validating_policy_cells,
};
const struct kind_ops admission_validating_binding_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("validatingadmissionpolicybindings"), .flags = KIND_GENERATION,
    .cells = validating_binding_cells,
};
const struct kind_ops admission_mutating_webhook_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("mutatingwebhookconfigurations"), .flags = KIND_GENERATION,
    .validate_create = mutating_webhooks, .validate_update = mutating_webhooks_update, .cells = mutating_webhook_cells,
};
const struct kind_ops admission_validating_webhook_ops = {
    .group = STR_INIT("admissionregistration.k8s.io"), .resource = STR_INIT("validatingwebhookconfigurations"), .flags = KIND_GENERATION,
    .validate_create = validating_webhooks, .validate_update = validating_webhooks_update, .cells = validating_webhook_cells,
};
