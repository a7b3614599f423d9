/* The server's end of port-forward against a client made of the SPDY engine, with targets that echo. */
#include "net/portforward.h"

#include "base/test.h"
#include "net/spdy.h"

struct client {
    struct net_stream *s;
    struct spdy *spdy;
    struct buf log;
    size_t n_data;
    bool quiet;
};
struct target {
    struct net_stream *s;
    struct buf got;
    bool eof;
};
struct fix {
    struct loop *l;
    struct portforward *p;
    struct client c;
    struct target targets[4];
    int n_targets, n_closed, n_abandoned;
    struct err why;
    struct portforward_conn *later;
};

static void client_flush(struct client *c)
{
    struct buf out;
    while (spdy_out_take(c->spdy, &out)) {
        struct net_chunk chunk = net_chunk_take_buf(&out);
        net_stream_write(c->s, &chunk, 1);
    }
}
static void on_reply(void *user, uint32_t id, const struct spdy_header *h UNUSED, size_t n_h UNUSED)
{
    buf_printf(&((struct client *)user)->log, "reply %u;", id);
}
static void on_stream_data(void *user, uint32_t id, struct str data)
{
    struct client *c = user;
    c->n_data += data.len;
    if (!c->quiet) {
        buf_printf(&c->log, "%u=%.*s;", id, STR_ARG(data));
    }
}
static void on_fin(void *user, uint32_t id)
{
    buf_printf(&((struct client *)user)->log, "fin %u;", id);
}
static void on_reset(void *user, uint32_t id, uint32_t status)
{
    buf_printf(&((struct client *)user)->log, "reset %u %u;", id, status);
}
static const struct spdy_events client_events = {
    .on_reply = on_reply, .on_data = on_stream_data, .on_fin = on_fin, .on_reset = on_reset,
};
static void client_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct client *c = arg;
    struct err err;
    size_t used;
    CHECK_OK(spdy_recv(c->spdy, data, &used, &err), &err);
    client_flush(c);
}
static const struct net_stream_ops client_ops = { .on_data = client_data };

static void target_data(struct net_stream *s, struct str data, void *arg)
{
    struct target *t = arg;
    buf_append(&t->got, data);
    net_stream_write_str(s, data);
}
static void target_eof(struct net_stream *s, void *arg)
{
    ((struct target *)arg)->eof = true;
    net_stream_shutdown(s);
}
static const struct net_stream_ops target_ops = { .on_data = target_data, .on_eof = target_eof };

static void on_connect(struct portforward *p UNUSED, struct portforward_conn *c, uint16_t port, void *arg)
{
    struct fix *f = arg;
    struct net_stream *pair[2];
    if (port == 1) {
        portforward_fail(c, "connection refused");
        return;
    }
    if (port == 2) {
        f->later = c;
        return;
    }
    struct target *t = &f->targets[f->n_targets++];
    CHECK_INT(net_stream_pair(f->l, pair), 0);
    buf_init(&t->got, BUF_NO_MAX);
    t->s = pair[0];
    net_stream_set_ops(t->s, &target_ops, t);
    net_stream_resume(t->s);
    portforward_join(c, pair[1]);
}
static void on_abandon(struct portforward *p UNUSED, struct portforward_conn *c UNUSED, void *arg)
{
    ((struct fix *)arg)->n_abandoned++;
}
static void on_close(struct portforward *p, const struct err *why, void *arg)
{
    struct fix *f = arg;
    f->n_closed++;
    f->why = *why;
    f->p = portforward_free(p);
}
static const struct portforward_ops ops = { .on_connect = on_connect, .on_abandon = on_abandon, .on_close = on_close };

static void turns(struct fix *f, int n)
{
    for (int i = 0; i < n; i++) {
        loop_turn(f->l, 1);
    }
}
static void fix_init(struct fix *f)
{
    struct err err;
    struct net_stream *pair[2];
    *f = (struct fix){ 0 };
    f->l = loop_new(&err);
    CHECK_INT(net_stream_pair(f->l, pair), 0);
    f->c.s = pair[0];
    f->c.spdy = spdy_new(&(struct spdy_config){ .role = SPDY_CLIENT }, &client_events, &f->c);
    buf_init(&f->c.log, BUF_NO_MAX);
    net_stream_set_ops(f->c.s, &client_ops, &f->c);
    net_stream_resume(f->c.s);
    f->p = portforward_new(pair[1], 0, &ops, f);
}
static void fix_deinit(struct fix *f)
{
    portforward_free(f->p);
    for (int i = 0; i < f->n_targets; i++) {
        net_stream_free(f->targets[i].s);
        buf_deinit(&f->targets[i].got);
    }
    net_stream_free(f->c.s);
    spdy_free(f->c.spdy);
    buf_deinit(&f->c.log);
    turns(f, 20);
    loop_free(f->l);
}
static uint32_t open_stream(struct fix *f, const char *type, const char *port, const char *id)
{
    struct spdy_header h[] = { { STR("streamtype"), str_c(type) }, { STR("port"), str_c(port) }, { STR("requestid"), str_c(id) } };
    struct err err;
    uint32_t ret = 0;
    CHECK_OK(spdy_open(f->c.spdy, h, id ? 3 : 2, false, &ret, &err), &err);
    return ret;
}

