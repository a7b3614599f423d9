/* A WebSocket client of exec channels, joined to a server that speaks SPDY; and the tunnel for port-forward. */
#include <assert.h>

#include "base/log.h"
#include "net/channels.h"
#include "net/stream-limits.h"
#include "net/stream-retire.h"
#include "net/websocket.h"

#define NODE_OUTPUTS (CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR) | CHANNEL_BIT(CHANNEL_ERROR))

struct channels_bridge {
    struct loop *loop;
    struct loop_task finish;
    struct channels_bridge_result result;
    channels_bridge_done_fn *done;
    void *arg;
    bool finishing;

    /* remote commands */
    struct channels *client, *node;
    unsigned mask, node_ended;
    struct buf status; /* what came on the error channel, passed on whole */

    /* the tunnel */
    struct net_stream *ws_stream, *raw;
    struct websocket *ws;
    struct buf held;
    bool ws_paused;
    struct loop_timer idle;
    uint64_t idle_ms;
};

static struct channels_bridge *bridge_new(struct loop *l, channels_bridge_done_fn *done, void *arg, loop_fn *finish)
{
    struct channels_bridge *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    b->loop = l;
    b->done = done;
    b->arg = arg;
    buf_init(&b->status, CHANNELS_MAX_ERROR);
    buf_init(&b->held, BUF_NO_MAX); /* at most one read: the stream is paused with it */
    loop_task_init(&b->finish, l, finish, b);
    return b;
}

struct channels_bridge *channels_bridge_free(struct channels_bridge *b)
{
    if (b) {
        loop_task_cancel(&b->finish);
        loop_timer_stop(&b->idle);
        channels_free(b->client);
        channels_free(b->node);
        net_stream_free(b->ws_stream);
        net_stream_free(b->raw);
        websocket_free(b->ws);
        buf_deinit(&b->status);
        buf_deinit(&b->held);
        free(b);
    }
    return NULL;
}

/* Frees first, tells afterwards. */
static void tell_and_free(struct channels_bridge *b)
{
    struct channels_bridge_result result = b->result;
    channels_bridge_done_fn *done = b->done;
    void *arg = b->arg;
    channels_bridge_free(b);
    if (done) {
        done(arg, &result);
    }
}

/* ---- remote commands ---- */

/* Both sides close in order, each sending what waits; their connections then end by themselves. */
static void on_finish(void *arg)
{
    struct channels_bridge *b = arg;
    channels_close(b->client);
    channels_close(b->node);
    if (b->client || b->node) {
        /* on_close() of each sets it to NULL and comes back here. */
        return;
    }
    tell_and_free(b);
}

static void append_json_text(struct buf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            buf_printf(out, "\\%c", *p);
        } else if (*p < 0x20) {
            buf_printf(out, "\\u%04x", *p);
        } else {
            buf_append_char(out, (char)*p);
        }
    }
}

/* The command is over: the status goes out in one message, then everything closes. 'why': there is none, for this reason. */
static void finish(struct channels_bridge *b, const struct err *why)
{
    if (b->finishing) {
        return;
    }
    b->finishing = true;
    if (why && b->status.len == 0) {
        b->result.err = *why;
        buf_append_c(&b->status, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"");
        append_json_text(&b->status, why->msg);
        buf_append_c(&b->status, "\",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":\"");
        append_json_text(&b->status, why->msg);
        buf_append_c(&b->status, "\"}]},\"code\":500}");
    } else if (b->status.len == 0) {
        buf_append_c(&b->status, "{\"metadata\":{},\"status\":\"Success\"}"); /* a server that ends without a word succeeded */
    }
    if (b->client) {
        channels_write(b->client, CHANNEL_ERROR, buf_str(&b->status));
    }
    loop_task_defer(&b->finish);
}

static void client_open(struct channels *c, void *arg)
{
    struct channels_bridge *b = arg;
    /* An empty message tells clients that the connection stands, as kube-apiserver does. */
    enum channel ch = b->mask & CHANNEL_BIT(CHANNEL_STDOUT)   ? CHANNEL_STDOUT
                      : b->mask & CHANNEL_BIT(CHANNEL_STDERR) ? CHANNEL_STDERR
                                                              : CHANNEL_ERROR;
    channels_write(c, ch, STR_EMPTY);
}

static void client_data(struct channels *c, enum channel ch, struct str data, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->node && !b->finishing) {
        b->result.bytes_to_node += data.len;
        channels_write(b->node, ch, data);
        if (channels_is_full(b->node)) {
            channels_pause(c);
        }
    }
}

static void client_end(struct channels *c UNUSED, enum channel ch, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->node) {
        channels_end(b->node, ch);
    }
}

