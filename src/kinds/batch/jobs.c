/* Job and CronJob. */
#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/batch_v1.h"
#include "api/selector.h"
#include "kinds/batch/job-policies.h"
#include "kinds/core/pod-spec.h"
#include "kinds/rules.h"
#include "kinds/table.h"

enum { CRON_NAME_MAX = 52 };

static bool same_labels(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
    bool same = a->n_labels == b->n_labels;
    for (size_t i = 0; same && i < a->n_labels; i++) {
        same = str_eq(a->labels[i].key, b->labels[i].key) && str_eq(a->labels[i].value, b->labels[i].value);
    }
    return same;
}

/* A job selects its pods by its uid, unless its selector is managed by hand. The uid is given before these hooks run. */
static void job_prepare_create(struct kind_ctx *ctx, void *obj)
{
    struct batch_v1_job *j = obj;
    struct meta_v1_object_meta *t = &j->spec.template.metadata;
    if (j->spec.has_manual_selector && j->spec.manual_selector) {
        return;
    }
    /* Labels left out are the template's by default, those that are added here too. */
    bool labels_are_the_templates = same_labels(&j->metadata, t);
    /* Labels sorted: batch.kubernetes.io/controller-uid, batch.kubernetes.io/job-name, controller-uid, job-name. */
    kind_set_label(ctx, t, STR("batch.kubernetes.io/job-name"), j->metadata.name);
    kind_set_label(ctx, t, STR("batch.kubernetes.io/controller-uid"), j->metadata.uid);
    kind_set_label(ctx, t, STR("controller-uid"), j->metadata.uid);
    kind_set_label(ctx, t, STR("job-name"), j->metadata.name);
    if (!j->spec.selector) {
        j->spec.selector = arena_new(ctx->arena, struct meta_v1_label_selector);
    }
    if (j->spec.selector) {
        struct meta_v1_object_meta holder = { .labels = j->spec.selector->match_labels, .n_labels = j->spec.selector->n_match_labels };
        kind_set_label(ctx, &holder, STR("batch.kubernetes.io/controller-uid"), j->metadata.uid);
        j->spec.selector->match_labels = holder.labels;
        j->spec.selector->n_match_labels = holder.n_labels;
    }
    if (labels_are_the_templates && j->metadata.n_labels > 0) {
        j->metadata.labels = t->labels;
        j->metadata.n_labels = t->n_labels;
    }
}

static void job_read_back(void *obj)
{
    struct batch_v1_job *j = obj;
    if (j->metadata.n_labels == 0) {
        j->metadata.labels = j->spec.template.metadata.labels;
        j->metadata.n_labels = j->spec.template.metadata.n_labels;
    }
}

static void job_spec(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
#define AT(name) path_child(ctx->arena, path, name)
    static const struct str modes[] = { STR_INIT("NonIndexed"), STR_INIT("Indexed"), STR_NULL };
    if (s->has_parallelism) {
        rule_non_negative(ctx->errs, AT("parallelism"), s->parallelism);
    }
    if (s->has_completions) {
        rule_non_negative(ctx->errs, AT("completions"), s->completions);
    }
    if (s->has_active_deadline_seconds) {
        rule_non_negative(ctx->errs, AT("activeDeadlineSeconds"), s->active_deadline_seconds);
    }
    if (s->has_backoff_limit) {
        rule_non_negative(ctx->errs, AT("backoffLimit"), s->backoff_limit);
    }
    if (s->has_ttl_seconds_after_finished) {
        rule_non_negative(ctx->errs, AT("ttlSecondsAfterFinished"), s->ttl_seconds_after_finished);
    }
    if (!str_empty(s->completion_mode)) {
        (void)rule_enum(ctx->errs, AT("completionMode"), s->completion_mode, modes);
        if (str_eq_c(s->completion_mode, "Indexed") && !s->has_completions && ctx->errs->n == 0) {
            field_required(ctx->errs, AT("completions"), "when completion mode is Indexed");
        }
    }
    job_policies_validate(ctx, path, s);
    pod_template_validate(ctx, AT("template"), &s->template, false);
    struct str policy = s->template.spec.restart_policy, at = field_path(ctx->arena, "%.*s.template.spec.restartPolicy", STR_ARG(path));
    if (str_eq_c(policy, "Always") || str_empty(policy)) {
        field_required(ctx->errs, at, "valid values: \"OnFailure\", \"Never\"");
    }
#undef AT
}

