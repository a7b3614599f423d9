#include "net/websocket.h"

#include <assert.h>
#include <openssl/evp.h>
#include <wslay/wslay.h>

#include "base/encoding.h"
#include "base/arena.h"
#include "base/rand.h"
#include "net/stream-limits.h"

struct websocket {
    wslay_event_context_ptr ctx;
    enum websocket_role role;
    const struct websocket_events *events;
    void *user;
    struct str in;       /* what websocket_recv() has not eaten yet */
    bool paused, failed;
    bool in_control;     /* the frame being received is a control frame */
    struct buf out, message;
};

/* wslay asks for bytes. */
static ssize_t on_want_bytes(wslay_event_context_ptr ctx, uint8_t *dst, size_t size, int flags UNUSED, void *user)
{
    struct websocket *w = user;
    size_t n = w->paused ? 0 : MIN(size, w->in.len);
    if (n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(dst, w->in.ptr, n);
    w->in = str_sub(w->in, n, SIZE_MAX);
    return (ssize_t)n;
}

static ssize_t on_bytes(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags UNUSED, void *user)
{
    struct websocket *w = user;
    buf_append_bytes(&w->out, data, len);
    if (buf_failed(&w->out)) {
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)len;
}

static int on_want_mask(wslay_event_context_ptr ctx UNUSED, uint8_t *dst, size_t size, void *user UNUSED)
{
    rand_bytes(dst, size);
    return 0;
}

static void on_frame(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
    struct websocket *w = user;
    w->in_control = wslay_is_ctrl_frame(arg->opcode);
    if ((arg->opcode == WSLAY_TEXT_FRAME || arg->opcode == WSLAY_BINARY_FRAME) && w->events->on_message) {
        w->events->on_message(w->user, arg->opcode == WSLAY_TEXT_FRAME);
    }
}

static void on_chunk(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_frame_recv_chunk_arg *arg, void *user)
{
    struct websocket *w = user;
    if (!w->in_control && arg->data_length && w->events->on_data) {
        w->events->on_data(w->user, str_n((const char *)arg->data, arg->data_length));
    }
}

static void on_message(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    struct websocket *w = user;
    struct str payload = str_n(arg->msg_length ? (const char *)arg->msg : "", arg->msg_length);
    if (arg->opcode == WSLAY_PONG) {
        if (w->events->on_pong) {
            w->events->on_pong(w->user, payload);
        }
    } else if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
        if (w->events->on_close) {
            int code = payload.len < 2 ? WEBSOCKET_CLOSE_NO_STATUS : arg->status_code;
            w->events->on_close(w->user, code, str_sub(payload, 2, SIZE_MAX));
        }
    } else if (!wslay_is_ctrl_frame(arg->opcode) && w->events->on_message_end) {
        w->events->on_message_end(w->user);
    }
}

struct websocket *websocket_new(enum websocket_role role, const struct websocket_events *events, void *user)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_want_bytes,
        .send_callback = on_bytes,
        .genmask_callback = on_want_mask,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    struct websocket *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    int rc = role == WEBSOCKET_SERVER ? wslay_event_context_server_init(&w->ctx, &callbacks, w)
                                      : wslay_event_context_client_init(&w->ctx, &callbacks, w);
    if (rc != 0) {
        abort();
    }
    wslay_event_config_set_no_buffering(w->ctx, 1);
    wslay_event_config_set_max_recv_msg_length(w->ctx, WEBSOCKET_MAX_FRAME);
    w->role = role;
    w->events = events;
    w->user = user;
    buf_init(&w->out, WEBSOCKET_MAX_OUT);
    buf_init(&w->message, WEBSOCKET_MAX_OUT);
    return w;
}

struct websocket *websocket_free(struct websocket *w)
{
    if (w) {
        wslay_event_context_free(w->ctx);
        buf_deinit(&w->out);
        buf_deinit(&w->message);
        free(w);
    }
    return NULL;
}

/* Turns what wslay has queued into bytes. */
static bool flush(struct websocket *w)
{
    return wslay_event_send(w->ctx) == 0 && !buf_failed(&w->out);
}

