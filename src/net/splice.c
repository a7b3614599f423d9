#include "net/splice.h"

#include <stdio.h>

#include "net/stream-limits.h"
#include "net/stream-retire.h"

struct side {
    struct net_splice *splice;
    struct net_stream *stream; /* NULL once it has closed */
    struct side *other;
    uint64_t bytes;            /* received */
};

struct net_splice {
    struct loop *loop;
    struct side a, b;
    struct loop_timer timer;
    struct loop_task finish;
    uint64_t idle_ms;
    bool broken;
    struct net_splice_result result;
    net_splice_done_fn *done;
    void *arg;
};

struct net_splice *net_splice_free(struct net_splice *s)
{
    if (s) {
        loop_timer_stop(&s->timer);
        loop_task_cancel(&s->finish);
        net_stream_free(s->a.stream);
        net_stream_free(s->b.stream);
        free(s);
    }
    return NULL;
}

static void on_finish(void *arg)
{
    struct net_splice *s = arg;
    struct net_splice_result result = s->result;
    net_splice_done_fn *done = s->done;
    void *done_arg = s->arg;
    result.a_to_b = s->a.bytes;
    result.b_to_a = s->b.bytes;
    net_splice_free(s);
    if (done) {
        done(done_arg, &result);
    }
}

/* The first cause is what is told. */
static void set_cause(struct net_splice *s, enum net_close why, const char *reason)
{
    if (!s->broken) {
        s->broken = true;
        s->result.why = why;
        snprintf(s->result.reason, sizeof(s->result.reason), "%s", reason);
    }
}

static void on_data(struct net_stream *stream, struct str data, void *arg)
{
    struct side *from = arg;
    struct net_stream *to = from->other->stream;
    from->bytes += data.len;
    if (!to) {
        return; /* the receiver is gone; this side is being closed */
    }
    net_stream_write_str(to, data);
    if (net_stream_over(to, SPLICE_HIGH)) {
        net_stream_pause(stream);
    }
}

static void on_drain(struct net_stream *stream UNUSED, void *arg)
{
    struct side *to = arg;
    if (to->other->stream) {
        net_stream_resume(to->other->stream);
    }
}

static void on_eof(struct net_stream *stream UNUSED, void *arg)
{
    struct side *from = arg;
    if (from->other->stream) {
        net_stream_shutdown(from->other->stream);
    }
}

static void on_close(struct net_stream *stream UNUSED, enum net_close why, const char *reason, void *arg)
{
    struct side *side = arg;
    struct net_splice *s = side->splice;
    side->stream = net_stream_free(side->stream);
    if (why != NET_CLOSE_EOF && why != NET_CLOSE_LOCAL) {
        set_cause(s, why, reason);
    }
    if (side->other->stream) {
        net_stream_retire(side->other->stream); /* nobody is left to hear it; it gets what is on the way */
        side->other->stream = NULL;
    }
    loop_task_defer(&s->finish);
}

static void on_idle(void *arg)
{
    struct net_splice *s = arg;
    uint64_t last = 0, now = loop_now_ms(s->loop);
    if (s->a.stream) {
        last = net_stream_last_activity_ms(s->a.stream);
    }
    if (s->b.stream) {
        uint64_t b = net_stream_last_activity_ms(s->b.stream);
        last = MAX(last, b);
    }
    if (now < last + s->idle_ms) {
        loop_timer_start_at(&s->timer, last + s->idle_ms);
        return;
    }
    set_cause(s, NET_CLOSE_TIMEOUT, "no bytes in either direction for too long");
    s->a.stream = net_stream_free(s->a.stream);
    s->b.stream = net_stream_free(s->b.stream);
    loop_task_defer(&s->finish);
}

struct net_splice *net_splice_new(struct net_stream *a, struct net_stream *b, uint64_t idle_ms, net_splice_done_fn *done,
                                  void *arg)
{
    static const struct net_stream_ops ops = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close,
    };
    struct net_splice *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->loop = net_stream_loop(a);
    s->a = (struct side){ .splice = s, .stream = a, .other = &s->b };
    s->b = (struct side){ .splice = s, .stream = b, .other = &s->a };
    s->result.why = NET_CLOSE_EOF;
    snprintf(s->result.reason, sizeof(s->result.reason), "both directions ended");
    s->idle_ms = idle_ms;
    s->done = done;
    s->arg = arg;
    loop_task_init(&s->finish, s->loop, on_finish, s);
    loop_timer_init(&s->timer, s->loop, on_idle, s);
    if (idle_ms) {
        loop_timer_start(&s->timer, idle_ms);
    }
    struct side *sides[] = { &s->a, &s->b };
    for (size_t i = 0; i < 2; i++) {
        net_stream_set_watermarks(sides[i]->stream, SPLICE_HIGH, SPLICE_LOW);
        net_stream_set_ops(sides[i]->stream, &ops, sides[i]);
    }
    net_stream_resume(a);
    net_stream_resume(b);
    return s;
}
