/* The calls of an HTTP client: time limits, trying again, and what their owners are told. */
#include "net/http-client-private.h"

enum { CALL_ARENA = 1024 * 1024, UNREAD_MAX = HTTP_CLIENT_STREAM_WINDOW + NET_READ_SIZE, MAX_RETRIES = 4 };

struct str http_call_authority(const struct http_call *call)
{
    return str_empty(call->authority) ? str_c(call->client->authority) : call->authority;
}

struct http_call *http_call_hold(struct http_call *call)
{
    call->holds++;
    return call;
}

void http_call_drop(struct http_call *call)
{
    if (--call->holds > 0) {
        return;
    }
    loop_task_cancel(&call->task);
    loop_timer_stop(&call->timer);
    net_queue_deinit(&call->queue);
    buf_deinit(&call->unread);
    for (size_t i = 0; i < call->n_body; i++) {
        net_chunk_unref(call->body[i]);
    }
    arena_deinit(&call->arena);
    free(call->error);
    free(call);
}

void http_call_wait(struct http_call *call)
{
    list_push_back(&call->client->waiting, &call->link);
    call->waiting = true;
}

void http_call_leave(struct http_call *call)
{
    struct client_conn *c = call->conn;
    list_remove(&call->link);
    call->waiting = false;
    if (!c) {
        return;
    }
    call->conn = NULL;
    c->n_calls--;
    net_queue_deinit(&call->queue);
}

/* No further callback; the owner's reference goes. */
static void finish(struct http_call *call)
{
    if (!call->dead) {
        call->dead = true;
        list_remove(&call->all);
        loop_timer_stop(&call->timer);
        loop_task_cancel(&call->task);
        http_call_drop(call);
    }
}

static void schedule_timer(struct http_call *call)
{
    uint64_t at = UINT64_MAX;
    if (call->total_ms) {
        at = call->started_ms + call->total_ms;
    }
    if (call->response_ms && !call->responded) {
        at = MIN(at, call->started_ms + call->response_ms);
    }
    if (call->stall_ms && call->responded && !call->paused && !call->complete) {
        at = MIN(at, call->heard_ms + call->stall_ms);
    }
    if (at == UINT64_MAX) {
        loop_timer_stop(&call->timer);
    } else {
        loop_timer_start_at(&call->timer, at);
    }
}

static void on_call_timeout(void *arg)
{
    struct http_call *call = arg;
    uint64_t now = loop_now_ms(call->client->loop);
    bool total = call->total_ms && now >= call->started_ms + call->total_ms;
    bool response = call->response_ms && !call->responded && now >= call->started_ms + call->response_ms;
    bool stalled = call->stall_ms && call->responded && !call->paused && now >= call->heard_ms + call->stall_ms;
    if (!total && !response && !stalled) {
        schedule_timer(call); /* bytes have come meanwhile */
        return;
    }
    struct client_conn *c = call->conn;
    if (c && c->state == CLIENT_READY) {
        c->ops->cancel(call);
    }
    if (!call->error) {
        http_call_fail(call, ERR_TIMEOUT, "%.*s %.*s: %s", STR_ARG(call->method), STR_ARG(str_sub(call->target, 0, 200)),
                       response  ? "no answer in time"
                       : stalled ? "the answer stalled"
                                 : "not complete in time");
    }
}

void http_call_fail(struct http_call *call, enum err_code code, const char *fmt, ...)
{
    struct client_conn *c = call->conn;
    if (call->error || call->dead) {
        return;
    }
    call->error = calloc(1, sizeof(*call->error));
    if (!call->error) {
        abort();
    }
    char msg[sizeof(call->error->err.msg)];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    err_set(&call->error->err, code, "%s", msg);
    call->error->sent = call->sent;
    call->error->responded = call->responded;
    http_call_leave(call);
    loop_timer_stop(&call->timer);
    loop_task_defer(&call->task);
    if (c && c->state != CLIENT_DEAD && c->for_upgrade) {
        client_conn_stop(c);
    }
}

static void queue_body(struct http_call *call)
{
    for (size_t i = 0; i < call->n_body; i++) {
        net_queue_push(&call->queue, net_chunk_ref(call->body[i]));
    }
}

bool http_call_retry(struct http_call *call)
{
    if (call->retries == MAX_RETRIES || call->dead || call->error || call->responded || call->wrote_more || call->upgrade) {
        return false;
    }
    http_call_leave(call);
    call->retries++;
    call->sent = call->deferred = call->above = call->got_end = false;
    call->id = 0;
    queue_body(call);
    http_call_wait(call);
    loop_task_defer(&call->client->task);
    return true;
}

