/* Other ways to a whole list: in pages, as kubectl asks, and as a stream of events, as informers of today do. */
#include "base/clock.h"
#include "bench/bench.h"
#include "net/loop.h"

enum { PAGE = 500, ROUNDS = 10 };

/* metadata.continue of a list, absent on the last page. It stands before the items, or behind them. */
static struct str continue_of(struct str list)
{
    struct str key = STR("\"continue\":\"");
    ptrdiff_t at = str_find(str_sub(list, 0, 1000), key);
    if (at < 0 && list.len > 1000) {
        at = str_find(str_sub(list, list.len - 1000, 1000), key);
        at += at < 0 ? 0 : (ptrdiff_t)(list.len - 1000);
    }
    struct str token, rest;
    return at >= 0 && str_cut(str_sub(list, (size_t)at + key.len, SIZE_MAX), '"', &token, &rest) ? token : STR_NULL;
}

/* All pages, one after the other. A token may hold what a query must not: it is base64. */
static bool whole_list(struct bench *b, struct bench_answer *f, struct histogram *pages, unsigned *n_pages, struct err *err)
{
    struct bench_request r = { .method = "GET" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?limit=%d", b->ns, PAGE);
    while (true) {
        uint64_t begin = clock_mono_ns();
        if (!bench_fetch(b, &r, f, err) || !bench_is_2xx(&r, f, err)) {
            return false;
        }
        histogram_add(pages, clock_mono_ns() - begin);
        ++*n_pages;
        struct str token = continue_of(buf_str(&f->body));
        if (str_empty(token)) {
            return true;
        }
        CLEANUP(buf_deinit) struct buf escaped;
        buf_init(&escaped, 4096);
        for (size_t i = 0; i < token.len; i++) {
            char c = token.ptr[i];
            if (c == '+' || c == '/' || c == '=' || c == '%') {
                buf_printf(&escaped, "%%%02X", (unsigned char)c);
            } else {
                buf_append_char(&escaped, c);
            }
        }
        int n = snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?limit=%d&continue=%.*s", b->ns, PAGE, STR_ARG(buf_str(&escaped)));
        if (n < 0 || (size_t)n >= sizeof(r.target)) {
            return err_set(err, ERR_TOO_LARGE, "the continue token is longer than this program takes");
        }
    }
}

static bool run_paged(struct bench *b, struct err *err)
{
    static struct histogram pages, lists;
    struct bench_answer f = { .left = 0 };
    struct usage before = { 0 }, after = { 0 };
    unsigned n_pages = 0;
    pages = lists = (struct histogram){ .n = 0 };
    if (!bench_need_pods(b, b->objects, err) || !usage_read(b->processes, b->n_processes, &before, err)) {
        return false;
    }
    buf_init(&f.body, BUF_NO_MAX);
    bool ok = true;
    for (unsigned i = 0; ok && i < ROUNDS; i++) {
        uint64_t begin = clock_mono_ns();
        ok = whole_list(b, &f, &pages, &n_pages, err);
        histogram_add(&lists, clock_mono_ns() - begin);
    }
    buf_deinit(&f.body);
    if (!ok || !usage_read(b->processes, b->n_processes, &after, err)) {
        return false;
    }
    bench_figure(b, (double)n_pages / ROUNDS, "", "pages of %d of a list of %u pods", PAGE, b->n_pods);
    bench_report_latency(b, &pages, "page");
    bench_figure(b, (double)histogram_percentile(&lists, 50) / 1e6, "ms", "whole list p50");
    bench_report_usage(b, &before, &after, ROUNDS, "list");
    return true;
}

const struct bench_subject bench_paged = { "paged", "lists of all pods in pages of 500", run_paged };

/* ---- streamed ---- */

struct stream {
    bool unknown; /* the server does not know sendInitialEvents: it refused, or all came and no word that they had */
    unsigned left, events;
    int status;
    struct buf last;    /* the line of a bookmark, which may say that the list is over */
    char head[20];      /* of the line that comes now */
    size_t n_head;
    uint64_t bytes, over_ns;
    struct err err;
};

static void stream_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct stream *s = arg;
    s->status = r->status;
    if (r->status != 200) {
        s->unknown = r->status == 400 || r->status == 403 || r->status == 422;
        if (!s->unknown) {
            (void)err_set(&s->err, ERR_INTERNAL, "the watch was answered with HTTP %d", r->status);
        }
        s->left = 0;
    }
}

