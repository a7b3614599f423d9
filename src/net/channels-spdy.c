/* Exec channels as SPDY streams. */
#include "net/channels-private.h"
#include "net/spdy.h"
#include "net/stream-limits.h"

/* Names of the streams, and the order in which a client opens them: servers know the session is whole when all are there. */
static const struct {
    enum channel ch;
    const char *name;
} types[] = {
    { CHANNEL_ERROR, "error" },   { CHANNEL_STDIN, "stdin" },   { CHANNEL_STDOUT, "stdout" },
    { CHANNEL_STDERR, "stderr" }, { CHANNEL_RESIZE, "resize" },
};

static bool channel_of_id(const struct channels *c, uint32_t id, enum channel *ret)
{
    for (int ch = 0; ch < CHANNEL_MAX; ch++) {
        if (id && c->ids[ch] == id) {
            *ret = (enum channel)ch;
            return true;
        }
    }
    return false;
}

static bool on_stream(void *user, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin)
{
    struct channels *c = user;
    struct str type = spdy_header_get(h, n_h, "streamtype");
    for (size_t i = 0; c->config.server && i < ARRAY_SIZE(types); i++) {
        enum channel ch = types[i].ch;
        if (str_eq_c(type, types[i].name) && (c->config.mask & CHANNEL_BIT(ch)) && !c->ids[ch]) {
            c->ids[ch] = id;
            c->replied |= CHANNEL_BIT(ch);
            spdy_reply(c->spdy, id, NULL, 0, false);
            if (fin) {
                channels_emit_end(c, ch);
            }
            if (c->replied == c->config.mask) {
                channels_emit_open(c);
            }
            return true;
        }
    }
    return false;
}

static void on_reply(void *user, uint32_t id, const struct spdy_header *h UNUSED, size_t n_h UNUSED)
{
    struct channels *c = user;
    enum channel ch;
    if (channel_of_id(c, id, &ch)) {
        c->replied |= CHANNEL_BIT(ch);
        if (c->replied == c->config.mask) {
            channels_emit_open(c);
        }
    }
}

static void on_data(void *user, uint32_t id, struct str data)
{
    struct channels *c = user;
    enum channel ch;
    if (channel_of_id(c, id, &ch)) {
        channels_emit_data(c, ch, data);
    }
}

static void on_fin(void *user, uint32_t id)
{
    struct channels *c = user;
    enum channel ch;
    if (channel_of_id(c, id, &ch)) {
        channels_emit_end(c, ch);
    }
}

/* Servers reset all streams when the command has ended: before the session was whole it is a refusal. */
static void on_reset(void *user, uint32_t id, uint32_t status)
{
    struct channels *c = user;
    enum channel ch;
    if (!channel_of_id(c, id, &ch)) {
        return;
    }
    if (!(c->replied & CHANNEL_BIT(ch))) {
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "the server refused a stream (SPDY status %u)", status);
        channels_emit_close(c, &why);
    } else {
        channels_emit_end(c, ch);
    }
}

static const struct spdy_events events = {
    .on_stream = on_stream, .on_reply = on_reply, .on_data = on_data, .on_fin = on_fin, .on_reset = on_reset,
};

static void start(struct channels *c)
{
    struct spdy_config config = { .role = c->config.server ? SPDY_SERVER : SPDY_CLIENT, .flow = SPDY_FLOW_NONE };
    c->spdy = spdy_new(&config, &events, c);
    for (size_t i = 0; !c->config.server && i < ARRAY_SIZE(types); i++) {
        struct spdy_header h = { .name = STR("streamtype"), .value = str_c(types[i].name) };
        struct err err;
        if ((c->config.mask & CHANNEL_BIT(types[i].ch)) && !spdy_open(c->spdy, &h, 1, false, &c->ids[types[i].ch], &err)) {
            channels_emit_close(c, &err);
        }
    }
}

static void stop(struct channels *c)
{
    c->spdy = spdy_free(c->spdy);
}

static bool recv_bytes(struct channels *c, struct str in, size_t *ret_used, struct err *err)
{
    return spdy_recv(c->spdy, in, ret_used, err);
}

static void set_paused(struct channels *c, bool paused)
{
    if (paused) {
        spdy_pause(c->spdy);
    } else {
        spdy_resume(c->spdy);
    }
}

static bool take_out(struct channels *c, struct buf *ret)
{
    return spdy_out_take(c->spdy, ret);
}

static size_t write_bytes(struct channels *c, enum channel ch, struct str data)
{
    return c->ids[ch] ? spdy_write(c->spdy, c->ids[ch], data) : 0;
}

static void end(struct channels *c, enum channel ch)
{
    if (c->ids[ch]) {
        spdy_fin(c->spdy, c->ids[ch]);
    }
}

static void close_all(struct channels *c)
{
    for (int ch = 0; ch < CHANNEL_MAX; ch++) {
        if (c->ids[ch]) {
            spdy_fin(c->spdy, c->ids[ch]);
            /* The peer's library waits for both halves of every stream before it lets go of the connection. */
            if (spdy_is_open(c->spdy, c->ids[ch])) {
                spdy_reset(c->spdy, c->ids[ch], SPDY_CANCEL);
            }
        }
    }
    spdy_goaway(c->spdy, 0);
}

static bool eof_is_clean(const struct channels *c)
{
    return spdy_going_away(c->spdy);
}

const struct channels_transport channels_spdy = {
    .start = start,
    .stop = stop,
    .recv = recv_bytes,
    .set_paused = set_paused,
    .take_out = take_out,
    .write = write_bytes,
    .end = end,
    .close = close_all,
    .eof_is_clean = eof_is_clean,
};
