/*
 * HorizontalPodAutoscaler: autoscaling/v2 is the hub. In v1 only the CPU target has a field; other metrics and the behaviour
 * travel in annotations, so that a client of v1 loses nothing it does not understand.
 */
#include "api/copy.h"
#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/autoscaling_v1.h"
#include "api/gen/autoscaling_v2.h"
#include "kinds/rules.h"
#include "kinds/table.h"

#define ANNOTATION_METRICS STR("autoscaling.alpha.kubernetes.io/metrics")
#define ANNOTATION_BEHAVIOR STR("autoscaling.alpha.kubernetes.io/behavior")

typedef struct autoscaling_v1_horizontal_pod_autoscaler v1_hpa;
typedef struct autoscaling_v2_horizontal_pod_autoscaler v2_hpa;

static void reference_to_v2(const struct autoscaling_v1_cross_version_object_reference *in,
                            struct autoscaling_v2_cross_version_object_reference *out)
{
    out->kind = in->kind;
    out->name = in->name;
    out->api_version = in->api_version;
}

static void reference_to_v1(const struct autoscaling_v2_cross_version_object_reference *in,
                            struct autoscaling_v1_cross_version_object_reference *out)
{
    out->kind = in->kind;
    out->name = in->name;
    out->api_version = in->api_version;
}

/* An annotation taken out of the copied metadata; absent when there is none. */
static struct str take_annotation(struct arena *a, struct meta_v1_object_meta *m, struct str key)
{
    for (size_t i = 0; i < m->n_annotations; i++) {
        if (str_eq(m->annotations[i].key, key)) {
            struct str value = m->annotations[i].value;
            struct api_str_pair *kept = arena_new_n(a, struct api_str_pair, m->n_annotations);
            if (!kept) {
                return STR_NULL;
            }
            memcpy(kept, m->annotations, i * sizeof(*kept));
            memcpy(kept + i, m->annotations + i + 1, (m->n_annotations - i - 1) * sizeof(*kept));
            m->n_annotations--;
            m->annotations = m->n_annotations ? kept : NULL;
            return value;
        }
    }
    return STR_NULL;
}

static bool put_annotation(struct arena *a, struct meta_v1_object_meta *m, struct str key, struct str value)
{
    struct api_str_pair *grown = arena_new_n(a, struct api_str_pair, m->n_annotations + 1);
    size_t at = 0;
    if (!grown || !value.ptr) {
        return false;
    }
    while (at < m->n_annotations && str_cmp(m->annotations[at].key, key) < 0) {
        grown[at] = m->annotations[at];
        at++;
    }
    grown[at] = (struct api_str_pair){ key, value };
    for (size_t i = at; i < m->n_annotations; i++) {
        grown[i + 1] = m->annotations[i];
    }
    m->annotations = grown;
    m->n_annotations++;
    return true;
}

static bool is_cpu_utilization(const struct autoscaling_v2_metric_spec *m)
{
    return str_eq_c(m->type, "Resource") && m->resource && str_eq_c(m->resource->name, "cpu") && m->resource->target.has_average_utilization;
}

/* The other metrics as JSON, in a list; absent without any. */
static struct str metrics_json(struct arena *a, const v2_hpa *h, size_t cpu)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    for (size_t i = 0; i < h->spec.n_metrics; i++) {
        if (i == cpu) {
            continue;
        }
        buf_append_char(&b, b.len ? ',' : '[');
        if (!api_encode_json(&b, &autoscaling_v2_metric_spec_type, &h->spec.metrics[i], NULL, NULL)) {
            return STR_NULL;
        }
    }
    if (b.len == 0) {
        return STR_NULL;
    }
    buf_append_char(&b, ']');
    return arena_str(a, buf_str(&b));
}