static void job(struct kind_ctx *ctx, const void *obj)
{
    const struct batch_v1_job *j = obj;
    if (!(j->spec.has_manual_selector && j->spec.manual_selector) && j->spec.selector &&
        (j->spec.selector->n_match_labels != 1 || j->spec.selector->n_match_expressions > 0)) {
        field_invalid_json(ctx->errs, STR("spec.selector"), rule_json(ctx->arena, &meta_v1_label_selector_type, j->spec.selector),
                           "`selector` not auto-generated");
    }
    struct selector sel;
    struct err err;
    const struct meta_v1_object_meta *t = &j->spec.template.metadata;
    if (j->spec.selector && selector_from_label_selector(ctx->arena, j->spec.selector, &sel, &err) &&
        !selector_matches(&sel, t->labels, t->n_labels)) {
        field_invalid_json(ctx->errs, STR("spec.template.metadata.labels"), rule_labels_json(ctx->arena, t->labels, t->n_labels),
                           "`selector` does not match template `labels`");
    }
    job_spec(ctx, STR("spec"), &j->spec);
}

static bool condition_is(const struct batch_v1_job *j, const char *type)
{
    for (size_t i = 0; i < j->status.n_conditions; i++) {
        if (str_eq_c(j->status.conditions[i].type, type)) {
            return str_eq_c(j->status.conditions[i].status, "True");
        }
    }
    return false;
}

/* Completions of an indexed Job follow its parallelism, else they stay ("Elastic Indexed Jobs"). */
static void completions_update(struct kind_ctx *ctx, const struct batch_v1_job_spec *s, const struct batch_v1_job_spec *old)
{
    bool same = s->has_completions == old->has_completions && s->completions == old->completions;
    if (same) {
        return;
    }
    if (!str_eq_c(s->completion_mode, "Indexed")) {
        field_invalid_int(ctx->errs, STR("spec.completions"), s->completions, "field is immutable");
    } else if (!s->has_parallelism || s->parallelism != s->completions) {
        field_invalid_int(ctx->errs, STR("spec.completions"), s->completions, "can only be modified in tandem with spec.parallelism");
    }
}

static void copy_resources(struct core_v1_container *to, size_t n, const struct core_v1_container *from, size_t n_from)
{
    for (size_t i = 0; i < n && i < n_from; i++) {
        to[i].resources = from[i].resources;
    }
}

/* The old template with what a suspended Job that has no pods may change: where its pods may go, what they ask for, their labels
 * ("Mutable Scheduling Directives", KEP-2926; KEP-5440). False past the budget. */
static bool with_mutable(struct kind_ctx *ctx, const struct core_v1_pod_template_spec *new, const struct core_v1_pod_template_spec *old,
                         struct core_v1_pod_template_spec *ret)
{
    if (!api_copy_into(ctx->arena, &core_v1_pod_template_spec_type, old, ret, false)) {
        return false;
    }
    ret->metadata.labels = new->metadata.labels;
    ret->metadata.n_labels = new->metadata.n_labels;
    ret->metadata.annotations = new->metadata.annotations;
    ret->metadata.n_annotations = new->metadata.n_annotations;
    ret->spec.node_selector = new->spec.node_selector;
    ret->spec.n_node_selector = new->spec.n_node_selector;
    ret->spec.tolerations = new->spec.tolerations;
    ret->spec.n_tolerations = new->spec.n_tolerations;
    ret->spec.scheduling_gates = new->spec.scheduling_gates;
    ret->spec.n_scheduling_gates = new->spec.n_scheduling_gates;
    if (new->spec.affinity && !ret->spec.affinity) {
        ret->spec.affinity = arena_new(ctx->arena, struct core_v1_affinity);
        if (!ret->spec.affinity) {
            return false;
        }
    }
    if (ret->spec.affinity) {
        ret->spec.affinity->node_affinity = new->spec.affinity ? new->spec.affinity->node_affinity : NULL;
        if (!new->spec.affinity && !ret->spec.affinity->pod_affinity && !ret->spec.affinity->pod_anti_affinity) {
            ret->spec.affinity = NULL;
        }
    }
    copy_resources(ret->spec.containers, ret->spec.n_containers, new->spec.containers, new->spec.n_containers);
    copy_resources(ret->spec.init_containers, ret->spec.n_init_containers, new->spec.init_containers, new->spec.n_init_containers);
    return true;
}

