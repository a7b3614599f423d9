#include "controllers/hpa-metrics.h"

#include <stdlib.h>

#include "api/decode-json.h"
#include "api/duration.h"
#include "api/gen/core_v1.h"
#include "api/gen/metrics_v1beta1.h"
#include "api/mask.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/val.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/encoding.h"

#define PATH_MAX_BYTES 65536
#define ANSWER_DEPTH_MAX 32

/* ---- paths ---- */

static void query(struct buf *b, char sign, const char *name, struct str value)
{
    buf_printf(b, "%c%s=", sign, name);
    percent_encode(b, value, "");
}

static struct str finish(struct arena *a, struct buf *b)
{
    struct str s = arena_str(a, buf_str(b));
    buf_deinit(b);
    return s;
}

struct str hpa_pods_path(struct arena *a, struct str ns, struct str selector)
{
    struct buf b;
    buf_init(&b, PATH_MAX_BYTES);
    buf_printf(&b, "/api/v1/namespaces/%.*s/pods", STR_ARG(ns));
    query(&b, '?', "labelSelector", selector);
    return finish(a, &b);
}

static struct str selector_text(struct arena *a, const struct autoscaling_v2_metric_identifier *m)
{
    struct selector s;
    return m->selector && selector_from_label_selector(a, m->selector, &s, NULL) ? selector_str(a, &s) : STR_EMPTY;
}

/* "deployments.apps", "pods": how the custom metrics API names a kind; absent for one that we do not know. */
static struct str resource_of(struct arena *a, const struct autoscaling_v2_cross_version_object_reference *o, bool *ret_namespaced)
{
    struct str group, version;
    if (!str_cut(o->api_version, '/', &group, &version)) {
        version = group;
        group = STR_EMPTY;
    }
    const struct api_resource *r = api_resource_of_kind(group, version, o->kind);
    *ret_namespaced = r && r->namespaced;
    return !r ? STR_NULL : group.len ? arena_printf(a, "%.*s.%.*s", STR_ARG(r->resource), STR_ARG(group)) : r->resource;
}

static struct str object_path(struct arena *a, struct str ns, const struct autoscaling_v2_object_metric_source *o)
{
    bool namespaced;
    struct str resource = resource_of(a, &o->described_object, &namespaced), selector = selector_text(a, &o->metric);
    struct buf b;
    if (!resource.ptr) {
        return STR_NULL;
    }
    buf_init(&b, PATH_MAX_BYTES);
    buf_append_c(&b, "/apis/custom.metrics.k8s.io/v1beta2/");
    if (str_eq_c(resource, "namespaces")) {
        buf_printf(&b, "namespaces/%.*s/metrics/", STR_ARG(o->described_object.name));
    } else if (namespaced) {
        buf_printf(&b, "namespaces/%.*s/%.*s/%.*s/", STR_ARG(ns), STR_ARG(resource), STR_ARG(o->described_object.name));
    } else {
        buf_printf(&b, "%.*s/%.*s/", STR_ARG(resource), STR_ARG(o->described_object.name));
    }
    percent_encode(&b, o->metric.name, "");
    if (selector.len) {
        query(&b, '?', "metricLabelSelector", selector);
    }
    return finish(a, &b);
}

struct str hpa_metric_path(struct arena *a, struct str ns, const metric_spec_t *m, struct str selector)
{
    struct buf b;
    if (m->object) {
        return object_path(a, ns, m->object);
    }
    if (!m->resource && !m->container_resource && !m->pods && !m->external) {
        return STR_NULL;
    }
    buf_init(&b, PATH_MAX_BYTES);
    if (m->external) {
        struct str of = selector_text(a, &m->external->metric);
        buf_printf(&b, "/apis/external.metrics.k8s.io/v1beta1/namespaces/%.*s/", STR_ARG(ns));
        percent_encode(&b, m->external->metric.name, "");
        if (of.len) {
            query(&b, '?', "labelSelector", of);
        }
    } else if (m->pods) {
        struct str of = selector_text(a, &m->pods->metric);
        buf_printf(&b, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/%.*s/pods/*/", STR_ARG(ns));
        percent_encode(&b, m->pods->metric.name, "");
        query(&b, '?', "labelSelector", selector);
        if (of.len) {
            query(&b, '&', "metricLabelSelector", of);
        }
    } else {
        buf_printf(&b, "/apis/metrics.k8s.io/v1beta1/namespaces/%.*s/pods", STR_ARG(ns));
        query(&b, '?', "labelSelector", selector);
    }
    return finish(a, &b);
}

/* ---- answers ---- */

static int64_t milli(struct str quantity)
{
    return quantity_milli(quantity_of(quantity));
}

static struct str quantity_text(struct arena *a, int64_t value)
{
    return quantity_str(a, quantity_from_milli(value, QUANTITY_DECIMAL));
}

/* Why the API has no answer, in the words of its clients. */
static struct str why(const struct hpa_question *q, const char *api, const char *resource)
{
    bool absent = q->answer->http_status == 404 && str_find(q->answer->error, STR("\" not found")) < 0;
    return absent ? arena_printf(q->a, "unable to fetch metrics from %s metrics API: the server could not find the requested resource (get %s)", api,
                                 resource)
                  : arena_printf(q->a, "unable to fetch metrics from %s metrics API: %.*s", api, STR_ARG(q->answer->error));
}

static struct str amount(const struct api_str_pair *list, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, name)) {
            return list[i].value;
        }
    }
    return STR_NULL;
}