static void client_drain(struct channels *c UNUSED, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->node) {
        channels_resume(b->node);
    }
}

static void client_close(struct channels *c, const struct err *why, void *arg)
{
    struct channels_bridge *b = arg;
    b->client = channels_free(c);
    if (!b->finishing) {
        b->finishing = true;
        b->result.err = *why;
        if (why->code == ERR_NONE) {
            err_set(&b->result.err, ERR_CANCELLED, "the client left before the command ended");
        }
    }
    loop_task_defer(&b->finish);
}

static void node_open(struct channels *c UNUSED, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->client) {
        channels_resume(b->client);
    }
}

static void node_data(struct channels *c, enum channel ch, struct str data, void *arg)
{
    struct channels_bridge *b = arg;
    if (!b->client || b->finishing) {
        return;
    }
    if (ch == CHANNEL_ERROR) {
        buf_append(&b->status, data);
        if (buf_failed(&b->status)) {
            struct err why;
            err_set(&why, ERR_TOO_LARGE, "the node's status has more than %u bytes", CHANNELS_MAX_ERROR);
            buf_clear(&b->status);
            finish(b, &why);
        }
        return;
    }
    b->result.bytes_to_client += data.len;
    channels_write(b->client, ch, data);
    if (channels_is_full(b->client)) {
        channels_pause(c);
    }
}

static void node_end(struct channels *c UNUSED, enum channel ch, void *arg)
{
    struct channels_bridge *b = arg;
    b->node_ended |= CHANNEL_BIT(ch);
    if ((b->mask & NODE_OUTPUTS & ~b->node_ended) == 0) {
        finish(b, NULL);
    }
}

static void node_drain(struct channels *c UNUSED, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->client) {
        channels_resume(b->client);
    }
}

static void node_close(struct channels *c, const struct err *why, void *arg)
{
    struct channels_bridge *b = arg;
    struct err lost = *why;
    b->node = channels_free(c);
    if (why->code == ERR_NONE) {
        err_set(&lost, ERR_UNAVAILABLE, "the node closed the connection before the command ended");
    }
    if (b->node_ended & CHANNEL_BIT(CHANNEL_ERROR)) {
        finish(b, NULL);
    } else {
        finish(b, &lost);
    }
    loop_task_defer(&b->finish);
}

struct channels_bridge *channels_bridge_new(struct net_stream *client, enum channels_protocol protocol,
                                            struct net_stream *node, unsigned mask, uint64_t idle_ms,
                                            channels_bridge_done_fn *done, void *arg)
{
    static const struct channels_ops client_ops = {
        .on_open = client_open, .on_data = client_data, .on_end = client_end, .on_drain = client_drain, .on_close = client_close,
    };
    static const struct channels_ops node_ops = {
        .on_open = node_open, .on_data = node_data, .on_end = node_end, .on_drain = node_drain, .on_close = node_close,
    };
    struct channels_bridge *b = bridge_new(net_stream_loop(client), done, arg, on_finish);
    assert(protocol != CHANNELS_SPDY_V4);
    b->mask = mask | CHANNEL_BIT(CHANNEL_ERROR);
    b->client = channels_new(
        client, &(struct channels_config){ .protocol = protocol, .server = true, .mask = mask, .idle_ms = idle_ms },
        &client_ops, b);
    channels_pause(b->client); /* until the node is ready */
    b->node = channels_new(
        node, &(struct channels_config){ .protocol = CHANNELS_SPDY_V4, .mask = mask, .idle_ms = idle_ms }, &node_ops, b);
    return b;
}

/* ---- the tunnel ---- */

