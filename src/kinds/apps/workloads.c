/* Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, ControllerRevision. */
#include "api/equal.h"
#include "api/gen/apps_v1.h"
#include "api/gen/core_v1.h"
#include "api/int-or-string.h"
#include "api/selector.h"
#include "kinds/core/pod-spec.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static bool is_empty(const struct meta_v1_label_selector *s)
{
    return s->n_match_labels == 0 && s->n_match_expressions == 0;
}

/* The selector must be there, be no catch-all, and match the template. 'what' is the kind as upstream's message names it. */
static void selector_rules(struct kind_ctx *ctx, const struct meta_v1_label_selector *ls, const struct core_v1_pod_template_spec *t,
                           const char *what)
{
    struct selector s;
    struct err err;
    struct str path = STR("spec.selector");
    bool parsed = true, empty = false;
    if (!ls) {
        field_required(ctx->errs, path, "%s", "");
    } else {
        size_t before = ctx->errs->n;
        rule_label_selector(ctx->errs, path, ls);
        empty = is_empty(ls);
        if (empty) {
            field_invalid_json(ctx->errs, path, STR("{}"), "empty selector is invalid for %s", what);
        }
        parsed = ctx->errs->n == before || empty;
    }
    if (!parsed && selector_from_label_selector(ctx->arena, ls, &s, &err)) {
        return;
    }
    if (!selector_from_label_selector(ctx->arena, ls, &s, &err)) {
        field_invalid_json(ctx->errs, path, rule_json(ctx->arena, &meta_v1_label_selector_type, ls), "invalid label selector");
    } else if (!empty && !selector_matches(&s, t->metadata.labels, t->metadata.n_labels)) {
        field_invalid_json(ctx->errs, STR("spec.template.metadata.labels"),
                           rule_labels_json(ctx->arena, t->metadata.labels, t->metadata.n_labels), "`selector` does not match template `labels`");
    }
}

static void immutable_selector(struct kind_ctx *ctx, const struct meta_v1_label_selector *new, const struct meta_v1_label_selector *old)
{
    bool equal = (!new && !old) || (new && old && api_equal(&meta_v1_label_selector_type, new, old));
    rule_immutable(ctx->errs, STR("spec.selector"), equal, &meta_v1_label_selector_type, new);
}

static bool is_zero(const struct api_int_or_string *v)
{
    int32_t percent;
    if (v->kind == API_IOS_STRING) {
        return ios_percent(v, &percent) && percent == 0;
    }
    return v->i == 0;
}

static void at_most_100(struct kind_ctx *ctx, struct str path, const struct api_int_or_string *v)
{
    int32_t percent;
    if (v->kind == API_IOS_STRING && ios_percent(v, &percent) && percent > 100) {
        field_invalid_str(ctx->errs, path, v->s, "must not be greater than 100%%");
    }
}

static struct str ios_json(struct arena *a, const struct api_int_or_string *v)
{
    return v->kind == API_IOS_STRING ? arena_printf(a, "\"%.*s\"", STR_ARG(v->s)) : arena_printf(a, "%d", v->i);
}

/* ---- Deployment ---- */

