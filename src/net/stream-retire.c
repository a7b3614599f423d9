#include "net/stream-retire.h"

#include "net/stream-limits.h"

struct retired {
    struct net_stream *stream;
    struct loop_timer timer;
};

static void retired_free(struct retired *r)
{
    loop_timer_stop(&r->timer);
    net_stream_free(r->stream);
    free(r);
}

static void on_timer(void *arg)
{
    retired_free(arg);
}

static void on_data(struct net_stream *s UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}

/* The other side may still be reading. */
static void on_eof(struct net_stream *s UNUSED, void *arg UNUSED)
{
}

static void on_drain(struct net_stream *s, void *arg UNUSED)
{
    net_stream_close(s);
}

static void on_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    retired_free(arg);
}

void net_stream_retire(struct net_stream *s)
{
    static const struct net_stream_ops ops = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close,
    };
    struct retired *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->stream = s;
    loop_timer_init(&r->timer, net_stream_loop(s), on_timer, r);
    loop_timer_start(&r->timer, NET_RETIRE_MS);
    net_stream_set_ops(s, &ops, r);
    if (net_stream_queued(s) == 0) {
        net_stream_close(s);
    } else {
        net_stream_set_watermarks(s, 1, 0); /* on_drain() when the last byte is gone */
        net_stream_resume(s);
    }
}