static void tunnel_flush(struct channels_bridge *b)
{
    struct buf out;
    while (b->ws_stream && websocket_out_take(b->ws, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(b->ws_stream, &chunk, 1);
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
static void on_tunnel_finish(void *arg)
{
    struct channels_bridge *b = arg;
    websocket_close(b->ws, WEBSOCKET_CLOSE_NORMAL, STR_EMPTY);
    tunnel_flush(b);
    release(&b->ws_stream);
    release(&b->raw);
    tell_and_free(b);
}

static void tunnel_end(struct channels_bridge *b, const struct err *why)
{
    if (!b->finishing) {
        b->finishing = true;
        if (why) {
            b->result.err = *why;
        }
        loop_task_defer(&b->finish);
    }
}

static void tunnel_message_data(void *user, struct str data)
{
    struct channels_bridge *b = user;
    if (b->raw && !b->finishing) {
        b->result.bytes_to_node += data.len;
        net_stream_write_str(b->raw, data);
        if (net_stream_over(b->raw, CHANNELS_HIGH)) {
            websocket_pause(b->ws);
            b->ws_paused = true;
            net_stream_pause(b->ws_stream);
        }
    }
}

static void tunnel_message_close(void *user, int code UNUSED, struct str reason UNUSED)
{
    tunnel_end(user, NULL);
}

static const struct websocket_events tunnel_events = { .on_data = tunnel_message_data, .on_close = tunnel_message_close };

static void tunnel_eat(struct channels_bridge *b, struct str in)
{
    struct err err = { 0 };
    while (in.len && !b->ws_paused && !b->finishing) {
        size_t used;
        if (!websocket_recv(b->ws, in, &used, &err)) {
            tunnel_end(b, &err);
            break;
        }
        in = str_sub(in, used, SIZE_MAX);
    }
    if (!b->finishing) {
        buf_append(&b->held, in);
    }
    tunnel_flush(b);
}

static void tunnel_ws_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    tunnel_eat(arg, data);
}

static void tunnel_ws_drain(struct net_stream *s UNUSED, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->raw) {
        net_stream_resume(b->raw);
    }
}

static void tunnel_raw_data(struct net_stream *s, struct str data, void *arg)
{
    struct channels_bridge *b = arg;
    b->result.bytes_to_client += data.len;
    while (data.len && !b->finishing) {
        struct str piece = str_sub(data, 0, 32 * 1024);
        if (!websocket_send(b->ws, false, STR_EMPTY, piece)) {
            tunnel_end(b, NULL);
        }
        tunnel_flush(b);
        data = str_sub(data, piece.len, SIZE_MAX);
    }
    if (b->ws_stream && net_stream_over(b->ws_stream, CHANNELS_HIGH)) {
        net_stream_pause(s);
    }
}

static void tunnel_raw_drain(struct net_stream *s UNUSED, void *arg)
{
    struct channels_bridge *b = arg;
    if (b->ws_paused && b->ws_stream) {
        struct buf held = b->held;
        b->ws_paused = false;
        websocket_resume(b->ws);
        buf_init(&b->held, BUF_NO_MAX);
        tunnel_eat(b, buf_str(&held));
        buf_deinit(&held);
        if (!b->ws_paused) {
            net_stream_resume(b->ws_stream);
        }
    }
}

/* Either side has ended: the tunnel has no half close. */
static void tunnel_eof(struct net_stream *s UNUSED, void *arg)
{
    tunnel_end(arg, NULL);
}

static void tunnel_closed(struct net_stream *s, enum net_close how, const char *reason, void *arg)
{
    struct channels_bridge *b = arg;
    struct err why = { 0 };
    if (s == b->raw) {
        b->raw = net_stream_free(s);
    } else {
        b->ws_stream = net_stream_free(s);
    }
    if (how != NET_CLOSE_EOF) {
        err_set(&why, ERR_UNAVAILABLE, "%s", reason);
    }
    tunnel_end(b, &why);
}

static void on_idle(void *arg)
{
    struct channels_bridge *b = arg;
    struct err why;
    uint64_t last = b->ws_stream ? net_stream_last_activity_ms(b->ws_stream) : 0, now = loop_now_ms(b->loop);
    if (now < last + b->idle_ms) {
        loop_timer_start_at(&b->idle, last + b->idle_ms);
    } else {
        err_set(&why, ERR_TIMEOUT, "no bytes in either direction for too long");
        tunnel_end(b, &why);
    }
}

struct channels_bridge *channels_tunnel_new(struct net_stream *client, struct net_stream *node, uint64_t idle_ms,
                                            channels_bridge_done_fn *done, void *arg)
{
    static const struct net_stream_ops ws_ops = {
        .on_data = tunnel_ws_data, .on_eof = tunnel_eof, .on_drain = tunnel_ws_drain, .on_close = tunnel_closed,
    };
    static const struct net_stream_ops raw_ops = {
        .on_data = tunnel_raw_data, .on_eof = tunnel_eof, .on_drain = tunnel_raw_drain, .on_close = tunnel_closed,
    };
    struct channels_bridge *b = bridge_new(net_stream_loop(client), done, arg, on_tunnel_finish);
    b->ws = websocket_new(WEBSOCKET_SERVER, &tunnel_events, b);
    b->ws_stream = client;
    b->raw = node;
    b->idle_ms = idle_ms;
    loop_timer_init(&b->idle, b->loop, on_idle, b);
    if (idle_ms) {
        loop_timer_start(&b->idle, idle_ms);
    }
    net_stream_set_watermarks(client, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_watermarks(node, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_ops(client, &ws_ops, b);
    net_stream_set_ops(node, &raw_ops, b);
    net_stream_resume(client);
    net_stream_resume(node);
    return b;
}