static void strategy(struct kind_ctx *ctx, const struct apps_v1_deployment_strategy *s)
{
    static const struct str types[] = { STR_INIT("Recreate"), STR_INIT("RollingUpdate"), STR_NULL };
    struct str path = STR("spec.strategy");
    if (str_eq_c(s->type, "Recreate")) {
        if (s->rolling_update) {
            field_forbidden(ctx->errs, STR("spec.strategy.rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
        }
    } else if (str_eq_c(s->type, "RollingUpdate")) {
        if (!s->rolling_update) {
            field_required(ctx->errs, STR("spec.strategy.rollingUpdate"), "this should be defaulted and never be nil");
            return;
        }
        const struct apps_v1_rolling_update_deployment *u = s->rolling_update;
        rule_int_or_percent(ctx->errs, STR("spec.strategy.rollingUpdate.maxUnavailable"), &u->max_unavailable);
        rule_int_or_percent(ctx->errs, STR("spec.strategy.rollingUpdate.maxSurge"), &u->max_surge);
        if (is_zero(&u->max_unavailable) && is_zero(&u->max_surge)) {
            field_invalid_json(ctx->errs, STR("spec.strategy.rollingUpdate.maxUnavailable"), ios_json(ctx->arena, &u->max_unavailable),
                               "may not be 0 when `maxSurge` is 0");
        }
        at_most_100(ctx, STR("spec.strategy.rollingUpdate.maxUnavailable"), &u->max_unavailable);
    } else {
        struct str shown = arena_printf(ctx->arena, "{\"Type\":\"%.*s\",\"RollingUpdate\":null}", STR_ARG(s->type));
        field_not_supported_json(ctx->errs, path, shown, types);
    }
}

static void deployment(struct kind_ctx *ctx, const void *obj)
{
    const struct apps_v1_deployment *d = obj;
    rule_non_negative(ctx->errs, STR("spec.replicas"), d->spec.replicas);
    selector_rules(ctx, d->spec.selector, &d->spec.template, "deployment");
    pod_template_validate(ctx, STR("spec.template"), &d->spec.template, true);
    strategy(ctx, &d->spec.strategy);
    rule_non_negative(ctx->errs, STR("spec.minReadySeconds"), d->spec.min_ready_seconds);
    if (d->spec.has_revision_history_limit) {
        rule_non_negative(ctx->errs, STR("spec.revisionHistoryLimit"), d->spec.revision_history_limit);
    }
    if (d->spec.has_progress_deadline_seconds) {
        rule_non_negative(ctx->errs, STR("spec.progressDeadlineSeconds"), d->spec.progress_deadline_seconds);
        if (d->spec.progress_deadline_seconds <= d->spec.min_ready_seconds) {
            field_invalid_int(ctx->errs, STR("spec.progressDeadlineSeconds"), d->spec.progress_deadline_seconds,
                              "must be greater than minReadySeconds");
        }
    }
}

static void deployment_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    deployment(ctx, obj);
    immutable_selector(ctx, ((const struct apps_v1_deployment *)obj)->spec.selector, ((const struct apps_v1_deployment *)old)->spec.selector);
}

/* Annotations go on to ReplicaSets, so a change of them is a change of what is wanted. */
static void deployment_prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct apps_v1_deployment *d = obj;
    const struct apps_v1_deployment *old = old_obj;
    bool same = d->metadata.n_annotations == old->metadata.n_annotations;
    (void)ctx;
    for (size_t i = 0; same && i < d->metadata.n_annotations; i++) {
        const struct api_str_pair *a = &d->metadata.annotations[i], *b = &old->metadata.annotations[i];
        same = str_eq(a->key, b->key) && str_eq(a->value, b->value);
    }
    if (!same && d->metadata.generation == old->metadata.generation) {
        d->metadata.generation++;
    }
}

static void deployment_cells(struct kind_cells *c, const void *obj)
{
    const struct apps_v1_deployment *d = obj;
    cell_str(c, d->metadata.name);
    cell_printf(c, "%d/%d", d->status.ready_replicas, d->spec.replicas);
    cell_int(c, d->status.updated_replicas);
    cell_int(c, d->status.available_replicas);
    cell_age(c, d->metadata.creation_timestamp);
    cell_containers(c, &d->spec.template.spec);
    cell_selector(c, d->spec.selector);
}

static void deployment_decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct apps_v1_deployment *)obj)->spec.template.spec);
}

const struct kind_ops apps_deployment_ops = {
    .group = STR_INIT("apps"), .resource = STR_INIT("deployments"), .flags = KIND_GENERATION, .validate_create = deployment,
    .prepare_update = deployment_prepare_update, .validate_update = deployment_update, .decoded = deployment_decoded, .cells = deployment_cells,
};

/* ---- ReplicaSet ---- */

static void replica_set(struct kind_ctx *ctx, const void *obj)
{
    const struct apps_v1_replica_set *r = obj;
    rule_non_negative(ctx->errs, STR("spec.replicas"), r->spec.replicas);
    rule_non_negative(ctx->errs, STR("spec.minReadySeconds"), r->spec.min_ready_seconds);
    selector_rules(ctx, r->spec.selector, &r->spec.template, "replicaset");
    pod_template_validate(ctx, STR("spec.template"), &r->spec.template, true);
}

static void replica_set_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    replica_set(ctx, obj);
    immutable_selector(ctx, ((const struct apps_v1_replica_set *)obj)->spec.selector, ((const struct apps_v1_replica_set *)old)->spec.selector);
}

