#include "net/http-client-private.h"

#include <errno.h>
#include <unistd.h>

#include "net/path.h"

enum { CALL_ARENA = 1024 * 1024, UNREAD_MAX = HTTP_CLIENT_STREAM_WINDOW + NET_READ_SIZE, MAX_RETRIES = 4 };

struct http_client {
    struct loop *loop;
    char *host, *authority;
    uint16_t port;
    struct net_tls_client *tls;
    enum http_client_protocol protocol;
    struct net_dialer *dialer;
    unsigned max_conns;
    uint32_t connect_ms, idle_ms;
    struct net_path *path;
    struct list conns, waiting, calls;
    unsigned n_conns, n_opening;
    bool seen_h1; /* the server chose HTTP/1.1: one connection for each call */
    struct loop_task task;
    struct buf scratch;
};

static void pump(void *client);

/* ---- small things ---- */

struct str http_call_authority(const struct http_call *call)
{
    return str_empty(call->authority) ? str_c(call->client->authority) : call->authority;
}

bool http_client_is_idle(const struct http_client *c)
{
    return list_empty(&c->calls);
}

struct loop *http_client_loop(const struct http_client *c)
{
    return c->loop;
}

struct buf *http_client_scratch(struct http_client *c)
{
    buf_clear(&c->scratch);
    return &c->scratch;
}

unsigned http_client_connections(const struct http_client *c)
{
    return c->n_conns;
}

/* ---- connections ---- */

struct client_conn *client_conn_hold(struct client_conn *c)
{
    c->holds++;
    return c;
}

void client_conn_drop(struct client_conn *c)
{
    if (--c->holds == 0) {
        if (c->ops) {
            c->ops->free(c);
        }
        free(c);
    }
}

const struct net_peer *client_conn_peer(const struct client_conn *c)
{
    return c->io ? net_stream_conn(c->io)->peer : NULL;
}

/* Takes the connection out of the client and closes its socket; calls must have left. */
static void conn_stop(struct client_conn *c)
{
    struct http_client *client = c->client;
    if (c->state == CLIENT_DEAD) {
        return;
    }
    if (c->state != CLIENT_READY && !c->for_upgrade) {
        client->n_opening--;
    }
    c->state = CLIENT_DEAD;
    loop_timer_stop(&c->timer);
    list_remove(&c->link);
    client->n_conns--;
    c->client = NULL;
    if (c->dial) {
        client->dialer->ops->cancel(c->dial);
        c->dial = NULL;
    }
    c->io = net_stream_free(c->io);
    if (c->ops) {
        c->ops->stop(c);
    }
    loop_task_defer(&client->task);
    client_conn_drop(c);
}

void client_conn_kill(struct client_conn *c, const char *reason)
{
    if (c->state == CLIENT_DEAD) {
        return;
    }
    (void)client_conn_hold(c);
    while (!list_empty(&c->calls)) {
        struct http_call *call = LIST_ENTRY(c->calls.next, struct http_call, link);
        if (call->sent || !http_call_retry(call)) {
            http_call_fail(call, ERR_IO, "%s", reason);
        }
    }
    conn_stop(c);
    client_conn_drop(c);
}

/* The connection could not be made: what waits for it fails. */
static void conn_failed(struct client_conn *c, const struct err *err, bool tls)
{
    struct http_client *client = c->client;
    net_path_failed(client->path, err->msg);
    (void)client_conn_hold(c);
    struct list *from = c->for_upgrade ? &c->calls : &client->waiting;
    bool all = client->protocol == HTTP_CLIENT_H2_PRIOR || !client->seen_h1;
    struct list *n = from->next;
    while (n != from) {
        struct http_call *call = LIST_ENTRY(n, struct http_call, link);
        n = n->next;
        if (call->upgrade && !c->for_upgrade) {
            continue;
        }
        http_call_fail(call, err->code, "%s", err->msg);
        call->error->tls = tls;
        if (!all) {
            break;
        }
    }
    conn_stop(c);
    client_conn_drop(c);
}

static void idle_out(struct client_conn *c)
{
    if (c->n_calls == 0) {
        conn_stop(c);
    }
}

static void on_open_timeout(void *arg)
{
    struct client_conn *c = arg;
    struct err err = { 0 };
    err_set(&err, ERR_TIMEOUT, "cannot connect to %s: no answer in time", c->client->authority);
    conn_failed(c, &err, false);
}

