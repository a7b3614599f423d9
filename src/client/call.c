/* One request and its answer: tries, time limits, errors, the token bucket. */
#include "client/client-private.h"

#include <stdlib.h>

#include "api/decode-json.h"
#include "api/gen/meta_v1.h"
#include "base/log.h"
#include "client/limits.h"

void client_call_free(struct client_call *call)
{
    list_remove(&call->link);
    loop_timer_stop(&call->timer);
    http_call_cancel(call->http);
    net_chunk_unref(call->body);
    buf_deinit(&call->answer);
    free(call->method);
    free(call->target);
    free(call->content_type);
    free(call);
}

/* Ends the call: frees it after 'done' saw the answer. */
static void call_end(struct client_call *call, struct client_answer *answer)
{
    client_done_fn *done = call->done;
    void *data = call->data;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    /* 'done' may free the client, and with it every call in its list: this one must not be there
     * any more. */
    list_remove(&call->link);
    loop_timer_stop(&call->timer);
    if (done) {
        answer->arena = &a;
        done(data, answer);
    }
    client_call_free(call);
    arena_deinit(&a);
}

static void call_fail(struct client_call *call, const struct err *err)
{
    struct client_answer answer = { .err = err,
                                    .http_status = call->status,
                                    .body = buf_str(&call->answer) };
    call_end(call, &answer);
}

static void call_start(struct client_call *call);

static void on_again(void *arg)
{
    call_start(arg);
}

/* Tries again after 'ms' if the tries and the deadline allow it. */
static bool call_again(struct client_call *call, uint64_t ms)
{
    uint64_t now = loop_now_ms(call->client->loop);
    if (call->tries >= CLIENT_TRIES || (call->deadline_ms && now + ms >= call->deadline_ms)) {
        return false;
    }
    buf_clear(&call->answer);
    call->status = 0;
    loop_timer_start(&call->timer, ms);
    return true;
}

static void on_response(struct http_call *h UNUSED, const struct http_response *r, void *arg)
{
    struct client_call *call = arg;
    call->status = r->status;
    call->retry_after[0] = '\0';
    struct str after = http_header_get(&r->headers, STR("retry-after"));
    if (!str_to_cstr(after, call->retry_after, sizeof(call->retry_after))) {
        call->retry_after[0] = '\0';
    }
    struct str warning;
    for (size_t pos = 0; http_header_next(&r->headers, STR("warning"), &pos, &warning);) {
        log_debug("%s %s: the server warns: %.*s", call->method, call->target, STR_ARG(warning));
    }
}

static void on_body(struct http_call *h UNUSED, struct str bytes, void *arg)
{
    struct client_call *call = arg;
    if (call->kind == CALL_STREAM && call->status == 200) {
        call->on_data(call->data, bytes);
        return;
    }
    buf_append(&call->answer, bytes);
}

/* The error that a non-2xx answer says: its Status, or words of our own for other bodies. */
static void status_error(const struct client_call *call, struct arena *a, struct err *err)
{
    struct meta_v1_status s = { 0 };
    if (api_decode_json(a, &meta_v1_status_type, buf_str(&call->answer), NULL, &s, NULL) &&
        !str_empty(s.message)) {
        err_set(err, err_code_of(s.reason, call->status), "%.*s", STR_ARG(s.message));
        return;
    }
    err_set(err, err_code_of(STR_NULL, call->status), "%s %s was answered %d %s", call->method,
            call->target, call->status, http_status_text(call->status));
}

static void call_succeed(struct client_call *call)
{
    struct err err;
    struct arena a;
    struct client_answer answer = { .http_status = call->status, .body = buf_str(&call->answer) };
    arena_init(&a, CLIENT_ARENA_MAX);
    if (buf_failed(&call->answer)) {
        err_set(&err, ERR_TOO_LARGE, "%s %s was answered with more than %u bytes", call->method,
                call->target, CLIENT_ANSWER_MAX);
        answer.err = &err;
    } else if (call->kind == CALL_DECODED && answer.body.len) {
        struct api_type_meta tm = { 0 };
        bool status =
            api_peek_type_meta(&a, answer.body, &tm, &err) && str_eq(tm.kind, STR("Status"));
        answer.type = status ? &meta_v1_status_type : call->type;
        void *object = arena_alloc(&a, answer.type->size);
        if (object && api_decode_json(&a, answer.type, answer.body, NULL, object, &err)) {
            answer.object = object;
        } else {
            err_wrap(&err, "the answer to %s %s cannot be read", call->method, call->target);
            answer.err = &err;
        }
    }
    call_end(call, &answer);
    arena_deinit(&a);
}