bool websocket_recv(struct websocket *w, struct str in, size_t *ret_used, struct err *err)
{
    if (w->failed) {
        *ret_used = 0;
        return err_set(err, ERR_BAD_REQUEST, "WebSocket connection has failed before");
    }
    if (wslay_event_get_close_received(w->ctx)) {
        *ret_used = in.len; /* nothing may follow a close frame; who sends it anyway is not read */
        return true;
    }
    w->in = in;
    /* One call eats one buffer of wslay's at a time; answers to pings leave in between, so that they stay bounded. */
    int rc = wslay_event_recv(w->ctx);
    *ret_used = in.len - w->in.len;
    w->in = STR_NULL;
    bool sent = flush(w);
    if (rc == 0 && sent && (wslay_event_get_read_enabled(w->ctx) || wslay_event_get_close_received(w->ctx))) {
        return true;
    }
    w->failed = true;
    if (!sent) {
        return err_set(err, ERR_TOO_LARGE, "WebSocket peer does not read what it asks for");
    }
    return err_set(err, ERR_BAD_REQUEST, "WebSocket peer broke the protocol (closed with %u)",
                   wslay_event_get_status_code_sent(w->ctx));
}

void websocket_pause(struct websocket *w)
{
    w->paused = true;
}

void websocket_resume(struct websocket *w)
{
    w->paused = false;
}

bool websocket_out_take(struct websocket *w, struct buf *ret)
{
    if (w->out.len == 0) {
        return false;
    }
    *ret = w->out;
    buf_init(&w->out, ret->max);
    return true;
}

struct str websocket_out(const struct websocket *w)
{
    return buf_str(&w->out);
}

void websocket_out_consume(struct websocket *w, size_t n)
{
    buf_consume(&w->out, n);
}

bool websocket_send(struct websocket *w, bool text, struct str head, struct str data)
{
    if (w->failed || w->out.len >= WEBSOCKET_MAX_OUT_DATA || wslay_event_get_close_sent(w->ctx)) {
        return false;
    }
    buf_clear(&w->message);
    buf_append(&w->message, head);
    buf_append(&w->message, data);
    struct wslay_event_msg m = { .opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
                                 .msg = (const uint8_t *)buf_str(&w->message).ptr,
                                 .msg_length = w->message.len };
    return !buf_failed(&w->message) && wslay_event_queue_msg(w->ctx, &m) == 0 && flush(w);
}

void websocket_ping(struct websocket *w, struct str payload)
{
    struct wslay_event_msg m = { .opcode = WSLAY_PING, .msg = (const uint8_t *)payload.ptr, .msg_length = payload.len };
    assert(payload.len <= 125);
    if (!w->failed && wslay_event_queue_msg(w->ctx, &m) == 0) {
        (void)flush(w);
    }
}

void websocket_close(struct websocket *w, int code, struct str reason)
{
    if (!w->failed && wslay_event_queue_close(w->ctx, (uint16_t)code, (const uint8_t *)reason.ptr, MIN(reason.len, 123u)) == 0) {
        (void)flush(w);
    }
}

bool websocket_close_sent(const struct websocket *w)
{
    return wslay_event_get_close_sent(w->ctx);
}

bool websocket_close_received(const struct websocket *w)
{
    return wslay_event_get_close_received(w->ctx);
}

void websocket_make_key(char dst[WEBSOCKET_KEY_SIZE])
{
    char random[16];
    struct buf b;
    rand_bytes(random, sizeof(random));
    buf_init(&b, WEBSOCKET_KEY_SIZE);
    base64_encode(&b, str_n(random, sizeof(random)));
    bool ok = str_to_cstr(buf_str(&b), dst, WEBSOCKET_KEY_SIZE);
    assert(ok);
    buf_deinit(&b);
}

bool websocket_accept(struct str key, char dst[WEBSOCKET_ACCEPT_SIZE])
{
    /* Section 1.3: the key followed by this text, hashed. */
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[24 + sizeof(guid) - 1];
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n_hash = 0;
    struct str raw;
    struct arena a;
    arena_init(&a, 4096);
    bool ok = key.len == 24 && base64_decode(&a, key, &raw) && raw.len == 16;
    arena_deinit(&a);
    if (!ok) {
        return false;
    }
    memcpy(text, key.ptr, 24);
    memcpy(text + 24, guid, sizeof(guid) - 1);
    if (EVP_Digest(text, sizeof(text), hash, &n_hash, EVP_sha1(), NULL) != 1) {
        return false;
    }
    struct buf b;
    buf_init(&b, WEBSOCKET_ACCEPT_SIZE);
    base64_encode(&b, str_n((const char *)hash, n_hash));
    ok = str_to_cstr(buf_str(&b), dst, WEBSOCKET_ACCEPT_SIZE);
    buf_deinit(&b);
    return ok;
}

struct str websocket_choose_protocol(struct str offered, const struct str *ours, size_t n_ours)
{
    struct str piece;
    while (offered.ptr && str_split(&offered, ',', &piece)) {
        piece = str_trim(piece);
        for (size_t i = 0; i < n_ours; i++) {
            if (str_eq(piece, ours[i])) {
                return piece;
            }
        }
    }
    return STR_NULL;
}
