/* HTTP/2 on a server's connection: nghttp2 keeps the protocol, this file the streams and the limits. */
#include "net/http-server-private.h"

#include "base/log.h"
#include "net/h2-pull.h"
#include "net/h2-session.h"

enum {
    TICK_MS = 15000,
    DRAIN_NOTICE_MS = 1000 /* between "no new requests, please" and "none from here on" */
};

/* Tokens that refill with time: an event takes one. */
struct bucket {
    double tokens;
    uint64_t at_ms;
};

struct h2 {
    struct http_conn *conn;
    nghttp2_session *session;
    struct h2_frames frames;
    struct http_stream *incoming; /* whose header block is arriving (they are serial on a connection) */
    struct buf names;             /* its names and values, until the block is complete */
    struct h2_slice {
        uint32_t name_at, name_len, value_len;
    } *slices;
    size_t n_slices, cap_slices;
    size_t block_bytes;           /* bytes received since the block began and was not complete */
    bool in_block, too_large;
    struct bucket resets, control;
    struct h2_pull pull;
    int64_t dated_s;              /* the second of the last answer's date */
    bool grown;                   /* the larger limits are in force */
    bool noticed;                 /* the first GOAWAY of a drain was sent */
    bool dead;                    /* a fatal error: flush and close */
};

static struct h2 *h2_of(const struct http_stream *s)
{
    return s->conn->proto;
}

static bool bucket_take(struct bucket *b, uint64_t now, double burst, double rate)
{
    b->tokens = MIN(burst, b->tokens + (double)(now - b->at_ms) * rate / 1000.0);
    b->at_ms = now;
    b->tokens -= 1.0;
    return b->tokens >= 0.0;
}

static void kick(struct http_conn *c)
{
    if (c->io) {
        net_stream_want_write(c->io);
    }
}

/* GOAWAY with the reason, then close. */
static void calm(struct http_conn *c, uint32_t code, const char *why)
{
    struct h2 *h = c->proto;
    if (!h->dead) {
        char text[NET_ADDR_TEXT_SIZE];
        log_info("net: HTTP/2 connection from %s ended: %s", net_addr_text(&c->remote, text).ptr, why);
        h->dead = true;
        (void)nghttp2_session_terminate_session(h->session, code);
        kick(c);
    }
}

static uint64_t now_of(const struct http_conn *c)
{
    return loop_now_ms(http_server_loop(c->server));
}

static void count_reset(struct http_conn *c)
{
    struct h2 *h = c->proto;
    if (!bucket_take(&h->resets, now_of(c), HTTP2_RESET_BURST, HTTP2_RESET_RATE)) {
        calm(c, NGHTTP2_ENHANCE_YOUR_CALM, "too many reset streams");
    }
}

static void count_control(struct http_conn *c)
{
    struct h2 *h = c->proto;
    if (!bucket_take(&h->control, now_of(c), HTTP2_CONTROL_BURST, HTTP2_CONTROL_RATE)) {
        calm(c, NGHTTP2_ENHANCE_YOUR_CALM, "too many control frames");
    }
}

/* ---- limits of time ---- */

static void idle_or_tick(struct http_conn *c)
{
    loop_timer_start(&c->timer, c->n_streams == 0 ? http_conn_idle_ms(c) : TICK_MS);
}

