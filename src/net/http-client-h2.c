/* HTTP/2 on a client's connection: many calls at once. */
#include "net/h2-pull.h"
#include "net/h2-session.h"
#include "net/http-client-private.h"

/* Until the server has said how many streams it takes (it says so right after the handshake) a few are sent on trust. */
enum { STREAMS_UNTOLD = 8, MAX_STREAMS = 1000 };

struct h2 {
    struct client_conn *conn;
    nghttp2_session *session;
    struct h2_frames frames;
    struct h2_pull pull;
    bool settings_seen;
    /* The header block that is arriving. */
    struct http_header *headers;
    size_t n_headers, cap_headers, header_bytes;
    struct arena block;      /* its bytes */
    int status;
    bool too_large;
};

static void kick(struct client_conn *c)
{
    if (c->io) {
        net_stream_want_write(c->io);
    }
}

static struct http_call *call_of(struct h2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->session, id);
}

/* ---- a silent connection is asked whether it lives ---- */

static void on_ping_timer(void *arg)
{
    struct client_conn *c = arg;
    const struct h2 *h = c->proto;
    uint64_t now = loop_now_ms(http_client_loop(c->client)), silent = now - net_stream_last_activity_ms(c->io);
    if (silent < HTTP_CLIENT_PING_MS) {
        c->pinged = false;
        loop_timer_start(&c->timer, HTTP_CLIENT_PING_MS - silent);
    } else if (!c->pinged) {
        c->pinged = true;
        (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
        kick(c);
        loop_timer_start(&c->timer, HTTP_CLIENT_PING_ANSWER_MS);
    } else {
        client_conn_kill(c, "the server does not answer any more");
    }
}

/* ---- requests ---- */

static ssize_t data_length(nghttp2_session *session UNUSED, uint8_t type UNUSED, int32_t id UNUSED, int32_t session_window,
                           int32_t stream_window, uint32_t max_frame, void *arg)
{
    const struct client_conn *c = arg;
    const struct h2 *h = c->proto;
    return h2_pull_length(&h->pull, session_window, stream_window, max_frame);
}

static ssize_t data_read(nghttp2_session *session, int32_t id, uint8_t *buf UNUSED, size_t length, uint32_t *flags,
                         nghttp2_data_source *source UNUSED, void *arg UNUSED)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (!call) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    ssize_t n = h2_pull_read(&call->queue, call->body_ended, length, flags);
    call->deferred = n == NGHTTP2_ERR_DEFERRED;
    return n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t length,
                     nghttp2_data_source *source UNUSED, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    struct http_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    int r = h2_pull_data(&h->pull, header, &call->queue, length);
    if (r == 0) {
        http_call_wrote(call);
    }
    return r;
}

static bool is_ours(struct str name)
{
    static const struct str ours[] = { STR_INIT("host"), STR_INIT("content-length"), STR_INIT("transfer-encoding"),
                                       STR_INIT("connection"), STR_INIT("keep-alive"), STR_INIT("upgrade") };
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (str_eq_nocase(name, ours[i])) {
            return true;
        }
    }
    return false;
}

static void start(struct client_conn *c, struct http_call *call)
{
    struct h2 *h = c->proto;
    nghttp2_nv nv[H2_MAX_SENT_HEADERS + 5];
    char length[24];
    size_t k = 0;
    nv[k++] = h2_line(":method", call->method);
    nv[k++] = h2_line(":scheme", net_stream_conn(c->io)->encrypted ? STR("https") : STR("http"));
    nv[k++] = h2_line(":authority", http_call_authority(call));
    nv[k++] = h2_line(":path", call->target);
    if (call->content_length > 0) {
        (void)snprintf(length, sizeof(length), "%lld", (long long)call->content_length);
        nv[k++] = h2_line_once("content-length", str_c(length));
    }
    for (size_t i = 0; i < call->n_headers && k < ARRAY_SIZE(nv); i++) {
        struct http_header *header = &call->headers[i];
        if (is_ours(header->name)) {
            continue;
        }
        nv[k++] = h2_header((char *)(uintptr_t)header->name.ptr, header); /* our own copy */
    }
    bool body = call->streaming || call->queue.bytes > 0;
    nghttp2_data_provider data = { .read_callback = data_read };
    call->deferred = false;
    call->id = nghttp2_submit_request(h->session, NULL, nv, k, body ? &data : NULL, call);
    if (call->id < 0) {
        c->leaving = true; /* stream numbers are used up, or a GOAWAY came */
        if (!http_call_retry(call)) {
            http_call_fail(call, ERR_IO, "the request cannot be sent: %s", nghttp2_strerror(call->id));
        }
        client_conn_free_room(c);
        return;
    }
    c->timer.fn = on_ping_timer;
    if (!loop_timer_runs(&c->timer)) {
        loop_timer_start(&c->timer, HTTP_CLIENT_PING_MS);
    }
    kick(c);
}

