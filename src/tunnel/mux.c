#include "tunnel/mux.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "net/h2-pull.h"
#include "net/http.h"
#include "tunnel/front-head.h"
#include "tunnel/limits.h"

/* A reason travels as text in this header of a refusal. */
#define REASON_HEADER "x-coracle-reason"

enum { PING_MS = 15000, PING_ANSWER_MS = 10000, MAX_REASON = 256, MAX_AUTHORITY = 300, CONN_WINDOW = 1 << 30,
       STREAM_RESET_BURST = 2000, STREAM_RESET_RATE = 200, MAX_OUT_ACK = 200 };

struct mux_far {
    struct tunnel_far base;
    struct mux *mux;
    struct list link;
    int32_t id;
    bool ours;        /* we opened it */
    bool answered;    /* the other side said 200; or we did */
    bool told;        /* on_connect() was called */
    bool detached;    /* nobody is told any more */
    bool eof_in, eof_told, eof_out, want_write;
    bool paused;
    size_t unread;    /* given to the reader and not given back to the window */
    struct net_queue out;
    int status;
    char authority[MAX_AUTHORITY], reason[MAX_REASON];
    bool is_connect;
};

struct mux {
    struct loop *loop;
    struct net_stream *stream;
    nghttp2_session *ng;
    struct h2_pull pull;
    const struct mux_ops *ops;
    void *arg;
    bool opener, dead, in_ng;
    struct list fars;
    unsigned n_fars;
    struct loop_timer ping;
    bool ping_waits;
    struct loop_task finish;
    char reason[200];
    uint64_t bytes_in, bytes_out;
};

static struct mux_far *of(struct tunnel_far *f)
{
    return CONTAINER_OF(f, struct mux_far, base);
}

static void wake(struct mux *m)
{
    if (m->stream && !m->dead) {
        net_stream_want_write(m->stream);
    }
}

static void die(struct mux *m, const char *reason)
{
    if (!m->dead) {
        m->dead = true;
        (void)snprintf(m->reason, sizeof(m->reason), "%s", reason);
        loop_task_defer(&m->finish);
    }
}

/* ---- far ends ---- */

static const struct tunnel_far_ops far_ops;

static struct mux_far *new_far(struct mux *m, bool ours)
{
    struct mux_far *f = calloc(1, sizeof(*f));
    if (!f) {
        abort();
    }
    f->base.ops = &far_ops;
    f->mux = m;
    f->ours = ours;
    net_queue_init(&f->out);
    list_push_back(&m->fars, &f->link);
    m->n_fars++;
    return f;
}

static void destroy(struct mux_far *f)
{
    struct mux *m = f->mux;
    if (m->ng && f->id > 0) {
        (void)nghttp2_session_set_stream_user_data(m->ng, f->id, NULL);
    }
    list_remove(&f->link);
    m->n_fars--;
    net_queue_deinit(&f->out);
    free(f);
}

/* Tells the owner that it is over, and frees. */
static void end(struct mux_far *f, const char *reason)
{
    struct mux *m = f->mux;
    const struct tunnel_far_events *events = f->base.events;
    void *arg = f->base.arg;
    bool open = f->ours ? f->answered : true;
    if (f->detached) {
        destroy(f);
    } else if (!events) {
        if (f->told && m->ops->on_abandoned) {
            m->ops->on_abandoned(m, &f->base, m->arg);
        }
        destroy(f);
    } else {
        destroy(f);
        if (open) {
            events->on_close(reason, arg);
        } else {
            events->on_refused(reason, arg);
        }
    }
}

static size_t far_write_mux(struct tunnel_far *base, struct str data)
{
    struct mux_far *f = of(base);
    if (f->mux->dead || f->eof_out) {
        return data.len; /* the end is on its way */
    }
    size_t room = f->out.bytes < TUNNEL_MUX_QUEUE ? TUNNEL_MUX_QUEUE - f->out.bytes : 0;
    size_t n = MIN(room, data.len);
    if (n) {
        net_queue_push(&f->out, net_chunk_copy(str_sub(data, 0, n)));
        (void)nghttp2_session_resume_data(f->mux->ng, f->id);
        f->mux->bytes_out += n;
        wake(f->mux);
    }
    f->want_write = n < data.len;
    return n;
}

static void far_shutdown_mux(struct tunnel_far *base)
{
    struct mux_far *f = of(base);
    if (!f->eof_out && !f->mux->dead) {
        f->eof_out = true;
        (void)nghttp2_session_resume_data(f->mux->ng, f->id);
        wake(f->mux);
    }
}

