/* The small writes that a cluster is full of: renewals of Leases, Events, bindings. */
#include "bench/bench.h"
#include "bench/bodies.h"

/* No scheduler and no kubelet has these names, so the pods stay as they were made. */
#define NOBODY "coracle-bench-none"

static bool measure(struct bench *b, void (*make)(struct bench *, unsigned, struct bench_request *, void *), struct err *err)
{
    struct load l = { .n = b->requests, .warm = MIN(b->requests / 10, 200u), .concurrency = b->concurrency, .rate = b->rate, .make = make };
    if (!load_run(b, &l, err)) {
        return false;
    }
    load_report(b, &l);
    return true;
}

/* ---- leases ---- */

static void make_lease(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/apis/coordination.k8s.io/v1/namespaces/%s/leases", b->ns);
    buf_printf(&r->body, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"node-%u\"},\"spec\":{"
                         "\"holderIdentity\":\"node-%u\",\"leaseDurationSeconds\":40,\"renewTime\":\"2026-01-01T00:00:00.000000Z\"}}", i, i);
}

static void make_renewal(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    r->method = "PATCH";
    r->content_type = "application/merge-patch+json";
    snprintf(r->target, sizeof(r->target), "/apis/coordination.k8s.io/v1/namespaces/%s/leases/node-%u", b->ns, i % b->concurrency);
    buf_printf(&r->body, "{\"spec\":{\"renewTime\":\"2026-01-01T%02u:%02u:%02u.%06uZ\"}}", i / 3600 % 24, i / 60 % 60, i % 60, i % 1000000);
}

static bool run_lease(struct bench *b, struct err *err)
{
    struct load leases = { .n = b->concurrency, .concurrency = 1, .make = make_lease, .setup = true };
    return load_run(b, &leases, err) && measure(b, make_renewal, err);
}

const struct bench_subject bench_lease = { "lease", "renewals of Leases, as kubelets send them", run_lease };

/* ---- events ---- */

static void make_event(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/events", b->ns);
    buf_printf(&r->body, "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"pod-%u.1\"},\"involvedObject\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
                         "\"namespace\":\"%s\",\"name\":\"pod-%u\",\"uid\":\"7b0e5c3a-9a53-4b8e-8f0e-000000000000\"},\"type\":\"Normal\",\"reason\":\"Started\","
                         "\"message\":\"Started container web\",\"source\":{\"component\":\"kubelet\",\"host\":\"node-1\"},"
                         "\"firstTimestamp\":\"2026-01-01T00:00:00Z\",\"lastTimestamp\":\"2026-01-01T00:00:00Z\",\"count\":1,"
                         "\"reportingComponent\":\"kubelet\",\"reportingInstance\":\"node-1\"}", i, b->ns, i);
}

static bool run_event(struct bench *b, struct err *err)
{
    return measure(b, make_event, err);
}

const struct bench_subject bench_event = { "event", "creates of Events", run_event };

/* ---- bindings ---- */

static void make_unbound(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    char name[32];
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods", b->ns);
    snprintf(name, sizeof(name), "unbound-%u", i);
    body_pod(&r->body, name, NOBODY);
}

static void make_binding(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods/unbound-%u/binding", b->ns, i);
    buf_printf(&r->body, "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"unbound-%u\"},\"target\":{\"apiVersion\":\"v1\",\"kind\":\"Node\","
                         "\"name\":\"" NOBODY "\"}}", i);
}

static void make_gone(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    r->method = "DELETE";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods/unbound-%u", b->ns, i);
    buf_append_c(&r->body, "{\"gracePeriodSeconds\":0}");
}

/* The pods are taken away again: lists that are measured later are of the size that --objects says. */
static bool run_bind(struct bench *b, struct err *err)
{
    struct load pods = { .n = b->requests, .concurrency = 16, .make = make_unbound, .setup = true }, away = pods;
    away.make = make_gone;
    return load_run(b, &pods, err) && measure(b, make_binding, err) && load_run(b, &away, err);
}

const struct bench_subject bench_bind = { "bind", "bindings of pods to a node, as the scheduler sends them", run_bind };
