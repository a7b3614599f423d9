/* Exec channels as WebSocket messages. */
#include <assert.h>

#include "base/arena.h"
#include "base/encoding.h"
#include "net/channels-private.h"
#include "net/stream-limits.h"
#include "net/websocket.h"

/* The pseudo channel that ends another one in v5. */
#define CHANNEL_CLOSE 255
/* Bytes of one message that we send, before base64. */
#define MESSAGE_SIZE (32u * 1024)
/* Bytes of one base64 message that we take; it is decoded whole. */
#define BASE64_MESSAGE_SIZE (256u * 1024)

static void on_message(void *user, bool text UNUSED)
{
    struct channels *c = user;
    c->at_start = true;
    buf_clear(&c->message);
}

/* Channels that a peer of this role may send on. */
static bool may_receive(const struct channels *c, uint8_t ch)
{
    return c->config.server ? ch == CHANNEL_STDIN || ch == CHANNEL_RESIZE
                            : ch == CHANNEL_STDOUT || ch == CHANNEL_STDERR || ch == CHANNEL_ERROR;
}

static void on_data(void *user, struct str data)
{
    struct channels *c = user;
    if (c->at_start) {
        c->at_start = false;
        c->current = (uint8_t)data.ptr[0];
        if (c->base64) {
            c->current = (uint8_t)(c->current - '0');
        }
        data = str_sub(data, 1, SIZE_MAX);
    }
    if (data.len == 0) {
        return;
    }
    if (c->current == CHANNEL_CLOSE && c->config.protocol == CHANNELS_WS_V5) {
        uint8_t ch = (uint8_t)data.ptr[0];
        if (may_receive(c, ch)) {
            channels_emit_end(c, (enum channel)ch);
        }
    } else if (c->base64) {
        buf_append(&c->message, data);
        if (buf_failed(&c->message)) {
            websocket_close(c->ws, WEBSOCKET_CLOSE_TOO_LARGE, STR("message is too large"));
            struct err why;
            err_set(&why, ERR_TOO_LARGE, "base64 message of more than %u bytes", BASE64_MESSAGE_SIZE);
            channels_emit_close(c, &why);
        }
    } else if (may_receive(c, c->current)) {
        channels_emit_data(c, (enum channel)c->current, data);
    }
}

static void on_message_end(void *user)
{
    struct channels *c = user;
    struct arena a;
    struct str raw;
    if (!c->base64 || buf_failed(&c->message) || !may_receive(c, c->current)) {
        return;
    }
    arena_init(&a, 2 * BASE64_MESSAGE_SIZE);
    if (base64_decode(&a, buf_str(&c->message), &raw)) {
        channels_emit_data(c, (enum channel)c->current, raw);
    } else {
        struct err why;
        websocket_close(c->ws, WEBSOCKET_CLOSE_INVALID_TEXT, STR("not base64"));
        err_set(&why, ERR_BAD_REQUEST, "message is not base64");
        channels_emit_close(c, &why);
    }
    arena_deinit(&a);
}

static void on_close(void *user, int code, struct str reason)
{
    struct channels *c = user;
    struct err why = { 0 };
    if (code != WEBSOCKET_CLOSE_NORMAL && code != WEBSOCKET_CLOSE_GOING_AWAY && code != WEBSOCKET_CLOSE_NO_STATUS) {
        err_set(&why, ERR_UNAVAILABLE, "the peer closed the WebSocket with %d %.*s", code, STR_ARG(reason));
    }
    channels_emit_close(c, &why);
}

static const struct websocket_events events = {
    .on_message = on_message,
    .on_data = on_data,
    .on_message_end = on_message_end,
    .on_close = on_close,
};

static void start(struct channels *c)
{
    enum channels_protocol p = c->config.protocol;
    c->base64 = p == CHANNELS_WS_V4_BASE64 || p == CHANNELS_WS_V1_BASE64;
    buf_init(&c->message, BASE64_MESSAGE_SIZE);
    c->ws = websocket_new(c->config.server ? WEBSOCKET_SERVER : WEBSOCKET_CLIENT, &events, c);
    c->open_due = true;
}

static void stop(struct channels *c)
{
    c->ws = websocket_free(c->ws);
}

static bool ws_recv(struct channels *c, struct str in, size_t *ret_used, struct err *err)
{
    return websocket_recv(c->ws, in, ret_used, err);
}

static void set_paused(struct channels *c, bool paused)
{
    if (paused) {
        websocket_pause(c->ws);
    } else {
        websocket_resume(c->ws);
    }
}

static bool take_out(struct channels *c, struct buf *ret)
{
    return websocket_out_take(c->ws, ret);
}

static size_t ws_write(struct channels *c, enum channel ch, struct str data)
{
    size_t n = MIN(data.len, MESSAGE_SIZE);
    bool ok;
    if (c->base64) {
        struct buf b;
        char digit = (char)('0' + (int)ch);
        buf_init(&b, 2 * MESSAGE_SIZE);
        base64_encode(&b, str_n(data.ptr, n));
        ok = websocket_send(c->ws, true, str_n(&digit, 1), buf_str(&b));
        buf_deinit(&b);
    } else {
        char byte = (char)ch;
        ok = websocket_send(c->ws, false, str_n(&byte, 1), str_n(data.ptr, n));
    }
    return ok ? n : 0;
}

static void end(struct channels *c, enum channel ch)
{
    if (c->config.protocol == CHANNELS_WS_V5 && !c->config.server) {
        char bytes[] = { (char)CHANNEL_CLOSE, (char)ch };
        (void)!websocket_send(c->ws, false, str_n(bytes, 2), STR_EMPTY);
    }
}

static void ws_close(struct channels *c)
{
    websocket_close(c->ws, WEBSOCKET_CLOSE_NORMAL, STR_EMPTY);
}

static bool eof_is_clean(const struct channels *c)
{
    return websocket_close_received(c->ws);
}

const struct channels_transport channels_websocket = {
    .start = start,
    .stop = stop,
    .recv = ws_recv,
    .set_paused = set_paused,
    .take_out = take_out,
    .write = ws_write,
    .end = end,
    .close = ws_close,
    .eof_is_clean = eof_is_clean,
};