static void replica_set_cells(struct kind_cells *c, const void *obj)
{
    const struct apps_v1_replica_set *r = obj;
    cell_str(c, r->metadata.name);
    cell_int(c, r->spec.replicas);
    cell_int(c, r->status.replicas);
    cell_int(c, r->status.ready_replicas);
    cell_age(c, r->metadata.creation_timestamp);
    cell_containers(c, &r->spec.template.spec);
    cell_selector(c, r->spec.selector);
}

static void replica_set_decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct apps_v1_replica_set *)obj)->spec.template.spec);
}

const struct kind_ops apps_replica_set_ops = {
    .group = STR_INIT("apps"), .resource = STR_INIT("replicasets"), .flags = KIND_GENERATION, .validate_create = replica_set,
    .validate_update = replica_set_update, .decoded = replica_set_decoded, .cells = replica_set_cells,
};

/* ---- StatefulSet ---- */

/* The claims of the set are volumes of its pods. */
static void with_claims(struct kind_ctx *ctx, struct core_v1_pod_spec *spec, const struct apps_v1_stateful_set *s)
{
    size_t n = s->spec.n_volume_claim_templates;
    struct core_v1_volume *all = arena_new_n(ctx->arena, struct core_v1_volume, spec->n_volumes + n);
    struct core_v1_persistent_volume_claim_volume_source *sources = arena_new_n(ctx->arena, struct core_v1_persistent_volume_claim_volume_source, n);
    if (n == 0 || !all || !sources) {
        return;
    }
    if (spec->n_volumes > 0) {
        memcpy(all, spec->volumes, spec->n_volumes * sizeof(*all));
    }
    for (size_t i = 0; i < n; i++) {
        struct core_v1_volume *v = &all[spec->n_volumes + i];
        v->name = sources[i].claim_name = s->spec.volume_claim_templates[i].metadata.name;
        v->volume_source.persistent_volume_claim = &sources[i];
    }
    spec->volumes = all;
    spec->n_volumes += n;
}

static void stateful_set(struct kind_ctx *ctx, const void *obj)
{
    const struct apps_v1_stateful_set *s = obj;
    if (!str_eq_c(s->spec.pod_management_policy, "OrderedReady") && !str_eq_c(s->spec.pod_management_policy, "Parallel")) {
        field_invalid_str(ctx->errs, STR("spec.podManagementPolicy"), s->spec.pod_management_policy, "must be 'OrderedReady' or 'Parallel'");
    }
    if (!str_eq_c(s->spec.update_strategy.type, "RollingUpdate") && !str_eq_c(s->spec.update_strategy.type, "OnDelete")) {
        field_invalid_json(ctx->errs, STR("spec.updateStrategy"),
                           arena_printf(ctx->arena, "{\"Type\":\"%.*s\",\"RollingUpdate\":null}", STR_ARG(s->spec.update_strategy.type)),
                           "must be 'RollingUpdate' or 'OnDelete'");
    }
    rule_non_negative(ctx->errs, STR("spec.replicas"), s->spec.replicas);
    rule_non_negative(ctx->errs, STR("spec.minReadySeconds"), s->spec.min_ready_seconds);
    if (s->spec.ordinals) {
        rule_non_negative(ctx->errs, STR("spec.ordinals.start"), s->spec.ordinals->start);
    }
    selector_rules(ctx, s->spec.selector, &s->spec.template, "statefulset");
    struct core_v1_pod_template_spec t = s->spec.template;
    with_claims(ctx, &t.spec, s);
    pod_template_validate(ctx, STR("spec.template"), &t, true);
}

static void stateful_set_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct apps_v1_stateful_set *s = obj, *old = old_obj;
    struct apps_v1_stateful_set m = *s;
    stateful_set(ctx, s);
    m.spec.replicas = old->spec.replicas;
    m.spec.has_replicas = old->spec.has_replicas;
    m.spec.template = old->spec.template;
    m.spec.update_strategy = old->spec.update_strategy;
    m.spec.min_ready_seconds = old->spec.min_ready_seconds;
    m.spec.ordinals = old->spec.ordinals;
    m.spec.revision_history_limit = old->spec.revision_history_limit;
    m.spec.has_revision_history_limit = old->spec.has_revision_history_limit;
    m.spec.persistent_volume_claim_retention_policy = old->spec.persistent_volume_claim_retention_policy;
    if (!api_equal_field(&apps_v1_stateful_set_type, "spec", &m, old)) {
        field_forbidden(ctx->errs, STR("spec"),
                        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

static void stateful_set_cells(struct kind_cells *c, const void *obj)
{
    const struct apps_v1_stateful_set *s = obj;
    cell_str(c, s->metadata.name);
    cell_printf(c, "%d/%d", s->status.ready_replicas, s->spec.replicas);
    cell_age(c, s->metadata.creation_timestamp);
    cell_containers(c, &s->spec.template.spec);
}

static void stateful_set_decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct apps_v1_stateful_set *)obj)->spec.template.spec);
}

