#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "net/dial.h"
#include "net/limits.h"
#include "net/test-certs.h"
#include "net/test-server.h"

struct end {
    struct net_stream *s;
    unsigned opened, eof, closed, drained;
    enum net_close why;
    size_t got;
    char text[64];
    bool free_on_data;
};

static void opened(struct net_stream *s UNUSED, void *arg)
{
    ((struct end *)arg)->opened++;
}
static void data(struct net_stream *s, struct str d, void *arg)
{
    struct end *e = arg;
    for (size_t i = 0; i < d.len && e->got + i < sizeof(e->text) - 1; i++) {
        e->text[e->got + i] = d.ptr[i];
    }
    e->got += d.len;
    if (e->free_on_data) {
        e->s = net_stream_free(s);
        e->closed++;
    }
}
static void eof(struct net_stream *s UNUSED, void *arg)
{
    ((struct end *)arg)->eof++;
}
static void drained(struct net_stream *s UNUSED, void *arg)
{
    ((struct end *)arg)->drained++;
}
static void closed(struct net_stream *s, enum net_close why, const char *reason UNUSED, void *arg)
{
    struct end *e = arg;
    e->closed++;
    e->why = why;
    e->s = net_stream_free(s);
}
static const struct net_stream_ops ops = { opened, data, eof, drained, closed };

struct pair {
    struct loop *l;
    struct net_tls_server *ts;
    struct net_tls_client *tc;
    struct end a, b; /* a: client, b: server */
};

static void pair_open(struct pair *p, bool tls)
{
    struct err err;
    int fds[2];
    *p = (struct pair){ 0 };
    p->l = loop_new(&err);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    if (!tls) {
        p->a.s = net_stream_new(p->l, fds[0], &ops, &p->a);
        p->b.s = net_stream_new(p->l, fds[1], &ops, &p->b);
        return;
    }
    const struct test_pki *pki = test_pki();
    struct net_tls_server_config sc = { .identity = test_identity(&pki->server), .client_ca_pem = str_c(pki->ca.cert_pem) };
    struct net_tls_client_config cc = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->client) };
    p->ts = net_tls_server_new(&sc, &err);
    p->tc = net_tls_client_new(&cc, &err);
    CHECK(p->ts && p->tc);
    p->a.s = net_stream_new_tls_client(p->l, fds[0], p->tc, STR("localhost"), &ops, &p->a);
    p->b.s = net_stream_new_tls_server(p->l, fds[1], p->ts, &ops, &p->b);
}

static void pair_close(struct pair *p)
{
    net_stream_free(p->a.s);
    net_stream_free(p->b.s);
    CHECK_INT(net_registry_count(p->l), 0);
    net_tls_server_unref(p->ts);
    net_tls_client_unref(p->tc);
    loop_free(p->l);
}

TEST(stream_carries_bytes_both_ways_and_ends_each_way_alone)
{
    for (int tls = 0; tls < 2; tls++) {
        struct pair p;
        pair_open(&p, tls);
        net_stream_write_str(p.a.s, STR("ping"));
        net_stream_shutdown(p.a.s);
        test_turn(p.l, NULL, 60);
        CHECK_INT(p.a.opened, 1);
        CHECK_INT(p.b.opened, 1);
        CHECK_STR_C(str_c(p.b.text), "ping");
        CHECK_INT(p.b.eof, 1);
        CHECK_INT(p.b.closed, 0);
        CHECK(net_stream_conn(p.b.s)->encrypted == (tls == 1));
        if (tls) {
            CHECK_STR_C(str_c(net_stream_conn(p.b.s)->tls_version), "TLSv1.3");
            CHECK_INT(net_stream_conn(p.b.s)->peer->state, NET_PEER_VERIFIED);
            CHECK_INT(net_stream_conn(p.a.s)->peer->state, NET_PEER_VERIFIED);
        }
        net_stream_write_str(p.b.s, STR("pong"));
        net_stream_shutdown(p.b.s);
        test_turn(p.l, NULL, 30);
        CHECK_STR_C(str_c(p.a.text), "pong");
        CHECK(p.a.closed == 1 && p.b.closed == 1);
        CHECK_INT(p.a.why, NET_CLOSE_EOF);
        CHECK_INT(p.b.why, NET_CLOSE_EOF);
        pair_close(&p);
    }
}