static void on_idle_timeout(void *arg)
{
    idle_out(arg);
}

void client_conn_free_room(struct client_conn *c)
{
    if (c->state != CLIENT_READY) {
        return;
    }
    if (c->n_calls == 0) {
        if (c->leaving || (c->client->tls && c->generation != net_tls_client_generation(c->client->tls))) {
            conn_stop(c);
            return;
        }
        loop_timer_start(&c->timer, c->client->idle_ms);
        c->timer.fn = on_idle_timeout;
    }
    loop_task_defer(&c->client->task);
}

static void io_open(struct net_stream *io, void *arg)
{
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    bool h2 = client->protocol == HTTP_CLIENT_H2_PRIOR || net_stream_alpn(io) == NET_ALPN_H2;
    c->state = CLIENT_READY;
    if (!c->for_upgrade) {
        client->n_opening--;
        client->seen_h1 = !h2;
    }
    c->timer.fn = on_idle_timeout;
    loop_timer_start(&c->timer, client->idle_ms);
    if (h2) {
        client_h2_start(c);
    } else {
        client_h1_start(c);
    }
    if (c->for_upgrade) {
        c->leaving = true;
        loop_timer_stop(&c->timer);
        struct http_call *call = LIST_ENTRY(c->calls.next, struct http_call, link);
        c->served++;
        c->ops->start(c, call);
    }
    loop_task_defer(&client->task);
}

static void io_open_close(struct net_stream *io UNUSED, enum net_close why, const char *reason, void *arg)
{
    struct client_conn *c = arg;
    struct err err = { 0 };
    err_set(&err, why == NET_CLOSE_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "cannot connect to %s: %s", c->client->authority,
            reason);
    conn_failed(c, &err, why == NET_CLOSE_TLS);
}

static const struct net_stream_ops open_ops = { .on_open = io_open, .on_close = io_open_close };

static void on_dialled(int fd, const struct err *err, void *arg)
{
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    c->dial = NULL;
    if (fd < 0) {
        conn_failed(c, err, false);
        return;
    }
    c->state = CLIENT_OPENING;
    if (client->tls) {
        c->io = net_stream_new_tls_client(client->loop, fd, client->tls, str_c(client->host), &open_ops, c);
        c->generation = net_tls_client_generation(client->tls);
        if (c->for_upgrade || client->protocol == HTTP_CLIENT_H1_ONLY) {
            net_stream_restrict_alpn(c->io, NET_ALPN_H1);
        } else if (client->protocol == HTTP_CLIENT_H2_PRIOR) {
            net_stream_restrict_alpn(c->io, NET_ALPN_H2);
        }
    } else {
        c->io = net_stream_new(client->loop, fd, &open_ops, c);
    }
    net_stream_set_path(c->io, client->path);
}

static struct client_conn *conn_open(struct http_client *client, bool for_upgrade)
{
    struct client_conn *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->client = client;
    c->holds = 1;
    c->for_upgrade = for_upgrade;
    c->state = CLIENT_DIALING;
    list_init(&c->calls);
    list_push_back(&client->conns, &c->link);
    client->n_conns++;
    client->n_opening += !for_upgrade;
    loop_timer_init(&c->timer, client->loop, on_open_timeout, c);
    loop_timer_start(&c->timer, client->connect_ms);
    c->dial = net_dial_start(client->dialer, client->loop, str_c(client->host), client->port, client->connect_ms, on_dialled, c);
    return c;
}

/* ---- matching calls with connections ---- */

/* Calls go to connections that were made with the present certificates; older ones live until their last call (a watch, say)
 * has ended. */
static bool is_current(const struct http_client *client, const struct client_conn *c)
{
    return !client->tls || c->generation == net_tls_client_generation(client->tls);
}

static void assign(struct client_conn *c, struct http_call *call)
{
    list_remove(&call->link);
    list_push_back(&c->calls, &call->link);
    call->waiting = false;
    call->conn = c;
    c->n_calls++;
}

static struct client_conn *find_room(struct http_client *client)
{
    LIST_FOREACH(&client->conns, struct client_conn, link, c)
    {
        if (c->state == CLIENT_READY && !c->leaving && !c->for_upgrade && is_current(client, c) && c->ops->room(c) > 0) {
            return c;
        }
    }
    return NULL;
}