static bool read_metrics(struct arena *a, struct str text, struct autoscaling_v2_metric_spec **list, size_t *n)
{
    struct json_reader r;
    struct err err;
    int more;
    json_reader_init(&r, text, a, JSON_DEPTH, &err);
    if (!json_array_begin(&r)) {
        return true; /* not ours to understand: it is dropped */
    }
    while ((more = json_array_next(&r)) > 0) {
        struct autoscaling_v2_metric_spec *grown = arena_grow_n(a, *list, *n, *n + 1, sizeof(*grown));
        if (!grown) {
            return false;
        }
        *list = grown;
        memset(&grown[*n], 0, sizeof(*grown));
        if (!api_read_json(&r, &autoscaling_v2_metric_spec_type, NULL, &grown[*n])) {
            return true;
        }
        (*n)++;
    }
    return true;
}

enum { DEFAULT_CPU_UTILIZATION = 80 };

static bool to_hub(struct arena *a, const void *obj, void *ret)
{
    const v1_hpa *in = obj;
    v2_hpa *out = ret;
    struct err err;
    out->metadata = in->metadata;
    struct str metrics = take_annotation(a, &out->metadata, ANNOTATION_METRICS), behavior = take_annotation(a, &out->metadata, ANNOTATION_BEHAVIOR);
    reference_to_v2(&in->spec.scale_target_ref, &out->spec.scale_target_ref);
    out->spec.min_replicas = in->spec.min_replicas;
    out->spec.has_min_replicas = in->spec.has_min_replicas;
    out->spec.max_replicas = in->spec.max_replicas;
    if (metrics.ptr && !read_metrics(a, metrics, &out->spec.metrics, &out->spec.n_metrics)) {
        return false;
    }
    int32_t target = in->spec.target_cpu_utilization_percentage;
    if (!in->spec.has_target_cpu_utilization_percentage && out->spec.n_metrics == 0) {
        target = DEFAULT_CPU_UTILIZATION;
    }
    if (in->spec.has_target_cpu_utilization_percentage || out->spec.n_metrics == 0) {
        struct autoscaling_v2_metric_spec *grown = arena_grow_n(a, out->spec.metrics, out->spec.n_metrics, out->spec.n_metrics + 1, sizeof(*grown));
        struct autoscaling_v2_resource_metric_source *cpu = arena_new(a, struct autoscaling_v2_resource_metric_source);
        if (!grown || !cpu) {
            return false;
        }
        *cpu = (struct autoscaling_v2_resource_metric_source){
            .name = STR("cpu"), .target = { .type = STR("Utilization"), .has_average_utilization = true,
                                            .average_utilization = target } };
        grown[out->spec.n_metrics++] = (struct autoscaling_v2_metric_spec){ .type = STR("Resource"), .resource = cpu };
        out->spec.metrics = grown;
    }
    if (behavior.ptr) {
        out->spec.behavior = arena_new(a, struct autoscaling_v2_horizontal_pod_autoscaler_behavior);
        if (!out->spec.behavior) {
            return false;
        }
        if (!api_decode_json(a, &autoscaling_v2_horizontal_pod_autoscaler_behavior_type, behavior, NULL, out->spec.behavior, &err)) {
            out->spec.behavior = NULL;
        }
    }
    out->status.observed_generation = in->status.observed_generation;
    out->status.has_observed_generation = in->status.has_observed_generation;
    out->status.last_scale_time = in->status.last_scale_time;
    out->status.current_replicas = in->status.current_replicas;
    out->status.desired_replicas = in->status.desired_replicas;
    if (in->status.has_current_cpu_utilization_percentage) {
        struct autoscaling_v2_metric_status *now = arena_new(a, struct autoscaling_v2_metric_status);
        struct autoscaling_v2_resource_metric_status *cpu = arena_new(a, struct autoscaling_v2_resource_metric_status);
        if (!now || !cpu) {
            return false;
        }
        cpu->name = STR("cpu");
        cpu->current.has_average_utilization = true;
        cpu->current.average_utilization = in->status.current_cpu_utilization_percentage;
        *now = (struct autoscaling_v2_metric_status){ .type = STR("Resource"), .resource = cpu };
        out->status.current_metrics = now;
        out->status.n_current_metrics = 1;
    }
    return true;
}

