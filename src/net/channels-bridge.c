/* A WebSocket client of exec channels, joined to a server that speaks SPDY. */
#include <assert.h>

#include "net/channels.h"
#include "net/stream-limits.h"

#define NODE_OUTPUTS (CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR) | CHANNEL_BIT(CHANNEL_ERROR))

struct channels_bridge {
    struct loop_task finish;
    struct channels_bridge_result result;
    channels_bridge_done_fn *done;
    void *arg;
    bool finishing;

    struct channels *client, *node;
    unsigned mask, node_ended;
    struct buf status; /* what came on the error channel, passed on whole */
};

struct channels_bridge *channels_bridge_free(struct channels_bridge *b)
{
    if (b) {
        loop_task_cancel(&b->finish);
        channels_free(b->client);
        channels_free(b->node);
        buf_deinit(&b->status);
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
    struct channels_bridge *b = calloc(1, sizeof(*b));
    if (!b) {
        abort();
    }
    assert(protocol != CHANNELS_SPDY_V4);
    b->done = done;
    b->arg = arg;
    buf_init(&b->status, CHANNELS_MAX_ERROR);
    loop_task_init(&b->finish, net_stream_loop(client), on_finish, b);
    b->mask = mask | CHANNEL_BIT(CHANNEL_ERROR);
    b->client = channels_new(
        client, &(struct channels_config){ .protocol = protocol, .server = true, .mask = mask, .idle_ms = idle_ms },
        &client_ops, b);
    channels_pause(b->client); /* until the node is ready */
    b->node = channels_new(
        node, &(struct channels_config){ .protocol = CHANNELS_SPDY_V4, .mask = mask, .idle_ms = idle_ms }, &node_ops, b);
    return b;
}
