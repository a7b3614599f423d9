#include "apiserver/backend.h"

#include "apiserver/backend-private.h"
#include "apiserver/egress.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "base/log.h"

struct passing {
    struct request *r;
    struct http_call *call;
    struct backend_call how; /* without headers */
    int refused;             /* BACKEND_KUBELET: a status whose body becomes a message */
    struct buf message;
};

/* ---- when there is no answer ---- */

/* Through a proxy there is no other way: the service is away for the moment. Directly, upstream's kubelet errors are 500. */
static enum stage_result no_answer(struct request *r, enum backend_style style, const struct err *err, bool tls)
{
    struct str way;
    const char *words = style == BACKEND_PROXY ? "error trying to reach service" : "error dialing backend";
    bool proxied = egress_is_proxied(r->srv->egress, EGRESS_CLUSTER, &way);
    if (err->code == ERR_FORBIDDEN) {
        return request_bad(r, "%s", err->msg);
    }
    if (tls) {
        log_warning("apiserver: %.*s %.*s: the other side is not trusted, nothing was sent: %s", STR_ARG(r->in->method),
                    STR_ARG(str_sub(r->info.path, 0, 300)), err->msg);
    }
    struct str message = arena_printf(&r->arena, "%s: %s", words, err->msg);
    if (err->code == ERR_TIMEOUT && style == BACKEND_PROXY) {
        r->status = (struct status){ .code = 504, .reason = STR("Timeout"), .message = message };
    } else if (style == BACKEND_PROXY || proxied) {
        r->status = (struct status){ .code = 503, .reason = STR("ServiceUnavailable"), .message = message };
    } else {
        status_internal(&r->status, &r->arena, "%.*s", STR_ARG(message));
    }
    return STAGE_ERROR;
}

static void lost(struct passing *p, enum err_code code, const char *why)
{
    struct request *r = p->r;
    struct err err;
    err_set(&err, code, "%s", why);
    p->call = http_call_cancel(p->call);
    request_resume(r, no_answer(r, p->how.style, &err, false));
}

/* ---- the answer ---- */

/* Browsers must not take a backend's word for who may read the API server's origin. */
static bool is_cors(struct str name)
{
    return str_starts(name, STR("access-control-allow-"));
}

static void pass_response(struct passing *p, const struct http_response *res)
{
    struct request *r = p->r;
    struct http_header *out = arena_new_n(&r->arena, struct http_header, res->headers.n + 1);
    size_t n = 0;
    if (res->headers.n > PROXY_MAX_HEADERS || !out) {
        lost(p, ERR_UNAVAILABLE, "the backend answered with too many headers");
        return;
    }
    for (size_t i = 0; i < res->headers.n; i++) {
        struct http_header h = res->headers.items[i];
        bool ours = str_eq_c(h.name, "date") || str_eq_c(h.name, "content-length") || is_cors(h.name) ||
                    backend_is_hop_header(&res->headers, h.name);
        if (str_eq_c(h.name, "location")) {
            h.value = backend_location(&r->arena, h.value, p->how.prefix, p->how.backend, r->in->authority);
        }
        if (!ours) {
            out[n++] = h;
        }
    }
    http_stream_respond(r->http, res->status, out, n, res->content_length);
}

static void on_response(struct http_call *c UNUSED, const struct http_response *res, void *arg)
{
    struct passing *p = arg;
    struct str type = http_header_get(&res->headers, STR("content-type"));
    struct http_header header = { STR("content-type"), type };
    if (p->how.style == BACKEND_PROXY) {
        pass_response(p, res);
    } else if (res->status >= 200 && res->status < 300) {
        http_stream_respond(p->r->http, res->status, &header, type.ptr ? 1 : 0, res->content_length);
    } else {
        p->refused = res->status;
        buf_init(&p->message, KUBELET_MAX_REFUSAL);
    }
}

static void refused(struct passing *p)
{
    struct request *r = p->r;
    struct str words = str_trim(buf_str(&p->message));
    struct str message = arena_str(&r->arena, str_is_utf8(words) ? words : STR("the kubelet's answer is no text"));
    int code = p->refused;
    p->call = http_call_cancel(p->call);
    if (code < 400) {
        status_internal(&r->status, &r->arena, "the kubelet attempted to redirect this request, which is not permitted (status %d)", code);
    } else if (code == 400) {
        status_bad_request(&r->status, &r->arena, "%.*s", STR_ARG(message));
    } else if (code == 500) {
        status_internal(&r->status, &r->arena, "%.*s", STR_ARG(message));
    } else {
        r->status = (struct status){ .code = code, .reason = str_c(err_reason(err_code_of(STR_NULL, code))), .message = message };
    }
    request_resume(r, STAGE_ERROR);
}