static void stays(struct kind_ctx *ctx, struct str path, const struct api_type *type, const void *now, const void *was)
{
    if (!now && was) {
        field_invalid_json(ctx->errs, path, STR("null"), "field is immutable");
    } else if (now) {
        rule_immutable(ctx->errs, path, was && api_equal(type, now, was), type, now);
    }
}

static void job_update(struct kind_ctx *ctx, const void *obj, const void *old_obj)
{
    const struct batch_v1_job *j = obj, *old = old_obj;
    const struct batch_v1_job_spec *s = &j->spec, *was = &old->spec;
    bool rests = was->has_suspend && was->suspend &&
                 (!old->status.start_time.set || (condition_is(old, "Suspended") && old->status.active == 0));
    struct core_v1_pod_template_spec allowed = was->template;
    job_policies_validate(ctx, STR("spec"), s);
    completions_update(ctx, s, was);
    stays(ctx, STR("spec.selector"), &meta_v1_label_selector_type, s->selector, was->selector);
    if (rests && !with_mutable(ctx, &s->template, &was->template, &allowed)) {
        field_internal(ctx->errs, STR("spec.template"), "the template is too large");
        return;
    }
    rule_immutable(ctx->errs, STR("spec.template"), api_equal(&core_v1_pod_template_spec_type, &s->template, &allowed),
                   &core_v1_pod_template_spec_type, &s->template);
    rule_immutable_str(ctx->errs, STR("spec.completionMode"), s->completion_mode, was->completion_mode);
    stays(ctx, STR("spec.podFailurePolicy"), &batch_v1_pod_failure_policy_type, s->pod_failure_policy, was->pod_failure_policy);
    stays(ctx, STR("spec.successPolicy"), &batch_v1_success_policy_type, s->success_policy, was->success_policy);
    if (s->has_backoff_limit_per_index != was->has_backoff_limit_per_index || s->backoff_limit_per_index != was->backoff_limit_per_index) {
        field_invalid_int(ctx->errs, STR("spec.backoffLimitPerIndex"), s->backoff_limit_per_index, "field is immutable");
    }
    rule_immutable_str(ctx->errs, STR("spec.managedBy"), s->managed_by, was->managed_by);
}

static void job_cells(struct kind_cells *c, const void *obj)
{
    const struct batch_v1_job *j = obj;
    cell_str(c, j->metadata.name);
    if (condition_is(j, "Complete")) {
        cell_str(c, STR("Complete"));
    } else if (condition_is(j, "Failed")) {
        cell_str(c, STR("Failed"));
    } else if (j->metadata.deletion_timestamp.set) {
        cell_str(c, STR("Terminating"));
    } else if (condition_is(j, "Suspended")) {
        cell_str(c, STR("Suspended"));
    } else if (condition_is(j, "FailureTarget")) {
        cell_str(c, STR("FailureTarget"));
    } else if (condition_is(j, "SuccessCriteriaMet")) {
        cell_str(c, STR("SuccessCriteriaMet"));
    } else {
        cell_str(c, STR("Running"));
    }
    int32_t parallelism = j->spec.has_parallelism ? j->spec.parallelism : 0;
    if (j->spec.has_completions) {
        cell_printf(c, "%d/%d", j->status.succeeded, j->spec.completions);
    } else if (parallelism > 1) {
        cell_printf(c, "%d/1 of %d", j->status.succeeded, parallelism);
    } else {
        cell_printf(c, "%d/1", j->status.succeeded);
    }
    if (!j->status.start_time.set) {
        cell_str(c, STR_EMPTY);
    } else {
        int64_t end = j->status.completion_time.set ? j->status.completion_time.sec : c->now_sec;
        cell_str(c, kind_duration_text(c->arena, end - j->status.start_time.sec));
    }
    cell_age(c, j->metadata.creation_timestamp);
    cell_containers(c, &j->spec.template.spec);
    cell_selector(c, j->spec.selector);
}

static struct str field_successful(struct arena *a, const void *obj)
{
    return arena_printf(a, "%d", ((const struct batch_v1_job *)obj)->status.succeeded);
}

static const struct kind_field job_fields[] = { { STR_INIT("status.successful"), field_successful }, { STR_NULL, NULL } };

static void job_decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct batch_v1_job *)obj)->spec.template.spec);
}

