/* Single requests: what a client waits for, and what each costs the server. */
#include "base/clock.h"
#include "bench/bench.h"
#include "bench/bodies.h"

/* No scheduler has this name, so the pods stay as they were made. */
#define NO_SCHEDULER "coracle-bench-none"

static bool measure(struct bench *b, unsigned n, void (*make)(struct bench *, unsigned, struct bench_request *, void *),
                    struct err *err)
{
    struct load l = { .n = n, .warm = MIN(n / 10, 200u), .concurrency = b->concurrency, .rate = b->rate, .make = make };
    if (!load_run(b, &l, err)) {
        return false;
    }
    load_report(b, &l);
    return true;
}

static void pod_target(struct bench *b, unsigned i, struct bench_request *r, const char *method, const char *tail)
{
    r->method = method;
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods/pod-%u%s", b->ns, i, tail);
}

static void make_connect(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)b, (void)i, (void)arg;
    r->method = "GET";
    snprintf(r->target, sizeof(r->target), "/version");
}

static bool run_connect(struct bench *b, struct err *err)
{
    return measure(b, b->requests, make_connect, err);
}

const struct bench_subject bench_connect = { "version", "GET /version: HTTP, TLS, authentication and authorisation alone", run_connect };

static void make_create(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    char name[32];
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods", b->ns);
    snprintf(name, sizeof(name), "pod-%u", b->n_pods + i);
    body_pod(&r->body, name, NO_SCHEDULER);
}

static bool run_create(struct bench *b, struct err *err)
{
    if (!measure(b, b->requests, make_create, err)) {
        return false;
    }
    b->n_pods += b->requests;
    return true;
}

const struct bench_subject bench_create = { "create", "creates of pods of 1.6 KB", run_create };

bool bench_need_pods(struct bench *b, unsigned n, struct err *err)
{
    if (b->n_pods >= n) {
        return true;
    }
    struct load l = { .n = n - b->n_pods, .concurrency = 16, .make = make_create, .setup = true };
    if (!load_run(b, &l, err)) {
        return false;
    }
    b->n_pods = n;
    return true;
}

static void make_get(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    pod_target(b, (unsigned)(i * 7919ull % b->n_pods), r, "GET", "");
}

static bool run_get(struct bench *b, struct err *err)
{
    return bench_need_pods(b, b->requests, err) && measure(b, b->requests * 4, make_get, err);
}

const struct bench_subject bench_get = { "get", "GETs of pods", run_get };

static void make_status(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    pod_target(b, i % b->n_pods, r, "PATCH", "/status");
    r->content_type = "application/merge-patch+json";
    body_pod_status(&r->body, i / b->n_pods + 1);
}

static bool run_status(struct bench *b, struct err *err)
{
    return bench_need_pods(b, b->requests, err) && measure(b, b->requests, make_status, err);
}

const struct bench_subject bench_status = { "status", "status patches of pods, as a kubelet sends them", run_status };

/* The whole ConfigMap is written anew; without a resourceVersion, so the last one wins. */
static void make_update(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    char name[32];
    snprintf(name, sizeof(name), "update-%u", i % b->concurrency);
    r->method = "PUT";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/configmaps/%s", b->ns, name);
    body_config_map(&r->body, name, clock_mono_ns());
}

static bool run_update(struct bench *b, struct err *err)
{
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, BUF_NO_MAX);
    for (unsigned i = 0; i < b->concurrency; i++) {
        struct bench_request r = { .method = "POST", .content_type = "application/json", .body = body };
        char name[32];
        snprintf(name, sizeof(name), "update-%u", i);
        snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/configmaps", b->ns);
        buf_clear(&r.body);
        body_config_map(&r.body, name, 0);
        bool ok = bench_do(b, &r, 409, err);
        body = r.body;
        if (!ok) {
            return false;
        }
    }
    return measure(b, b->requests, make_update, err);
}

const struct bench_subject bench_update = { "update", "updates of small ConfigMaps", run_update };

static void make_delete(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)arg;
    pod_target(b, b->n_pods - 1 - i, r, "DELETE", "");
}

static bool run_delete(struct bench *b, struct err *err)
{
    if (!bench_need_pods(b, b->requests, err) || !measure(b, b->requests, make_delete, err)) {
        return false;
    }
    b->n_pods -= b->requests;
    return true;
}

const struct bench_subject bench_delete = { "delete", "deletes of pods", run_delete };