void http_call_response(struct http_call *call, const struct http_response *r)
{
    call->responded = true;
    call->heard_ms = loop_now_ms(call->client->loop);
    schedule_timer(call);
    (void)http_call_hold(call);
    call->ops->on_response(call, r, call->arg);
    http_call_drop(call);
}

static bool deliver(struct http_call *call, struct str data)
{
    if (call->paused || call->unread.len > 0) {
        return false;
    }
    if (call->ops->on_body) {
        call->ops->on_body(call, data, call->arg);
    }
    return true;
}

size_t http_call_data(struct http_call *call, struct str data)
{
    if (call->dead) {
        return data.len;
    }
    call->heard_ms = loop_now_ms(call->client->loop);
    (void)http_call_hold(call);
    size_t taken = data.len;
    if (!deliver(call, data)) {
        buf_append(&call->unread, data);
        taken = 0;
    }
    http_call_drop(call);
    return taken;
}

static void tell_end(struct http_call *call)
{
    struct http_headers trailers = { .items = call->trailers, .n = call->n_trailers };
    const struct http_call_ops *ops = call->ops;
    (void)http_call_hold(call);
    finish(call);
    if (ops->on_end) {
        ops->on_end(call, &trailers, call->arg);
    }
    http_call_drop(call);
}

void http_call_complete(struct http_call *call, const struct http_headers *trailers)
{
    http_call_leave(call);
    if (call->dead) {
        return;
    }
    call->complete = true;
    if (trailers && trailers->n > 0) {
        call->trailers = arena_new_n(&call->arena, struct http_header, trailers->n);
        for (size_t i = 0; call->trailers && i < trailers->n; i++) {
            call->trailers[i].name = arena_str(&call->arena, trailers->items[i].name);
            call->trailers[i].value = arena_str(&call->arena, trailers->items[i].value);
            call->n_trailers++;
        }
    }
    if (call->paused || call->unread.len > 0) {
        schedule_timer(call);
        loop_task_defer(&call->task);
    } else {
        tell_end(call);
    }
}

void http_call_upgraded(struct http_call *call, const struct http_response *r, struct net_stream *io)
{
    const struct http_call_ops *ops = call->ops;
    http_call_leave(call);
    (void)http_call_hold(call);
    finish(call);
    if (ops->on_upgrade) {
        ops->on_upgrade(call, r, io, call->arg);
    } else {
        net_stream_free(io);
    }
    http_call_drop(call);
}

void http_call_wrote(struct http_call *call)
{
    if (call->above && !call->dead && http_call_queued(call) <= NET_LOW_WATER) {
        call->above = false;
        call->drained = true;
        loop_task_defer(&call->task);
    }
}

/* What must not happen inside somebody else's call: held-back bytes, the end, errors, on_drain(). */
static void on_call_task(void *arg)
{
    struct http_call *call = arg;
    (void)http_call_hold(call);
    if (call->unread.len > 0 && !call->paused) {
        struct buf data = call->unread;
        buf_init(&call->unread, UNREAD_MAX);
        if (call->ops->on_body) {
            call->ops->on_body(call, buf_str(&data), call->arg);
        }
        struct client_conn *c = call->conn;
        if (!call->dead && c && c->state == CLIENT_READY) {
            c->ops->consumed(call, data.len);
        }
        buf_deinit(&data);
    }
    if (!call->dead && call->drained) {
        call->drained = false;
        if (call->ops->on_drain) {
            call->ops->on_drain(call, call->arg);
        }
    }
    bool all_told = !call->paused && call->unread.len == 0;
    if (!call->dead && call->complete && all_told) {
        tell_end(call);
    } else if (!call->dead && call->error && (all_told || !call->responded)) {
        struct http_call_error *e = call->error;
        finish(call);
        if (call->ops->on_error) {
            call->ops->on_error(call, e, call->arg);
        }
    }
    http_call_drop(call);
}