TEST(stream_tells_when_the_queue_has_drained_and_pause_stops_the_peer)
{
    static const char block[65536];
    for (int tls = 0; tls < 2; tls++) {
        struct pair p;
        pair_open(&p, tls);
        test_turn(p.l, NULL, 30);
        net_stream_pause(p.b.s);
        for (int i = 0; i < 64; i++) {
            struct net_chunk c = net_chunk_static(str_n(block, sizeof(block)));
            net_stream_write(p.a.s, &c, 1);
        }
        test_turn(p.l, NULL, 30);
        CHECK_INT(p.b.got, 0);
        CHECK(net_stream_queued(p.a.s) > 2000000);
        CHECK_INT(p.a.drained, 0);
        net_stream_resume(p.b.s);
        test_turn(p.l, NULL, 200);
        CHECK_INT(p.b.got, 64 * 65536);
        CHECK_INT(p.a.drained, 1);
        CHECK_INT(net_stream_queued(p.a.s), 0);
        pair_close(&p);
    }
}

TEST(stream_close_sends_what_is_queued_first)
{
    static const char block[65536];
    for (int tls = 0; tls < 2; tls++) {
        struct pair p;
        pair_open(&p, tls);
        for (int i = 0; i < 20; i++) {
            struct net_chunk c = net_chunk_static(str_n(block, sizeof(block)));
            net_stream_write(p.a.s, &c, 1);
        }
        net_stream_close(p.a.s);
        test_turn(p.l, &p.b.eof, 500);
        CHECK_INT(p.b.got, 20 * 65536);
        CHECK_INT(p.b.eof, 1);
        net_stream_close(p.b.s);
        test_turn(p.l, &p.a.closed, 500);
        CHECK_INT(p.a.why, NET_CLOSE_LOCAL);
        test_turn(p.l, &p.b.closed, 500);
        CHECK_INT(p.b.why, NET_CLOSE_LOCAL);
        pair_close(&p);
    }
}

TEST(stream_may_be_freed_inside_its_own_callback)
{
    for (int tls = 0; tls < 2; tls++) {
        struct pair p;
        pair_open(&p, tls);
        p.b.free_on_data = true;
        net_stream_write_str(p.a.s, STR("x"));
        test_turn(p.l, &p.a.closed, 500);
        CHECK(!p.b.s);
        CHECK_INT(p.a.eof + p.a.closed >= 1, 1);
        pair_close(&p);
    }
}

TEST(stream_cut_without_a_tls_close_is_a_reset_not_an_end)
{
    struct pair p;
    pair_open(&p, true);
    net_stream_write_str(p.a.s, STR("x"));
    test_turn(p.l, NULL, 30);
    net_stream_free(TAKE(p.a.s));
    test_turn(p.l, &p.b.closed, 500);
    CHECK_INT(p.b.eof, 0);
    CHECK_INT(p.b.why, NET_CLOSE_RESET);
    pair_close(&p);
}

TEST(stream_unread_bytes_come_first_and_only_after_resume)
{
    struct pair p;
    pair_open(&p, false);
    test_turn(p.l, NULL, 5);
    net_stream_pause(p.b.s);
    net_stream_write_str(p.a.s, STR("world"));
    net_stream_unread(p.b.s, STR("hello "));
    test_turn(p.l, NULL, 10);
    CHECK_INT(p.b.got, 0);
    net_stream_resume(p.b.s);
    test_turn(p.l, NULL, 10);
    CHECK_STR_C(str_c(p.b.text), "hello world");
    pair_close(&p);
}