static bool is_sidecar(const struct core_v1_container *c)
{
    return str_eq_c(c->restart_policy, "Always");
}

/* What the pod asks of the resource: all its containers, or one. False: one of them asks for nothing. */
static bool request_of(const struct core_v1_pod *p, struct str resource, struct str container, int64_t *ret, struct err *err)
{
    const struct core_v1_pod_spec *s = &p->spec;
    *ret = 0;
    for (size_t i = 0; i < s->n_containers + s->n_init_containers; i++) {
        const struct core_v1_container *c = i < s->n_containers ? &s->containers[i] : &s->init_containers[i - s->n_containers];
        if ((i >= s->n_containers && !is_sidecar(c)) || (container.len && !str_eq(c->name, container))) {
            continue;
        }
        struct str request = amount(c->resources.requests, c->resources.n_requests, resource);
        if (!request.ptr) {
            return err_set(err, ERR_INVALID, "missing request for %.*s in container %.*s of Pod %.*s", STR_ARG(resource), STR_ARG(c->name),
                           STR_ARG(p->metadata.name));
        }
        *ret += milli(request);
    }
    return true;
}

/* The target's pods as the count wants them. 'resource' absent: without requests. */
static bool read_pods(const struct hpa_question *q, struct str resource, struct str container, struct hpa_pod **ret, size_t *ret_n, struct err *err)
{
    static const char *const fields[] = { "items.metadata.name",        "items.metadata.deletionTimestamp", "items.status.phase",
                                          "items.status.conditions",    "items.status.startTime",           "items.spec.containers.name",
                                          "items.spec.containers.resources", "items.spec.initContainers.name",
                                          "items.spec.initContainers.resources", "items.spec.initContainers.restartPolicy" };
    struct core_v1_pod_list list = { .items = NULL };
    struct api_json_decode o = { .mask = api_mask_new(q->a, &core_v1_pod_list_type, fields, ARRAY_SIZE(fields), err) };
    if (q->pods->error.ptr) {
        return err_set(err, ERR_UNAVAILABLE, "unable to get pods while calculating replica count: %.*s", STR_ARG(q->pods->error));
    }
    if (!o.mask || !api_decode_json(q->a, &core_v1_pod_list_type, q->pods->body, &o, &list, err)) {
        return false;
    }
    struct hpa_pod *pods = arena_new_n(q->a, struct hpa_pod, list.n_items);
    if (!pods) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the pods");
    }
    for (size_t i = 0; i < list.n_items; i++) {
        const struct core_v1_pod *p = &list.items[i];
        pods[i] = (struct hpa_pod){ .name = p->metadata.name,
                                    .gone = p->metadata.deletion_timestamp.set || str_eq_c(p->status.phase, "Failed"),
                                    .pending = str_eq_c(p->status.phase, "Pending"),
                                    .start_s = p->status.start_time.sec };
        for (size_t k = 0; k < p->status.n_conditions; k++) {
            if (str_eq_c(p->status.conditions[k].type, "Ready")) {
                pods[i].has_ready = true;
                pods[i].ready = str_eq_c(p->status.conditions[k].status, "True");
                pods[i].ready_since_s = p->status.conditions[k].last_transition_time.sec;
            }
        }
        if (resource.ptr && !request_of(p, resource, container, &pods[i].request, err)) {
            return false;
        }
    }
    *ret = pods;
    *ret_n = list.n_items;
    return true;
}

