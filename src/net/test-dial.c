/* Dialling with a check, and through a CONNECT proxy: a real one in Python (tests/lib/http-connect-proxy.py), on a unix socket and
 * on TCP with mutual TLS, honest and hostile. */
#include "net/dial-connect.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "base/test-python.h"
#include "net/http-client.h"
#include "net/test-certs.h"
#include "net/test-server.h"

struct proxy {
    pid_t pid;
    char dir[64], path[80], log[80];
    uint16_t port;
};

static void write_pem(const struct proxy *p, const char *name, const char *text, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", p->dir, name);
    struct err err;
    CHECK_OK(fs_write_atomic(path, str_c(text), 0600, &err), &err);
}

static void proxy_start(struct proxy *p, const char *mode, bool tls)
{
    char cert[128], key[128], ca[128], word[64];
    const char script[] = "tests/lib/http-connect-proxy.py";
    *p = (struct proxy){ .dir = "/tmp/coracle-test-dial-XXXXXX" };
    CHECK(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
    (void)snprintf(p->log, sizeof(p->log), "%s/log", p->dir);
    const struct test_pki *pki = test_pki();
    write_pem(p, "cert", pki->server.cert_pem, cert);
    write_pem(p, "key", pki->server.key_pem, key);
    write_pem(p, "ca", pki->ca.cert_pem, ca);
    if (tls) {
        p->pid = test_python_start(script, word, "--port", "0", "--cert", cert, "--key", key, "--ca", ca, "--mode", mode, "--log", p->log,
                                   NULL);
        p->port = (uint16_t)strtoul(word, NULL, 10);
    } else {
        p->pid = test_python_start(script, word, "--uds", p->path, "--mode", mode, "--log", p->log, NULL);
    }
}

static void proxy_stop(struct proxy *p)
{
    struct err err;
    test_python_stop(&p->pid);
    CHECK_OK(fs_remove_tree(p->dir, &err), &err);
}

struct dialled {
    unsigned done;
    int fd;
    struct err err;
    unsigned stages[4];
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

static void on_stage(void *arg, enum net_dial_stage stage, uint64_t ms UNUSED)
{
    ((struct dialled *)arg)->stages[stage]++;
}

static struct net_dialer_connect *dialer(const struct proxy *p, struct net_tls_client *tls, struct dialled *d)
{
    struct err err;
    struct net_dialer_connect_config cfg = { .host = p->port ? STR("127.0.0.1") : str_c(p->path), .port = p->port, .tls = tls,
                                             .name = STR("the proxy"), .observe = on_stage, .observe_arg = d };
    struct net_dialer_connect *c = net_dialer_connect_new(&cfg, &err);
    CHECK_OK(c != NULL, &err);
    return c;
}

static struct dialled dial_once(struct loop *l, const struct proxy *p, struct str host, uint16_t port, uint32_t ms)
{
    struct dialled d = { .fd = -1 };
    struct net_dialer_connect *c = dialer(p, NULL, &d);
    (void)net_dial_start(net_dialer_connect_dialer(c), l, host, port, ms, on_dialled, &d);
    CHECK(!d.done);
    test_turn(l, &d.done, 8000);
    CHECK(d.done);
    net_dialer_connect_free(c);
    return d;
}

struct got {
    unsigned ended;
    int status;
    struct buf body;
    struct err err;
};

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    ((struct got *)arg)->status = r->status;
}
static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    buf_append(&((struct got *)arg)->body, data);
}
static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    ((struct got *)arg)->ended = 1;
}
static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct got *g = arg;
    g->err = e->err;
    g->ended = 1;
}
static const struct http_call_ops call_ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

/* GETs 'target' of the test's server, TLS inside, through the dialer. */
static void get(struct got *g, struct test_server *t, struct net_dialer_connect *c, const char *target)
{
    struct err err;
    struct net_tls_client *tls = net_tls_client_new(
        &(struct net_tls_client_config){ .ca_pem = str_c(test_pki()->ca.cert_pem), .alpn = NET_ALPN_H1 | NET_ALPN_H2 }, &err);
    struct http_client *h = http_client_new(t->loop, &(struct http_client_config){ .host = STR("127.0.0.1"), .port = t->port, .tls = tls,
                                                                                 .dialer = net_dialer_connect_dialer(c) }, &err);
    *g = (struct got){ 0 };
    buf_init(&g->body, 64u << 20);
    (void)http_client_start(h, &(struct http_call_config){ .method = STR("GET"), .target = str_c(target) }, &call_ops, g);
    test_turn(t->loop, &g->ended, 20000);
    CHECK_OK(g->ended && g->status == 200, &g->err);
    http_client_free(h);
    net_tls_client_unref(tls);
}