static void on_body(struct http_call *c, struct str data, void *arg)
{
    struct passing *p = arg;
    if (p->refused) {
        buf_append(&p->message, str_sub(data, 0, KUBELET_MAX_REFUSAL - p->message.len));
        if (p->message.len == KUBELET_MAX_REFUSAL) {
            refused(p);
        }
        return;
    }
    struct net_chunk chunk = net_chunk_copy(data);
    http_stream_write(p->r->http, &chunk, 1);
    if (http_stream_queued(p->r->http) >= LIST_BATCH_BYTES) {
        http_call_pause(c);
    }
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers, void *arg)
{
    struct passing *p = arg;
    struct request *r = p->r;
    p->call = NULL;
    if (p->refused) {
        refused(p);
        return;
    }
    if (p->how.style == BACKEND_PROXY && trailers && trailers->n > 0 && trailers->n <= PROXY_MAX_HEADERS) {
        http_stream_end_trailers(r->http, trailers->items, trailers->n);
    } else {
        http_stream_end(r->http);
    }
    request_resume(r, STAGE_ANSWERED);
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct passing *p = arg;
    struct request *r = p->r;
    p->call = NULL;
    if (http_stream_responded(r->http)) {
        http_stream_reset(r->http);
        request_resume(r, STAGE_ANSWERED);
        return;
    }
    request_resume(r, no_answer(r, p->how.style, &e->err, e->tls));
}

/* The backend takes the request's body again. */
static void on_call_drain(struct http_call *c UNUSED, void *arg)
{
    struct passing *p = arg;
    http_stream_resume(p->r->http);
}

static const struct http_call_ops call_ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error,
                                               .on_drain = on_call_drain };

/* ---- the client ---- */

static void on_drain(struct http_stream *s UNUSED, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
    if (p->call) {
        http_call_resume(p->call);
    }
}

static void on_cancel(struct http_stream *s UNUSED, void *arg)
{
    struct request *r = arg;
    r->cancelled = true;
    request_resume(r, STAGE_ANSWERED);
}

static void on_request_body(struct http_stream *s, struct str data, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
    if (p->call) {
        struct net_chunk chunk = net_chunk_copy(data);
        http_call_write(p->call, &chunk, 1);
        if (http_call_queued(p->call) >= PROXY_BODY_HIGH) {
            http_stream_pause(s);
        }
    }
}

static void on_request_end(struct http_stream *s UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct request *r = arg;
    struct passing *p = r->verb_data;
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
    buf_deinit(&p->message);
    free(p);
}

enum stage_result backend_stream(struct request *r, const struct backend_call *call)
{
    struct passing *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->r = r;
    p->how = *call;
    r->verb_data = p;
    r->cleanup = cleanup;
    bool body = call->with_body && r->in->has_body;
    uint32_t proxy_ms = r->srv->cfg.proxy_response_ms ? r->srv->cfg.proxy_response_ms : PROXY_RESPONSE_MS;
    struct http_call_config cfg = {
        .method = call->method, .target = call->target, .authority = call->authority, .headers = call->headers, .n_headers = call->n_headers,
        .streaming = body, .content_length = r->in->content_length,
        .response_ms = call->style == BACKEND_PROXY ? proxy_ms : call->patient ? 0 : KUBELET_RESPONSE_MS,
    };
    loop_timer_stop(&r->timer);
    p->call = http_client_start(call->client, &cfg, &call_ops, p);
    http_stream_set_watermarks(r->http, LIST_BATCH_BYTES, LIST_BATCH_BYTES / 4);
    http_stream_set_ops(r->http, body ? &pass_body_ops : &pass_ops, r);
    http_stream_resume(r->http);
    return STAGE_WAIT;
}

/* ---- upgrades: the stream goes to the proxy; the request lives until it is done ---- */

struct upgrading {
    struct request *r;
    struct upgrade_proxy *proxy;
    enum backend_style style;
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
        request_resume(r, STAGE_ERROR);
    } else if (result->err.code == ERR_INTERNAL) {
        status_internal(&r->status, &r->arena, "%s", result->err.msg);
        request_resume(r, STAGE_ERROR);
    } else {
        request_resume(r, no_answer(r, u->style, &result->err, result->tls));
    }
}

static void upgrade_cleanup(struct request *r)
{
    struct upgrading *u = r->verb_data;
    u->proxy = upgrade_proxy_free(u->proxy);
}

enum stage_result backend_upgrade(struct request *r, const struct backend_call *call, enum upgrade_kind kind, unsigned channels)
{
    struct upgrading *u = arena_new(&r->arena, struct upgrading);
    struct upgrade_proxy_config cfg = { .target = call->target, .kind = kind, .channels = channels, .authority = call->authority,
                                        .headers = call->headers, .n_headers = call->n_headers };
    if (!u) {
        return request_bad(r, "the request is too large");
    }
    u->r = r;
    u->style = call->style;
    r->verb_data = u;
    r->cleanup = upgrade_cleanup;
    r->handed_over = true;
    loop_timer_stop(&r->timer);
    http_stream_set_ops(r->http, NULL, NULL);
    http_stream_resume(r->http);
    u->proxy = upgrade_proxy_start(r->http, call->client, &cfg, upgrade_done, u);
    return STAGE_WAIT;
}