static bool from_hub(struct arena *a, const void *hub, void *ret)
{
    const v2_hpa *in = hub;
    v1_hpa *out = ret;
    size_t cpu = SIZE_MAX;
    out->metadata = in->metadata;
    reference_to_v1(&in->spec.scale_target_ref, &out->spec.scale_target_ref);
    out->spec.min_replicas = in->spec.min_replicas;
    out->spec.has_min_replicas = in->spec.has_min_replicas;
    out->spec.max_replicas = in->spec.max_replicas;
    for (size_t i = 0; i < in->spec.n_metrics && cpu == SIZE_MAX; i++) {
        if (is_cpu_utilization(&in->spec.metrics[i])) {
            cpu = i;
            out->spec.has_target_cpu_utilization_percentage = true;
            out->spec.target_cpu_utilization_percentage = in->spec.metrics[i].resource->target.average_utilization;
        }
    }
    struct str metrics = metrics_json(a, in, cpu);
    if (metrics.ptr && !put_annotation(a, &out->metadata, ANNOTATION_METRICS, metrics)) {
        return false;
    }
    if (in->spec.behavior) {
        struct str text = rule_json(a, &autoscaling_v2_horizontal_pod_autoscaler_behavior_type, in->spec.behavior);
        if (!put_annotation(a, &out->metadata, ANNOTATION_BEHAVIOR, text)) {
            return false;
        }
    }
    out->status.observed_generation = in->status.observed_generation;
    out->status.has_observed_generation = in->status.has_observed_generation;
    out->status.last_scale_time = in->status.last_scale_time;
    out->status.current_replicas = in->status.current_replicas;
    out->status.desired_replicas = in->status.desired_replicas;
    for (size_t i = 0; i < in->status.n_current_metrics; i++) {
        const struct autoscaling_v2_resource_metric_status *m = in->status.current_metrics[i].resource;
        if (m && str_eq_c(m->name, "cpu") && m->current.has_average_utilization) {
            out->status.has_current_cpu_utilization_percentage = true;
            out->status.current_cpu_utilization_percentage = m->current.average_utilization;
        }
    }
    return true;
}

const struct kind_conversion autoscaling_hpa_v1_conversion = {
    .group = STR_INIT("autoscaling"), .version = STR_INIT("v1"), .kind = STR_INIT("HorizontalPodAutoscaler"), .to_hub = to_hub,
    .from_hub = from_hub,
};

static void validate(struct kind_ctx *ctx, const void *obj)
{
    const v2_hpa *h = obj;
    const struct autoscaling_v2_cross_version_object_reference *ref = &h->spec.scale_target_ref;
    bool custom = false;
    if (h->spec.has_min_replicas && h->spec.min_replicas < 1) {
        field_invalid_int(ctx->errs, STR("spec.minReplicas"), h->spec.min_replicas, "must be greater than or equal to 1");
    }
    if (h->spec.max_replicas < 1) {
        field_required(ctx->errs, STR("spec.maxReplicas"), "must be set and greater than 0");
    } else if (h->spec.has_min_replicas && h->spec.max_replicas < h->spec.min_replicas) {
        field_invalid_int(ctx->errs, STR("spec.maxReplicas"), h->spec.max_replicas, "must be greater than or equal to `minReplicas`");
    }
    if (str_empty(ref->kind)) {
        field_required(ctx->errs, STR("spec.scaleTargetRef.kind"), "%s", "");
    }
    if (str_empty(ref->name)) {
        field_required(ctx->errs, STR("spec.scaleTargetRef.name"), "%s", "");
    }
    if (str_empty(ref->api_version)) {
        field_invalid_str(ctx->errs, STR("spec.scaleTargetRef.apiVersion"), ref->api_version, "apiVersion must specify API group");
    }
    for (size_t i = 0; i < h->spec.n_metrics; i++) {
        custom |= str_eq_c(h->spec.metrics[i].type, "Object") || str_eq_c(h->spec.metrics[i].type, "External");
    }
    if (h->spec.has_min_replicas && h->spec.min_replicas == 0 && !custom) {
        field_forbidden(ctx->errs, STR("spec.metrics"), "must specify at least one Object or External metric to support scaling to zero replicas");
    }
}