static void stream_tick(struct http_conn *c, struct http_stream *s)
{
    const struct h2 *h = c->proto;
    /* Answered, and the client does not end its request; or it does not take the answer. */
    bool lingers = s->ended && s->queue.bytes == 0 && !s->body_ended;
    bool waits = s->queue.bytes > 0;
    s->stalls = lingers || waits ? (uint8_t)(s->stalls + 1) : 0;
    if (!s->stopped && s->stalls > (lingers ? 1U : http_conn_write_stall_ms(c) / TICK_MS)) {
        s->stopped = true;
        (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, lingers ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        kick(c);
    }
}

static void on_timer(void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    uint64_t silent = now_of(c) - net_stream_last_activity_ms(c->io);
    if (h->dead || (net_stream_queued(c->io) > 0 && silent >= http_conn_write_stall_ms(c))) {
        http_conn_gone(c);
        return;
    }
    LIST_FOREACH(&c->streams, struct http_stream, link, s)
    {
        stream_tick(c, s);
    }
    if (c->draining && h->noticed) {
        (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
        kick(c);
        if (c->n_streams == 0) {
            http_conn_close(c);
            return;
        }
    } else if (c->n_streams == 0) {
        calm(c, NGHTTP2_NO_ERROR, "idle");
        http_conn_close(c);
        return;
    }
    idle_or_tick(c);
}

/* ---- a request arrives ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    h->in_block = true;
    h->too_large = false;
    h->block_bytes = 0;
    h->n_slices = 0;
    buf_clear(&h->names);
    if (frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct http_stream *s = http_stream_new(c, 0);
        s->id = frame->hd.stream_id;
        h->incoming = s;
        (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    } else {
        h->incoming = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    }
    return 0;
}

static int on_header(nghttp2_session *session UNUSED, const nghttp2_frame *frame UNUSED, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    if (h->too_large || !h->incoming) {
        return 0;
    }
    /* RFC 9113 10.5.1 counts 32 more for each line, so that many empty ones are not free. */
    if (h->n_slices >= HTTP_MAX_HEADERS + 4 ||
        h->names.len + name_len + value_len + 32 * h->n_slices > http_server_config(c->server)->max_header_bytes) {
        h->too_large = true;
        return 0;
    }
    if (h->n_slices == h->cap_slices) {
        size_t cap = h->cap_slices ? h->cap_slices * 2 : 16;
        struct h2_slice *more = realloc(h->slices, cap * sizeof(*more));
        if (!more) {
            abort();
        }
        h->slices = more;
        h->cap_slices = cap;
    }
    h->slices[h->n_slices++] = (struct h2_slice){ .name_at = (uint32_t)h->names.len, .name_len = (uint32_t)name_len,
                                                  .value_len = (uint32_t)value_len };
    buf_append_bytes(&h->names, name, name_len);
    buf_append_bytes(&h->names, value, value_len);
    return 0;
}

static void forget_block(struct h2 *h)
{
    h->in_block = false;
    h->incoming = NULL;
    h->n_slices = 0;
    /* Between requests nothing is kept. */
    buf_deinit(&h->names);
    buf_init(&h->names, 2 * HTTP_MAX_HEADER_BYTES);
    free(h->slices);
    h->slices = NULL;
    h->cap_slices = 0;
}

/* Several cookie lines are one (RFC 9113 8.2.3). */
static void join_cookies(struct arena *a, struct http_header *items, size_t *n)
{
    size_t first = SIZE_MAX, out = 0;
    for (size_t i = 0; i < *n; i++) {
        if (!str_eq(items[i].name, STR("cookie"))) {
            items[out++] = items[i];
        } else if (first == SIZE_MAX) {
            first = out;
            items[out++] = items[i];
        } else {
            struct str joined = arena_printf(a, "%.*s; %.*s", STR_ARG(items[first].value), STR_ARG(items[i].value));
            items[first].value = joined.ptr ? joined : items[first].value;
        }
    }
    *n = out;
}

/* Moves the header block into the stream's arena, in one allocation of the right size. False past the budget. */
static bool take_block(struct h2 *h, struct http_stream *s)
{
    struct arena *a = &s->arena;
    a->next_chunk = MAX(a->next_chunk, h->names.len + h->n_slices * sizeof(struct http_header) + 96);
    struct str all = arena_str(a, buf_str(&h->names));
    struct http_header *items = arena_new_n(a, struct http_header, h->n_slices + 1);
    if (!all.ptr || !items) {
        return false;
    }
    a->next_chunk = 1024;
    size_t n = 0;
    struct str host = STR_NULL, cookie_probe = STR_NULL;
    for (size_t i = 0; i < h->n_slices; i++) {
        const struct h2_slice *slice = &h->slices[i];
        struct str name = str_sub(all, slice->name_at, slice->name_len);
        struct str value = str_sub(all, (size_t)slice->name_at + slice->name_len, slice->value_len);
        if (str_eq(name, STR(":method"))) {
            s->req.method = value;
        } else if (str_eq(name, STR(":path"))) {
            s->req.target = value;
        } else if (str_eq(name, STR(":authority"))) {
            s->req.authority = value;
        } else if (name.len > 0 && name.ptr[0] != ':') {
            if (str_eq(name, STR("host"))) {
                host = value;
            } else if (str_eq(name, STR("cookie"))) {
                cookie_probe = value;
            }
            items[n++] = (struct http_header){ .name = name, .value = value };
        }
    }
    if (cookie_probe.ptr) {
        join_cookies(a, items, &n);
    }
    if (!s->req.authority.ptr) {
        s->req.authority = host.ptr ? host : STR_EMPTY;
    }
    s->req.headers = (struct http_headers){ .items = items, .n = n };
    return true;
}

static void answer_status(struct http_stream *s, int status)
{
    char code[4];
    (void)snprintf(code, sizeof(code), "%d", status);
    nghttp2_nv nv = h2_line(":status", str_c(code));
    struct h2 *h = h2_of(s);
    (void)nghttp2_submit_response(h->session, s->id, &nv, 1, NULL);
    kick(s->conn);
}

static void request_complete(struct http_conn *c, struct http_stream *s, bool end_stream)
{
    struct h2 *h = c->proto;
    s->req.version = 20;
    s->req.has_body = !end_stream;
    s->body_ended = end_stream;
    if (h->too_large || !take_block(h, s)) {
        forget_block(h);
        answer_status(s, 431);
        return;
    }
    forget_block(h);
    if (s->req.target.len > HTTP_MAX_TARGET) {
        answer_status(s, 414);
        return;
    }
    bool connect = str_eq(s->req.method, STR("CONNECT"));
    if (connect || s->req.target.len == 0 || (s->req.target.ptr[0] != '/' && !str_eq(s->req.target, STR("*")))) {
        answer_status(s, connect ? 405 : 400);
        return;
    }
    struct str length = http_header_get(&s->req.headers, STR("content-length"));
    uint64_t value;
    s->req.content_length = end_stream ? 0 : -1;
    if (length.ptr && str_to_u64(length, &value) && value <= INT64_MAX) { /* nghttp2 has checked that it is one number */
        s->req.content_length = (int64_t)value;
    }
    loop_timer_start(&c->timer, TICK_MS);
    http_stream_dispatch(s);
}

static void trailers_complete(struct http_stream *s, struct h2 *h)
{
    struct http_header items[HTTP_MAX_HEADERS + 4];
    struct http_headers trailers = { .items = items };
    for (size_t i = 0; i < h->n_slices && !h->too_large; i++) {
        const struct h2_slice *slice = &h->slices[i];
        struct str all = buf_str(&h->names);
        items[trailers.n++] = (struct http_header){
            .name = str_sub(all, slice->name_at, slice->name_len),
            .value = str_sub(all, (size_t)slice->name_at + slice->name_len, slice->value_len),
        };
    }
    http_stream_body_end(s, &trailers);
    forget_block(h);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    bool end_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct http_stream *s;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        s = h->incoming;
        h->in_block = false;
        if (!s) {
            forget_block(h);
        } else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            request_complete(c, s, end_stream);
        } else if (end_stream) {
            trailers_complete(s, h);
        } else {
            forget_block(h);
        }
        break;
    case NGHTTP2_DATA:
        s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (frame->hd.length == 0 && !end_stream) {
            count_control(c);
        }
        if (s && end_stream) {
            http_stream_body_end(s, NULL);
        }
        break;
    case NGHTTP2_RST_STREAM:
        count_reset(c);
        break;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
        count_control(c);
        break;
    default:
        break;
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session UNUSED, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    /* Streams that our side breaks off because of what the peer sent count as its resets too. */
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        frame->rst_stream.error_code != NGHTTP2_INTERNAL_ERROR) {
        count_reset(c);
    }
    return 0;
}