struct http_call *http_client_start(struct http_client *c, const struct http_call_config *config,
                                    const struct http_call_ops *ops, void *arg)
{
    struct http_call *call = calloc(1, sizeof(*call));
    if (!call) {
        abort();
    }
    call->client = c;
    call->ops = ops;
    call->arg = arg;
    call->holds = 1;
    arena_init(&call->arena, CALL_ARENA);
    call->arena.next_chunk = 1024;
    buf_init(&call->unread, UNREAD_MAX);
    net_queue_init(&call->queue);
    loop_timer_init(&call->timer, c->loop, on_call_timeout, call);
    loop_task_init(&call->task, c->loop, on_call_task, call);
    call->started_ms = loop_now_ms(c->loop);
    call->response_ms = config->response_ms;
    call->total_ms = config->total_ms;
    call->stall_ms = config->stall_ms;
    call->upgrade = config->upgrade;
    call->streaming = config->streaming;
    call->body_ended = !config->streaming;
    call->head = str_eq(config->method, STR("HEAD"));
    call->method = arena_str(&call->arena, config->method);
    call->target = arena_str(&call->arena, config->target);
    call->authority = arena_str(&call->arena, config->authority);
    call->headers = arena_new_n(&call->arena, struct http_header, config->n_headers + 1);
    call->body = arena_new_n(&call->arena, struct net_chunk, config->n_body + 1);
    bool fits = call->method.ptr && call->target.ptr && call->headers && call->body;
    bool valid = http_is_token(config->method) && http_is_field_value(config->target) &&
                 str_find_char(config->target, ' ') < 0 && config->target.len > 0 && http_is_field_value(config->authority);
    for (size_t i = 0; fits && i < config->n_headers; i++) {
        struct http_header *h = &call->headers[call->n_headers++];
        h->name = arena_str(&call->arena, config->headers[i].name);
        h->value = arena_str(&call->arena, config->headers[i].value.ptr ? config->headers[i].value : STR_EMPTY);
        fits = h->name.ptr && h->value.ptr;
        valid = valid && http_is_token(config->headers[i].name) && http_is_field_value(config->headers[i].value);
    }
    int64_t total = 0;
    for (size_t i = 0; i < config->n_body; i++) {
        if (call->body) {
            call->body[call->n_body++] = config->body[i];
            total += (int64_t)config->body[i].bytes.len;
        } else {
            net_chunk_unref(config->body[i]);
        }
    }
    call->content_length = config->streaming ? config->content_length : total;
    queue_body(call);
    list_push_back(&c->calls, &call->all);
    http_call_wait(call);
    schedule_timer(call);
    if (!fits || !valid) {
        http_call_fail(call, ERR_INVALID, "the request holds %s",
                       fits ? "characters that HTTP forbids in a method, target or header" : "more than fits its budget");
    } else {
        loop_task_defer(&c->task);
    }
    return call;
}

struct http_call *http_call_cancel(struct http_call *call)
{
    if (!call || call->dead) {
        return NULL;
    }
    struct client_conn *c = call->conn;
    bool gone = call->error || call->complete;
    (void)http_call_hold(call);
    finish(call);
    if (!gone && c && c->state == CLIENT_READY) {
        c->ops->cancel(call);
    } else if (!gone) {
        http_call_leave(call);
            if (c && c->for_upgrade) {
            client_conn_stop(c);
        }
    }
    http_call_drop(call);
    return NULL;
}

void http_call_pause(struct http_call *call)
{
    call->paused = true;
}

void http_call_resume(struct http_call *call)
{
    if (call->paused && !call->dead) {
        call->paused = false;
        call->heard_ms = loop_now_ms(call->client->loop);
        schedule_timer(call);
        loop_task_defer(&call->task);
    }
}

void http_call_write(struct http_call *call, const struct net_chunk *chunks, size_t n)
{
    bool drop = call->dead || call->error || call->complete || call->body_ended || !call->streaming;
    for (size_t i = 0; i < n; i++) {
        if (drop) {
            net_chunk_unref(chunks[i]);
        } else {
            net_queue_push(&call->queue, chunks[i]);
        }
    }
    if (!drop) {
        call->wrote_more = true;
        if (call->conn && call->conn->state == CLIENT_READY) {
            call->conn->ops->body(call);
        }
        call->above = call->above || http_call_queued(call) >= NET_HIGH_WATER;
    }
}

void http_call_end(struct http_call *call)
{
    if (!call->dead && !call->body_ended) {
        call->body_ended = true;
        if (call->conn && call->conn->state == CLIENT_READY) {
            call->conn->ops->body(call);
        }
    }
}

size_t http_call_queued(const struct http_call *call)
{
    const struct client_conn *c = call->conn;
    return c && c->state == CLIENT_READY ? c->ops->queued(call) : call->queue.bytes;
}