static int64_t seconds(struct str duration)
{
    int64_t ns;
    return duration_parse(duration, &ns, NULL) ? ns / 1000000000 : 60;
}

/* PodMetricsList. */
static bool read_usage(const struct hpa_question *q, struct str resource, struct str container, struct hpa_sample **ret, size_t *ret_n, struct err *err)
{
    struct metrics_v1beta1_pod_metrics_list list = { .items = NULL };
    if (!api_decode_json(q->a, &metrics_v1beta1_pod_metrics_list_type, q->answer->body, NULL, &list, err)) {
        return false;
    }
    struct hpa_sample *samples = arena_new_n(q->a, struct hpa_sample, list.n_items);
    if (!samples) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the samples");
    }
    *ret_n = 0;
    for (size_t i = 0; i < list.n_items; i++) {
        const struct metrics_v1beta1_pod_metrics *m = &list.items[i];
        struct hpa_sample s = { .pod = m->metadata.name, .at_s = m->timestamp.sec, .window_s = seconds(m->window) };
        bool complete = m->n_containers > 0, found = !container.len;
        for (size_t k = 0; k < m->n_containers; k++) {
            struct str usage = amount(m->containers[k].usage, m->containers[k].n_usage, resource);
            if (container.len && !str_eq(m->containers[k].name, container)) {
                continue;
            }
            found = true;
            complete = complete && usage.ptr;
            s.value += usage.ptr ? milli(usage) : 0;
        }
        if (!found) {
            return err_set(err, ERR_INVALID, "container %.*s not present in metrics for pod %.*s/%.*s", STR_ARG(container), STR_ARG(q->ns),
                           STR_ARG(m->metadata.name));
        }
        if (complete) {
            samples[(*ret_n)++] = s;
        }
    }
    *ret = samples;
    return *ret_n > 0 || err_set(err, ERR_INVALID, "no metrics returned from resource metrics API");
}

/* MetricValueList and ExternalMetricValueList: the values, and the pods they are of. */
static bool read_values(const struct hpa_question *q, struct hpa_sample **ret, size_t *ret_n, struct err *err)
{
    struct val v;
    if (!val_parse_json(q->a, q->answer->body, ANSWER_DEPTH_MAX, NULL, &v, err)) {
        return false;
    }
    const struct val *items = val_get(&v, STR("items"));
    size_t n = items && items->kind == VAL_ARRAY ? items->n : 0;
    struct hpa_sample *samples = arena_new_n(q->a, struct hpa_sample, n);
    if (!samples) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the samples");
    }
    for (size_t i = 0; i < n; i++) {
        const struct val *object = val_get(&items->items[i], STR("describedObject"));
        samples[i] = (struct hpa_sample){ .pod = object ? val_get_str(object, STR("name")) : STR_EMPTY,
                                          .value = milli(val_get_str(&items->items[i], STR("value"))) };
    }
    *ret = samples;
    *ret_n = n;
    return n > 0 || err_set(err, ERR_INVALID, "no metrics returned from %s metrics API", q->metric->external ? "external" : "custom");
}

/* ---- what each kind proposes ---- */

static void refuse(struct hpa_proposal *p, struct arena *a, const char *reason, struct str cause, const char *fmt, struct str what)
{
    p->ok = false;
    p->reason = reason;
    p->cause = cause;
    p->error = arena_printf(a, "failed to get %.*s %s: %.*s", STR_ARG(what), fmt, STR_ARG(cause));
}

static struct autoscaling_v2_metric_value_status value_status(struct arena *a, const struct autoscaling_v2_metric_target *t, const struct hpa_count *c)
{
    struct autoscaling_v2_metric_value_status s = { .average_value = quantity_text(a, c->usage) };
    if (t->has_average_utilization) {
        s.average_utilization = c->utilization;
        s.has_average_utilization = true;
    }
    return s;
}

