#include "apiserver/backend.h"

#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "base/log.h"

struct passing {
    struct request *r;
    struct http_call *call;
    bool pass_headers;
};

static void on_response(struct http_call *c, const struct http_response *res, void *arg)
{
    struct passing *p = arg;
    struct http_header out[64];
    size_t n = 0;
    (void)c;
    for (size_t i = 0; i < res->headers.n && n < ARRAY_SIZE(out) - 1; i++) {
        struct str name = res->headers.items[i].name;
        bool ours = str_eq_c(name, "date") || str_eq_c(name, "content-length") || str_eq_c(name, "connection") ||
                    str_eq_c(name, "transfer-encoding") || str_eq_c(name, "keep-alive") || str_eq_c(name, "upgrade");
        if (!ours && (p->pass_headers || str_eq_c(name, "content-type"))) {
            out[n++] = res->headers.items[i];
        }
    }
    http_stream_respond(p->r->http, res->status, out, n, res->content_length);
}

static void on_body(struct http_call *c, struct str data, void *arg)
{
    struct passing *p = arg;
    struct net_chunk chunk = net_chunk_copy(data);
    http_stream_write(p->r->http, &chunk, 1);
    if (http_stream_queued(p->r->http) >= LIST_BATCH_BYTES) {
        http_call_pause(c);
    }
}

static void on_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    struct passing *p = arg;
    struct request *r = p->r;
    (void)c;
    (void)trailers;
    p->call = NULL;
    http_stream_end(r->http);
    request_resume(r, STAGE_ANSWERED);
}

static void on_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    struct passing *p = arg;
    struct request *r = p->r;
    (void)c;
    p->call = NULL;
    if (http_stream_responded(r->http)) {
        http_stream_reset(r->http);
        request_resume(r, STAGE_ANSWERED);
        return;
    }
    status_internal(&r->status, &r->arena, "error dialing backend: %s", e->err.msg);
    request_resume(r, STAGE_ERROR);
}

static const struct http_call_ops call_ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

static void on_drain(struct http_stream *s, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
    (void)s;
    if (p->call) {
        http_call_resume(p->call);
    }
}

static void on_cancel(struct http_stream *s, void *arg)
{
    struct request *r = arg;
    (void)s;
    r->cancelled = true;
    request_resume(r, STAGE_ANSWERED);
}

static void on_request_body(struct http_stream *s, struct str data, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
    (void)s;
    if (p->call) {
        struct net_chunk chunk = net_chunk_copy(data);
        http_call_write(p->call, &chunk, 1);
    }
}

static void on_request_end(struct http_stream *s, const struct http_headers *trailers, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
    (void)s;
    (void)trailers;
    if (p->call) {
        http_call_end(p->call);
    }
}

static const struct http_stream_ops pass_ops = { .on_drain = on_drain, .on_cancel = on_cancel };
static const struct http_stream_ops pass_body_ops = { .on_drain = on_drain, .on_cancel = on_cancel, .on_body = on_request_body,
                                                      .on_body_end = on_request_end };

static void cleanup(struct request *r)
{
    struct passing *p = r->verb_data;
    p->call = http_call_cancel(p->call);
    free(p);
}

enum stage_result backend_stream(struct request *r, const struct backend_call *call)
{
    struct passing *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->r = r;
    p->pass_headers = call->pass_headers;
    r->verb_data = p;
    r->cleanup = cleanup;
    bool body = call->with_body && r->in->has_body;
    struct http_call_config cfg = {
        .method = call->method, .target = call->target, .headers = call->headers, .n_headers = call->n_headers,
        .streaming = body, .content_length = r->in->content_length, .response_ms = 0,
    };
    loop_timer_stop(&r->timer);
    p->call = http_client_start(call->client, &cfg, &call_ops, p);
    http_stream_set_watermarks(r->http, LIST_BATCH_BYTES, LIST_BATCH_BYTES / 4);
    http_stream_set_ops(r->http, body ? &pass_body_ops : &pass_ops, r);
    return STAGE_WAIT;
}

/* ---- upgrades: the stream goes to the proxy; the request lives until it is done ---- */

struct upgrading {
    struct request *r;
    struct upgrade_proxy *proxy;
};

static void upgrade_done(void *arg, struct http_stream *s, const struct upgrade_proxy_result *result)
{
    struct upgrading *u = arg;
    struct request *r = u->r;
    u->proxy = NULL;
    if (!s) {
        r->http = NULL;
        request_resume(r, STAGE_ANSWERED);
        return;
    }
    /* The proxy releases its reference after this call, and the answer is given within it. */
    if (result->err.code == ERR_BAD_REQUEST) {
        status_bad_request(&r->status, &r->arena, "%s", result->err.msg);
    } else {
        status_internal(&r->status, &r->arena, "error dialing backend: %s", result->err.msg);
    }
    request_resume(r, STAGE_ERROR);
}

static void upgrade_cleanup(struct request *r)
{
    struct upgrading *u = r->verb_data;
    u->proxy = upgrade_proxy_free(u->proxy);
}

enum stage_result backend_upgrade(struct request *r, struct http_client *client, struct str target, enum upgrade_kind kind,
                                  unsigned channels)
{
    struct upgrading *u = arena_new(&r->arena, struct upgrading);
    struct upgrade_proxy_config cfg = { .target = target, .kind = kind, .channels = channels };
    if (!u) {
        return request_bad(r, "the request is too large");
    }
    u->r = r;
    r->verb_data = u;
    r->cleanup = upgrade_cleanup;
    r->handed_over = true;
    loop_timer_stop(&r->timer);
    http_stream_set_ops(r->http, NULL, NULL);
    u->proxy = upgrade_proxy_start(r->http, client, &cfg, upgrade_done, u);
    return STAGE_WAIT;
}
