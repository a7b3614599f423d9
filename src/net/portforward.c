#include "net/portforward.h"

#include <assert.h>

#include "base/list.h"
#include "net/spdy.h"
#include "net/stream-limits.h"
#include "net/stream-retire.h"

/* One forwarded connection: a pair of streams, and the target once there is one. */
struct portforward_conn {
    struct list link;
    struct portforward *owner;
    struct str request_id;   /* owned; absent with clients that send none: they open one connection at a time */
    uint16_t port;
    uint32_t data_id, error_id;
    struct net_stream *target;
    uint64_t opened_ms;
    bool asked;              /* on_connect() was called */
    bool data_fin;           /* the client sends no more */
};

struct portforward {
    struct net_stream *stream;
    struct loop *loop;
    struct spdy *spdy;
    const struct portforward_ops *ops;
    void *arg;
    struct list conns;
    struct loop_task task;
    struct loop_timer timer;
    uint64_t idle_ms;
    struct buf held;         /* received and not eaten because of a pause */
    bool paused, deliver_due, closed, told, freed;
    unsigned depth;
    struct err why;
};

static void flush(struct portforward *p)
{
    struct buf out;
    while (p->stream && spdy_out_take(p->spdy, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(p->stream, &chunk, 1);
    }
}

static void conn_free(struct portforward_conn *c)
{
    list_remove(&c->link);
    net_stream_free(c->target);
    free((char *)(uintptr_t)c->request_id.ptr);
    free(c);
}

/* Lets a connection send what waits and close by itself. */
static void release(struct net_stream **s)
{
    if (*s) {
        net_stream_retire(*s);
        *s = NULL;
    }
}

static void destroy(struct portforward *p)
{
    while (!list_empty(&p->conns)) {
        conn_free(LIST_ENTRY(p->conns.next, struct portforward_conn, link));
    }
    spdy_free(p->spdy);
    buf_deinit(&p->held);
    free(p);
}

struct portforward *portforward_free(struct portforward *p)
{
    if (p && !p->freed) {
        p->freed = true;
        loop_task_cancel(&p->task);
        loop_timer_stop(&p->timer);
        p->stream = net_stream_free(p->stream);
        if (p->depth == 0) {
            destroy(p);
        }
    }
    return NULL;
}

static bool leave(struct portforward *p)
{
    if (--p->depth == 0 && p->freed) {
        destroy(p);
        return false;
    }
    return !p->freed;
}

static void close_with(struct portforward *p, const struct err *why)
{
    if (!p->freed && !p->closed) {
        p->closed = true;
        p->why = *why;
        loop_timer_stop(&p->timer);
        loop_task_defer(&p->task);
    }
}

static struct portforward_conn *conn_of_stream(struct portforward *p, uint32_t id)
{
    LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
        if (c->data_id == id || c->error_id == id) {
            return c;
        }
    }
    return NULL;
}

/* The connection is over for the client: ends both of its streams and forgets it. */
static void conn_end(struct portforward_conn *c)
{
    struct portforward *p = c->owner;
    uint32_t ids[] = { c->data_id, c->error_id };
    for (size_t i = 0; i < 2; i++) {
        if (ids[i]) {
            spdy_fin(p->spdy, ids[i]);
        }
    }
    /* The client's half of the error stream is never used; clients end theirs when they see ours. */
    conn_free(c);
}

/* Streams of the client */

/* The pair that a new stream belongs to: by request id, or the newest incomplete one of clients that name none. */
static struct portforward_conn *conn_for(struct portforward *p, struct str request_id, uint16_t port, bool is_data)
{
    LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
        if (str_eq(c->request_id, request_id) && c->port == port && (is_data ? c->data_id : c->error_id) == 0) {
            return c;
        }
    }
    struct portforward_conn *c = calloc(1, sizeof(*c));
    char *id = malloc(request_id.len + 1);
    if (!c || !id) {
        abort();
    }
    memcpy(id, request_id.ptr ? request_id.ptr : "", request_id.len);
    c->request_id = str_n(id, request_id.len);
    c->owner = p;
    c->port = port;
    c->opened_ms = loop_now_ms(p->loop);
    list_push_back(&p->conns, &c->link);
    if (!loop_timer_runs(&p->timer)) {
        loop_timer_start(&p->timer, PORTFORWARD_PAIR_MS);
    }
    return c;
}

static void pause_input(struct portforward *p)
{
    p->paused = true;
    spdy_pause(p->spdy);
    if (p->stream) {
        net_stream_pause(p->stream);
    }
}