/* The answer is complete and the rest of the request unwanted: "NO_ERROR" tells the client to stop (RFC 9113 8.1). Not at
 * once, because clients that get answer and reset together lose the answer. */
static void skip_body(struct http_stream *s, size_t n)
{
    s->skipped += (uint32_t)n;
    if (s->ended && !s->stopped && s->skipped > HTTP_SKIP_BODY) {
        s->stopped = true;
        (void)nghttp2_submit_rst_stream(h2_of(s)->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    }
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *arg)
{
    struct http_conn *c = arg;
    struct http_stream *s = nghttp2_session_get_stream_user_data(session, id);
    size_t taken = s ? http_stream_body(s, str_n((const char *)data, len)) : len;
    s = nghttp2_session_get_stream_user_data(session, id);
    if (s && s->dead) {
        skip_body(s, len);
    }
    if (taken > 0 && c->io) {
        (void)nghttp2_session_consume(session, id, taken);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    struct http_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) {
        return 0;
    }
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    if (h->incoming == s) {
        forget_block(h);
    }
    if (s->body && s->body->unread.len > 0) {
        (void)nghttp2_session_consume_connection(session, s->body->unread.len);
    }
    if (code == NGHTTP2_NO_ERROR && s->responded && (s->no_body || s->left == 0)) {
        s->dead = s->ended = true; /* an answer without a body was complete with its headers: nothing was cut off */
    }
    http_stream_detach(s);
    if (c->n_streams == 0) {
        idle_or_tick(c);
        if (c->draining && h->noticed) {
            http_conn_close(c);
        }
    }
    return 0;
}

/* ---- bytes out ---- */

static ssize_t data_length(nghttp2_session *session UNUSED, uint8_t type UNUSED, int32_t id UNUSED, int32_t session_window,
                           int32_t stream_window, uint32_t max_frame, void *arg)
{
    const struct http_conn *c = arg;
    const struct h2 *h = c->proto;
    return h2_pull_length(&h->pull, session_window, stream_window, max_frame);
}

static ssize_t data_read(nghttp2_session *session, int32_t id, uint8_t *buf UNUSED, size_t length, uint32_t *flags,
                         nghttp2_data_source *source UNUSED, void *arg UNUSED)
{
    struct http_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    ssize_t n = h2_pull_read(&s->queue, s->ended, length, flags);
    s->deferred = n == NGHTTP2_ERR_DEFERRED;
    if ((*flags & NGHTTP2_DATA_FLAG_EOF) && s->n_trailers > 0) {
        nghttp2_nv nv[32];
        size_t k = 0;
        for (; k < s->n_trailers && k < ARRAY_SIZE(nv); k++) {
            nv[k] = h2_header((char *)(uintptr_t)s->trailers[k].name.ptr, &s->trailers[k]); /* our own copy */
        }
        if (nghttp2_submit_trailer(session, id, nv, k) == 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
    }
    return n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t length,
                     nghttp2_data_source *source UNUSED, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    struct http_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    int r = h2_pull_data(&h->pull, header, &s->queue, length);
    if (r != 0) {
        return r;
    }
    s->stalls = 0;
    http_stream_wrote(s);
    return 0;
}

static size_t pull(struct net_stream *io UNUSED, char *dst, size_t max, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    ssize_t n = h2_pull_run(&h->pull, h->session, dst, max);
    if (n < 0) {
        h->dead = true;
    }
    if (n < 0 || (n == 0 && !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))) {
        http_conn_close(c);
        return 0;
    }
    return (size_t)n;
}

/* ---- bytes in ---- */

static void grow_limits(struct http_conn *c)
{
    struct h2 *h = c->proto;
    h->grown = true;
    nghttp2_settings_entry iv = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, http_server_config(c->server)->max_streams };
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &iv, 1);
    (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONN_WINDOW);
}

