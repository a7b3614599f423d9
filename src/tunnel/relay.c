#include "tunnel/relay.h"

#include <stdlib.h>

#include "net/stream-retire.h"
#include "tunnel/limits.h"

struct tunnel_relay {
    struct net_stream *local;
    struct tunnel_far *far;
    struct buf pending; /* read from the local side, not taken by the far end yet: one read at most, as reading stops */
    bool local_eof, far_paused;
    tunnel_relay_done_fn *done;
    void *arg;
};

struct tunnel_relay *tunnel_relay_free(struct tunnel_relay *r)
{
    if (r) {
        net_stream_free(r->local);
        far_close(r->far);
        buf_deinit(&r->pending);
        free(r);
    }
    return NULL;
}

static void finish(struct tunnel_relay *r)
{
    if (r->done) {
        r->done(r, r->arg);
    }
    tunnel_relay_free(r);
}

static void push(struct tunnel_relay *r, struct str data)
{
    size_t n = r->pending.len == 0 ? far_write(r->far, data) : 0;
    if (n < data.len) {
        buf_append(&r->pending, str_sub(data, n, data.len));
        net_stream_pause(r->local);
    }
}

/* ---- the local side ---- */

static void on_local_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct tunnel_relay *r = arg;
    if (r->far) {
        push(r, data);
    }
}

static void on_local_eof(struct net_stream *s UNUSED, void *arg)
{
    struct tunnel_relay *r = arg;
    r->local_eof = true;
    if (r->far && r->pending.len == 0) {
        far_shutdown(r->far);
    }
}

static void on_local_drain(struct net_stream *s UNUSED, void *arg)
{
    struct tunnel_relay *r = arg;
    if (r->far && r->far_paused) {
        r->far_paused = false;
        far_pause(r->far, false);
    }
}

static void on_local_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    struct tunnel_relay *r = arg;
    finish(r);
}

static const struct net_stream_ops local_ops = {
    .on_data = on_local_data, .on_eof = on_local_eof, .on_drain = on_local_drain, .on_close = on_local_close,
};

/* ---- the far side ---- */

static void on_far_data(struct str data, void *arg)
{
    struct tunnel_relay *r = arg;
    net_stream_write_str(r->local, data);
    if (!r->far_paused && net_stream_over(r->local, TUNNEL_HIGH_WATER)) {
        r->far_paused = true;
        far_pause(r->far, true);
    }
}

static void on_far_writable(void *arg)
{
    struct tunnel_relay *r = arg;
    buf_consume(&r->pending, far_write(r->far, buf_str(&r->pending)));
    if (r->pending.len > 0) {
        return;
    }
    buf_deinit(&r->pending);
    buf_init(&r->pending, BUF_NO_MAX);
    if (r->local_eof) {
        far_shutdown(r->far);
    } else {
        net_stream_resume(r->local);
    }
}

static void on_far_eof(void *arg)
{
    struct tunnel_relay *r = arg;
    net_stream_shutdown(r->local);
}

static void on_far_close(const char *reason UNUSED, void *arg)
{
    struct tunnel_relay *r = arg;
    r->far = NULL;
    net_stream_retire(r->local);
    r->local = NULL;
    finish(r);
}

static const struct tunnel_far_events far_events = {
    .on_data = on_far_data, .on_writable = on_far_writable, .on_eof = on_far_eof, .on_close = on_far_close,
};

struct tunnel_relay *tunnel_relay_new(struct net_stream *local, struct tunnel_far *far, struct str early,
                                      tunnel_relay_done_fn *done, void *arg)
{
    struct tunnel_relay *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->local = local;
    r->far = far;
    r->done = done;
    r->arg = arg;
    buf_init(&r->pending, BUF_NO_MAX);
    far->events = &far_events;
    far->arg = r;
    net_stream_set_ops(local, &local_ops, r);
    net_stream_set_watermarks(local, TUNNEL_HIGH_WATER, TUNNEL_HIGH_WATER / 4);
    net_stream_resume(local);
    if (early.len) {
        push(r, early);
    }
    return r;
}
