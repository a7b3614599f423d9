#include "api/default-rules.h"
#include "api/gen/apps_v1.h"
#include "api/gen/autoscaling_v2.h"
#include "api/gen/batch_v1.h"

static void default_ios(struct api_int_or_string *v, struct api_int_or_string value)
{
    if (v->kind == API_IOS_UNSET) {
        *v = value;
    }
}

bool default_deployment_strategy(struct defaulting *d, void *obj)
{
    struct apps_v1_deployment_strategy *s = obj;
    const struct api_int_or_string quarter = { .kind = API_IOS_STRING, .s = STR("25%") };

    default_str(&s->type, STR("RollingUpdate"));
    if (!str_eq(s->type, STR("RollingUpdate"))) {
        return true;
    }
    if (!DEFAULT_NEW(d, s->rolling_update)) {
        return false;
    }
    default_ios(&s->rolling_update->max_unavailable, quarter);
    default_ios(&s->rolling_update->max_surge, quarter);
    return true;
}

bool default_daemon_set_update_strategy(struct defaulting *d, void *obj)
{
    struct apps_v1_daemon_set_update_strategy *s = obj;

    default_str(&s->type, STR("RollingUpdate"));
    if (!str_eq(s->type, STR("RollingUpdate"))) {
        return true;
    }
    if (!DEFAULT_NEW(d, s->rolling_update)) {
        return false;
    }
    default_ios(&s->rolling_update->max_unavailable, (struct api_int_or_string){ .kind = API_IOS_INT, .i = 1 });
    default_ios(&s->rolling_update->max_surge, (struct api_int_or_string){ .kind = API_IOS_INT, .i = 0 });
    return true;
}

bool default_stateful_set_update_strategy(struct defaulting *d, void *obj)
{
    struct apps_v1_stateful_set_update_strategy *s = obj;

    return s->type.len > 0 || DEFAULT_NEW(d, s->rolling_update) != NULL;
}

bool default_stateful_set_rolling_update(struct defaulting *d, void *obj)
{
    struct apps_v1_rolling_update_stateful_set_strategy *s = obj;

    if (default_gate(d, STR("MaxUnavailableStatefulSet"))) {
        default_ios(&s->max_unavailable, (struct api_int_or_string){ .kind = API_IOS_INT, .i = 1 });
    }
    return true;
}

/* The spec's defaults belong to a Job alone: the template in a CronJob keeps what it was given. */
bool default_job(struct defaulting *d UNUSED, void *obj)
{
    struct batch_v1_job *j = obj;
    struct batch_v1_job_spec *s = &j->spec;

    if (j->metadata.n_labels == 0) {
        j->metadata.labels = s->template.metadata.labels;
        j->metadata.n_labels = s->template.metadata.n_labels;
    }
    if (!s->has_completions && !s->has_parallelism) {
        s->has_completions = true;
        s->completions = 1;
    }
    if (!s->has_parallelism) {
        s->has_parallelism = true;
        s->parallelism = 1;
    }
    if (!s->has_backoff_limit) {
        s->has_backoff_limit = true;
        s->backoff_limit = s->has_backoff_limit_per_index ? INT32_MAX : 6;
    }
    if (!s->completion_mode.ptr) {
        s->completion_mode = STR("NonIndexed");
    }
    s->has_suspend = true;
    s->has_manual_selector = true;
    if (!s->pod_replacement_policy.ptr) {
        s->pod_replacement_policy = s->pod_failure_policy ? STR("Failed") : STR("TerminatingOrFailed");
    }
    return true;
}

/* ---- autoscaling ---- */

bool default_hpa_spec(struct defaulting *d, void *obj)
{
    struct autoscaling_v2_horizontal_pod_autoscaler_spec *s = obj;
    struct autoscaling_v2_metric_target *t;

    if (s->n_metrics > 0) {
        return true;
    }
    s->metrics = arena_new(d->arena, struct autoscaling_v2_metric_spec);
    if (!s->metrics || !DEFAULT_NEW(d, s->metrics[0].resource)) {
        return false;
    }
    s->n_metrics = 1;
    s->metrics[0].type = STR("Resource");
    s->metrics[0].resource->name = STR("cpu");
    t = &s->metrics[0].resource->target;
    t->type = STR("Utilization");
    t->has_average_utilization = true;
    t->average_utilization = 80;
    return true;
}

static bool scaling_rules(struct defaulting *d, struct autoscaling_v2_hpa_scaling_rules **rules, bool up)
{
    struct autoscaling_v2_hpa_scaling_rules *r = DEFAULT_NEW(d, *rules);
    const struct autoscaling_v2_hpa_scaling_policy pods = { .type = STR("Pods"), .value = 4, .period_seconds = 15 };
    const struct autoscaling_v2_hpa_scaling_policy percent = { .type = STR("Percent"), .value = 100, .period_seconds = 15 };

    if (!r) {
        return false;
    }
    if (up && !r->has_stabilization_window_seconds) {
        r->has_stabilization_window_seconds = true;
        r->stabilization_window_seconds = 0;
    }
    if (!r->select_policy.ptr) {
        r->select_policy = STR("Max");
    }
    if (r->policies) {
        return true;
    }
    r->policies = arena_new_n(d->arena, struct autoscaling_v2_hpa_scaling_policy, 2);
    if (!r->policies) {
        return false;
    }
    if (up) {
        r->policies[r->n_policies++] = pods;
    }
    r->policies[r->n_policies++] = percent;
    return true;
}

bool default_hpa_behavior(struct defaulting *d, void *obj)
{
    struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b = obj;

    return scaling_rules(d, &b->scale_up, true) && scaling_rules(d, &b->scale_down, false);
}