/* ---- answers ---- */

static void forget_block(struct h2 *h)
{
    free(h->headers);
    h->headers = NULL;
    h->n_headers = h->cap_headers = h->header_bytes = 0;
    h->too_large = false;
    arena_deinit(&h->block);
}

static int on_begin_headers(nghttp2_session *session UNUSED, const nghttp2_frame *frame UNUSED, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    forget_block(h);
    h->status = 0;
    return 0;
}

static int on_header(nghttp2_session *session UNUSED, const nghttp2_frame *frame UNUSED, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    struct str n = str_n((const char *)name, name_len), v = str_n((const char *)value, value_len);
    if (str_eq(n, STR(":status"))) {
        int32_t status = 0;
        h->status = str_to_i32(v, &status) ? status : 0;
        return 0;
    }
    h->header_bytes += name_len + value_len + 32;
    if (h->too_large || h->header_bytes > HTTP_CLIENT_MAX_HEADER_BYTES) {
        h->too_large = true;
        return 0;
    }
    if (h->n_headers == h->cap_headers) {
        h->cap_headers = h->cap_headers ? h->cap_headers * 2 : 16;
        struct http_header *more = realloc(h->headers, h->cap_headers * sizeof(*more));
        if (!more) {
            abort();
        }
        h->headers = more;
    }
    h->headers[h->n_headers++] = (struct http_header){ .name = arena_str(&h->block, n), .value = arena_str(&h->block, v) };
    return 0;
}

static void too_large(struct h2 *h, struct http_call *call)
{
    int32_t id = call->id;
    (void)nghttp2_session_set_stream_user_data(h->session, id, NULL);
    (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    http_call_fail(call, ERR_TOO_LARGE, "the answer's headers are larger than %d bytes", HTTP_CLIENT_MAX_HEADER_BYTES);
}

static void headers_complete(struct client_conn *c, struct http_call *call)
{
    struct h2 *h = c->proto;
    struct http_headers headers = { .items = h->headers, .n = h->n_headers };
    if (h->too_large) {
        too_large(h, call);
        return;
    }
    if (call->responded) { /* trailers: kept until the stream closes */
        call->trailers = arena_new_n(&call->arena, struct http_header, h->n_headers);
        for (size_t i = 0; call->trailers && i < h->n_headers; i++) {
            call->trailers[i].name = arena_str(&call->arena, h->headers[i].name);
            call->trailers[i].value = arena_str(&call->arena, h->headers[i].value);
            call->n_trailers++;
        }
        return;
    }
    if (h->status < 200) {
        return;
    }
    struct http_response r = { .status = h->status, .headers = headers, .content_length = -1, .version = 20,
                               .peer = client_conn_peer(c) };
    uint64_t length;
    struct str text = http_header_get(&headers, STR("content-length"));
    if (text.ptr && str_to_u64(text, &length) && length <= INT64_MAX) {
        r.content_length = (int64_t)length;
    }
    http_call_response(call, &r);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    struct http_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool data_or_headers = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (call && data_or_headers && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        call->got_end = true;
    }
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call && c->state == CLIENT_READY) {
            headers_complete(c, call);
        }
        forget_block(h);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            h->settings_seen = true;
            client_conn_free_room(c);
        }
        break;
    case NGHTTP2_GOAWAY:
        c->leaving = true;
        client_conn_free_room(c);
        break;
    default:
        break;
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg UNUSED)
{
    if (frame->hd.type == NGHTTP2_HEADERS) {
        struct http_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (call) {
            call->sent = true;
        }
    }
    return 0;
}