TEST(portforward_joins_pairs_of_streams_to_targets)
{
    struct fix f;
    fix_init(&f);
    /* kubectl ends its half of the error stream at once. */
    uint32_t e0 = open_stream(&f, "error", "80", "0");
    spdy_fin(f.c.spdy, e0);
    uint32_t d0 = open_stream(&f, "data", "80", "0");
    CHECK_INT(spdy_write(f.c.spdy, d0, STR("early")), 5);
    uint32_t d1 = open_stream(&f, "data", "81", "1"), e1 = open_stream(&f, "error", "81", "1");
    CHECK_INT(spdy_write(f.c.spdy, d1, STR("one")), 3);
    client_flush(&f.c);
    turns(&f, 20);
    CHECK_INT(f.n_targets, 2);
    CHECK_STR_C(buf_str(&f.targets[0].got), "early");
    CHECK_STR_C(buf_str(&f.targets[1].got), "one");
    CHECK(str_find(buf_str(&f.c.log), STR("3=early;")) >= 0);
    spdy_fin(f.c.spdy, d0);
    spdy_fin(f.c.spdy, e1);
    client_flush(&f.c);
    turns(&f, 20);
    CHECK(f.targets[0].eof && !f.targets[1].eof);
    CHECK(str_find(buf_str(&f.c.log), STR("fin 3;")) >= 0);
    CHECK(!spdy_is_open(f.c.spdy, d0) && !spdy_is_open(f.c.spdy, e0));
    net_stream_shutdown(f.c.s);
    turns(&f, 30);
    CHECK_INT(f.n_closed, 1);
    CHECK_INT(f.why.code, ERR_NONE);
    CHECK(f.targets[1].eof);
    fix_deinit(&f);
}

TEST(portforward_tells_why_a_connection_failed)
{
    struct fix f;
    fix_init(&f);
    open_stream(&f, "error", "1", "0");
    open_stream(&f, "data", "1", "0");
    client_flush(&f.c);
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.c.log), "reply 1;reply 3;1=connection refused;fin 3;fin 1;");
    fix_deinit(&f);
}

TEST(portforward_refuses_streams_that_are_not_its)
{
    struct fix f;
    fix_init(&f);
    open_stream(&f, "stdin", "80", "0");
    open_stream(&f, "data", "0", "0");
    open_stream(&f, "data", "70000", "0");
    client_flush(&f.c);
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.c.log), "reset 1 3;reset 3 3;reset 5 3;");
    fix_deinit(&f);
}

TEST(portforward_abandons_a_connection_that_was_not_answered)
{
    struct fix f;
    fix_init(&f);
    open_stream(&f, "error", "2", "0");
    open_stream(&f, "data", "2", "0");
    client_flush(&f.c);
    turns(&f, 20);
    CHECK(f.later != NULL);
    f.c.s = net_stream_free(f.c.s);
    f.p = portforward_free(f.p); /* the owner leaves while it is dialling */
    turns(&f, 10);
    CHECK_INT(f.n_closed, 0);
    fix_deinit(&f);
}

TEST(portforward_moves_megabytes_both_ways)
{
    struct fix f;
    static char big[64 * 1024];
    fix_init(&f);
    f.c.quiet = true;
    open_stream(&f, "error", "80", "0");
    uint32_t d = open_stream(&f, "data", "80", "0");
    size_t sent = 0;
    for (int i = 0; i < 5000 && (sent < 4 << 20 || f.c.n_data < sent); i++) {
        if (sent < 4 << 20 && !net_stream_over(f.c.s, 256 * 1024)) {
            sent += spdy_write(f.c.spdy, d, str_n(big, sizeof(big)));
        }
        client_flush(&f.c);
        loop_turn(f.l, 1);
    }
    CHECK_INT(f.c.n_data, sent);
    fix_deinit(&f);
}
