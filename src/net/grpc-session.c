#include "net/grpc-session.h"

#include <assert.h>

#include "net/h2-session.h"
#include "net/stream-limits.h"

struct grpc_session {
    nghttp2_session *ng;
    struct h2_frames frames;
    const struct grpc_session_events *events;
    void *user;
    bool draining;
    bool tls;
    const char *authority;
    const struct grpc_header *metadata;
    size_t n_metadata;
};

void grpc_stream_init(struct grpc_stream *st, size_t max_message)
{
    *st = (struct grpc_stream){ 0 };
    buf_init(&st->send, max_message + GRPC_PREFIX_SIZE);
    buf_init(&st->held, 2 * GRPC_WINDOW);
    buf_init(&st->answer, max_message);
    grpc_deframer_init(&st->in, max_message);
}

void grpc_stream_deinit(struct grpc_stream *st)
{
    buf_deinit(&st->send);
    buf_deinit(&st->held);
    buf_deinit(&st->answer);
    grpc_deframer_deinit(&st->in);
}

static struct grpc_stream *find(struct grpc_session *s, int32_t id)
{
    return nghttp2_session_get_stream_user_data(s->ng, id);
}

/* Gives up on a stream: it is reset, and ends with the status that was set. */
static void fail(struct grpc_session *s, struct grpc_stream *st)
{
    st->failed = true;
    nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
}

/* Receiving */

static int on_header(nghttp2_session *ng UNUSED, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *user)
{
    struct grpc_session *s = user;
    struct grpc_stream *st = find(s, frame->hd.stream_id);
    struct str n = str_n((const char *)name, name_len), v = str_n((const char *)value, value_len);
    uint64_t number;
    if (!st || st->failed) {
        return 0;
    }
    st->header_bytes += name_len + value_len;
    if (st->header_bytes > GRPC_MAX_HEADERS) {
        grpc_status_set(&st->status, GRPC_RESOURCE_EXHAUSTED, "server sent more than %u bytes of headers", GRPC_MAX_HEADERS);
        fail(s, st);
    } else if (str_eq(n, STR(":status"))) {
        st->http_status = str_to_u64(v, &number) && number < 1000 ? (int)number : 0;
    } else if (str_eq(n, STR("content-type"))) {
        st->grpc_content = str_starts(v, STR("application/grpc"));
    } else if (str_eq(n, STR("grpc-status"))) {
        st->has_status = true;
        st->status.code = grpc_code_parse(v);
        st->status.err.code = grpc_err_code(st->status.code);
    } else if (str_eq(n, STR("grpc-message"))) {
        grpc_message_decode(v, st->status.err.msg, sizeof(st->status.err.msg));
    }
    return 0;
}

static void take_messages(struct grpc_session *s, int32_t id, struct str in)
{
    struct grpc_stream *st;
    while (in.len && (st = find(s, id)) && !st->failed) {
        bool got;
        struct str message;
        if (st->paused) {
            buf_append(&st->held, in);
            return;
        }
        size_t before = in.len;
        if (!grpc_deframe(&st->in, &in, &got, &message, &st->status)) {
            fail(s, st);
            return;
        }
        nghttp2_session_consume_stream(s->ng, id, before - in.len);
        if (got && !st->unary) {
            s->events->on_message(s->user, st, message);
        } else if (got && st->has_answer) {
            grpc_status_set(&st->status, GRPC_INTERNAL, "server sent two messages to a call with one answer");
            fail(s, st);
        } else if (got) {
            st->has_answer = true;
            buf_append(&st->answer, message);
        }
    }
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct grpc_session *s = user;
    struct grpc_stream *st = find(s, id);
    /* One slow reader must not hold back the other calls: only the stream's own window waits for it. */
    nghttp2_session_consume_connection(ng, len);
    if (st && st->http_status == 200) {
        take_messages(s, id, str_n((const char *)data, len));
    } else {
        nghttp2_session_consume_stream(ng, id, len); /* the text of a proxy's error page, or nobody's */
    }
    return 0;
}