static void io_data(struct net_stream *io UNUSED, struct str data, void *arg)
{
    struct http_conn *c = arg;
    struct h2 *h = c->proto;
    if (h->dead) {
        return;
    }
    (void)http_conn_hold(c);
    bool was_in_block = h->in_block;
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.ptr, data.len);
    if (c->gone) {
        http_conn_drop(c);
        return;
    }
    if (n < 0) {
        calm(c, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int)n));
        http_conn_close(c);
    } else if (h->in_block) {
        h->block_bytes += was_in_block ? data.len : 0;
        if (h->block_bytes > HTTP2_HEADER_BLOCK) {
            calm(c, NGHTTP2_ENHANCE_YOUR_CALM, "a header block without end");
        }
    }
    if (c->trusted && !h->grown) {
        grow_limits(c);
    }
    kick(c);
    http_conn_drop(c);
}

static void io_close(struct net_stream *io UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    http_conn_gone(arg);
}

static void io_eof(struct net_stream *io UNUSED, void *arg)
{
    http_conn_gone(arg);
}

const struct net_stream_ops http_h2_stream_ops = { .on_data = io_data, .on_eof = io_eof, .on_close = io_close };

/* ---- what streams ask for ---- */

/* Fills 'nv' with what may be sent; names in lower case in 'b', which is reserved to fit so that it does not move. */
static size_t make_nv(struct buf *b, const struct http_header *headers, size_t n, nghttp2_nv *nv, size_t max)
{
    size_t bytes = 0, k = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += headers[i].name.len;
    }
    char *at = buf_reserve(b, bytes + 1);
    for (size_t i = 0; at && i < n && k < max; i++) {
        if (!http_header_may_be_sent(&headers[i])) {
            continue;
        }
        nv[k++] = h2_header(at, &headers[i]);
        at += headers[i].name.len;
    }
    return k;
}

