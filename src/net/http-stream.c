/* Streams as handlers see them, whatever the protocol. */
#include "net/http-server-private.h"

#include "base/log.h"

static struct http_body *body_of(struct http_stream *s)
{
    if (!s->body) {
        s->body = calloc(1, sizeof(*s->body));
        if (!s->body) {
            abort();
        }
        /* Windows and pauses of the protocols keep it far below. */
        buf_init(&s->body->unread, HTTP2_CONN_WINDOW + NET_READ_SIZE);
        buf_init(&s->body->collected, 0);
    }
    return s->body;
}

static void body_free(struct http_stream *s)
{
    if (s->body) {
        buf_deinit(&s->body->unread);
        buf_deinit(&s->body->collected);
        free(s->body);
        s->body = NULL;
    }
}

struct http_stream *http_stream_new(struct http_conn *c, size_t first_arena_chunk)
{
    struct http_stream *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->conn = c;
    s->home = c;
    s->server = c->server;
    arena_init(&s->arena, HTTP_STREAM_ARENA);
    s->arena.next_chunk = MAX(first_arena_chunk, (size_t)256);
    net_queue_init(&s->queue);
    s->high = NET_HIGH_WATER;
    s->low = NET_LOW_WATER;
    s->left = -1;
    s->refs = 1;
    s->dead = true; /* until it is dispatched */
    list_init(&s->pump);
    list_push_back(&c->streams, &s->link);
    c->n_streams++;
    return s;
}

static void stream_free(struct http_stream *s)
{
    list_remove(&s->pump);
    net_queue_deinit(&s->queue);
    body_free(s);
    arena_deinit(&s->arena);
    free(s);
}

static void unref(struct http_stream *s)
{
    if (--s->refs == 0) {
        stream_free(s);
    }
}

void http_stream_detach(struct http_stream *s)
{
    struct http_conn *c = s->conn;
    if (!c) {
        return;
    }
    list_remove(&s->link);
    c->n_streams--;
    s->conn = NULL;
    /* The request's addresses and peer belong to the connection; they are needed until the release. */
    net_queue_deinit(&s->queue);
    list_remove(&s->pump);
    if (!s->dead) {
        s->dead = true;
        struct http_body *b = s->body;
        if (b && b->done) {
            static const struct err gone = { .code = ERR_CANCELLED, .msg = "the client went away" };
            http_body_fn *done = b->done;
            b->done = NULL;
            done(s, STR_NULL, &gone, b->done_arg);
        } else if (s->ops && s->ops->on_cancel) {
            s->ops->on_cancel(s, s->arg);
        }
    }
    unref(s);
}

void http_stream_release(struct http_stream *s)
{
    struct http_conn *c = s->conn;
    if (!s->dead) {
        s->dead = true;
        if (c) {
            c->ops->reset(s);
        }
    }
    http_conn_drop(s->home);
    unref(s);
}

/* ---- telling the handler ---- */

static void schedule(struct http_stream *s)
{
    if (s->conn && list_empty(&s->pump)) {
        list_push_back(http_server_pump(s->server), &s->pump);
        http_server_defer_pump(s->server);
    }
}

static void collect_done(struct http_stream *s, struct str body, const struct err *err)
{
    struct http_body *b = s->body;
    http_body_fn *done = b->done;
    b->done = NULL;
    done(s, body, err, b->done_arg);
}

static void collect_too_large(struct http_stream *s)
{
    struct err err = { 0 };
    err_set(&err, ERR_TOO_LARGE, "the request body is larger than %zu bytes", s->body->max);
    buf_deinit(&s->body->collected);
    collect_done(s, STR_NULL, &err);
}

/* Hands bytes to whoever wants them now. False: nobody does. */
static bool give(struct http_stream *s, struct str data)
{
    struct http_body *b = s->body;
    if (b->done) {
        if (b->collected.len + data.len > b->max) {
            collect_too_large(s);
        } else {
            buf_append(&b->collected, data);
        }
        return true;
    }
    if (!s->ops || s->paused) {
        return false;
    }
    if (s->ops->on_body) {
        s->ops->on_body(s, data, s->arg);
    }
    return true;
}

static void tell_end(struct http_stream *s)
{
    struct http_body *b = s->body;
    if (s->body_told || s->dead || !s->body_ended || (b && b->unread.len > 0)) {
        return;
    }
    if (b && b->done) {
        s->body_told = true;
        collect_done(s, buf_str(&b->collected), NULL);
    } else if (s->ops && !s->paused) {
        s->body_told = true;
        struct http_headers trailers = { .items = b ? b->trailers : NULL, .n = b ? b->n_trailers : 0 };
        if (s->ops->on_body_end) {
            s->ops->on_body_end(s, &trailers, s->arg);
        }
    }
}

