#include "net/channels.h"

#include <assert.h>

#include "net/channels-private.h"
#include "net/stream-limits.h"
#include "net/stream-retire.h"

#define OPEN_MS 30000

static void destroy(struct channels *c)
{
    c->transport->stop(c);
    buf_deinit(&c->held);
    buf_deinit(&c->message);
    free(c);
}

struct channels *channels_free(struct channels *c)
{
    if (c && !c->freed) {
        c->freed = true;
        loop_task_cancel(&c->task);
        loop_timer_stop(&c->timer);
        c->stream = net_stream_free(c->stream);
        if (c->depth == 0) {
            destroy(c);
        }
    }
    return NULL;
}

/* Around everything that may call the owner. leave() is false when the session is gone. */
static void enter(struct channels *c)
{
    c->depth++;
}

static bool leave(struct channels *c)
{
    if (--c->depth == 0 && c->freed) {
        destroy(c);
        return false;
    }
    return !c->freed;
}

static void flush(struct channels *c)
{
    struct buf out;
    while (c->stream && c->transport->take_out(c, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(c->stream, &chunk, 1);
    }
}

/* Events of the transport */

void channels_emit_open(struct channels *c)
{
    if (!c->opened && !c->freed && !c->closing) {
        c->opened = true;
        loop_timer_stop(&c->timer);
        if (c->config.idle_ms) {
            loop_timer_start(&c->timer, c->config.idle_ms);
        }
        if (c->ops->on_open) {
            c->ops->on_open(c, c->arg);
        }
    }
}

void channels_emit_data(struct channels *c, enum channel ch, struct str data)
{
    if (!c->freed && !c->closing && data.len && (c->config.mask & CHANNEL_BIT(ch)) && !(c->ended_in & CHANNEL_BIT(ch)) &&
        c->ops->on_data) {
        c->ops->on_data(c, ch, data, c->arg);
    }
}

void channels_emit_end(struct channels *c, enum channel ch)
{
    if (!c->freed && !c->closing && (c->config.mask & CHANNEL_BIT(ch)) && !(c->ended_in & CHANNEL_BIT(ch))) {
        c->ended_in |= CHANNEL_BIT(ch);
        if (c->ops->on_end) {
            c->ops->on_end(c, ch, c->arg);
        }
    }
}

/* The session is over. What waits is still sent; the owner hears of it in a turn of its own. */
void channels_emit_close(struct channels *c, const struct err *why)
{
    if (!c->freed && !c->closed) {
        c->closed = true;
        c->why = *why;
        loop_timer_stop(&c->timer);
        loop_task_defer(&c->task);
    }
}

/* The connection */

/* Gives bytes to the engine; what a pause leaves over is kept. */
static void eat(struct channels *c, struct str in)
{
    struct err err = { 0 };
    bool ok = true;
    enter(c);
    while (ok && in.len && !c->paused && !c->freed && !c->closed) {
        size_t used;
        ok = c->transport->recv(c, in, &used, &err);
        in = str_sub(in, used, SIZE_MAX);
    }
    if (!c->freed && !c->closed && ok) {
        buf_append(&c->held, in);
    }
    flush(c);
    if (!ok) {
        channels_emit_close(c, &err);
    }
    (void)leave(c);
}

static void on_data(struct net_stream *stream UNUSED, struct str data, void *arg)
{
    struct channels *c = arg;
    if (c->closing || c->closed) {
        return;
    }
    if (c->held.len || c->paused) {
        buf_append(&c->held, data); /* the stream is paused: at most this one */
    } else {
        eat(c, data);
    }
}

static void on_eof(struct net_stream *stream UNUSED, void *arg)
{
    struct channels *c = arg;
    struct err why = { 0 };
    if (!c->transport->eof_is_clean(c)) {
        err_set(&why, ERR_UNAVAILABLE, "the connection ended in the middle of the session");
    }
    channels_emit_close(c, &why);
}

static void on_drain(struct net_stream *stream UNUSED, void *arg)
{
    struct channels *c = arg;
    if (!c->closing && !c->closed && c->ops->on_drain) {
        enter(c);
        c->ops->on_drain(c, c->arg);
        (void)leave(c);
    }
}

static void on_close(struct net_stream *stream UNUSED, enum net_close how, const char *reason, void *arg)
{
    struct channels *c = arg;
    struct err why = { 0 };
    c->stream = net_stream_free(c->stream);
    if (how != NET_CLOSE_EOF) {
        err_set(&why, ERR_UNAVAILABLE, "%s", reason);
    }
    channels_emit_close(c, &why);
}

/* Lets the connection send what waits and close by itself. */
static void release_stream(struct channels *c)
{
    if (c->stream) {
        net_stream_retire(c->stream);
        c->stream = NULL;
    }
}

static void on_timer(void *arg)
{
    struct channels *c = arg;
    struct err why;
    if (!c->opened) {
        err_set(&why, ERR_TIMEOUT, "the client did not open its streams in time");
        channels_emit_close(c, &why);
        return;
    }
    uint64_t now = loop_now_ms(c->loop), last = net_stream_last_activity_ms(c->stream);
    if (now < last + c->config.idle_ms) {
        loop_timer_start_at(&c->timer, last + c->config.idle_ms);
    } else {
        err_set(&why, ERR_TIMEOUT, "no bytes in either direction for too long");
        channels_emit_close(c, &why);
    }
}

static void on_task(void *arg)
{
    struct channels *c = arg;
    enter(c);
    if (c->open_due && !c->closed && !c->closing) {
        c->open_due = false;
        channels_emit_open(c);
    }
    if (c->deliver_due && !c->freed && !c->closed && !c->closing) {
        c->deliver_due = false;
        struct buf held = c->held;
        buf_init(&c->held, held.max);
        eat(c, buf_str(&held));
        buf_deinit(&held);
        if (!c->freed && c->stream && !c->paused) {
            net_stream_resume(c->stream);
        }
    }
    if (c->closed && !c->freed && !c->told) {
        c->told = true;
        release_stream(c);
        if (c->ops->on_close) {
            c->ops->on_close(c, &c->why, c->arg);
        }
    }
    (void)leave(c);
}

struct channels *channels_new(struct net_stream *stream, const struct channels_config *config, const struct channels_ops *ops,
                              void *arg)
{
    static const struct net_stream_ops stream_ops = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close,
    };
    struct channels *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->stream = stream;
    c->loop = net_stream_loop(stream);
    c->config = *config;
    c->config.mask |= CHANNEL_BIT(CHANNEL_ERROR);
    c->ops = ops;
    c->arg = arg;
    c->transport = config->protocol == CHANNELS_SPDY_V4 ? &channels_spdy : &channels_websocket;
    buf_init(&c->held, BUF_NO_MAX); /* bounded by the pause of the stream */
    buf_init(&c->message, 0);
    loop_task_init(&c->task, c->loop, on_task, c);
    loop_timer_init(&c->timer, c->loop, on_timer, c);
    net_stream_set_watermarks(stream, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_ops(stream, &stream_ops, c);
    loop_timer_start(&c->timer, config->open_ms ? config->open_ms : OPEN_MS);
    c->transport->start(c);
    flush(c);
    loop_task_defer(&c->task);
    net_stream_resume(stream);
    return c;
}

void channels_close(struct channels *c)
{
    struct err in_order = { 0 };
    if (!c || c->closing || c->closed || c->freed) {
        return;
    }
    c->transport->close(c);
    flush(c);
    channels_emit_close(c, &in_order);
    c->closing = true;
}

void channels_write(struct channels *c, enum channel ch, struct str data)
{
    if (c->closing || c->closed || !c->stream || !(c->config.mask & CHANNEL_BIT(ch)) || (c->ended_out & CHANNEL_BIT(ch))) {
        return;
    }
    do {
        size_t n = c->transport->write(c, ch, data);
        flush(c);
        if (n == 0 && data.len) {
            return; /* the channel is gone on the other side */
        }
        data = str_sub(data, n, SIZE_MAX);
    } while (data.len);
}

void channels_end(struct channels *c, enum channel ch)
{
    if (c->closing || c->closed || !(c->config.mask & CHANNEL_BIT(ch)) || (c->ended_out & CHANNEL_BIT(ch))) {
        return;
    }
    c->ended_out |= CHANNEL_BIT(ch);
    c->transport->end(c, ch);
    flush(c);
}

bool channels_is_full(const struct channels *c)
{
    return c->stream && net_stream_over(c->stream, CHANNELS_HIGH);
}

void channels_pause(struct channels *c)
{
    c->paused = true;
    if (!c->closed && !c->closing) {
        c->transport->set_paused(c, true);
        if (c->stream) {
            net_stream_pause(c->stream);
        }
    }
}

void channels_resume(struct channels *c)
{
    if (c->paused) {
        c->paused = false;
        c->transport->set_paused(c, false);
        c->deliver_due = true;
        loop_task_defer(&c->task);
    }
}