/* A request that nghttp2 will not send any more (a GOAWAY came first). */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    struct client_conn *c = arg;
    struct http_call *call = frame->hd.type == NGHTTP2_HEADERS
                                 ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id)
                                 : NULL;
    if (call) {
        (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, NULL);
        c->leaving = true;
        if (!http_call_retry(call)) {
            http_call_fail(call, ERR_UNAVAILABLE, "the request cannot be sent: %s", nghttp2_strerror(error));
        }
        client_conn_free_room(c);
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    struct http_call *call = call_of(h, id);
    size_t taken = call ? http_call_data(call, str_n((const char *)data, len)) : len;
    /* A paused call holds its own window shut, not the connection's: the others go on. */
    (void)nghttp2_session_consume_connection(session, len);
    if (taken > 0) {
        (void)nghttp2_session_consume_stream(session, id, taken);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct client_conn *c = arg;
    struct http_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (!call) {
        return 0;
    }
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    if (code == NGHTTP2_REFUSED_STREAM) {
        call->sent = false;
        if (!http_call_retry(call)) {
            http_call_fail(call, ERR_UNAVAILABLE, "the server refused the request before looking at it");
        }
    } else if (call->responded && call->got_end && code == NGHTTP2_NO_ERROR) {
        struct http_headers trailers = { .items = call->trailers, .n = call->n_trailers };
        call->trailers = NULL;
        call->n_trailers = 0;
        http_call_complete(call, &trailers);
    } else {
        http_call_fail(call, ERR_IO, "the server broke the %s off: %s", call->responded ? "answer" : "request",
                       nghttp2_http2_strerror(code));
    }
    client_conn_free_room(c);
    return 0;
}

/* ---- bytes ---- */

static size_t pull(struct net_stream *io UNUSED, char *dst, size_t max, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    (void)client_conn_hold(c);
    ssize_t n = h2_pull_run(&h->pull, h->session, dst, max);
    if (n < 0 && c->io) {
        net_stream_close(c->io);
    }
    if (c->state == CLIENT_DEAD) {
        n = 0;
    }
    client_conn_drop(c);
    return n < 0 ? 0 : (size_t)n;
}

static void io_data(struct net_stream *io UNUSED, struct str data, void *arg)
{
    struct client_conn *c = arg;
    struct h2 *h = c->proto;
    (void)client_conn_hold(c);
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data.ptr, data.len);
    if (c->state == CLIENT_READY) {
        if (n < 0) {
            char reason[128];
            (void)snprintf(reason, sizeof(reason), "the server broke the protocol: %s", nghttp2_strerror((int)n));
            client_conn_kill(c, reason);
        } else if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session)) {
            client_conn_kill(c, "the server ended the connection");
        } else {
            kick(c);
        }
    }
    client_conn_drop(c);
}

static void io_eof(struct net_stream *io UNUSED, void *arg)
{
    client_conn_kill(arg, "the server closed the connection before the answer was complete");
}

static void io_close(struct net_stream *io UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    client_conn_kill(arg, reason);
}

static const struct net_stream_ops stream_ops = { .on_data = io_data, .on_eof = io_eof, .on_close = io_close };

/* ---- what calls ask for ---- */

static unsigned room(const struct client_conn *c)
{
    const struct h2 *h = c->proto;
    if (!nghttp2_session_check_request_allowed(h->session)) {
        return 0;
    }
    uint32_t max = h->settings_seen
                       ? nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                       : STREAMS_UNTOLD;
    max = MIN(max, (uint32_t)MAX_STREAMS);
    return c->n_calls < max ? max - c->n_calls : 0;
}

static void body(struct http_call *call)
{
    struct client_conn *c = call->conn;
    struct h2 *h = c->proto;
    if (call->deferred) {
        call->deferred = false;
        (void)nghttp2_session_resume_data(h->session, call->id);
    }
    kick(c);
}

static size_t queued(const struct http_call *call)
{
    return call->queue.bytes;
}

static void cancel(struct http_call *call)
{
    struct client_conn *c = call->conn;
    struct h2 *h = c->proto;
    (void)nghttp2_session_set_stream_user_data(h->session, call->id, NULL);
    (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
    http_call_leave(call);
    kick(c);
    client_conn_free_room(c);
}

static void consumed(struct http_call *call, size_t n)
{
    struct client_conn *c = call->conn;
    const struct h2 *h = c->proto;
    (void)nghttp2_session_consume_stream(h->session, call->id, n);
    kick(c);
}

static void stop(struct client_conn *c UNUSED)
{
    /* The session may be on the stack; it goes with the connection's memory. */
}

static void free_proto(struct client_conn *c)
{
    struct h2 *h = c->proto;
    forget_block(h);
    nghttp2_session_del(h->session);
    free(h);
}

static const struct client_conn_ops ops = {
    .room = room,
    .start = start,
    .body = body,
    .queued = queued,
    .cancel = cancel,
    .consumed = consumed,
    .stop = stop,
    .free = free_proto,
};

static void set_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_data_source_read_length_callback(cb, data_length);
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
}

static void set_options(nghttp2_option *o)
{
    nghttp2_option_set_max_send_header_block_length(o, HTTP_CLIENT_MAX_HEADER_BYTES);
    nghttp2_option_set_peer_max_concurrent_streams(o, STREAMS_UNTOLD);
}

void client_h2_start(struct client_conn *c)
{
    struct h2 *h = calloc(1, sizeof(*h));
    if (!h) {
        abort();
    }
    c->proto = h;
    c->ops = &ops;
    h->conn = c;
    arena_init(&h->block, 2 * HTTP_CLIENT_MAX_HEADER_BYTES);
    const struct h2_session_spec spec = { .callbacks = set_callbacks, .options = set_options, .frames = &h->frames, .arg = c };
    h->session = h2_session_new(&spec);
    nghttp2_settings_entry iv[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP_CLIENT_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_CLIENT_MAX_HEADER_BYTES },
    };
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, iv, ARRAY_SIZE(iv));
    (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, HTTP_CLIENT_CONN_WINDOW);
    net_stream_set_ops(c->io, &stream_ops, c);
    net_stream_set_pull(c->io, pull);
    kick(c);
}
