/* One change, many watchers: how long until each has it, and what a delivered event costs. */
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/bodies.h"
#include "net/loop.h"

struct fan;

struct watcher {
    struct fan *fan;
    struct http_call *call;
    struct buf line; /* the event that is not complete yet */
};

struct fan {
    struct watcher *watchers;
    unsigned n, opening; /* watches without an answer yet */
    unsigned left;       /* events still to come */
    uint64_t bytes;      /* of all that came */
    struct histogram latency;
    struct err err;
};

static void watch_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct watcher *w = arg;
    if (r->status != 200 && w->fan->err.code == ERR_NONE) {
        (void)err_set(&w->fan->err, ERR_INTERNAL, "a watch was answered with HTTP %d", r->status);
    }
    w->fan->opening -= w->fan->opening > 0;
}

static void count_event(struct watcher *w, struct str event)
{
    struct str key = STR("\"sent\":\"");
    ptrdiff_t at = str_find(event, key);
    uint64_t sent, now = clock_mono_ns();
    if (at < 0 || !str_to_u64(str_sub(event, (size_t)at + key.len, 20), &sent) || sent == 0) {
        return;
    }
    histogram_add(&w->fan->latency, now - MIN(sent, now));
    w->fan->left -= w->fan->left > 0;
}

static void watch_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct watcher *w = arg;
    struct str head, rest = data;
    w->fan->bytes += data.len;
    while (str_cut(rest, '\n', &head, &data)) {
        buf_append(&w->line, head);
        count_event(w, buf_str(&w->line));
        buf_clear(&w->line);
        rest = data;
    }
    buf_append(&w->line, rest);
}

static void watch_over(struct watcher *w, const struct err *err)
{
    w->call = NULL;
    if (w->fan->err.code == ERR_NONE) {
        w->fan->err = *err;
    }
    w->fan->left = w->fan->opening = 0;
}

static void watch_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct err err;
    (void)err_set(&err, ERR_UNAVAILABLE, "a watch ended");
    watch_over(arg, &err);
}

static void watch_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    watch_over(arg, &e->err);
}

static const struct http_call_ops watch_ops = {
    .on_response = watch_response, .on_body = watch_body, .on_end = watch_end, .on_error = watch_error
};

static void make_change(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    char name[32];
    const char *prefix = arg;
    snprintf(name, sizeof(name), "%s-%u", prefix, i % b->concurrency);
    r->method = "PUT";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/configmaps/%s", b->ns, name);
    body_config_map(&r->body, name, clock_mono_ns());
}

static void make_object(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    char name[32];
    const char *prefix = arg;
    snprintf(name, sizeof(name), "%s-%u", prefix, i);
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/configmaps", b->ns);
    body_config_map(&r->body, name, 0);
}

static bool open_watches(struct bench *b, struct fan *f, struct err *err)
{
    struct bench_request r = { .method = "GET" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/configmaps?watch=true&timeoutSeconds=600", b->ns);
    f->opening = f->n;
    for (unsigned i = 0; i < f->n; i++) {
        f->watchers[i].fan = f;
        buf_init(&f->watchers[i].line, BUF_NO_MAX);
        f->watchers[i].call = bench_send(b, &r, &watch_ops, &f->watchers[i]);
    }
    if (!bench_wait(b, &f->opening, 30000, err)) {
        return false;
    }
    unsigned never = 1; /* lets the first events, of what exists already, arrive uncounted */
    struct err ignored;
    (void)!bench_wait(b, &never, 1000, &ignored);
    return true;
}

static bool measure(struct bench *b, struct fan *f, struct load *changes, const struct usage *base, struct err *err)
{
    f->left = f->n * changes->n;
    double events = f->left;
    f->bytes = 0;
    uint64_t begin = clock_mono_ns();
    struct usage after = { 0 };
    if (!load_run(b, changes, err) || !bench_wait(b, &f->left, 60000, err)) {
        return false;
    }
    double seconds = (double)(clock_mono_ns() - begin) / 1e9;
    if (f->err.code != ERR_NONE) {
        *err = f->err;
        return false;
    }
    if (!usage_read(b->processes, b->n_processes, &after, err)) {
        return false;
    }
    bench_figure(b, events / seconds, "1/s", "events to %u watchers", f->n);
    bench_report_latency(b, &f->latency, "delivery");
    if (b->n_processes > 0) {
        double used = after.cpu_s[0] - changes->before.cpu_s[0] - base->cpu_s[0];
        bench_figure(b, used / events * 1e6, "us", "CPU of %s per event", b->processes[0].name);
    }
    bench_report_counts(b, &changes->before.counts, &after.counts, &base->counts, events, "event delivered");
    if (usage_has_counts()) {
        double copied = (double)(after.counts.copied - changes->before.counts.copied) - (double)base->counts.copied;
        bench_figure(b, (double)f->bytes / events, "B", "size of an event");
        bench_figure(b, copied / (double)f->bytes, "", "copies of a byte of an event delivered");
    }
    return true;
}

static bool run_watch(struct bench *b, struct err *err)
{
    char prefix[] = "watched";
    struct load objects = { .n = b->concurrency, .concurrency = 1, .make = make_object, .arg = prefix, .setup = true };
    struct load changes = { .n = MIN(b->requests, 2000u), .concurrency = b->concurrency, .make = make_change, .arg = prefix };
    /* The same changes with nobody watching, so that what is left is the delivery. */
    if (!load_run(b, &objects, err) || !load_run(b, &changes, err)) {
        return false;
    }
    struct usage base = changes.after;
    base.cpu_s[0] -= changes.before.cpu_s[0];
    base.counts.allocations -= changes.before.counts.allocations;
    base.counts.bytes -= changes.before.counts.bytes;
    base.counts.file_bytes -= changes.before.counts.file_bytes;
    base.counts.syncs -= changes.before.counts.syncs;
    base.counts.copied -= changes.before.counts.copied;
    struct fan f = { .n = b->watchers, .watchers = calloc(b->watchers, sizeof(*f.watchers)) };
    if (!f.watchers) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    bool ok = open_watches(b, &f, err) && measure(b, &f, &changes, &base, err);
    for (unsigned i = 0; i < f.n; i++) {
        http_call_cancel(f.watchers[i].call);
        buf_deinit(&f.watchers[i].line);
    }
    free(f.watchers);
    return ok;
}

const struct bench_subject bench_watch = { "watch", "changes of 400 B ConfigMaps to many watchers", run_watch };