const struct kind_ops batch_job_ops = {
    .group = STR_INIT("batch"), .resource = STR_INIT("jobs"), .flags = KIND_GENERATION | KIND_GC_ORPHAN, .prepare_create = job_prepare_create,
    .validate_create = job, .validate_update = job_update, .decoded = job_decoded, .read_back = job_read_back, .cells = job_cells, .fields = job_fields,
};

/* ---- CronJob ---- */

static void schedule(struct kind_ctx *ctx, struct str s)
{
    struct str path = STR("spec.schedule"), rest = s, word;
    size_t n = 0;
    struct str list = STR_EMPTY;
    if (str_empty(s)) {
        field_required(ctx->errs, path, "%s", "");
        return;
    }
    if (str_find(s, STR("TZ")) >= 0) {
        field_invalid_str(ctx->errs, path, s, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        return;
    }
    if (s.ptr[0] == '@') {
        return;
    }
    while (str_split(&rest, ' ', &word)) {
        if (!str_empty(word)) {
            list = arena_printf(ctx->arena, "%.*s%s%.*s", STR_ARG(list), n++ ? " " : "", STR_ARG(word));
        }
    }
    if (n != 5) {
        field_invalid_str(ctx->errs, path, s, "expected exactly 5 fields, found %zu: [%.*s]", n, STR_ARG(list));
    }
}

static bool zone_exists(struct str zone)
{
    char path[300];
    int n = snprintf(path, sizeof(path), "/usr/share/zoneinfo/%.*s", STR_ARG(zone));
    FILE *f = n > 0 && (size_t)n < sizeof(path) && str_find(zone, STR("..")) < 0 ? fopen(path, "re") : NULL;
    if (f) {
        (void)fclose(f);
    }
    return f != NULL;
}

static void cron_job(struct kind_ctx *ctx, const void *obj)
{
    static const struct str policies[] = { STR_INIT("Allow"), STR_INIT("Forbid"), STR_INIT("Replace"), STR_NULL };
    const struct batch_v1_cron_job *j = obj;
    if (j->metadata.name.len > CRON_NAME_MAX) {
        field_invalid_str(ctx->errs, STR("metadata.name"), j->metadata.name, "must be no more than 52 characters");
    }
    schedule(ctx, j->spec.schedule);
    if (j->spec.time_zone.ptr && !zone_exists(j->spec.time_zone)) {
        field_invalid_str(ctx->errs, STR("spec.timeZone"), j->spec.time_zone, "unknown time zone %.*s", STR_ARG(j->spec.time_zone));
    }
    if (j->spec.has_starting_deadline_seconds) {
        rule_non_negative(ctx->errs, STR("spec.startingDeadlineSeconds"), j->spec.starting_deadline_seconds);
    }
    (void)rule_enum(ctx->errs, STR("spec.concurrencyPolicy"), j->spec.concurrency_policy, policies);
    job_spec(ctx, STR("spec.jobTemplate.spec"), &j->spec.job_template.spec);
}

static void cron_job_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    cron_job(ctx, obj);
}

static void cron_job_cells(struct kind_cells *c, const void *obj)
{
    const struct batch_v1_cron_job *j = obj;
    cell_str(c, j->metadata.name);
    cell_str(c, j->spec.schedule);
    cell_str(c, j->spec.time_zone.ptr ? j->spec.time_zone : STR("<none>"));
    cell_str(c, !j->spec.has_suspend ? STR("<unset>") : j->spec.suspend ? STR("True") : STR("False"));
    cell_int(c, (int64_t)j->status.n_active);
    if (j->status.last_schedule_time.set) {
        cell_age(c, j->status.last_schedule_time);
    } else {
        cell_str(c, STR("<none>"));
    }
    cell_age(c, j->metadata.creation_timestamp);
    cell_containers(c, &j->spec.job_template.spec.template.spec);
    cell_selector(c, j->spec.job_template.spec.selector);
}

static void cron_job_decoded(struct kind_ctx *ctx, void *obj)
{
    (void)ctx;
    pod_spec_decoded(&((struct batch_v1_cron_job *)obj)->spec.job_template.spec.template.spec);
}

const struct kind_ops batch_cron_job_ops = {
    .group = STR_INIT("batch"), .resource = STR_INIT("cronjobs"), .flags = KIND_GENERATION, .validate_create = cron_job,
    .validate_update = cron_job_update, .decoded = cron_job_decoded, .cells = cron_job_cells,
};