/* The date changes each second: a client's table gets one only when it will be told the same one again, which a client that asks
 * seldom never is. */
static nghttp2_nv date_line(struct http_stream *s)
{
    struct h2 *h = h2_of(s);
    struct str date = http_server_date(s->server);
    int64_t now = http_server_date_s(s->server);
    bool again = h->dated_s == now;
    h->dated_s = now;
    return again ? h2_line("date", date) : h2_line_once("date", date);
}

static void respond(struct http_stream *s, int status, const struct http_header *headers, size_t n, int64_t length)
{
    struct h2 *h = h2_of(s);
    nghttp2_nv nv[H2_MAX_SENT_HEADERS + 3];
    char code[8], len_text[24];
    (void)snprintf(code, sizeof(code), "%d", status);
    size_t k = 0;
    nv[k++] = h2_line(":status", str_c(code));
    nv[k++] = date_line(s);
    if (length >= 0) {
        (void)snprintf(len_text, sizeof(len_text), "%lld", (long long)length);
        nv[k++] = h2_line_once("content-length", str_c(len_text));
    }
    k += make_nv(http_server_scratch(s->server), headers, n, nv + k, H2_MAX_SENT_HEADERS);
    nghttp2_data_provider data = { .read_callback = data_read };
    int r = nghttp2_submit_response(h->session, s->id, nv, k, s->no_body || length == 0 ? NULL : &data);
    if (r != 0) {
        log_warning("net: an HTTP/2 answer cannot be sent: %s", nghttp2_strerror(r));
        (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    }
    kick(s->conn);
}

static void resume_data(struct http_stream *s)
{
    if (s->deferred) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(h2_of(s)->session, s->id);
    }
    kick(s->conn);
}

static void write_body(struct http_stream *s, const struct net_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        net_queue_push(&s->queue, chunks[i]);
    }
    resume_data(s);
}

static void end(struct http_stream *s, const struct http_header *trailers, size_t n)
{
    if (n > 0 && !s->no_body) {
        s->trailers = arena_new_n(&s->arena, struct http_header, n);
        for (size_t i = 0; s->trailers && i < n; i++) {
            struct http_header *t = &s->trailers[s->n_trailers];
            if (!http_header_may_be_sent(&trailers[i])) {
                continue;
            }
            t->name = arena_str(&s->arena, trailers[i].name);
            t->value = arena_str(&s->arena, trailers[i].value);
            if (t->name.ptr && t->value.ptr) {
                s->n_trailers++;
            }
        }
    }
    if (s->body && s->body->unread.len > 0) { /* nobody will take it: the client may send (and we skip) the rest */
        (void)nghttp2_session_consume(h2_of(s)->session, s->id, s->body->unread.len);
        buf_clear(&s->body->unread);
    }
    resume_data(s);
}

