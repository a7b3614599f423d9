/* A cluster on paper: nodes that are only objects, so that the scheduler and the controllers are all that is measured. */
#include "base/clock.h"
#include "bench/bench.h"
#include "bench/bodies.h"
#include "bench/counter.h"
#include "net/loop.h"

bool bench_need_nodes(struct bench *b, struct err *err)
{
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, BUF_NO_MAX);
    for (unsigned i = 0; i < b->nodes; i++) {
        struct bench_request r = { .method = "POST", .target = "/api/v1/nodes", .content_type = "application/json", .body = body };
        char name[32];
        snprintf(name, sizeof(name), "paper-%u", i);
        buf_clear(&r.body);
        body_node(&r.body, name);
        bool ok = bench_do(b, &r, 409, err);
        body = r.body;
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void make_pod(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    char name[32];
    const char *prefix = arg;
    snprintf(name, sizeof(name), "%s-%u", prefix, i);
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods", b->ns);
    body_pod(&r->body, name, NULL);
}

/* Creates 'n' pods and waits until each has its node. */
static bool schedule(struct bench *b, char *prefix, unsigned n, bool report, struct err *err)
{
    struct counter bound;
    if (!bench_need_nodes(b, err)) {
        return false;
    }
    struct http_call *watch = counter_start(b, &bound, n, "fieldSelector=spec.nodeName%21%3D&resourceVersion=0", err);
    if (!watch) {
        return false;
    }
    struct load l = { .n = n, .concurrency = b->concurrency, .make = make_pod, .arg = prefix, .setup = true };
    struct usage after = { 0 };
    uint64_t begin = clock_mono_ns();
    bool ok = (!report || bench_around(b, "begin", err)) && load_run(b, &l, err) && counter_wait(b, &bound, 120000, err) &&
              (!report || bench_around(b, "end", err)) && usage_read(b->processes, b->n_processes, &after, err);
    if (bound.open) {
        http_call_cancel(watch);
    }
    if (ok && report) {
        bench_figure(b, n / ((double)(bound.last_ns - begin) / 1e9), "1/s", "pods on %u nodes, creates included", b->nodes);
        bench_figure(b, n / ((double)l.elapsed_ns / 1e9), "1/s", "creates meanwhile");
        bench_report_usage(b, &l.before, &after, n / 1000.0, "1,000 pods");
    }
    return ok;
}

static bool run_schedule(struct bench *b, struct err *err)
{
    char prefix[] = "schedule";
    return schedule(b, prefix, b->pods, true, err);
}

const struct bench_subject bench_schedule = { "schedule", "pods created and bound to nodes on paper", run_schedule };

static bool run_deployment(struct bench *b, struct err *err)
{
    struct counter made;
    struct http_call *watch =
        counter_start(b, &made, b->replicas, "labelSelector=deployment%3Dbench&resourceVersion=0", err);
    if (!watch) {
        return false;
    }
    struct usage before = { 0 }, after = { 0 };
    struct bench_request r = { .method = "POST", .content_type = "application/json" };
    buf_init(&r.body, BUF_NO_MAX);
    snprintf(r.target, sizeof(r.target), "/apis/apps/v1/namespaces/%s/deployments", b->ns);
    body_deployment(&r.body, "bench", b->replicas);
    bool ok = bench_around(b, "begin", err) && usage_read(b->processes, b->n_processes, &before, err);
    uint64_t begin = clock_mono_ns();
    ok = ok && bench_do(b, &r, 0, err) && counter_wait(b, &made, 120000, err) && bench_around(b, "end", err) &&
         usage_read(b->processes, b->n_processes, &after, err);
    buf_deinit(&r.body);
    if (made.open) {
        http_call_cancel(watch);
    }
    if (ok) {
        bench_figure(b, (double)(made.last_ns - begin) / 1e9, "s", "from create to %u pods", b->replicas);
        bench_report_usage(b, &before, &after, 1, "deployment");
    }
    return ok;
}

const struct bench_subject bench_deployment = { "deployment", "one Deployment, from create to all its pods", run_deployment };

static bool run_fill(struct bench *b, struct err *err)
{
    char prefix[] = "fill";
    struct usage u = { 0 };
    if (!schedule(b, prefix, b->objects, false, err) || !usage_read(b->processes, b->n_processes, &u, err)) {
        return false;
    }
    for (size_t i = 0; i < b->n_processes; i++) {
        bench_figure(b, u.pss_mb[i], "MB", "PSS of %s at once", b->processes[i].name);
    }
    return true;
}

const struct bench_subject bench_fill = { "fill", "fills the cluster with pods on paper nodes, for the idle figures", run_fill };
