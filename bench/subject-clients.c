/* Loads as clients make them: connections that come all at once, and the mixture that kubelets send. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/bodies.h"
#include "bench/target.h"
#include "net/loop.h"

/* ---- connections: a TLS handshake, one request, gone ---- */

struct storm;

struct guest {
    struct storm *storm;
    struct http_client *http;
    struct http_call *call;
    uint64_t begin_ns;
    int status;
    struct loop_task next; /* a client is not freed from its own callback */
};

struct storm {
    struct bench *bench;
    unsigned next, n, left, opened;
    struct histogram latency;
    struct err err;
};

static void guest_fail(struct guest *g, const struct err *err)
{
    if (g->storm->err.code == ERR_NONE) {
        g->storm->err = *err;
    }
    g->storm->left = 0;
}

static void guest_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    ((struct guest *)arg)->status = r->status;
}

static void guest_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct guest *g = arg;
    struct err err;
    g->call = NULL;
    if (g->status != 200) {
        (void)err_set(&err, ERR_INTERNAL, "GET /version was answered with HTTP %d", g->status);
        guest_fail(g, &err);
        return;
    }
    histogram_add(&g->storm->latency, clock_mono_ns() - g->begin_ns);
    g->storm->left -= g->storm->left > 0;
    loop_task_defer(&g->next);
}

static void guest_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct guest *g = arg;
    g->call = NULL;
    guest_fail(g, &e->err);
}

static void guest_body(struct http_call *c, struct str data, void *arg)
{
    (void)c, (void)data, (void)arg;
}

static const struct http_call_ops guest_ops = {
    .on_response = guest_response, .on_body = guest_body, .on_end = guest_end, .on_error = guest_error
};

static void guest_next(void *arg)
{
    struct guest *g = arg;
    struct storm *s = g->storm;
    struct bench_request r = { .method = "GET", .target = "/version" };
    struct err err;
    g->http = http_client_free(g->http);
    if (s->next >= s->n) {
        return;
    }
    s->next++;
    g->begin_ns = clock_mono_ns();
    g->http = target_client(s->bench, &err);
    if (!g->http) {
        guest_fail(g, &err);
        return;
    }
    r.http = g->http;
    g->call = bench_send(s->bench, &r, &guest_ops, g);
}

static bool storm(struct bench *b, unsigned n, bool report, struct err *err)
{
    static struct storm s;
    struct usage before = { 0 }, after = { 0 };
    unsigned at_once = MIN(b->concurrency, n);
    struct guest *guests = calloc(at_once, sizeof(*guests));
    if (!guests) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    s = (struct storm){ .bench = b, .n = n, .left = n };
    bool ok = (!report || bench_around(b, "begin", err)) && usage_read(b->processes, b->n_processes, &before, err);
    uint64_t begin = clock_mono_ns();
    for (unsigned i = 0; ok && i < at_once; i++) {
        guests[i].storm = &s;
        loop_task_init(&guests[i].next, b->loop, guest_next, &guests[i]);
        guest_next(&guests[i]);
    }
    ok = ok && bench_wait(b, &s.left, 120000, err);
    double seconds = (double)(clock_mono_ns() - begin) / 1e9;
    for (unsigned i = 0; i < at_once; i++) {
        loop_task_cancel(&guests[i].next);
        http_client_free(guests[i].http);
    }
    free(guests);
    if (ok && s.err.code != ERR_NONE) {
        *err = s.err;
        ok = false;
    }
    if (!ok || !usage_read(b->processes, b->n_processes, &after, err) || (report && !bench_around(b, "end", err))) {
        return false;
    }
    if (report) {
        bench_figure(b, n / seconds, "1/s", "connections (%u at once)", at_once);
        bench_report_latency(b, &s.latency, "first answer");
        bench_report_usage(b, &before, &after, n / 1000.0, "1,000");
        bench_report_counts(b, &before.counts, &after.counts, NULL, n, "connection");
    }
    return true;
}

static bool run_storm(struct bench *b, struct err *err)
{
    unsigned n = MAX(b->requests / 5, 1u);
    return (b->no_warmup || storm(b, MAX(n / 10, 1u), false, err)) && storm(b, n, true, err);
}

const struct bench_subject bench_storm = { "storm", "TLS connections for one request each", run_storm };

/* ---- what kubelets send, in the proportions of a large cluster ---- */

static void make_mixed(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    unsigned turn = i % 20, pod = (i * 7919u) % b->n_pods;
    r->method = "GET";
    if (turn < 12) { /* renewals */
        r->method = "PATCH";
        r->content_type = "application/merge-patch+json";
        snprintf(r->target, sizeof(r->target), "/apis/coordination.k8s.io/v1/namespaces/%s/leases/mixed-%u", b->ns, i % b->concurrency);
        buf_printf(&r->body, "{\"spec\":{\"renewTime\":\"2026-01-01T%02u:%02u:%02u.%06uZ\"}}", i / 3600 % 24, i / 60 % 60, i % 60, i % 1000000);
    } else if (turn < 16) {
        r->method = "PATCH";
        r->content_type = "application/strategic-merge-patch+json";
        snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods/pod-%u/status", b->ns, pod);
        body_pod_status(&r->body, i);
    } else if (turn < 19) {
        snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods/pod-%u", b->ns, pod);
    } else {
        snprintf(r->target, sizeof(r->target), "/api/v1/pods?fieldSelector=spec.nodeName%%3Dmixed-%u&resourceVersion=0", i % 100);
    }
}

static bool make_leases(struct bench *b, struct err *err)
{
    bool ok = true;
    for (unsigned i = 0; ok && i < b->concurrency; i++) {
        struct bench_request r = { .method = "POST", .content_type = "application/json" };
        buf_init(&r.body, BUF_NO_MAX);
        snprintf(r.target, sizeof(r.target), "/apis/coordination.k8s.io/v1/namespaces/%s/leases", b->ns);
        buf_printf(&r.body, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"mixed-%u\"},\"spec\":{"
                            "\"holderIdentity\":\"mixed\",\"leaseDurationSeconds\":40}}", i);
        ok = bench_do(b, &r, 409, err);
        buf_deinit(&r.body);
    }
    return ok;
}

static bool run_mixed(struct bench *b, struct err *err)
{
    if (!bench_need_pods(b, MIN(b->objects, 1000u), err) || !make_leases(b, err)) {
        return false;
    }
    struct load l = { .n = b->requests, .warm = MIN(b->requests / 10, 200u), .concurrency = b->concurrency, .make = make_mixed,
                      .rate = b->rate > 0 ? b->rate : 500 };
    if (!load_run(b, &l, err)) {
        return false;
    }
    load_report(b, &l);
    return true;
}

const struct bench_subject bench_mixed = { "mixed", "renewals, status patches, reads and lists by node, at a steady rate (--rate, or 500 a second)",
                                           run_mixed };