TEST(garbage_instead_of_a_tls_handshake_closes)
{
    struct pair p;
    pair_open(&p, true);
    p.a.s = net_stream_free(p.a.s);
    pair_close(&p);
    struct err err;
    int fds[2];
    p = (struct pair){ .l = loop_new(&err) };
    struct net_tls_server_config sc = { .identity = test_identity(&test_pki()->server) };
    p.ts = net_tls_server_new(&sc, &err);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    p.b.s = net_stream_new_tls_server(p.l, fds[1], p.ts, &ops, &p.b);
    CHECK(write(fds[0], "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    test_turn(p.l, &p.b.closed, 500);
    CHECK_INT(p.b.why, NET_CLOSE_TLS);
    CHECK_INT(p.b.opened, 0);
    (void)close(fds[0]);
    pair_close(&p);
}

/* ---- addresses and dialling ---- */

TEST(addresses_are_read_and_written)
{
    char text[NET_ADDR_TEXT_SIZE];
    struct net_addr a;
    CHECK(net_addr_parse(STR("[::1]:6443"), &a));
    CHECK_STR_C(net_addr_text(&a, text), "[::1]:6443");
    CHECK(net_addr_is_local(&a));
    CHECK(net_addr_parse(STR("10.1.2.3:80"), &a));
    CHECK_STR_C(net_addr_text(&a, text), "10.1.2.3:80");
    CHECK_STR_C(net_addr_ip_text(&a, text), "10.1.2.3");
    CHECK(!net_addr_is_local(&a));
    CHECK(net_addr_parse_ip(STR("::ffff:127.0.0.1"), 1, &a) && net_addr_is_local(&a));
    CHECK(net_addr_unix(STR("@x"), &a));
    CHECK_STR_C(net_addr_text(&a, text), "unix:@x");
    CHECK(!net_addr_parse(STR("localhost:80"), &a) && !net_addr_parse(STR("1.2.3:80"), &a) && !net_addr_parse(STR("1.2.3.4:70000"), &a));
    struct str host;
    uint16_t port = 7;
    CHECK(net_split_host_port(STR("example.com"), &host, &port) && port == 7);
    CHECK(net_split_host_port(STR("fd00::1"), &host, &port) && port == 7 && host.len == 7);
    CHECK(net_split_host_port(STR("[fd00::1]:9"), &host, &port) && port == 9 && host.len == 7);
    CHECK(!net_split_host_port(STR("[fd00::1]9"), &host, &port) && !net_split_host_port(STR("x:"), &host, &port));
}

struct dialled {
    unsigned done;
    int fd;
    struct err err;
};

static void on_dialled(int fd, const struct err *err, void *arg)
{
    struct dialled *d = arg;
    d->done = 1;
    d->fd = fd;
    if (err) {
        d->err = *err;
    }
}

TEST(dialler_resolves_names_connects_and_names_failures)
{
    struct err err;
    struct loop *l = loop_new(&err);
    struct net_addr a;
    CHECK(net_addr_parse(STR("127.0.0.1:0"), &a));
    int fd = net_listen(&a, 0, &err);
    CHECK_OK(fd >= 0, &err);
    socklen_t len = sizeof(struct sockaddr_un);
    CHECK(getsockname(fd, &a.sa, &len) == 0);
    a.len = len;
    int twice = net_listen(&a, 0, &err);
    CHECK(twice < 0);
    CHECK(str_find(str_c(err.msg), STR("Address already in use")) > 0);
    struct dialled d = { 0 };
    (void)net_dial_start(net_dialer_direct(), l, STR("localhost"), net_addr_port(&a), 2000, on_dialled, &d);
    CHECK(!d.done);
    test_turn(l, &d.done, 3000);
    CHECK_OK(d.fd >= 0, &d.err);
    (void)close(d.fd);
    d = (struct dialled){ 0 };
    (void)net_dial_start(net_dialer_direct(), l, STR("no-such-name.invalid"), 1, 3000, on_dialled, &d);
    test_turn(l, &d.done, 6000);
    CHECK(d.done && d.fd < 0);
    CHECK_INT(d.err.code, d.err.code == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE);
    struct net_dial *n = net_dial_start(net_dialer_direct(), l, STR("localhost"), 1, 3000, on_dialled, &d);
    d.done = 0;
    loop_turn(l, 0); /* by now a worker looks the name up */
    if (!d.done) {
        net_dialer_direct()->ops->cancel(n);
    }
    n = net_dial_start(net_dialer_direct(), l, STR("127.0.0.1"), 1, 3000, on_dialled, &d);
    d.done = 0;
    net_dialer_direct()->ops->cancel(n);
    test_turn(l, NULL, 30);
    CHECK(!d.done);
    (void)close(fd);
    loop_free(l);
}

TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not)
{
    struct err err;
    struct net_addr a;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/coracle-test-net-%d.sock", (int)getpid());
    CHECK(net_addr_unix(str_c(path), &a));
    int fd = net_listen(&a, 0600, &err);
    CHECK_OK(fd >= 0, &err);
    CHECK(net_listen(&a, 0600, &err) < 0);
    (void)close(fd);
    fd = net_listen(&a, 0600, &err);
    CHECK_OK(fd >= 0, &err);
    (void)close(fd);
    (void)unlink(path);
}
