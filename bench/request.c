/* One request at a time, and the wait for what is missing. */
#include <stdio.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "net/loop.h"

struct http_call *bench_send(struct bench *b, const struct bench_request *r, const struct http_call_ops *ops, void *arg)
{
    char target[512];
    snprintf(target, sizeof(target), "%.*s%s", STR_ARG(b->endpoint.prefix), r->target);
    struct http_header headers[4];
    size_t n = 0;
    headers[n++] = (struct http_header){ STR("user-agent"), STR("coracle-bench") };
    headers[n++] = (struct http_header){ STR("accept"), r->accept ? str_c(r->accept) : STR("application/json") };
    if (!str_empty(b->endpoint.authorization)) {
        headers[n++] = (struct http_header){ STR("authorization"), b->endpoint.authorization };
    }
    struct net_chunk body;
    struct http_call_config config = { .method = str_c(r->method), .target = str_c(target), .headers = headers };
    if (r->content_type) {
        headers[n++] = (struct http_header){ STR("content-type"), str_c(r->content_type) };
        body = net_chunk_copy(buf_str(&r->body));
        config.body = &body;
        config.n_body = 1;
    }
    config.n_headers = n;
    return http_client_start(r->http ? r->http : b->http, &config, ops, arg);
}

static void answer_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    ((struct bench_answer *)arg)->status = r->status;
}

static void answer_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    buf_append(&((struct bench_answer *)arg)->body, data);
}

static void answer_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    ((struct bench_answer *)arg)->left = 0;
}

static void answer_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct bench_answer *a = arg;
    a->err = e->err;
    a->left = 0;
}

static const struct http_call_ops answer_ops = {
    .on_response = answer_response, .on_body = answer_body, .on_end = answer_end, .on_error = answer_error
};

bool bench_fetch(struct bench *b, const struct bench_request *r, struct bench_answer *a, struct err *err)
{
    a->left = 1;
    a->status = 0;
    a->err.code = ERR_NONE;
    buf_clear(&a->body);
    struct http_call *call = bench_send(b, r, &answer_ops, a);
    if (!bench_wait(b, &a->left, 60000, err)) {
        http_call_cancel(call);
        return false;
    }
    if (a->err.code != ERR_NONE) {
        *err = a->err;
        return false;
    }
    return true;
}

bool bench_is_2xx(const struct bench_request *r, const struct bench_answer *a, struct err *err)
{
    struct str words = str_trim(str_sub(buf_str(&a->body), 0, 600));
    return (a->status >= 200 && a->status <= 299) ||
           err_set(err, ERR_INTERNAL, "%s %s: HTTP %d: %.*s", r->method, r->target, a->status, STR_ARG(words));
}

bool bench_do(struct bench *b, const struct bench_request *r, int also, struct err *err)
{
    struct bench_answer a = { .left = 0 };
    buf_init(&a.body, BUF_NO_MAX);
    bool ok = bench_fetch(b, r, &a, err) && ((also && a.status == also) || bench_is_2xx(r, &a, err));
    buf_deinit(&a.body);
    return ok;
}

bool bench_wait(struct bench *b, const unsigned *left, uint64_t timeout_ms, struct err *err)
{
    uint64_t end = clock_mono_ms() + timeout_ms;
    while (*left > 0) {
        loop_turn(b->loop, 100);
        if (clock_mono_ms() > end) {
            return err_set(err, ERR_TIMEOUT, "%u were still missing after %u s", *left, (unsigned)(timeout_ms / 1000));
        }
    }
    return true;
}