static void ask_resource(const struct hpa_question *q, struct str name, struct str container, const struct autoscaling_v2_metric_target *target,
                         struct hpa_proposal *ret)
{
    const char *reason = container.len ? "FailedGetContainerResourceMetric" : "FailedGetResourceMetric";
    const char *what = container.len ? "container resource" : "resource";
    bool by_request = target->has_average_utilization;
    struct hpa_target t = { .utilization = by_request ? target->average_utilization : 0, .average = by_request ? 0 : milli(target->average_value) };
    struct hpa_pod *pods = NULL;
    struct hpa_sample *samples = NULL;
    struct hpa_count count;
    size_t n_pods = 0, n_samples = 0;
    struct err err;
    struct str cause;
    if (q->answer->error.ptr) {
        cause = arena_printf(q->a, "unable to get metrics for resource %.*s: %.*s", STR_ARG(name), STR_ARG(why(q, "resource", "pods.metrics.k8s.io")));
    } else if (!read_usage(q, name, container, &samples, &n_samples, &err)) {
        cause = arena_printf(q->a, "unable to get metrics for resource %.*s: %s", STR_ARG(name), err.msg);
    } else if ((t.utilization <= 0 && t.average <= 0) || !read_pods(q, by_request ? name : STR_NULL, container, &pods, &n_pods, &err) ||
               !hpa_count_pods(q->a, &q->tuning, pods, n_pods, samples, n_samples, str_eq_c(name, "cpu"), &t, q->spec_replicas, &count, &err)) {
        cause = t.utilization <= 0 && t.average <= 0 ? STR("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set")
                                                     : arena_printf(q->a, "%s", err.msg);
    } else {
        ret->ok = true;
        ret->replicas = count.replicas;
        ret->name = arena_printf(q->a, "%.*s %s%s", STR_ARG(name), what, by_request ? " utilization (percentage of request)" : "");
        if (container.len) {
            ret->status.container_resource = arena_new(q->a, struct autoscaling_v2_container_resource_metric_status);
            *ret->status.container_resource = (struct autoscaling_v2_container_resource_metric_status){ .name = name, .container = container,
                                                                                                       .current = value_status(q->a, target, &count) };
        } else {
            ret->status.resource = arena_new(q->a, struct autoscaling_v2_resource_metric_status);
            *ret->status.resource = (struct autoscaling_v2_resource_metric_status){ .name = name, .current = value_status(q->a, target, &count) };
        }
        return;
    }
    cause = arena_printf(q->a, "failed to get %.*s %s: %.*s", STR_ARG(name), by_request ? "utilization" : "usage", STR_ARG(cause));
    refuse(ret, q->a, reason, cause, container.len ? "container metric value" : "resource metric value", name);
}

static void ask_pods(const struct hpa_question *q, const struct autoscaling_v2_pods_metric_source *m, struct hpa_proposal *ret)
{
    struct hpa_target t = { .average = milli(m->target.average_value) };
    struct hpa_pod *pods = NULL;
    struct hpa_sample *samples = NULL;
    struct hpa_count count;
    size_t n_pods = 0, n_samples = 0;
    struct err err;
    struct str cause;
    if (q->answer->error.ptr) {
        cause = arena_printf(q->a, "unable to get metric %.*s: %.*s", STR_ARG(m->metric.name), STR_ARG(why(q, "custom", "pods.custom.metrics.k8s.io")));
    } else if (t.average <= 0) {
        cause = STR("the target has no average value");
    } else if (!read_values(q, &samples, &n_samples, &err) || !read_pods(q, STR_NULL, STR_NULL, &pods, &n_pods, &err) ||
               !hpa_count_pods(q->a, &q->tuning, pods, n_pods, samples, n_samples, false, &t, q->spec_replicas, &count, &err)) {
        cause = arena_printf(q->a, "%s", err.msg);
    } else {
        ret->ok = true;
        ret->replicas = count.replicas;
        ret->name = arena_printf(q->a, "pods metric %.*s", STR_ARG(m->metric.name));
        ret->status.pods = arena_new(q->a, struct autoscaling_v2_pods_metric_status);
        *ret->status.pods = (struct autoscaling_v2_pods_metric_status){ .metric = m->metric, .current = { .average_value = quantity_text(q->a, count.usage) } };
        return;
    }
    refuse(ret, q->a, "FailedGetPodsMetric", cause, "metric value", STR("pods"));
}

/* A value for all, or an average that the pods share. */
static bool ask_value(const struct hpa_question *q, const struct autoscaling_v2_metric_target *target, int64_t usage, struct hpa_count *ret,
                      struct autoscaling_v2_metric_value_status *status, struct err *err)
{
    int64_t value = milli(target->value), average = milli(target->average_value);
    struct hpa_pod *pods = NULL;
    size_t n_pods = 0;
    if (str_eq_c(target->type, "AverageValue") && average > 0) {
        *ret = hpa_count_shared(&q->tuning, usage, average, q->status_replicas);
        status->average_value = quantity_text(q->a, ret->usage);
        return true;
    }
    if (value <= 0) {
        return err_set(err, ERR_INVALID, "neither a value target nor an average value target was set");
    }
    if (!read_pods(q, STR_NULL, STR_NULL, &pods, &n_pods, err)) {
        return false;
    }
    *ret = hpa_count_value(&q->tuning, usage, value, q->spec_replicas, hpa_ready_pods(pods, n_pods));
    status->value = quantity_text(q->a, ret->usage);
    return true;
}

