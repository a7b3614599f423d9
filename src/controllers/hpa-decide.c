#include "controllers/hpa-decide.h"

#include <stdlib.h>

#include "api/decode-json.h"
#include "api/quantity.h"
#include "api/selector.h"

static const char *const condition_types[HPA_CONDITIONS] = { "AbleToScale", "ScalingActive", "ScalingLimited" };

/* ---- the scale ---- */

bool hpa_read_scale(struct arena *a, struct hpa_inputs *in)
{
    struct err err;
    in->scale = (struct autoscaling_v1_scale){ .kind = STR_NULL };
    if (!api_decode_json(a, &autoscaling_v1_scale_type, in->scale_answer.body, NULL, &in->scale, &err)) {
        in->scale_answer.error = arena_printf(a, "%s", err.msg);
        return false;
    }
    return true;
}

static int32_t min_of(const hpa_t *h)
{
    return h->spec.has_min_replicas ? h->spec.min_replicas : 1;
}

/* Where the number alone decides: 0 is off, and outside of the bounds it goes to them. */
static bool is_in_bounds(const struct hpa_inputs *in)
{
    int32_t n = in->scale.spec.replicas;
    return !(n == 0 && min_of(in->hpa) != 0) && n <= in->hpa->spec.max_replicas && n >= min_of(in->hpa);
}

bool hpa_needs_metrics(const struct hpa_inputs *in)
{
    return is_in_bounds(in) && in->scale.status.selector.len > 0;
}

/* ---- telling ---- */

static void tell(struct hpa_outcome *o, enum hpa_condition_type type, const char *status, const char *reason, struct str message)
{
    o->conditions[type] = (struct hpa_condition){ status, reason, message };
}

static void event(struct hpa_outcome *o, const char *type, const char *reason, struct str message)
{
    if (o->n_events < ARRAY_SIZE(o->events)) {
        o->events[o->n_events++] = (struct hpa_event){ type, reason, message };
    }
}

/* ---- the metrics ---- */

static struct hpa_tuning tuning_of(const struct hpa_inputs *in)
{
    const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b = in->hpa->spec.behavior;
    struct hpa_tuning t = in->tuning;
    if (b && b->scale_up && b->scale_up->tolerance.len) {
        t.up = (double)quantity_milli(quantity_of(b->scale_up->tolerance)) / 1000;
    }
    if (b && b->scale_down && b->scale_down->tolerance.len) {
        t.down = (double)quantity_milli(quantity_of(b->scale_down->tolerance)) / 1000;
    }
    return t;
}

/* The highest of what the metrics propose. -1: they cannot say, or, some being mute, only that it should be less. */
static int32_t ask_all(struct arena *a, const struct hpa_inputs *in, struct hpa_outcome *o, struct str *ret_name)
{
    int32_t most = -1;
    size_t n_mute = 0;
    struct hpa_proposal first = { .ok = true };
    o->metrics = arena_new_n(a, metric_status_t, in->n_metrics);
    if (!o->metrics) {
        abort();
    }
    for (size_t i = 0; i < in->n_metrics; i++) {
        struct hpa_question q = { .a = a,
                                  .ns = in->hpa->metadata.namespace,
                                  .selector = in->scale.status.selector,
                                  .metric = &in->hpa->spec.metrics[i],
                                  .pods = &in->pods,
                                  .answer = &in->answers[i],
                                  .tuning = tuning_of(in),
                                  .spec_replicas = in->scale.spec.replicas,
                                  .status_replicas = in->scale.status.replicas };
        struct hpa_proposal p;
        hpa_ask_metric(&q, &p);
        if (p.ok) {
            o->metrics[o->n_metrics++] = p.status;
            if (p.replicas > most) {
                most = p.replicas;
                *ret_name = p.name;
            }
            continue;
        }
        event(o, "Warning", p.reason, p.cause);
        if (n_mute++ == 0) {
            first = p;
        }
    }
    if (n_mute > 0 && (n_mute == in->n_metrics || most < in->scale.spec.replicas)) {
        tell(o, HPA_SCALING_ACTIVE, "False", first.reason,
             arena_printf(a, "the HPA was unable to compute the replica count: %.*s", STR_ARG(first.cause)));
        event(o, "Warning", "FailedComputeMetricsReplicas",
              arena_printf(a, "invalid metrics (%zu invalid out of %zu), first error is: %.*s", n_mute, in->n_metrics, STR_ARG(first.error)));
        return -1;
    }
    tell(o, HPA_SCALING_ACTIVE, "True", "ValidMetricFound",
         arena_printf(a, "the HPA was able to successfully calculate a replica count from %.*s", STR_ARG(*ret_name)));
    return most;
}

/* ---- the decision ---- */