static void reset(struct http_stream *s)
{
    (void)nghttp2_submit_rst_stream(h2_of(s)->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    kick(s->conn);
}

static void want_body(struct http_stream *s UNUSED)
{
    struct str expect = http_header_get(&s->req.headers, STR("expect"));
    if (str_eq_nocase(expect, STR("100-continue")) && !s->responded) {
        nghttp2_nv nv = h2_line(":status", STR("100"));
        (void)nghttp2_submit_headers(h2_of(s)->session, NGHTTP2_FLAG_NONE, s->id, NULL, &nv, 1, NULL);
        kick(s->conn);
    }
}

static void consumed(struct http_stream *s, size_t n)
{
    (void)nghttp2_session_consume(h2_of(s)->session, s->id, n);
    kick(s->conn);
}

static size_t queued(const struct http_stream *s)
{
    return s->queue.bytes;
}

static struct net_stream *upgrade(struct http_stream *s UNUSED, const struct http_header *headers UNUSED, size_t n UNUSED)
{
    return NULL; /* HTTP/2 has none: http_stream_wants_upgrade() is never true */
}

static void drain(struct http_conn *c)
{
    struct h2 *h = c->proto;
    if (!h->noticed) {
        h->noticed = true;
        (void)nghttp2_submit_shutdown_notice(h->session);
        kick(c);
        loop_timer_start(&c->timer, c->n_streams == 0 ? 50 : DRAIN_NOTICE_MS);
    }
}

static void free_conn(struct http_conn *c)
{
    struct h2 *h = c->proto;
    while (!list_empty(&c->streams)) {
        struct http_stream *s = LIST_ENTRY(c->streams.next, struct http_stream, link);
        (void)nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
        http_stream_detach(s);
    }
    forget_block(h);
    nghttp2_session_del(h->session);
    h->session = NULL;
    h->dead = true;
}

static const struct http_conn_ops ops = {
    .respond = respond,
    .write = write_body,
    .end = end,
    .reset = reset,
    .want_body = want_body,
    .consumed = consumed,
    .queued = queued,
    .upgrade = upgrade,
    .drain = drain,
    .free = free_conn,
};

static void set_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_data_source_read_length_callback(cb, data_length);
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
}

static void set_options(nghttp2_option *o)
{
    nghttp2_option_set_max_outbound_ack(o, HTTP2_MAX_OUT_ACK);
    nghttp2_option_set_max_send_header_block_length(o, HTTP_MAX_HEADER_BYTES);
    nghttp2_option_set_max_deflate_dynamic_table_size(o, HTTP2_HPACK_TABLE);
}

void http_h2_start(struct http_conn *c)
{
    struct h2 *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    c->proto = h;
    c->ops = &ops;
    h->conn = c;
    const struct h2_session_spec spec = { .server = true, .callbacks = set_callbacks, .options = set_options, .frames = &h->frames,
                                          .arg = c };
    h->session = h2_session_new(&spec);
    h->resets = (struct bucket){ HTTP2_RESET_BURST, now_of(c) };
    h->control = (struct bucket){ HTTP2_CONTROL_BURST, now_of(c) };
    buf_init(&h->names, 2 * HTTP_MAX_HEADER_BYTES);
    const struct http_server_config *config = http_server_config(c->server);
    nghttp2_settings_entry iv[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MIN(config->max_streams, (unsigned)HTTP2_MAX_STREAMS_BEFORE) },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)config->max_header_bytes },
        { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, HTTP2_HPACK_TABLE },
    };
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, iv, ARRAY_SIZE(iv));
    loop_timer_init(&c->timer, http_server_loop(c->server), on_timer, c);
    loop_timer_start(&c->timer, config->header_ms);
    net_stream_set_pull(c->io, pull);
    kick(c);
    if (c->draining) {
        drain(c);
    }
}