static void validate_update(struct kind_ctx *ctx, const void *obj, const void *old)
{
    (void)old;
    validate(ctx, obj);
}

/* ---- table ---- */

static struct str target_text(struct arena *a, const struct autoscaling_v2_metric_target *t)
{
    if (t->has_average_utilization) {
        return arena_printf(a, "%d%%", t->average_utilization);
    }
    if (!str_empty(t->average_value)) {
        return t->average_value;
    }
    return str_empty(t->value) ? STR("<auto>") : t->value;
}

static struct str current_text(struct arena *a, const struct autoscaling_v2_metric_value_status *v)
{
    if (!v) {
        return STR("<unknown>");
    }
    if (v->has_average_utilization) {
        return arena_printf(a, "%d%%", v->average_utilization);
    }
    return !str_empty(v->average_value) ? v->average_value : str_empty(v->value) ? STR("<unknown>") : v->value;
}

static struct str metric_text(struct arena *a, const v2_hpa *h, size_t i)
{
    const struct autoscaling_v2_metric_spec *m = &h->spec.metrics[i];
    const struct autoscaling_v2_metric_status *s = i < h->status.n_current_metrics ? &h->status.current_metrics[i] : NULL;
    const struct autoscaling_v2_metric_value_status *now = NULL;
    const struct autoscaling_v2_metric_target *target = NULL;
    struct str prefix = STR_EMPTY;
    if (m->resource) {
        target = &m->resource->target;
        now = s && s->resource ? &s->resource->current : NULL;
        prefix = arena_printf(a, "%.*s: ", STR_ARG(m->resource->name));
    } else if (m->container_resource) {
        target = &m->container_resource->target;
        now = s && s->container_resource ? &s->container_resource->current : NULL;
        prefix = arena_printf(a, "%.*s: ", STR_ARG(m->container_resource->name));
    } else if (m->pods) {
        target = &m->pods->target;
        now = s && s->pods ? &s->pods->current : NULL;
    } else if (m->object) {
        target = &m->object->target;
        now = s && s->object ? &s->object->current : NULL;
    } else if (m->external) {
        target = &m->external->target;
        now = s && s->external ? &s->external->current : NULL;
    } else {
        return STR("<unknown type>");
    }
    struct str have = current_text(a, now), want = target_text(a, target);
    bool average = (m->object || m->external) && !str_empty(target->average_value);
    return arena_printf(a, "%.*s%.*s/%.*s%s", STR_ARG(prefix), STR_ARG(have), STR_ARG(want), average ? " (avg)" : "");
}

static void cells(struct kind_cells *c, const void *obj)
{
    enum { SHOWN = 2 };
    const v2_hpa *h = obj;
    struct str list = STR("<none>");
    for (size_t i = 0; i < h->spec.n_metrics && i < SHOWN; i++) {
        struct str one = metric_text(c->arena, h, i);
        list = i ? arena_printf(c->arena, "%.*s, %.*s", STR_ARG(list), STR_ARG(one)) : one;
    }
    cell_str(c, h->metadata.name);
    cell_printf(c, "%.*s/%.*s", STR_ARG(h->spec.scale_target_ref.kind), STR_ARG(h->spec.scale_target_ref.name));
    if (h->spec.n_metrics > SHOWN) {
        cell_printf(c, "%.*s + %zu more...", STR_ARG(list), h->spec.n_metrics - SHOWN);
    } else {
        cell_str(c, list);
    }
    if (h->spec.has_min_replicas) {
        cell_printf(c, "%d", h->spec.min_replicas);
    } else {
        cell_str(c, STR("<unset>"));
    }
    cell_int(c, h->spec.max_replicas);
    cell_int(c, h->status.current_replicas);
    cell_age(c, h->metadata.creation_timestamp);
}

const struct kind_ops autoscaling_hpa_ops = {
    .group = STR_INIT("autoscaling"), .resource = STR_INIT("horizontalpodautoscalers"), .validate_create = validate,
    .validate_update = validate_update, .cells = cells,
};