static bool on_stream(void *user, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin)
{
    struct portforward *p = user;
    struct str type = spdy_header_get(h, n_h, "streamtype");
    struct str request_id = spdy_header_get(h, n_h, "requestid");
    bool is_data = str_eq(type, STR("data"));
    uint64_t port;
    if (p->freed || p->closed || !(is_data || str_eq(type, STR("error"))) || request_id.len > 128 ||
        !str_to_u64(spdy_header_get(h, n_h, "port"), &port) || port < 1 || port > 65535) {
        return false;
    }
    struct portforward_conn *c = conn_for(p, request_id, (uint16_t)port, is_data);
    if (is_data) {
        c->data_id = id;
        c->data_fin = fin;
    } else {
        c->error_id = id;
    }
    spdy_reply(p->spdy, id, NULL, 0, false);
    if (c->data_id && c->error_id) {
        c->asked = true;
        pause_input(p); /* what follows on the data stream waits until the target is there */
        p->ops->on_connect(p, c, c->port, p->arg);
    }
    return true;
}

/* Reads on when every target takes bytes and none is being dialled. */
static void resume_input(struct portforward *p)
{
    LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
        if (c->asked && (!c->target || net_stream_over(c->target, CHANNELS_HIGH))) {
            return;
        }
    }
    if (p->paused && !p->closed && !p->freed) {
        p->paused = false;
        spdy_resume(p->spdy);
        p->deliver_due = true;
        loop_task_defer(&p->task);
    }
}

static void on_stream_data(void *user, uint32_t id, struct str data)
{
    struct portforward *p = user;
    struct portforward_conn *c = conn_of_stream(p, id);
    if (p->freed || !c || c->data_id != id) {
        return; /* nobody looks at what a client sends on its error stream */
    }
    if (!c->target) {
        spdy_reset(p->spdy, id, SPDY_PROTOCOL_ERROR); /* before its pair was whole */
        conn_end(c);
        return;
    }
    net_stream_write_str(c->target, data);
    if (net_stream_over(c->target, CHANNELS_HIGH)) {
        pause_input(p);
    }
}

static void on_stream_fin(void *user, uint32_t id)
{
    struct portforward_conn *c = conn_of_stream(user, id);
    if (c && c->data_id == id) {
        c->data_fin = true;
        if (c->target) {
            net_stream_shutdown(c->target);
        }
    }
}

static void on_stream_reset(void *user, uint32_t id, uint32_t status UNUSED)
{
    struct portforward *p = user;
    struct portforward_conn *c = conn_of_stream(p, id);
    if (c && !p->freed) {
        bool waiting = c->asked && !c->target;
        if (waiting && p->ops->on_abandon) {
            p->ops->on_abandon(p, c, p->arg);
        }
        release(&c->target);
        conn_end(c);
        resume_input(p);
    }
}

static const struct spdy_events spdy_events = {
    .on_stream = on_stream, .on_data = on_stream_data, .on_fin = on_stream_fin, .on_reset = on_stream_reset,
};

/* Targets */

static void on_target_data(struct net_stream *s, struct str data, void *arg)
{
    struct portforward_conn *c = arg;
    struct portforward *p = c->owner;
    while (data.len) {
        size_t n = spdy_write(p->spdy, c->data_id, data);
        flush(p);
        if (n == 0) {
            break; /* the client's stream is gone */
        }
        data = str_sub(data, n, SIZE_MAX);
    }
    if (p->stream && net_stream_over(p->stream, CHANNELS_HIGH)) {
        net_stream_pause(s);
    }
}

static void on_target_eof(struct net_stream *s UNUSED, void *arg)
{
    struct portforward_conn *c = arg;
    spdy_fin(c->owner->spdy, c->data_id);
    flush(c->owner);
}

static void on_target_drain(struct net_stream *s UNUSED, void *arg)
{
    struct portforward_conn *c = arg;
    resume_input(c->owner);
}

static void on_target_close(struct net_stream *s UNUSED, enum net_close how, const char *reason, void *arg)
{
    struct portforward_conn *c = arg;
    struct portforward *p = c->owner;
    if (how != NET_CLOSE_EOF) {
        (void)!spdy_write(p->spdy, c->error_id, str_c(reason));
    }
    conn_end(c);
    flush(p);
    resume_input(p);
}