static void pump(struct http_stream *s)
{
    struct http_body *b = s->body;
    if (!s->dead && b && b->unread.len > 0 && (b->done || (s->ops && !s->paused))) {
        struct buf data = b->unread;
        buf_init(&b->unread, data.max);
        (void)give(s, buf_str(&data));
        size_t n = data.len;
        buf_deinit(&data);
        if (s->conn) {
            s->conn->ops->consumed(s, n);
        }
    }
    tell_end(s);
    if (!s->dead && s->drained) {
        s->drained = false;
        if (s->ops && s->ops->on_drain) {
            s->ops->on_drain(s, s->arg);
        }
    }
}

void http_stream_pump_run(void *server)
{
    struct list *todo = http_server_pump(server), *n, batch;
    list_init(&batch);
    while ((n = list_pop_front(todo))) {
        list_push_back(&batch, n);
    }
    while ((n = list_pop_front(&batch))) {
        struct http_stream *s = LIST_ENTRY(n, struct http_stream, pump);
        s->refs++;
        pump(s);
        unref(s);
    }
}

void http_stream_dispatch(struct http_stream *s)
{
    struct http_conn *c = s->conn;
    s->req.local = &c->local;
    s->req.remote = &c->remote;
    s->req.peer = c->peer;
    s->req.encrypted = net_stream_conn(c->io)->encrypted;
    s->req.scheme = s->req.encrypted ? STR("https") : STR("http");
    s->req.listener = c->cookie;
    s->no_body = str_eq(s->req.method, STR("HEAD"));
    s->body_ended = s->body_ended || !s->req.has_body;
    const struct http_server_config *config = http_server_config(s->server);
    s->in_handler = true;
    s->dead = false;
    (void)http_conn_hold(c); /* the request points into it: until the release */
    s->refs += 2;            /* the handler's, and ours during the call */
    config->on_request(s, config->arg);
    s->in_handler = false;
    unref(s);
}

size_t http_stream_body(struct http_stream *s, struct str data)
{
    if (s->dead) {
        return data.len;
    }
    struct http_body *b = body_of(s);
    if (b->unread.len == 0 && !s->in_handler && give(s, data)) {
        return data.len;
    }
    buf_append(&b->unread, data);
    return 0;
}

void http_stream_body_end(struct http_stream *s, const struct http_headers *trailers)
{
    s->body_ended = true;
    if (s->dead) {
        return;
    }
    if (trailers && trailers->n > 0) {
        struct http_body *b = body_of(s);
        b->trailers = arena_new_n(&s->arena, struct http_header, trailers->n);
        for (size_t i = 0; b->trailers && i < trailers->n; i++) {
            b->trailers[i].name = arena_str(&s->arena, trailers->items[i].name);
            b->trailers[i].value = arena_str(&s->arena, trailers->items[i].value);
            b->n_trailers = i + 1;
        }
    }
    if (s->in_handler || (s->body && s->body->unread.len > 0)) {
        schedule(s);
    } else {
        tell_end(s);
    }
}

void http_stream_wrote(struct http_stream *s)
{
    if (s->above && !s->dead && s->conn && s->conn->ops->queued(s) <= s->low) {
        s->above = false;
        s->drained = true;
        schedule(s);
    }
}

/* ---- the request ---- */

const struct http_request *http_stream_request(const struct http_stream *s)
{
    return &s->req;
}

struct arena *http_stream_arena(struct http_stream *s)
{
    return &s->arena;
}

struct loop *http_stream_loop(const struct http_stream *s)
{
    return http_server_loop(s->server);
}

static void want_body(struct http_stream *s)
{
    if (s->conn && !s->wants_body && s->req.has_body) {
        s->wants_body = true;
        s->conn->ops->want_body(s);
    }
}

void http_stream_set_ops(struct http_stream *s, const struct http_stream_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
    if (ops && !s->dead) {
        if (ops->on_body) {
            want_body(s);
        }
        schedule(s);
    }
}

void http_stream_collect_body(struct http_stream *s, size_t max, http_body_fn *done, void *arg)
{
    static const struct err gone = { .code = ERR_CANCELLED, .msg = "the client went away" };
    if (s->dead) {
        done(s, STR_NULL, &gone, arg);
        return;
    }
    if (!s->req.has_body) {
        s->body_told = true;
        done(s, STR_EMPTY, NULL, arg);
        return;
    }
    struct http_body *b = body_of(s);
    buf_deinit(&b->collected);
    buf_init(&b->collected, max);
    b->max = max;
    b->done = done;
    b->done_arg = arg;
    if (s->req.content_length > (int64_t)MIN(max, (size_t)INT64_MAX)) {
        collect_too_large(s);
        return;
    }
    want_body(s);
    schedule(s);
}