static void stream_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct stream *s = arg;
    struct str type = STR("{\"type\":\"BOOKMARK\"");
    s->bytes += data.len;
    while (data.len > 0) {
        const char *end = memchr(data.ptr, '\n', data.len);
        struct str part = str_sub(data, 0, end ? (size_t)(end - data.ptr) : data.len);
        size_t more = MIN(part.len, sizeof(s->head) - s->n_head);
        memcpy(s->head + s->n_head, part.ptr, more);
        s->n_head += more;
        if (str_starts(str_n(s->head, s->n_head), type)) {
            buf_append(&s->last, part);
        }
        if (!end) {
            return;
        }
        if (str_find(buf_str(&s->last), STR("k8s.io/initial-events-end")) >= 0 && s->left) {
            s->over_ns = clock_mono_ns();
            s->left = 0;
        }
        s->events += s->left;
        s->n_head = 0;
        buf_clear(&s->last);
        data = str_sub(data, part.len + 1, SIZE_MAX);
    }
}

static void stream_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct stream *s = arg;
    if (s->left && !s->unknown) {
        (void)err_set(&s->err, ERR_UNAVAILABLE, "the watch ended before the list was over");
    }
    s->left = 0;
    s->status = 0;
}

static void stream_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct stream *s = arg;
    s->err = e->err;
    s->left = 0;
    s->status = 0;
}

static const struct http_call_ops stream_ops = {
    .on_response = stream_response, .on_body = stream_body, .on_end = stream_end, .on_error = stream_error
};

/* Until the list is over. An older server leaves parameters that it does not know aside: everything comes, and then silence. */
static bool wait_for_end(struct bench *b, struct stream *s, struct err *err)
{
    uint64_t begin = clock_mono_ms(), quiet_since = begin;
    unsigned seen = 0;
    while (s->left) {
        loop_turn(b->loop, 100);
        uint64_t now = clock_mono_ms();
        if (s->events != seen) {
            seen = s->events;
            quiet_since = now;
        }
        if (s->left && s->events >= b->n_pods && now > quiet_since + 3000) {
            s->unknown = true;
            return true;
        }
        if (now > begin + 60000) {
            return err_set(err, ERR_TIMEOUT, "the list was not over after a minute, %u of %u pods came", s->events, b->n_pods);
        }
    }
    return true;
}

static bool one_stream(struct bench *b, struct histogram *h, struct stream *s, struct err *err)
{
    struct bench_request r = { .method = "GET" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&"
             "resourceVersionMatch=NotOlderThan&resourceVersion=", b->ns);
    uint64_t begin = clock_mono_ns();
    *s = (struct stream){ .left = 1, .status = -1 };
    buf_init(&s->last, 1 << 20);
    struct http_call *call = bench_send(b, &r, &stream_ops, s);
    bool ok = wait_for_end(b, s, err);
    if (s->status != 0) {
        http_call_cancel(call);
    }
    buf_deinit(&s->last);
    if (ok && s->err.code != ERR_NONE) {
        *err = s->err;
        ok = false;
    }
    if (ok && !s->unknown && s->events < b->n_pods) {
        ok = err_set(err, ERR_INTERNAL, "%u events came of %u pods", s->events, b->n_pods);
    }
    if (ok && !s->unknown) {
        histogram_add(h, s->over_ns - begin);
    }
    return ok;
}

static bool run_streamed(struct bench *b, struct err *err)
{
    static struct histogram h;
    struct stream s = { .left = 0 };
    struct usage before = { 0 }, after = { 0 };
    h = (struct histogram){ .n = 0 };
    if (!bench_need_pods(b, b->objects, err) || !usage_read(b->processes, b->n_processes, &before, err)) {
        return false;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!one_stream(b, &h, &s, err)) {
            return false;
        }
        if (s.unknown) {
            bench_absent(b, "the server does not know sendInitialEvents (Kubernetes 1.32 and later do)");
            return true;
        }
    }
    if (!usage_read(b->processes, b->n_processes, &after, err)) {
        return false;
    }
    bench_figure(b, (double)s.bytes / 1e6, "MB", "size of a stream of %u pods", b->n_pods);
    bench_figure(b, (double)histogram_percentile(&h, 50) / 1e6, "ms", "whole list p50");
    bench_figure(b, (double)histogram_percentile(&h, 100) / 1e6, "ms", "whole list p100");
    bench_report_usage(b, &before, &after, ROUNDS, "list");
    return true;
}

const struct bench_subject bench_streamed = { "streamed", "lists of all pods as a stream of events (sendInitialEvents)", run_streamed };