TEST(connect_proxy_on_a_unix_socket_carries_tls_to_the_target)
{
    struct test_server t;
    struct proxy p;
    struct got g;
    struct dialled d = { 0 };
    struct err err;
    proxy_start(&p, "normal", false);
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct net_dialer_connect *c = dialer(&p, NULL, &d);
    get(&g, &t, c, "/hello");
    CHECK_STR_C(buf_str(&g.body), "hello\n");
    buf_deinit(&g.body);
    get(&g, &t, c, "/big?n=3000000");
    CHECK_INT(g.body.len, 3000000);
    buf_deinit(&g.body);
    CHECK_INT(d.stages[NET_DIAL_BEGUN], 2);
    CHECK_INT(d.stages[NET_DIAL_CONNECTED], 2);
    CLEANUP(buf_deinit) struct buf log;
    buf_init(&log, 1000);
    char want[64];
    (void)snprintf(want, sizeof(want), "CONNECT 127.0.0.1:%u\n", t.port);
    CHECK_OK(fs_read(p.log, 1000, &log, &err), &err);
    CHECK(str_starts(buf_str(&log), str_c(want)));
    net_dialer_connect_free(c);
    test_server_stop(&t);
    proxy_stop(&p);
}

TEST(connect_proxy_on_tcp_is_verified_and_shown_a_certificate)
{
    struct test_server t;
    struct proxy p;
    struct got g;
    struct dialled d = { 0 };
    struct err err;
    const struct test_pki *pki = test_pki();
    proxy_start(&p, "normal", true);
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct net_tls_client *tls = net_tls_client_new(
        &(struct net_tls_client_config){ .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->client) }, &err);
    struct net_dialer_connect *c = dialer(&p, tls, &d);
    get(&g, &t, c, "/big?n=3000000");
    CHECK_INT(g.body.len, 3000000);
    buf_deinit(&g.body);
    test_turn(t.loop, NULL, 50);
    CHECK_INT(net_dialer_connect_carried(c), 0);
    get(&g, &t, c, "/hello");
    buf_deinit(&g.body);
    net_dialer_connect_free(c); /* cuts what is carried */
    net_tls_client_unref(tls);

    /* Without our certificate the proxy refuses; a proxy of another CA is refused by us. Never is anything else dialled. */
    const struct net_tls_client_config bad[] = {
        { .ca_pem = str_c(pki->ca.cert_pem) },
        { .ca_pem = str_c(pki->other_ca.cert_pem), .identity = test_identity(&pki->client) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        tls = net_tls_client_new(&bad[i], &err);
        d = (struct dialled){ .fd = -1 };
        c = dialer(&p, tls, &d);
        (void)net_dial_start(net_dialer_connect_dialer(c), t.loop, STR("127.0.0.1"), t.port, 5000, on_dialled, &d);
        test_turn(t.loop, &d.done, 8000);
        CHECK(d.done && d.fd < 0);
        CHECK_INT(d.err.code, ERR_UNAVAILABLE);
        if (i == 1) {
            CHECK(str_find(str_c(d.err.msg), STR("certificate is refused")) > 0);
            CHECK_INT(d.stages[NET_DIAL_NO_PROXY], 1);
        }
        net_dialer_connect_free(c);
        net_tls_client_unref(tls);
    }
    test_server_stop(&t);
    proxy_stop(&p);
}

TEST(connect_proxy_that_refuses_or_lies_fails_the_attempt_with_its_words)
{
    static const struct {
        const char *mode, *words;
    } cases[] = {
        { "refuse", "the proxy did not connect to 10.0.0.9:10250: 503: no tunnel to this node" },
        { "late-reason", "502: the agent has left" },
        { "endless", "bytes of headers" },
        { "garbage", "does not speak HTTP CONNECT" },
        { "silent", "did not connect to 10.0.0.9:10250 in time" },
        { "close", "broke the connection off" },
        { "interim", "status 100" },
    };
    struct err err;
    struct loop *l = loop_new(&err);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proxy p;
        proxy_start(&p, cases[i].mode, false);
        struct dialled d = dial_once(l, &p, STR("10.0.0.9"), 10250, 1000);
        CHECK_INT(d.fd, -1);
        CHECK_INT(d.err.code, ERR_UNAVAILABLE);
        if (str_find(str_c(d.err.msg), str_c(cases[i].words)) < 0) {
            printf("  %s: %s\n", cases[i].mode, d.err.msg);
        }
        CHECK(str_find(str_c(d.err.msg), str_c(cases[i].words)) >= 0);
        CHECK_INT(d.stages[NET_DIAL_NO_TARGET], 1);
        proxy_stop(&p);
    }
    loop_free(l);
}