const struct kind_ops apps_stateful_set_ops = {
    .group = STR_INIT("apps"), .resource = STR_INIT("statefulsets"), .flags = KIND_GENERATION, .validate_create = stateful_set,
    .validate_update = stateful_set_update, .decoded = stateful_set_decoded, .cells = stateful_set_cells,
};

/* ---- DaemonSet ---- */

static void daemon_set(struct kind_ctx *ctx, const void *obj)
{
    const struct apps_v1_daemon_set *d = obj;
    static const struct str types[] = { STR_INIT("OnDelete"), STR_INIT("RollingUpdate"), STR_NULL };
    selector_rules(ctx, d->spec.selector, &d->spec.template, "daemonset");
    pod_template_validate(ctx, STR("spec.template"), &d->spec.template, true);
    rule_non_negative(ctx->errs, STR("spec.minReadySeconds"), d->spec.min_ready_seconds);
    (void)rule_enum(ctx->errs, STR("spec.updateStrategy.type"), d->spec.update_strategy.type, types);
}

static void daemon_set_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    daemon_set(ctx, obj);
    immutable_selector(ctx, ((const struct apps_v1_daemon_set *)obj)->spec.selector, ((const struct apps_v1_daemon_set *)old)->spec.selector);
}

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

static int64_t template_generation(const struct meta_v1_object_meta *m)
{
    int64_t n = 0;
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq_c(m->annotations[i].key, TEMPLATE_GENERATION) && !str_to_i64(m->annotations[i].value, &n)) {
            n = 0;
        }
    }
    return n;
}

static void set_template_generation(struct kind_ctx *ctx, struct meta_v1_object_meta *m, int64_t n)
{
    struct meta_v1_object_meta holder = { .labels = m->annotations, .n_labels = m->n_annotations };
    kind_set_label(ctx, &holder, STR(TEMPLATE_GENERATION), arena_printf(ctx->arena, "%lld", (long long)n));
    m->annotations = holder.labels;
    m->n_annotations = holder.n_labels;
}

static void daemon_set_decoded(struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_daemon_set *d = obj;
    set_template_generation(ctx, &d->metadata, template_generation(&d->metadata));
    pod_spec_decoded(&d->spec.template.spec);
}

static void daemon_set_prepare_create(struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_daemon_set *d = obj;
    set_template_generation(ctx, &d->metadata, template_generation(&d->metadata) > 0 ? template_generation(&d->metadata) : 1);
}

static void daemon_set_prepare_update(struct kind_ctx *ctx, void *obj, const void *old_obj)
{
    struct apps_v1_daemon_set *d = obj;
    const struct apps_v1_daemon_set *old = old_obj;
    bool same = api_equal(&core_v1_pod_template_spec_type, &d->spec.template, &old->spec.template);
    set_template_generation(ctx, &d->metadata, template_generation(&old->metadata) + !same);
}

static void daemon_set_cells(struct kind_cells *c, const void *obj)
{
    const struct apps_v1_daemon_set *d = obj;
    cell_str(c, d->metadata.name);
    cell_int(c, d->status.desired_number_scheduled);
    cell_int(c, d->status.current_number_scheduled);
    cell_int(c, d->status.number_ready);
    cell_int(c, d->status.updated_number_scheduled);
    cell_int(c, d->status.number_available);
    cell_pairs(c, d->spec.template.spec.node_selector, d->spec.template.spec.n_node_selector);
    cell_age(c, d->metadata.creation_timestamp);
    cell_containers(c, &d->spec.template.spec);
    cell_selector(c, d->spec.selector);
}