static void far_pause_mux(struct tunnel_far *base, bool paused)
{
    struct mux_far *f = of(base);
    f->paused = paused;
    if (!paused && f->unread && !f->mux->dead) {
        (void)nghttp2_session_consume_stream(f->mux->ng, f->id, f->unread);
        f->unread = 0;
        wake(f->mux);
    }
}

static void far_close_mux(struct tunnel_far *base)
{
    struct mux_far *f = of(base);
    struct mux *m = f->mux;
    int32_t id = f->id;
    destroy(f);
    if (!m->dead && id > 0) {
        (void)nghttp2_submit_rst_stream(m->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        wake(m);
    }
}

static const struct tunnel_far_ops far_ops = {
    .write = far_write_mux, .shutdown = far_shutdown_mux, .pause = far_pause_mux, .close = far_close_mux,
};

/* ---- sending ---- */

static ssize_t read_out(nghttp2_session *ng UNUSED, int32_t id UNUSED, uint8_t *dst, size_t size, uint32_t *flags,
                        nghttp2_data_source *source UNUSED, void *user UNUSED)
{
    struct mux_far *f = nghttp2_session_get_stream_user_data(ng, id);
    if (!f) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t n = net_queue_copy(&f->out, (char *)dst, size);
    net_queue_consume(&f->out, n);
    if (f->out.bytes == 0 && f->eof_out) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* Whoever was refused room may write again. Outside of nghttp2's callbacks, which may not be entered again. */
static void tell_writers(struct mux *m)
{
    LIST_FOREACH(&m->fars, struct mux_far, link, f) {
        if (f->want_write && f->base.events && f->out.bytes <= TUNNEL_MUX_QUEUE / 4) {
            f->want_write = false;
            f->base.events->on_writable(f->base.arg);
        }
    }
}

static size_t on_pull(struct net_stream *s UNUSED, char *dst, size_t max, void *arg)
{
    struct mux *m = arg;
    if (m->dead) {
        return 0;
    }
    ssize_t n = h2_pull_run(&m->pull, m->ng, dst, max);
    if (n < 0) {
        die(m, "the HTTP/2 session broke");
        return 0;
    }
    tell_writers(m);
    if (n == 0 && !nghttp2_session_want_read(m->ng) && !nghttp2_session_want_write(m->ng)) {
        die(m, "the other side does not speak the protocol");
    }
    return (size_t)n;
}

#define NV(n, v) \
    { .name = (uint8_t *)(uintptr_t)(n), .namelen = strlen(n), .value = (uint8_t *)(uintptr_t)(v), .valuelen = strlen(v) }

struct tunnel_far *mux_open(struct mux *m, struct str host, uint16_t port, const struct tunnel_far_events *events, void *arg,
                            struct err *err)
{
    char authority[MAX_AUTHORITY];
    bool v6 = str_find_char(host, ':') >= 0;
    int len = snprintf(authority, sizeof(authority), v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
    if (m->dead || !m->opener || len >= MAX_AUTHORITY) {
        err_set(err, ERR_UNAVAILABLE, "the tunnel is closing");
        return NULL;
    }
    if (m->n_fars >= TUNNEL_MAX_STREAMS) {
        err_set(err, ERR_UNAVAILABLE, "the tunnel carries %u streams already", m->n_fars);
        return NULL;
    }
    struct mux_far *f = new_far(m, true);
    nghttp2_nv nv[] = { NV(":method", "CONNECT"), NV(":authority", authority) };
    nghttp2_data_provider provider = { .read_callback = read_out };
    f->base.events = events;
    f->base.arg = arg;
    f->id = nghttp2_submit_request(m->ng, NULL, nv, ARRAY_SIZE(nv), &provider, f);
    if (f->id < 0) {
        err_set(err, ERR_UNAVAILABLE, "the tunnel takes no more streams: %s", nghttp2_strerror(f->id));
        die(m, "stream numbers are used up");
        destroy(f);
        return NULL;
    }
    wake(m);
    return &f->base;
}

void mux_accept(struct tunnel_far *base, const struct tunnel_far_events *events, void *arg)
{
    struct mux_far *f = of(base);
    nghttp2_nv nv[] = { NV(":status", "200") };
    nghttp2_data_provider provider = { .read_callback = read_out };
    f->base.events = events;
    f->base.arg = arg;
    f->answered = true;
    if (!f->mux->dead && nghttp2_submit_response(f->mux->ng, f->id, nv, ARRAY_SIZE(nv), &provider) != 0) {
        die(f->mux, "out of memory");
    }
    wake(f->mux);
}

void mux_refuse(struct tunnel_far *base, int status, const char *reason)
{
    struct mux_far *f = of(base);
    struct mux *m = f->mux;
    char status_text[12], text[MAX_REASON];
    size_t n = 0;
    for (; reason[n] && n < sizeof(text) - 1; n++) {
        text[n] = reason[n] >= 0x20 && reason[n] < 0x7f ? reason[n] : '?';
    }
    text[n] = '\0';
    (void)snprintf(status_text, sizeof(status_text), "%d", status);
    nghttp2_nv nv[] = { NV(":status", status_text), NV(REASON_HEADER, text) };
    int32_t id = f->id;
    destroy(f);
    if (!m->dead) {
        (void)nghttp2_submit_response(m->ng, id, nv, ARRAY_SIZE(nv), NULL);
        wake(m);
    }
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct mux *m = user;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (m->n_fars >= TUNNEL_MAX_STREAMS) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        struct mux_far *f = new_far(m, false);
        f->id = frame->hd.stream_id;
        (void)nghttp2_session_set_stream_user_data(ng, f->id, f);
    }
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags UNUSED, void *user UNUSED)
{
    struct mux_far *f = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    struct str n = str_n((const char *)name, name_len), v = str_n((const char *)value, value_len);
    int32_t status;
    if (!f || frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    if (str_eq_c(n, ":status") && str_to_i32(v, &status)) {
        f->status = status;
    } else if (str_eq_c(n, ":method")) {
        f->is_connect = str_eq_c(v, "CONNECT");
    } else if (str_eq_c(n, ":authority")) {
        (void)snprintf(f->authority, sizeof(f->authority), "%.*s", STR_ARG(v));
    } else if (str_eq_c(n, REASON_HEADER)) {
        (void)snprintf(f->reason, sizeof(f->reason), "%.*s", STR_ARG(v));
    }
    return 0;
}

/* The target is read by the same strict rules as at the front. */
static void on_request(struct mux *m, struct mux_far *f)
{
    char head[MAX_AUTHORITY + 40];
    struct front_head h;
    int n = snprintf(head, sizeof(head), "CONNECT %s HTTP/1.1\r\n\r\n", f->authority);
    f->told = true;
    if (m->opener || !f->is_connect || strchr(f->authority, ' ') ||
        front_head_parse(str_n(head, (size_t)n), &h) != FRONT_HEAD_DONE) {
        mux_refuse(&f->base, 400, "only CONNECT to host:port is answered here");
        return;
    }
    m->ops->on_connect(m, &f->base, h.host, h.port, m->arg);
}

static void on_answer(struct mux_far *f)
{
    if (f->answered || f->status < 200) {
        return;
    }
    if (f->status == 200) {
        f->answered = true;
        f->base.events->on_open(f->base.arg);
        return;
    }
    char reason[MAX_REASON + 64];
    struct mux *m = f->mux;
    int32_t id = f->id;
    (void)snprintf(reason, sizeof(reason), "the node refuses: %s", f->reason[0] ? f->reason : http_status_text(f->status));
    end(f, reason);
    (void)nghttp2_submit_rst_stream(m->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct mux *m = user;
    struct mux_far *f = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        m->ping_waits = false;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        die(m, "the other side is going away");
    }
    if (!f) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        on_request(m, f);
    } else if (frame->hd.type == NGHTTP2_HEADERS && f->ours) {
        on_answer(f);
    }
    f = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (f && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
        f->eof_in = true;
        if (f->base.events && f->answered && !f->eof_told) {
            f->eof_told = true;
            f->base.events->on_eof(f->base.arg);
        }
    }
    return 0;
}

static int on_chunk(nghttp2_session *ng, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct mux *m = user;
    struct mux_far *f = nghttp2_session_get_stream_user_data(ng, id);
    (void)nghttp2_session_consume_connection(ng, len);
    m->bytes_in += len;
    if (!f || f->detached || !f->base.events || !f->answered) {
        /* Before the answer nothing may be sent; what comes anyway is not kept. */
        (void)nghttp2_session_consume_stream(ng, id, len);
        return 0;
    }
    f->base.events->on_data(str_n((const char *)data, len), f->base.arg);
    if (f->paused) {
        f->unread += len;
    } else {
        (void)nghttp2_session_consume_stream(ng, id, len);
    }
    return 0;
}

static int on_stream_closed(nghttp2_session *ng, int32_t id, uint32_t code, void *user UNUSED)
{
    struct mux_far *f = nghttp2_session_get_stream_user_data(ng, id);
    if (f) {
        char reason[100];
        (void)snprintf(reason, sizeof(reason), "the other side ended the stream: %s", nghttp2_http2_strerror(code));
        end(f, code == NGHTTP2_NO_ERROR && f->eof_in && f->eof_out ? NULL : reason);
    }
    return 0;
}

/* ---- the connection ---- */

static void on_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct mux *m = arg;
    if (m->dead) {
        return;
    }
    ssize_t n = nghttp2_session_mem_recv(m->ng, (const uint8_t *)data.ptr, data.len);
    if (n < 0) {
        die(m, "the other side does not speak the protocol");
        return;
    }
    tell_writers(m);
    wake(m);
}

static void on_eof(struct net_stream *s UNUSED, void *arg)
{
    die(arg, "the other side closed the connection");
}

static void on_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason, void *arg)
{
    struct mux *m = arg;
    m->stream = net_stream_free(m->stream);
    die(m, reason && reason[0] ? reason : "the connection broke");
}