static void ask_object(const struct hpa_question *q, const struct autoscaling_v2_object_metric_source *m, struct hpa_proposal *ret)
{
    struct autoscaling_v2_metric_value_status current = { .value = STR_NULL };
    const struct autoscaling_v2_cross_version_object_reference *o = &m->described_object;
    struct hpa_sample *samples = NULL;
    struct hpa_count count;
    size_t n = 0;
    struct err err;
    struct str cause;
    if (q->answer->error.ptr) {
        cause = arena_printf(q->a, "unable to get metric %.*s: %.*s on %.*s %.*s/%.*s", STR_ARG(m->metric.name), STR_ARG(o->kind), STR_ARG(q->ns), STR_ARG(o->name),
                             STR_ARG(why(q, "custom", "objects.custom.metrics.k8s.io")));
    } else if (!read_values(q, &samples, &n, &err) || !ask_value(q, &m->target, samples[0].value, &count, &current, &err)) {
        cause = arena_printf(q->a, "%s", err.msg);
    } else {
        ret->ok = true;
        ret->replicas = count.replicas;
        ret->name = arena_printf(q->a, "%.*s metric %.*s", STR_ARG(o->kind), STR_ARG(m->metric.name));
        ret->status.object = arena_new(q->a, struct autoscaling_v2_object_metric_status);
        *ret->status.object = (struct autoscaling_v2_object_metric_status){ .metric = m->metric, .described_object = *o, .current = current };
        return;
    }
    refuse(ret, q->a, "FailedGetObjectMetric", cause, "metric value", STR("object"));
}

static void ask_external(const struct hpa_question *q, const struct autoscaling_v2_external_metric_source *m, struct hpa_proposal *ret)
{
    struct autoscaling_v2_metric_value_status current = { .value = STR_NULL };
    struct hpa_sample *samples = NULL;
    struct hpa_count count;
    size_t n = 0;
    int64_t sum = 0;
    struct err err;
    struct str cause;
    bool read = !q->answer->error.ptr && read_values(q, &samples, &n, &err);
    for (size_t i = 0; i < n; i++) {
        sum += samples[i].value;
    }
    if (q->answer->error.ptr) {
        cause = arena_printf(q->a, "unable to get external metric %.*s/%.*s/%.*s: %.*s", STR_ARG(q->ns), STR_ARG(m->metric.name),
                             STR_ARG(selector_text(q->a, &m->metric)), STR_ARG(why(q, "external", "external.metrics.k8s.io")));
    } else if (!read || !ask_value(q, &m->target, sum, &count, &current, &err)) {
        cause = arena_printf(q->a, "%s", err.msg);
    } else {
        ret->ok = true;
        ret->replicas = count.replicas;
        ret->name = arena_printf(q->a, "external metric %.*s(%.*s)", STR_ARG(m->metric.name), STR_ARG(selector_text(q->a, &m->metric)));
        ret->status.external = arena_new(q->a, struct autoscaling_v2_external_metric_status);
        *ret->status.external = (struct autoscaling_v2_external_metric_status){ .metric = m->metric, .current = current };
        return;
    }
    refuse(ret, q->a, "FailedGetExternalMetric", cause, "metric value", STR("external"));
}

void hpa_ask_metric(const struct hpa_question *q, struct hpa_proposal *ret)
{
    const metric_spec_t *m = q->metric;
    *ret = (struct hpa_proposal){ .status = { .type = m->type } };
    if (m->resource) {
        ask_resource(q, m->resource->name, STR_NULL, &m->resource->target, ret);
    } else if (m->container_resource) {
        ask_resource(q, m->container_resource->name, m->container_resource->container, &m->container_resource->target, ret);
    } else if (m->pods) {
        ask_pods(q, m->pods, ret);
    } else if (m->object) {
        ask_object(q, m->object, ret);
    } else if (m->external) {
        ask_external(q, m->external, ret);
    } else {
        refuse(ret, q->a, "InvalidMetricSourceType", arena_printf(q->a, "unknown metric source type \"%.*s\"", STR_ARG(m->type)), "metric", STR("a"));
    }
}