const struct kind_ops apps_daemon_set_ops = {
    .group = STR_INIT("apps"), .resource = STR_INIT("daemonsets"), .flags = KIND_GENERATION, .validate_create = daemon_set,
    .decoded = daemon_set_decoded, .prepare_create = daemon_set_prepare_create, .prepare_update = daemon_set_prepare_update,
    .validate_update = daemon_set_update, .cells = daemon_set_cells,
};

/* ---- ControllerRevision ---- */

static void revision_cells(struct kind_cells *c, const void *obj)
{
    const struct apps_v1_controller_revision *r = obj;
    const struct meta_v1_owner_reference *owner = NULL;
    for (size_t i = 0; i < r->metadata.n_owner_references; i++) {
        if (r->metadata.owner_references[i].has_controller && r->metadata.owner_references[i].controller) {
            owner = &r->metadata.owner_references[i];
        }
    }
    cell_str(c, r->metadata.name);
    if (owner) {
        struct str group, version;
        bool grouped = str_cut(owner->api_version, '/', &group, &version);
        char *kind = arena_cstr(c->arena, owner->kind);
        for (size_t i = 0; kind && kind[i]; i++) {
            kind[i] = (char)(kind[i] >= 'A' && kind[i] <= 'Z' ? kind[i] + 32 : kind[i]);
        }
        cell_printf(c, "%s%s%.*s/%.*s", kind ? kind : "", grouped ? "." : "", grouped ? (int)group.len : 0, grouped ? group.ptr : "",
                    STR_ARG(owner->name));
    } else {
        cell_str(c, STR("<none>"));
    }
    cell_int(c, r->revision);
    cell_age(c, r->metadata.creation_timestamp);
}

const struct kind_ops apps_controller_revision_ops = {
    .group = STR_INIT("apps"), .resource = STR_INIT("controllerrevisions"), .cells = revision_cells,
};

/* ---- ReplicationController ---- */

static void rc(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_replication_controller *r = obj;
    struct selector s;
    rule_non_negative(ctx->errs, STR("spec.minReadySeconds"), r->spec.min_ready_seconds);
    if (r->spec.n_selector == 0) {
        field_required(ctx->errs, STR("spec.selector"), "%s", "");
    }
    rule_non_negative(ctx->errs, STR("spec.replicas"), r->spec.replicas);
    if (!r->spec.template) {
        field_required(ctx->errs, STR("spec.template"), "%s", "");
        return;
    }
    if (r->spec.n_selector > 0 && selector_from_pairs(ctx->arena, r->spec.selector, r->spec.n_selector, &s) &&
        !selector_matches(&s, r->spec.template->metadata.labels, r->spec.template->metadata.n_labels)) {
        field_invalid_json(ctx->errs, STR("spec.template.metadata.labels"),
                           rule_labels_json(ctx->arena, r->spec.template->metadata.labels, r->spec.template->metadata.n_labels),
                           "`selector` does not match template `labels`");
    }
    pod_template_validate(ctx, STR("spec.template"), r->spec.template, true);
}

static void rc_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    rc(ctx, obj);
}

static void rc_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_replication_controller *r = obj;
    cell_str(c, r->metadata.name);
    cell_int(c, r->spec.replicas);
    cell_int(c, r->status.replicas);
    cell_int(c, r->status.ready_replicas);
    cell_age(c, r->metadata.creation_timestamp);
    cell_containers(c, r->spec.template ? &r->spec.template->spec : NULL);
    cell_pairs(c, r->spec.selector, r->spec.n_selector);
}

static struct str rc_replicas(struct arena *a, const void *obj)
{
    return arena_printf(a, "%d", ((const struct core_v1_replication_controller *)obj)->status.replicas);
}

static const struct kind_field rc_fields[] = { { STR_INIT("status.replicas"), rc_replicas }, { STR_NULL, NULL } };

static void rc_decoded(struct kind_ctx *ctx, void *obj)
{
    struct core_v1_replication_controller *r = obj;
    (void)ctx;
    if (r->spec.template) {
        pod_spec_decoded(&r->spec.template->spec);
    }
}

const struct kind_ops core_replication_controller_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("replicationcontrollers"), .flags = KIND_GENERATION | KIND_GC_ORPHAN,
    .validate_create = rc, .validate_update = rc_update, .decoded = rc_decoded, .cells = rc_cells, .fields = rc_fields,
};