TEST(connect_proxy_that_is_away_is_named_and_nothing_else_is_tried)
{
    struct err err;
    struct loop *l = loop_new(&err);
    struct proxy p = { .path = "/tmp/coracle-test-no-such-socket" };
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    struct dialled d = dial_once(l, &p, STR("127.0.0.1"), t.port, 1000);
    CHECK_INT(d.fd, -1);
    CHECK(str_starts(str_c(d.err.msg), STR("the proxy cannot be reached: ")));
    CHECK_INT(d.stages[NET_DIAL_NO_PROXY], 1);
    test_turn(t.loop, NULL, 20);
    CHECK_INT(t.requests, 0);
    test_server_stop(&t);
    loop_free(l);
}

TEST(connect_proxy_answers_in_pieces_and_bytes_behind_the_answer_are_the_targets)
{
    struct test_server t;
    struct proxy p;
    static const char *const modes[] = { "early", "split" };
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        proxy_start(&p, modes[i], false);
        struct dialled d = dial_once(t.loop, &p, STR("127.0.0.1"), t.port, 3000);
        CHECK_OK(d.fd >= 0, &d.err);
        struct str got = test_exchange(&t, d.fd, STR("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "hello\n", 3000);
        CHECK(str_starts(got, i == 0 ? STR("EARLY HTTP/1.1 200") : STR("HTTP/1.1 200")));
        (void)close(d.fd);
        proxy_stop(&p);
    }
    test_server_stop(&t);
}

TEST(connect_proxy_is_never_asked_for_what_is_no_address)
{
    static const char *const hosts[] = { "", "a b", "a\r\nHost: x", "/run/x.sock", "a/b", "[::1]x" };
    struct err err;
    struct loop *l = loop_new(&err);
    struct proxy p;
    proxy_start(&p, "normal", false);
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct dialled d = dial_once(l, &p, str_c(hosts[i]), 80, 1000);
        CHECK_INT(d.fd, -1);
    }
    CHECK(access(p.log, F_OK) < 0);
    proxy_stop(&p);
    proxy_start(&p, "silent", false);
    struct dialled cancelled = { .fd = -1 };
    struct net_dialer_connect *c = dialer(&p, NULL, &cancelled);
    for (int turns = 0; turns < 4; turns++) { /* cancelled at every stage */
        struct net_dial *n = net_dial_start(net_dialer_connect_dialer(c), l, STR("127.0.0.1"), 1, 1000, on_dialled, &cancelled);
        for (int i = 0; i < turns; i++) {
            loop_turn(l, 5);
        }
        CHECK(!cancelled.done);
        net_dialer_connect_dialer(c)->ops->cancel(n);
    }
    net_dialer_connect_free(c);
    proxy_stop(&p);
    loop_free(l);
}

static bool no_loopback(const struct net_addr *a, void *arg, struct err *err)
{
    ++*(unsigned *)arg;
    return !net_addr_is_local(a) || err_set(err, ERR_FORBIDDEN, "address not allowed");
}

TEST(checked_dialler_refuses_the_address_that_a_name_leads_to)
{
    struct test_server t;
    struct net_dialer_checked checked;
    unsigned asked = 0;
    static const char *const hosts[] = { "127.0.0.1", "localhost", "::ffff:127.0.0.1", "::1" };
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    net_dialer_checked_init(&checked, no_loopback, &asked);
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct dialled d = { .fd = -1 };
        unsigned before = asked;
        (void)net_dial_start(&checked.dialer, t.loop, str_c(hosts[i]), t.port, 3000, on_dialled, &d);
        test_turn(t.loop, &d.done, 5000);
        CHECK(d.done && d.fd < 0);
        CHECK_INT(d.err.code, ERR_FORBIDDEN);
        CHECK_STR_C(str_c(d.err.msg), "address not allowed");
        CHECK(asked > before);
    }
    test_server_stop(&t);
}