static void pump(void *arg)
{
    struct http_client *client = arg;
    unsigned unplaced = 0;
    struct list *n = client->waiting.next;
    while (n != &client->waiting) {
        struct http_call *call = LIST_ENTRY(n, struct http_call, link);
        n = n->next;
        if (call->upgrade) {
            if (client->n_conns < client->max_conns) {
                assign(conn_open(client, true), call);
            }
            continue;
        }
        struct client_conn *c = unplaced == 0 ? find_room(client) : NULL;
        if (!c) {
            unplaced++;
            continue;
        }
        assign(c, call);
        c->served++;
        loop_timer_stop(&c->timer);
        c->ops->start(c, call);
    }
    /* HTTP/2 takes many calls on the one that is being opened; HTTP/1.1 needs one for each. */
    unsigned want = client->seen_h1 || client->protocol == HTTP_CLIENT_H1_ONLY ||
                            (!client->tls && client->protocol == HTTP_CLIENT_AUTO)
                        ? unplaced
                        : MIN(unplaced, 1U);
    while (client->n_opening < want && client->n_conns < client->max_conns) {
        (void)conn_open(client, false);
    }
}

/* ---- calls ---- */

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

static void call_wait(struct http_call *call)
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
        conn_stop(c);
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
    call_wait(call);
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
    call_wait(call);
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
            conn_stop(c);
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

/* ---- the client ---- */

struct http_client *http_client_new(struct loop *l, const struct http_client_config *config, struct err *err)
{
    if (config->host.len == 0 || memchr(config->host.ptr, 0, config->host.len)) {
        err_set(err, ERR_INVALID, "a client needs a host");
        return NULL;
    }
    struct http_client *c = calloc(1, sizeof(*c));
    if (!c) {
        err_set(err, ERR_NO_MEMORY, "no memory for an HTTP client");
        return NULL;
    }
    c->loop = l;
    c->host = str_dup(config->host);
    c->port = config->port;
    c->protocol = config->protocol;
    c->dialer = config->dialer ? config->dialer : net_dialer_direct();
    c->tls = net_tls_client_ref(config->tls);
    c->max_conns = config->max_connections ? config->max_connections : HTTP_CLIENT_MAX_CONNECTIONS;
    c->connect_ms = config->connect_ms ? config->connect_ms : HTTP_CLIENT_CONNECT_MS;
    c->idle_ms = config->idle_ms ? config->idle_ms : HTTP_CLIENT_IDLE_MS;
    if (config->authority.len > 0) {
        c->authority = str_dup(config->authority);
    } else if (config->port == 0) {
        c->authority = str_dup(STR("localhost")); /* a unix socket: the path is no authority */
    } else {
        char text[300];
        bool v6 = str_find_char(config->host, ':') >= 0 && config->host.ptr[0] != '[';
        bool usual = config->port == (config->tls ? 443 : 80);
        int n = usual ? snprintf(text, sizeof(text), v6 ? "[%.*s]" : "%.*s", STR_ARG(config->host))
                      : snprintf(text, sizeof(text), v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(config->host), config->port);
        c->authority = str_dup(str_n(text, MIN((size_t)n, sizeof(text) - 1)));
    }
    struct net_path_spec unnamed = { .outgoing = true, .address = config->port ? str_c(c->authority) : config->host };
    c->path = config->path ? net_path_ref(config->path) : net_path_get(l, &unnamed);
    list_init(&c->conns);
    list_init(&c->waiting);
    list_init(&c->calls);
    buf_init(&c->scratch, 1024 * 1024);
    loop_task_init(&c->task, l, pump, c);
    return c;
}

struct http_client *http_client_free(struct http_client *c)
{
    if (!c) {
        return NULL;
    }
    while (!list_empty(&c->calls)) {
        (void)http_call_cancel(LIST_ENTRY(c->calls.next, struct http_call, all));
    }
    while (!list_empty(&c->conns)) {
        conn_stop(LIST_ENTRY(c->conns.next, struct client_conn, link));
    }
    loop_task_cancel(&c->task);
    net_tls_client_unref(c->tls);
    net_path_unref(c->path);
    buf_deinit(&c->scratch);
    free(c->host);
    free(c->authority);
    free(c);
    return NULL;
}

void http_client_renew(struct http_client *c)
{
    LIST_FOREACH(&c->conns, struct client_conn, link, conn)
    {
        conn->leaving = true;
        if (conn->state == CLIENT_READY && conn->n_calls == 0) {
            conn_stop(conn);
        }
    }
}