/* Settles the status of a stream that ended. */
static void settle(struct grpc_stream *st, uint32_t error_code)
{
    if (st->failed) {
        return;
    }
    if (!st->has_status && error_code != NGHTTP2_NO_ERROR) {
        grpc_status_set(&st->status, grpc_code_of_h2_error(error_code), "stream was reset by the server: %s",
                        nghttp2_http2_strerror(error_code));
    } else if (!st->has_status && st->http_status != 200) {
        grpc_status_set(&st->status, grpc_code_of_http(st->http_status), "server answered with HTTP status %d",
                        st->http_status);
    } else if (!st->has_status || !st->grpc_content) {
        grpc_status_set(&st->status, GRPC_UNKNOWN, st->grpc_content ? "server ended the call without a status"
                                                                    : "server's answer is not gRPC");
    } else if (st->status.code == GRPC_OK && (grpc_deframer_is_inside(&st->in) || (st->unary && !st->has_answer))) {
        grpc_status_set(&st->status, GRPC_INTERNAL, "server ended the call without a whole message");
    } else if (st->status.code != GRPC_OK && st->status.err.msg[0] == '\0') {
        grpc_status_set(&st->status, st->status.code, "%s", grpc_code_name(st->status.code));
    } else if (st->status.code == GRPC_OK) {
        st->status.err.msg[0] = '\0';
    }
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *user)
{
    struct grpc_session *s = user;
    struct grpc_stream *st = find(s, id);
    if (!st) {
        return 0;
    }
    /* What a paused reader has not seen yet is delivered before the end. */
    if (st->paused && st->held.len) {
        grpc_session_resume(s, st);
        if (find(s, id) != st) {
            return 0;
        }
    }
    nghttp2_session_set_stream_user_data(ng, id, NULL);
    settle(st, error_code);
    st->id = 0;
    s->events->on_end(s->user, st, error_code == NGHTTP2_REFUSED_STREAM && !st->has_status && !st->failed);
    return 0;
}

static int on_frame_recv(nghttp2_session *ng UNUSED, const nghttp2_frame *frame, void *user)
{
    struct grpc_session *s = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        s->draining = true;
    }
    return 0;
}

/* Sending */

static ssize_t read_request(nghttp2_session *ng UNUSED, int32_t id, uint8_t *dst, size_t size, uint32_t *flags,
                            nghttp2_data_source *source UNUSED, void *user)
{
    struct grpc_stream *st = find(user, id);
    if (!st) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled; its reset is on the way */
    }
    size_t n = MIN(size, st->send.len - st->send_pos);
    if (n == 0 && !st->send_end) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(dst, st->send.ptr + st->send_pos, n);
        st->send_pos += n;
    }
    if (st->send_pos == st->send.len) {
        buf_clear(&st->send);
        st->send_pos = 0;
        if (st->send_end) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        }
    }
    return (ssize_t)n;
}

#define NV(n, v, v_len) \
    { \
        .name = (uint8_t *)(uintptr_t)(n), .namelen = sizeof(n) - 1, .value = (uint8_t *)(uintptr_t)(v), .valuelen = (v_len) \
    }