static const struct net_stream_ops stream_ops = { .on_data = on_data, .on_eof = on_eof, .on_close = on_close };

static void end_all(struct mux *m)
{
    while (!list_empty(&m->fars)) {
        end(LIST_ENTRY(m->fars.next, struct mux_far, link), m->reason);
    }
}

static void on_finish(void *arg)
{
    struct mux *m = arg;
    loop_timer_stop(&m->ping);
    end_all(m);
    m->stream = net_stream_free(m->stream);
    m->ops->on_close(m, m->reason, m->arg);
}

static void on_ping_timer(void *arg)
{
    struct mux *m = arg;
    if (m->ping_waits) {
        die(m, "the other side does not answer");
        return;
    }
    m->ping_waits = true;
    (void)nghttp2_submit_ping(m->ng, NGHTTP2_FLAG_NONE, NULL);
    wake(m);
    loop_timer_start(&m->ping, MAX(PING_MS, PING_ANSWER_MS));
}

struct mux *mux_new(struct net_stream *s, bool opener, const struct mux_ops *ops, void *arg)
{
    struct mux *m = calloc(1, sizeof(*m));
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, opener ? 0 : TUNNEL_MAX_STREAMS },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, TUNNEL_MUX_WINDOW },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    if (!m || nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0) {
        abort();
    }
    m->loop = net_stream_loop(s);
    m->stream = s;
    m->opener = opener;
    m->ops = ops;
    m->arg = arg;
    list_init(&m->fars);
    loop_timer_init(&m->ping, m->loop, on_ping_timer, m);
    loop_task_init(&m->finish, m->loop, on_finish, m);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_closed);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_stream_reset_rate_limit(opt, STREAM_RESET_BURST, STREAM_RESET_RATE);
    nghttp2_option_set_max_outbound_ack(opt, MAX_OUT_ACK);
    int rc = opener ? nghttp2_session_client_new2(&m->ng, cb, m, opt) : nghttp2_session_server_new2(&m->ng, cb, m, opt);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    /* A client has no use for MAX_CONCURRENT_STREAMS 0 but to say that nothing may be opened towards it. */
    if (rc != 0 || nghttp2_submit_settings(m->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings) - (opener ? 0 : 1)) != 0 ||
        nghttp2_session_set_local_window_size(m->ng, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) != 0) {
        abort();
    }
    net_stream_set_ops(s, &stream_ops, m);
    net_stream_set_pull(s, on_pull);
    net_stream_resume(s);
    wake(m);
    loop_timer_start(&m->ping, PING_MS);
    return m;
}

struct mux *mux_free(struct mux *m, const char *reason)
{
    if (m) {
        if (!m->dead) {
            m->dead = true;
            (void)snprintf(m->reason, sizeof(m->reason), "%s", reason);
        }
        loop_timer_stop(&m->ping);
        loop_task_cancel(&m->finish);
        end_all(m);
        net_stream_free(m->stream);
        nghttp2_session_del(m->ng);
        free(m);
    }
    return NULL;
}

unsigned mux_streams(const struct mux *m)
{
    return m->n_fars;
}

void mux_bytes(const struct mux *m, uint64_t *ret_in, uint64_t *ret_out)
{
    *ret_in = m->bytes_in;
    *ret_out = m->bytes_out;
}