void http_stream_pause(struct http_stream *s)
{
    s->paused = true;
}

void http_stream_resume(struct http_stream *s)
{
    if (s->paused) {
        s->paused = false;
        schedule(s);
    }
}

/* ---- the answer ---- */

bool http_header_may_be_sent(const struct http_header *h)
{
    static const struct str ours[] = { STR_INIT("content-length"), STR_INIT("transfer-encoding"), STR_INIT("connection"),
                                       STR_INIT("keep-alive"), STR_INIT("date"), STR_INIT("proxy-connection") };
    if (!http_is_token(h->name) || !http_is_field_value(h->value)) {
        log_warning("net: header \"%.*s\" cannot be sent: it holds characters that HTTP forbids; left out",
                    STR_ARG(h->name));
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (h->name.len == ours[i].len && str_eq_nocase(h->name, ours[i])) {
            return false;
        }
    }
    return true;
}

void http_stream_respond(struct http_stream *s, int status, const struct http_header *headers, size_t n,
                         int64_t content_length)
{
    if (s->dead || s->responded) {
        return;
    }
    s->responded = true;
    s->status = (int16_t)status;
    if (status == 204 || status == 304) {
        s->no_body = true;
        content_length = -1;
    }
    s->left = content_length;
    if (status < 400) {
        http_conn_trust(s->conn);
    } else {
        s->conn->refused = true;
    }
    s->conn->ops->respond(s, status, headers, n, content_length);
}

void http_stream_write(struct http_stream *s, const struct net_chunk *chunks, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += chunks[i].bytes.len;
    }
    bool drop = s->dead || !s->responded || s->no_body || s->ended;
    if (!drop && s->left >= 0) {
        if (total > (size_t)s->left) {
            /* Longer than was announced: the peer would take the rest for the next answer. */
            log_error("net: an answer is longer than its content-length; the stream is broken off");
            http_stream_reset(s);
            drop = true;
        } else {
            s->left -= (int64_t)total;
        }
    }
    if (drop) {
        for (size_t i = 0; i < n; i++) {
            net_chunk_unref(chunks[i]);
        }
        return;
    }
    s->conn->ops->write(s, chunks, n);
    if (s->conn && s->conn->ops->queued(s) >= s->high) {
        s->above = true;
    }
}

void http_stream_end_trailers(struct http_stream *s, const struct http_header *trailers, size_t n)
{
    if (s->dead) {
        return;
    }
    if (!s->responded || (s->left > 0 && !s->no_body)) {
        http_stream_reset(s);
        return;
    }
    s->dead = s->ended = true;
    s->conn->ops->end(s, trailers, n);
}

void http_stream_end(struct http_stream *s)
{
    http_stream_end_trailers(s, NULL, 0);
}

void http_stream_reply(struct http_stream *s, int status, const struct http_header *headers, size_t n,
                       const struct net_chunk *chunks, size_t n_chunks)
{
    int64_t total = 0;
    for (size_t i = 0; i < n_chunks; i++) {
        total += (int64_t)chunks[i].bytes.len;
    }
    http_stream_respond(s, status, headers, n, total);
    http_stream_write(s, chunks, n_chunks);
    http_stream_end(s);
}

void http_stream_reset(struct http_stream *s)
{
    if (!s->dead) {
        s->dead = true;
        s->conn->ops->reset(s);
    }
}

size_t http_stream_queued(const struct http_stream *s)
{
    return s->conn ? s->conn->ops->queued(s) : 0;
}

void http_stream_set_watermarks(struct http_stream *s, size_t high, size_t low)
{
    s->high = high;
    s->low = low;
}

bool http_stream_responded(const struct http_stream *s)
{
    return s->responded;
}

bool http_stream_is_dead(const struct http_stream *s)
{
    return s->dead;
}

bool http_stream_wants_upgrade(const struct http_stream *s)
{
    return s->upgrade && !s->dead;
}

struct net_stream *http_stream_upgrade(struct http_stream *s, const struct http_header *headers, size_t n)
{
    if (s->dead || s->responded || !s->upgrade || s->req.has_body) {
        return NULL;
    }
    s->responded = true;
    s->status = 101;
    s->dead = s->ended = true;
    return s->conn->ops->upgrade(s, headers, n);
}

void http_stream_set_path(struct http_stream *s, struct net_path *path, unsigned rank)
{
    if (http_stream_wants_path(s, rank)) {
        s->conn->path_rank = (uint8_t)rank;
        net_stream_set_path(s->conn->io, path);
    }
}

bool http_stream_wants_path(const struct http_stream *s, unsigned rank)
{
    return s->conn && s->conn->io && rank > s->conn->path_rank;
}
