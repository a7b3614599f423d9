/* The tunnel for port-forward: bytes inside WebSocket messages towards a bare connection. */
#include "net/channels.h"
#include "net/stream-limits.h"
#include "net/stream-retire.h"
#include "net/websocket.h"

struct channels_tunnel {
    struct loop *loop;
    struct net_stream *ws_stream, *raw;
    struct websocket *ws;
    struct buf held;        /* received and not eaten because of a pause: at most one read, the stream is paused with it */
    bool ws_paused, finishing;
    struct loop_timer idle;
    uint64_t idle_ms;
    struct loop_task finish;
    struct channels_bridge_result result;
    channels_bridge_done_fn *done;
    void *arg;
};

struct channels_tunnel *channels_tunnel_free(struct channels_tunnel *t)
{
    if (t) {
        loop_task_cancel(&t->finish);
        loop_timer_stop(&t->idle);
        net_stream_free(t->ws_stream);
        net_stream_free(t->raw);
        websocket_free(t->ws);
        buf_deinit(&t->held);
        free(t);
    }
    return NULL;
}

static void flush(struct channels_tunnel *t)
{
    struct buf out;
    while (t->ws_stream && websocket_out_take(t->ws, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(t->ws_stream, &chunk, 1);
    }
}

/* Lets a connection send what waits and close by itself. */
static void release(struct net_stream **s)
{
    if (*s) {
        net_stream_retire(*s);
        *s = NULL;
    }
}

/* Runs in a turn of its own, so no engine or stream is below us. */
static void on_finish(void *arg)
{
    struct channels_tunnel *t = arg;
    websocket_close(t->ws, WEBSOCKET_CLOSE_NORMAL, STR_EMPTY);
    flush(t);
    release(&t->ws_stream);
    release(&t->raw);
    struct channels_bridge_result result = t->result;
    channels_bridge_done_fn *done = t->done;
    void *done_arg = t->arg;
    channels_tunnel_free(t);
    if (done) {
        done(done_arg, &result);
    }
}

static void end(struct channels_tunnel *t, const struct err *why)
{
    if (!t->finishing) {
        t->finishing = true;
        if (why) {
            t->result.err = *why;
        }
        loop_task_defer(&t->finish);
    }
}

static void message_data(void *user, struct str data)
{
    struct channels_tunnel *t = user;
    if (t->raw && !t->finishing) {
        t->result.bytes_to_node += data.len;
        net_stream_write_str(t->raw, data);
        if (net_stream_over(t->raw, CHANNELS_HIGH)) {
            websocket_pause(t->ws);
            t->ws_paused = true;
            net_stream_pause(t->ws_stream);
        }
    }
}

static void message_close(void *user, int code UNUSED, struct str reason UNUSED)
{
    end(user, NULL);
}

static const struct websocket_events events = { .on_data = message_data, .on_close = message_close };

static void eat(struct channels_tunnel *t, struct str in)
{
    struct err err = { 0 };
    while (in.len && !t->ws_paused && !t->finishing) {
        size_t used;
        if (!websocket_recv(t->ws, in, &used, &err)) {
            end(t, &err);
            break;
        }
        in = str_sub(in, used, SIZE_MAX);
    }
    if (!t->finishing) {
        buf_append(&t->held, in);
    }
    flush(t);
}

static void ws_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    eat(arg, data);
}

static void ws_drain(struct net_stream *s UNUSED, void *arg)
{
    struct channels_tunnel *t = arg;
    if (t->raw) {
        net_stream_resume(t->raw);
    }
}

static void raw_data(struct net_stream *s, struct str data, void *arg)
{
    struct channels_tunnel *t = arg;
    t->result.bytes_to_client += data.len;
    while (data.len && !t->finishing) {
        struct str piece = str_sub(data, 0, 32 * 1024);
        if (!websocket_send(t->ws, false, STR_EMPTY, piece)) {
            end(t, NULL);
        }
        flush(t);
        data = str_sub(data, piece.len, SIZE_MAX);
    }
    if (t->ws_stream && net_stream_over(t->ws_stream, CHANNELS_HIGH)) {
        net_stream_pause(s);
    }
}

static void raw_drain(struct net_stream *s UNUSED, void *arg)
{
    struct channels_tunnel *t = arg;
    if (t->ws_paused && t->ws_stream) {
        struct buf held = t->held;
        t->ws_paused = false;
        websocket_resume(t->ws);
        buf_init(&t->held, BUF_NO_MAX);
        eat(t, buf_str(&held));
        buf_deinit(&held);
        if (!t->ws_paused) {
            net_stream_resume(t->ws_stream);
        }
    }
}

/* Either side has ended: the tunnel has no half close. */
static void eof(struct net_stream *s UNUSED, void *arg)
{
    end(arg, NULL);
}

static void closed(struct net_stream *s, enum net_close how, const char *reason, void *arg)
{
    struct channels_tunnel *t = arg;
    struct err why = { 0 };
    if (s == t->raw) {
        t->raw = net_stream_free(s);
    } else {
        t->ws_stream = net_stream_free(s);
    }
    if (how != NET_CLOSE_EOF) {
        err_set(&why, ERR_UNAVAILABLE, "%s", reason);
    }
    end(t, &why);
}

static void on_idle(void *arg)
{
    struct channels_tunnel *t = arg;
    struct err why;
    uint64_t last = t->ws_stream ? net_stream_last_activity_ms(t->ws_stream) : 0, now = loop_now_ms(t->loop);
    if (now < last + t->idle_ms) {
        loop_timer_start_at(&t->idle, last + t->idle_ms);
    } else {
        err_set(&why, ERR_TIMEOUT, "no bytes in either direction for too long");
        end(t, &why);
    }
}

struct channels_tunnel *channels_tunnel_new(struct net_stream *client, struct net_stream *node, uint64_t idle_ms,
                                            channels_bridge_done_fn *done, void *arg)
{
    static const struct net_stream_ops ws_ops = {
        .on_data = ws_data, .on_eof = eof, .on_drain = ws_drain, .on_close = closed,
    };
    static const struct net_stream_ops raw_ops = {
        .on_data = raw_data, .on_eof = eof, .on_drain = raw_drain, .on_close = closed,
    };
    struct channels_tunnel *t = calloc(1, sizeof(*t));
    if (!t) {
        abort();
    }
    t->done = done;
    t->arg = arg;
    t->loop = net_stream_loop(client);
    buf_init(&t->held, BUF_NO_MAX);
    loop_task_init(&t->finish, t->loop, on_finish, t);
    t->ws = websocket_new(WEBSOCKET_SERVER, &events, t);
    t->ws_stream = client;
    t->raw = node;
    t->idle_ms = idle_ms;
    loop_timer_init(&t->idle, t->loop, on_idle, t);
    if (idle_ms) {
        loop_timer_start(&t->idle, idle_ms);
    }
    net_stream_set_watermarks(client, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_watermarks(node, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_ops(client, &ws_ops, t);
    net_stream_set_ops(node, &raw_ops, t);
    net_stream_resume(client);
    net_stream_resume(node);
    return t;
}