void portforward_join(struct portforward_conn *c, struct net_stream *target)
{
    static const struct net_stream_ops target_ops = {
        .on_data = on_target_data, .on_eof = on_target_eof, .on_drain = on_target_drain, .on_close = on_target_close,
    };
    assert(c->asked && !c->target);
    c->target = target;
    net_stream_set_watermarks(target, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_ops(target, &target_ops, c);
    if (c->data_fin) {
        net_stream_shutdown(target);
    }
    net_stream_resume(target);
    resume_input(c->owner);
}

void portforward_fail(struct portforward_conn *c, const char *why)
{
    struct portforward *p = c->owner;
    (void)!spdy_write(p->spdy, c->error_id, str_c(why));
    conn_end(c);
    flush(p);
    resume_input(p);
}

/* The connection of the client */

static void eat(struct portforward *p, struct str in)
{
    struct err err = { 0 };
    bool ok = true;
    p->depth++;
    while (ok && in.len && !p->paused && !p->freed && !p->closed) {
        size_t used;
        ok = spdy_recv(p->spdy, in, &used, &err);
        in = str_sub(in, used, SIZE_MAX);
    }
    if (!p->freed && !p->closed && ok) {
        buf_append(&p->held, in);
    }
    flush(p);
    if (!ok) {
        close_with(p, &err);
    }
    (void)leave(p);
}

static void on_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct portforward *p = arg;
    if (!p->closed) {
        if (p->held.len || p->paused) {
            buf_append(&p->held, data);
        } else {
            eat(p, data);
        }
    }
}

/* Clients close the whole connection when they are done. */
static void on_eof(struct net_stream *s UNUSED, void *arg)
{
    struct err in_order = { 0 };
    close_with(arg, &in_order);
}

static void on_drain(struct net_stream *s UNUSED, void *arg)
{
    struct portforward *p = arg;
    LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
        if (c->target) {
            net_stream_resume(c->target);
        }
    }
}

static void on_close(struct net_stream *s UNUSED, enum net_close how, const char *reason, void *arg)
{
    struct portforward *p = arg;
    struct err why = { 0 };
    p->stream = net_stream_free(p->stream);
    if (how != NET_CLOSE_EOF) {
        err_set(&why, ERR_UNAVAILABLE, "%s", reason);
    }
    close_with(p, &why);
}

static void on_task(void *arg)
{
    struct portforward *p = arg;
    p->depth++;
    if (p->deliver_due && !p->closed) {
        p->deliver_due = false;
        struct buf held = p->held;
        buf_init(&p->held, held.max);
        eat(p, buf_str(&held));
        buf_deinit(&held);
        if (!p->freed && p->stream && !p->paused) {
            net_stream_resume(p->stream);
        }
    }
    if (p->closed && !p->freed && !p->told) {
        p->told = true;
        LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
            if (c->asked && !c->target && p->ops->on_abandon && !p->freed) {
                p->ops->on_abandon(p, c, p->arg);
            }
            release(&c->target);
            conn_free(c);
        }
        release(&p->stream);
        if (p->ops->on_close && !p->freed) {
            p->ops->on_close(p, &p->why, p->arg);
        }
    }
    (void)leave(p);
}

/* Resets pairs that stayed incomplete, and ends an idle session. */
static void on_timer(void *arg)
{
    struct portforward *p = arg;
    uint64_t now = loop_now_ms(p->loop), next = 0;
    LIST_FOREACH(&p->conns, struct portforward_conn, link, c) {
        if (!c->asked && now >= c->opened_ms + PORTFORWARD_PAIR_MS) {
            spdy_reset(p->spdy, c->data_id ? c->data_id : c->error_id, SPDY_CANCEL);
            conn_free(c);
        } else if (!c->asked && (!next || c->opened_ms + PORTFORWARD_PAIR_MS < next)) {
            next = c->opened_ms + PORTFORWARD_PAIR_MS;
        }
    }
    flush(p);
    if (p->idle_ms && p->stream) {
        uint64_t last = net_stream_last_activity_ms(p->stream);
        if (now >= last + p->idle_ms) {
            struct err why;
            err_set(&why, ERR_TIMEOUT, "no bytes in either direction for too long");
            close_with(p, &why);
            return;
        }
        if (!next || last + p->idle_ms < next) {
            next = last + p->idle_ms;
        }
    }
    if (next) {
        loop_timer_start_at(&p->timer, next);
    }
}

struct portforward *portforward_new(struct net_stream *stream, uint64_t idle_ms, const struct portforward_ops *ops, void *arg)
{
    static const struct net_stream_ops stream_ops = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close,
    };
    struct portforward *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->stream = stream;
    p->loop = net_stream_loop(stream);
    p->ops = ops;
    p->arg = arg;
    p->idle_ms = idle_ms;
    p->spdy = spdy_new(&(struct spdy_config){ .role = SPDY_SERVER, .flow = SPDY_FLOW_NONE }, &spdy_events, p);
    list_init(&p->conns);
    buf_init(&p->held, BUF_NO_MAX); /* bounded by the pause of the stream: at most one read */
    loop_task_init(&p->task, p->loop, on_task, p);
    loop_timer_init(&p->timer, p->loop, on_timer, p);
    if (idle_ms) {
        loop_timer_start(&p->timer, idle_ms);
    }
    net_stream_set_watermarks(stream, CHANNELS_HIGH, CHANNELS_LOW);
    net_stream_set_ops(stream, &stream_ops, p);
    net_stream_resume(stream);
    return p;
}