static void decide_by_metrics(struct arena *a, const struct hpa_inputs *in, struct hpa_memory *m, struct hpa_outcome *o)
{
    struct hpa_bounds bounds = { .min = min_of(in->hpa), .max = in->hpa->spec.max_replicas, .behavior = in->hpa->spec.behavior,
                                 .down_window_s = in->down_window_s, .now_s = in->now_s };
    struct str name = STR_EMPTY;
    struct hpa_told told;
    struct selector selector;
    if (!in->scale.status.selector.len || !selector_parse(a, in->scale.status.selector, &selector, NULL)) {
        bool missing = !in->scale.status.selector.len;
        tell(o, HPA_SCALING_ACTIVE, "False", "InvalidSelector",
             missing ? STR("the HPA target's scale is missing a selector") : STR("couldn't convert selector into a corresponding internal selector object"));
        event(o, "Warning", missing ? "SelectorRequired" : "InvalidSelector", missing ? STR("selector is required") : in->scale.status.selector);
        return;
    }
    int32_t wanted = ask_all(a, in, o, &name);
    if (wanted < 0) {
        return;
    }
    o->why = wanted > o->current ? arena_printf(a, "%.*s above target", STR_ARG(name)) : STR("All metrics below target");
    o->desired = hpa_normalize(m, &bounds, o->current, wanted, &told);
    tell(o, HPA_ABLE_TO_SCALE, "True", told.able_reason, str_c(told.able_message));
    tell(o, HPA_SCALING_LIMITED, told.limited ? "True" : "False", told.limit_reason, str_c(told.limit_message));
    o->rescale = o->desired != o->current;
}

void hpa_decide(struct arena *a, const struct hpa_inputs *in, struct hpa_memory *m, struct hpa_outcome *o)
{
    *o = (struct hpa_outcome){ .known = !in->scale_answer.error.ptr };
    if (!o->known) {
        tell(o, HPA_ABLE_TO_SCALE, "False", "FailedGetScale",
             arena_printf(a, "the HPA controller was unable to get the target's current scale: %.*s", STR_ARG(in->scale_answer.error)));
        event(o, "Warning", "FailedGetScale", in->scale_answer.error);
        return;
    }
    tell(o, HPA_ABLE_TO_SCALE, "True", "SucceededGetScale", STR("the HPA controller was able to get the target's current scale"));
    o->current = o->desired = in->scale.spec.replicas;
    hpa_memory_begin(m, in->now_s, o->current);
    if (o->current == 0 && min_of(in->hpa) != 0) {
        tell(o, HPA_SCALING_ACTIVE, "False", "ScalingDisabled", STR("scaling is disabled since the replica count of the target is zero"));
    } else if (o->current > in->hpa->spec.max_replicas) {
        o->desired = in->hpa->spec.max_replicas;
        o->why = STR("Current number of replicas above Spec.MaxReplicas");
        o->rescale = true;
    } else if (o->current < min_of(in->hpa)) {
        o->desired = min_of(in->hpa);
        o->why = STR("Current number of replicas below Spec.MinReplicas");
        o->rescale = true;
    } else {
        decide_by_metrics(a, in, m, o);
    }
}

void hpa_scaled(struct arena *a, const struct hpa_inputs *in, struct hpa_memory *m, const struct hpa_answer *answer, struct hpa_outcome *o)
{
    struct hpa_bounds bounds = { .now_s = in->now_s };
    if (answer->error.ptr) {
        tell(o, HPA_ABLE_TO_SCALE, "False", "FailedUpdateScale",
             arena_printf(a, "the HPA controller was unable to update the target scale: %.*s", STR_ARG(answer->error)));
        event(o, "Warning", "FailedRescale",
              arena_printf(a, "New size: %d; reason: %.*s; error: %.*s", o->desired, STR_ARG(o->why), STR_ARG(answer->error)));
        o->desired = o->current;
        return;
    }
    hpa_memory_scaled(m, &bounds, o->current, o->desired);
    tell(o, HPA_ABLE_TO_SCALE, "True", "SucceededRescale",
         arena_printf(a, "the HPA controller was able to update the target scale to %d", o->desired));
    event(o, "Normal", "SuccessfulRescale", arena_printf(a, "New size: %d; reason: %.*s", o->desired, STR_ARG(o->why)));
    o->scaled = true;
}

/* ---- status ---- */

static void set_condition(struct autoscaling_v2_horizontal_pod_autoscaler_status *st, struct arena *a, int64_t now_s, const char *type,
                          const struct hpa_condition *c)
{
    typedef struct autoscaling_v2_horizontal_pod_autoscaler_condition condition_t;
    condition_t *all = arena_new_n(a, condition_t, st->n_conditions + 1);
    size_t at = 0;
    if (!all) {
        abort();
    }
    if (st->n_conditions) {
        memcpy(all, st->conditions, st->n_conditions * sizeof(*all));
    }
    while (at < st->n_conditions && !str_eq_c(all[at].type, type)) {
        at++;
    }
    if (at == st->n_conditions || !str_eq_c(all[at].status, c->status)) {
        all[at].last_transition_time = (struct api_time){ .sec = now_s, .set = true };
    }
    all[at].type = str_c(type);
    all[at].status = str_c(c->status);
    all[at].reason = str_c(c->reason);
    all[at].message = c->message;
    st->n_conditions = MAX(st->n_conditions, at + 1);
    st->conditions = all;
}

void hpa_status(const struct hpa_outcome *o, struct arena *a, int64_t now_s, hpa_t *hpa)
{
    struct autoscaling_v2_horizontal_pod_autoscaler_status *st = &hpa->status;
    for (size_t i = 0; i < HPA_CONDITIONS; i++) {
        if (o->conditions[i].status) {
            set_condition(st, a, now_s, condition_types[i], &o->conditions[i]);
        }
    }
    if (!o->known) {
        return;
    }
    st->current_replicas = o->current;
    st->desired_replicas = o->desired;
    st->current_metrics = o->n_metrics ? o->metrics : NULL;
    st->n_current_metrics = o->n_metrics;
    if (o->scaled) {
        st->last_scale_time = (struct api_time){ .sec = now_s, .set = true };
    }
}