bool grpc_session_start(struct grpc_session *s, struct grpc_stream *st, struct err *err)
{
    char timeout[GRPC_TIMEOUT_SIZE] = "";
    if (st->timeout_ms) {
        grpc_timeout_format(st->timeout_ms, timeout);
    }
    nghttp2_nv nv[8 + GRPC_MAX_METADATA] = {
        NV(":method", "POST", 4),
        NV(":scheme", s->tls ? "https" : "http", s->tls ? 5 : 4),
        NV(":path", st->method, strlen(st->method)),
        NV(":authority", s->authority, strlen(s->authority)),
        NV("content-type", "application/grpc", 16),
        NV("te", "trailers", 8),
        NV("user-agent", "coracle/" CORACLE_VERSION, strlen("coracle/" CORACLE_VERSION)),
    };
    size_t n = 7;
    if (timeout[0]) {
        nv[n++] = (nghttp2_nv)NV("grpc-timeout", timeout, strlen(timeout));
    }
    for (size_t i = 0; i < s->n_metadata && i < GRPC_MAX_METADATA; i++) {
        const struct grpc_header *h = &s->metadata[i];
        nv[n++] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)h->name, .namelen = strlen(h->name),
                                .value = (uint8_t *)(uintptr_t)h->value, .valuelen = strlen(h->value) };
    }
    nghttp2_data_provider provider = { .read_callback = read_request };
    int32_t id = nghttp2_submit_request(s->ng, NULL, nv, n, &provider, st);
    if (id < 0) {
        return err_set(err, ERR_UNAVAILABLE, "cannot open a stream: %s", nghttp2_strerror(id));
    }
    st->id = id;
    return true;
}

void grpc_session_more(struct grpc_session *s, struct grpc_stream *st)
{
    if (st->id && st->deferred) {
        st->deferred = false;
        nghttp2_session_resume_data(s->ng, st->id);
    }
}

void grpc_session_cancel(struct grpc_session *s, struct grpc_stream *st)
{
    if (st->id) {
        nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
        nghttp2_session_set_stream_user_data(s->ng, st->id, NULL);
        st->id = 0;
    }
}

void grpc_session_resume(struct grpc_session *s, struct grpc_stream *st)
{
    st->paused = false;
    if (st->id && st->held.len) {
        struct buf held = st->held;
        buf_init(&st->held, held.max);
        take_messages(s, st->id, buf_str(&held));
        buf_deinit(&held);
    }
}

/* The session */

static void set_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
}

struct grpc_session *grpc_session_new(const struct grpc_session_events *events, void *user)
{
    struct grpc_session *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->events = events;
    s->user = user;
    s->authority = "localhost";
    const struct h2_session_spec spec = { .callbacks = set_callbacks, .frames = &s->frames, .arg = s };
    s->ng = h2_session_new(&spec);
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GRPC_WINDOW },
    };
    int rc = nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    assert(rc == 0);
    rc = nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, 4 * GRPC_WINDOW);
    assert(rc == 0);
    return s;
}

void grpc_session_set_target(struct grpc_session *s, bool tls, const char *authority, const struct grpc_header *metadata,
                             size_t n_metadata)
{
    s->tls = tls;
    s->authority = authority;
    s->metadata = metadata;
    s->n_metadata = n_metadata;
}

void grpc_session_ping(struct grpc_session *s)
{
    (void)nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL);
}

struct grpc_session *grpc_session_free(struct grpc_session *s)
{
    if (s) {
        nghttp2_session_del(s->ng);
        free(s);
    }
    return NULL;
}

bool grpc_session_recv(struct grpc_session *s, struct str in, struct err *err)
{
    ssize_t n = nghttp2_session_mem_recv(s->ng, (const uint8_t *)in.ptr, in.len);
    if (n < 0) {
        return err_set(err, ERR_UNAVAILABLE, "server does not speak HTTP/2: %s", nghttp2_strerror((int)n));
    }
    return true;
}

bool grpc_session_send(struct grpc_session *s, struct str *ret_out, struct err *err)
{
    const uint8_t *p;
    ssize_t n = nghttp2_session_mem_send(s->ng, &p);
    if (n < 0) {
        return err_set(err, ERR_UNAVAILABLE, "HTTP/2 session failed: %s", nghttp2_strerror((int)n));
    }
    *ret_out = str_n(n ? (const char *)p : "", (size_t)n);
    return true;
}

bool grpc_session_is_draining(const struct grpc_session *s)
{
    return s->draining || nghttp2_session_want_read(s->ng) == 0;
}
