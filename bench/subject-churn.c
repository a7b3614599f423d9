/* Pods that come and go: each is created, bound by the scheduler, deleted, and followed by the next. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/bodies.h"
#include "net/loop.h"

struct churn;

struct lane {
    struct churn *churn;
    struct http_call *call;
    unsigned index, round;
    uint64_t created_ns;
    bool created, bound, deleting;
    int status;
};

struct churn {
    struct bench *bench;
    struct lane *lanes;
    unsigned n_lanes, next, n, left, opening;
    struct histogram bound;
    struct http_call *watch;
    struct buf line;
    struct err err;
};

static void lane_create(struct lane *l);

static void churn_fail(struct churn *c, const struct err *err)
{
    if (c->err.code == ERR_NONE) {
        c->err = *err;
    }
    c->left = c->opening = 0;
}

static void lane_delete(struct lane *l);

static void lane_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    ((struct lane *)arg)->status = r->status;
}

static void lane_body(struct http_call *c, struct str data, void *arg)
{
    (void)c, (void)data, (void)arg;
}

static void lane_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct lane *l = arg;
    l->call = NULL;
    if (l->status < 200 || l->status > 299) {
        struct err err;
        (void)err_set(&err, ERR_INTERNAL, "a %s was answered with HTTP %d", l->deleting ? "delete" : "create", l->status);
        churn_fail(l->churn, &err);
        return;
    }
    if (l->deleting) {
        l->churn->left -= l->churn->left > 0;
        lane_create(l);
        return;
    }
    l->created = true;
    if (l->bound) {
        lane_delete(l);
    }
}

static void lane_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct lane *l = arg;
    l->call = NULL;
    churn_fail(l->churn, &e->err);
}

static const struct http_call_ops lane_ops = {
    .on_response = lane_response, .on_body = lane_body, .on_end = lane_end, .on_error = lane_error
};

static void lane_send(struct lane *l, struct bench_request *r)
{
    l->call = bench_send(l->churn->bench, r, &lane_ops, l);
    buf_deinit(&r->body);
}

static void lane_create(struct lane *l)
{
    struct churn *c = l->churn;
    if (c->next >= c->n) {
        return;
    }
    struct bench_request r = { .method = "POST", .content_type = "application/json" };
    char name[48];
    c->next++;
    l->round++;
    l->created = l->bound = l->deleting = false;
    snprintf(name, sizeof(name), "churn-%u-%u", l->index, l->round);
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods", c->bench->ns);
    buf_init(&r.body, BUF_NO_MAX);
    body_pod(&r.body, name, NULL);
    l->created_ns = clock_mono_ns();
    lane_send(l, &r);
}

static void lane_delete(struct lane *l)
{
    struct bench_request r = { .method = "DELETE", .content_type = "application/json" };
    l->deleting = true;
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods/churn-%u-%u", l->churn->bench->ns, l->index, l->round);
    buf_init(&r.body, BUF_NO_MAX);
    buf_append_c(&r.body, "{\"gracePeriodSeconds\":0}");
    lane_send(l, &r);
}

/* "name":"churn-LANE-ROUND" of an ADDED event: bound, since only such pods are watched. */
static void take_event(struct churn *c, struct str line)
{
    struct str key = STR("\"name\":\"churn-"), name, rest, lane_text, round_text;
    uint64_t lane, round;
    ptrdiff_t at = str_find(line, key);
    if (!str_starts(line, STR("{\"type\":\"ADDED\"")) || at < 0 || !str_cut(str_sub(line, (size_t)at + key.len, 64), '"', &name, &rest) ||
        !str_cut(name, '-', &lane_text, &round_text) || !str_to_u64(lane_text, &lane) || !str_to_u64(round_text, &round) || lane >= c->n_lanes) {
        return;
    }
    struct lane *l = &c->lanes[lane];
    if (l->round != round || l->bound) {
        return;
    }
    l->bound = true;
    histogram_add(&c->bound, clock_mono_ns() - l->created_ns);
    if (l->created) {
        lane_delete(l);
    }
}

static void watch_response(struct http_call *call, const struct http_response *r, void *arg)
{
    (void)call;
    struct churn *c = arg;
    c->opening = 0;
    if (r->status != 200) {
        struct err err;
        (void)err_set(&err, ERR_INTERNAL, "the watch was answered with HTTP %d", r->status);
        churn_fail(c, &err);
    }
}

static void watch_body(struct http_call *call, struct str data, void *arg)
{
    (void)call;
    struct churn *c = arg;
    struct str head, tail;
    while (str_cut(data, '\n', &head, &tail)) {
        buf_append(&c->line, head);
        take_event(c, buf_str(&c->line));
        buf_clear(&c->line);
        data = tail;
    }
    buf_append(&c->line, data);
}

static void watch_end(struct http_call *call, const struct http_headers *trailers, void *arg)
{
    (void)call, (void)trailers;
    struct churn *c = arg;
    struct err err;
    c->watch = NULL;
    (void)err_set(&err, ERR_UNAVAILABLE, "the watch ended");
    churn_fail(c, &err);
}

static void watch_error(struct http_call *call, const struct http_call_error *e, void *arg)
{
    (void)call;
    struct churn *c = arg;
    c->watch = NULL;
    churn_fail(c, &e->err);
}

static const struct http_call_ops watch_ops = {
    .on_response = watch_response, .on_body = watch_body, .on_end = watch_end, .on_error = watch_error
};

static bool open_watch(struct churn *c, struct err *err)
{
    struct bench_request r = { .method = "GET" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?watch=true&timeoutSeconds=600&resourceVersion=0&fieldSelector=spec.nodeName%%21%%3D",
             c->bench->ns);
    c->opening = 1;
    c->watch = bench_send(c->bench, &r, &watch_ops, c);
    return bench_wait(c->bench, &c->opening, 10000, err);
}

static bool run_churn(struct bench *b, struct err *err)
{
    static struct churn c;
    struct usage before = { 0 }, after = { 0 };
    c = (struct churn){ .bench = b, .n = b->pods, .left = b->pods, .n_lanes = MIN(b->concurrency, b->pods) };
    if (!bench_need_nodes(b, err)) {
        return false;
    }
    c.lanes = calloc(c.n_lanes, sizeof(*c.lanes));
    if (!c.lanes) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    buf_init(&c.line, BUF_NO_MAX);
    bool ok = open_watch(&c, err) && usage_read(b->processes, b->n_processes, &before, err);
    uint64_t begin = clock_mono_ns();
    for (unsigned i = 0; ok && i < c.n_lanes; i++) {
        c.lanes[i] = (struct lane){ .churn = &c, .index = i };
        lane_create(&c.lanes[i]);
    }
    ok = ok && bench_wait(b, &c.left, 120000, err);
    double seconds = (double)(clock_mono_ns() - begin) / 1e9;
    for (unsigned i = 0; i < c.n_lanes; i++) {
        http_call_cancel(c.lanes[i].call);
    }
    http_call_cancel(c.watch);
    buf_deinit(&c.line);
    free(c.lanes);
    if (ok && c.err.code != ERR_NONE) {
        *err = c.err;
        ok = false;
    }
    if (!ok || !usage_read(b->processes, b->n_processes, &after, err)) {
        return false;
    }
    bench_figure(b, c.n / seconds, "1/s", "pods (%u at once)", c.n_lanes);
    bench_report_latency(b, &c.bound, "from create to bound");
    bench_report_usage(b, &before, &after, c.n / 1000.0, "1,000 pods");
    return true;
}

const struct bench_subject bench_churn = { "churn", "pods created, bound to nodes on paper and deleted, one after the other", run_churn };