static void on_end(struct http_call *h UNUSED, const struct http_headers *trailers UNUSED,
                   void *arg)
{
    struct client_call *call = arg;
    call->http = NULL;
    if (call->status >= 200 && call->status < 300) {
        call_succeed(call);
        return;
    }
    uint64_t after_s;
    if ((call->status == 429 || call->status == 503) &&
        str_to_u64(str_c(call->retry_after), &after_s) && after_s < 600 &&
        call_again(call, MAX(after_s * 1000, (uint64_t)50))) {
        return;
    }
    struct err err;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    status_error(call, &a, &err);
    struct client_answer answer = { .err = &err,
                                    .http_status = call->status,
                                    .body = buf_str(&call->answer),
                                    .retry_after = str_c(call->retry_after) };
    call_end(call, &answer);
    arena_deinit(&a);
}

static void on_error(struct http_call *h UNUSED, const struct http_call_error *e, void *arg)
{
    struct client_call *call = arg;
    call->http = NULL;
    bool read_only = strcmp(call->method, "GET") == 0;
    if (!e->tls && !e->responded && (read_only || !e->sent) && call->kind != CALL_STREAM &&
        call_again(call, 50u << MIN(call->tries, 5u))) {
        return;
    }
    struct err err = e->err;
    err_wrap(&err, "%s %s", call->method, call->target);
    call_fail(call, &err);
}

static const struct http_call_ops call_ops = {
    .on_response = on_response,
    .on_body = on_body,
    .on_end = on_end,
    .on_error = on_error,
};

/* How long the bucket makes the next call wait, in milliseconds; takes its token. */
static uint64_t bucket_wait_ms(struct client *c)
{
    if (!c->token_ns) {
        return 0;
    }
    uint64_t now = loop_now_ms(c->loop) * 1000000u;
    c->full_ns = MAX(c->full_ns, now) + c->token_ns;
    uint64_t debt = c->full_ns - now;
    return debt > c->burst_ns ? (debt - c->burst_ns + 999999) / 1000000 : 0;
}

static void call_start(struct client_call *call)
{
    struct client *c = call->client;
    struct http_header headers[4];
    size_t n = 0;
    if (c->connections->held) {
        if (call->deadline_ms && loop_now_ms(c->loop) >= call->deadline_ms) {
            struct err err;
            err_set(&err, ERR_UNAVAILABLE, "%s %s: the certificate for it is yet to come", call->method, call->target);
            call_fail(call, &err);
        } else {
            loop_timer_start(&call->timer, CLIENT_HELD_MS);
        }
        return;
    }
    struct str authorization = client_authorization(c);
    headers[n++] = (struct http_header){ STR("accept"), STR("application/json") };
    headers[n++] = (struct http_header){ STR("user-agent"), c->user_agent };
    if (authorization.ptr) {
        headers[n++] = (struct http_header){ STR("authorization"), authorization };
    }
    if (call->has_body) {
        headers[n++] = (struct http_header){ STR("content-type"), str_c(call->content_type) };
    }
    struct net_chunk body = net_chunk_ref(call->body);
    struct http_call_config config = {
        .method = str_c(call->method),
        .target = str_c(call->target),
        .headers = headers,
        .n_headers = n,
        .body = call->has_body ? &body : NULL,
        .n_body = call->has_body ? 1 : 0,
    };
    if (call->deadline_ms) {
        uint64_t now = loop_now_ms(c->loop);
        uint64_t left = call->deadline_ms > now ? call->deadline_ms - now : 1;
        config.response_ms = (uint32_t)left;
        config.total_ms = (uint32_t)left;
    }
    call->tries++;
    call->http = http_client_start(c->connections->http, &config, &call_ops, call);
}

struct client_call *client_call_new(struct client *c, struct str method, struct str target,
                                    enum call_kind kind, client_done_fn *done, void *data)
{
    struct client_call *call = calloc(1, sizeof(*call));
    if (!call) {
        abort();
    }
    call->client = c;
    call->kind = kind;
    call->done = done;
    call->data = data;
    call->method = str_dup(method);
    call->target = str_dup(target);
    buf_init(&call->answer, CLIENT_ANSWER_MAX);
    loop_timer_init(&call->timer, c->loop, on_again, call);
    list_push_back(&c->calls, &call->link);
    return call;
}

void client_call_set_body(struct client_call *call, struct str content_type, struct str body)
{
    if (content_type.ptr) {
        call->content_type = str_dup(content_type);
        call->body = net_chunk_copy(body);
        call->has_body = true;
    }
}

void client_call_begin(struct client_call *call, uint64_t timeout_ms)
{
    uint64_t wait = bucket_wait_ms(call->client);
    if (timeout_ms) {
        call->deadline_ms = loop_now_ms(call->client->loop) + wait + timeout_ms;
    }
    if (wait) {
        loop_timer_start(&call->timer, wait);
    } else {
        call_start(call);
    }
}
