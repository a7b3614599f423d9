#include "bench/counter.h"

#include "base/clock.h"

static void counter_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct counter *n = arg;
    n->opening = 0;
    if (r->status != 200) {
        (void)err_set(&n->err, ERR_INTERNAL, "the watch was answered with HTTP %d", r->status);
        n->left = 0;
    }
}

static void counter_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct counter *n = arg;
    for (size_t i = 0; i < data.len && n->left > 0; i++) {
        n->left -= n->column == sizeof("{\"type\":\"") - 1 && data.ptr[i] == 'A';
        n->column = data.ptr[i] == '\n' ? 0 : n->column + 1;
    }
    n->last_ns = clock_mono_ns();
}

static void counter_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct counter *n = arg;
    if (n->left > 0) {
        (void)err_set(&n->err, ERR_UNAVAILABLE, "the watch ended");
    }
    n->left = n->opening = 0;
    n->open = false;
}

static void counter_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct counter *n = arg;
    n->err = e->err;
    n->left = n->opening = 0;
    n->open = false;
}

static const struct http_call_ops counter_ops = {
    .on_response = counter_response, .on_body = counter_body, .on_end = counter_end, .on_error = counter_error
};

struct http_call *counter_start(struct bench *b, struct counter *n, unsigned events, const char *query, struct err *err)
{
    struct bench_request r = { .method = "GET" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?watch=true&timeoutSeconds=600&%s", b->ns, query);
    *n = (struct counter){ .left = events, .opening = 1, .open = true };
    struct http_call *call = bench_send(b, &r, &counter_ops, n);
    if (!bench_wait(b, &n->opening, 10000, err)) {
        return http_call_cancel(call);
    }
    if (n->err.code != ERR_NONE) {
        *err = n->err;
        return n->open ? http_call_cancel(call) : NULL;
    }
    return call;
}

bool counter_wait(struct bench *b, struct counter *n, uint64_t timeout_ms, struct err *err)
{
    if (!bench_wait(b, &n->left, timeout_ms, err)) {
        return false;
    }
    if (n->err.code != ERR_NONE) {
        *err = n->err;
        return false;
    }
    return true;
}
