#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "base/time-floor.h"
#include "net/http-client.h"
#include "net/test-certs.h"
#include "net/test-server.h"

/* What a call has met. */
struct seen {
    unsigned over; /* ended, failed or upgraded */
    int status, version;
    int64_t length;
    size_t body_bytes;
    char body[256];
    char trailer[32];
    bool ended, failed, pause_at_once;
    struct http_call_error error;
    struct net_stream *upgraded;
    struct http_call *call;
    bool cancel_on_body;
    bool drained;
};

static void on_response(struct http_call *c, const struct http_response *r, void *arg)
{
    struct seen *s = arg;
    s->status = r->status;
    s->version = r->version;
    s->length = r->content_length;
    for (size_t i = 0; i < r->headers.n; i++) { /* whole structs: a proxy sends them on as they are */
        CHECK(r->headers.items[i].name.len > 0 && !r->headers.items[i].once);
    }
    if (s->pause_at_once) {
        http_call_pause(c);
    }
}

static void on_body(struct http_call *c, struct str data, void *arg)
{
    struct seen *s = arg;
    for (size_t i = 0; i < data.len && s->body_bytes + i + 1 < sizeof(s->body); i++) {
        s->body[s->body_bytes + i] = data.ptr[i];
    }
    s->body_bytes += data.len;
    if (s->cancel_on_body) {
        http_call_cancel(c);
        s->over = 1;
    }
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers, void *arg)
{
    struct seen *s = arg;
    CHECK(!s->over);
    (void)!str_to_cstr(http_header_get(trailers, STR("x-sum")), s->trailer, sizeof(s->trailer));
    s->ended = true;
    s->over = 1;
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct seen *s = arg;
    CHECK(!s->over);
    s->error = *e;
    s->failed = true;
    s->over = 1;
}

static void on_drain(struct http_call *c UNUSED, void *arg)
{
    struct seen *s = arg;
    s->drained = true;
}

static void on_upgrade(struct http_call *c UNUSED, const struct http_response *r, struct net_stream *io, void *arg)
{
    struct seen *s = arg;
    s->status = r->status;
    s->upgraded = io;
    s->over = 1;
}

static const struct http_call_ops ops = { on_response, on_body, on_end, on_error, on_drain, on_upgrade };

enum kind { PLAIN_H1, PLAIN_H2, TLS_H1, TLS_AUTO, KINDS };

struct fixture {
    struct test_server server;
    struct http_client *client;
    struct net_tls_client *tls;
};

static struct net_tls_client *client_tls(const struct test_cert *cert, struct str ca)
{
    struct err err;
    struct net_tls_client_config c = { .ca_pem = ca, .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    if (cert) {
        c.identity = test_identity(cert);
    }
    struct net_tls_client *t = net_tls_client_new(&c, &err);
    CHECK_OK(t, &err);
    return t;
}

static void start(struct fixture *f, enum kind kind, const struct test_server_config *server, const struct http_client_config *config)
{
    struct err err;
    struct test_server_config sc = server ? *server : (struct test_server_config){ 0 };
    struct http_client_config c = config ? *config : (struct http_client_config){ 0 };
    *f = (struct fixture){ 0 };
    sc.tls = kind == TLS_H1 || kind == TLS_AUTO;
    sc.listen = true;
    test_server_start(&f->server, &sc);
    c.host = STR("127.0.0.1");
    c.port = f->server.port;
    c.protocol = kind == PLAIN_H2 ? HTTP_CLIENT_H2_PRIOR : kind == TLS_H1 ? HTTP_CLIENT_H1_ONLY : HTTP_CLIENT_AUTO;
    if (sc.tls) {
        f->tls = client_tls(NULL, str_c(test_pki()->ca.cert_pem));
        c.tls = f->tls;
    }
    f->client = http_client_new(f->server.loop, &c, &err);
    CHECK_OK(f->client, &err);
}

static void stop(struct fixture *f)
{
    http_client_free(f->client);
    net_tls_client_unref(f->tls);
    test_turn(f->server.loop, NULL, 5);
    test_server_stop(&f->server);
}

static void call(struct fixture *f, struct seen *s, struct http_call_config config)
{
    *s = (struct seen){ .pause_at_once = s->pause_at_once, .cancel_on_body = s->cancel_on_body };
    s->call = http_client_start(f->client, &config, &ops, s);
    CHECK(!s->over);
}

static void get(struct fixture *f, struct seen *s, const char *target)
{
    call(f, s, (struct http_call_config){ .method = STR("GET"), .target = str_c(target) });
    test_turn(f->server.loop, &s->over, 5000);
    if (s->failed) {
        printf("  %s: %s\n", target, s->error.err.msg);
    }
}

TEST(client_gets_over_every_protocol)
{
    static const int versions[KINDS] = { 11, 20, 11, 20 };
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        for (int i = 0; i < 3; i++) {
            get(&f, &s, "/hello");
            CHECK(s.ended);
            CHECK_INT(s.status, 200);
            CHECK_INT(s.version, versions[k]);
            CHECK_INT(s.length, 6);
            CHECK_STR_C(str_c(s.body), "hello\n");
        }
        CHECK_INT(http_client_connections(f.client), 1);
        get(&f, &s, "/empty");
        CHECK(s.ended && s.status == 204 && s.body_bytes == 0);
        get(&f, &s, "/trailers");
        CHECK(s.ended);
        CHECK_STR_C(str_c(s.trailer), "42");
        get(&f, &s, "/big?n=3000000");
        CHECK(s.ended && s.body_bytes == 3000000);
        get(&f, &s, "/big?n=3000000&chunked=1");
        CHECK(s.ended && s.body_bytes == 3000000);
        call(&f, &s, (struct http_call_config){ .method = STR("HEAD"), .target = STR("/hello") });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.ended && s.body_bytes == 0 && s.length == 6);
        CHECK_INT(http_client_connections(f.client), 1);
        stop(&f);
    }
}

TEST(client_sends_headers_and_bodies)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        struct http_header h = { STR("X-Test"), STR("yes") };
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/headers"), .headers = &h, .n_headers = 1 });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK_STR_C(str_c(s.body), "yes");
        struct net_chunk chunks[2] = { net_chunk_copy(STR("some ")), net_chunk_static(STR("text")) };
        call(&f, &s, (struct http_call_config){ .method = STR("POST"), .target = STR("/collect"), .body = chunks, .n_body = 2 });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK_STR_C(str_c(s.body), "some text");
        call(&f, &s, (struct http_call_config){ .method = STR("POST"), .target = STR("/collect") });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.ended && s.body_bytes == 0);
        stop(&f);
    }
}

TEST(client_streams_a_body_while_the_answer_comes)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("POST"), .target = STR("/echo"), .streaming = true,
                                                .content_length = -1 });
        size_t sent = 0;
        for (int i = 0; i < 100; i++) {
            struct net_chunk c = net_chunk_copy(STR("0123456789"));
            http_call_write(s.call, &c, 1);
            sent += 10;
            loop_turn(f.server.loop, 1);
        }
        test_turn(f.server.loop, NULL, 20);
        CHECK_INT(s.status, 200);
        CHECK_INT(s.body_bytes, sent);
        CHECK(!s.over);
        http_call_end(s.call);
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.ended);
        CHECK_INT(s.body_bytes, sent);
        stop(&f);
    }
}

TEST(client_upload_larger_than_every_window_passes_with_back_pressure)
{
    static const char block[16384];
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("POST"), .target = STR("/echo"), .streaming = true,
                                                .content_length = -1 });
        size_t left = 5000000, most = 0;
        while (left > 0) {
            while (left > 0 && http_call_queued(s.call) < 262144) {
                struct net_chunk c = net_chunk_static(str_n(block, MIN(left, sizeof(block))));
                left -= c.bytes.len;
                http_call_write(s.call, &c, 1);
            }
            most = MAX(most, http_call_queued(s.call));
            loop_turn(f.server.loop, 10);
            CHECK(!s.over);
        }
        http_call_end(s.call);
        test_turn(f.server.loop, &s.over, 5000);
        CHECK(s.ended);
        CHECK_INT(s.body_bytes, 5000000);
        CHECK(most < 300000);
        CHECK(s.drained);
        stop(&f);
    }
}

TEST(client_paused_call_holds_little_and_gets_all_after_resume)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { .pause_at_once = true };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/big?n=20000000"), .stall_ms = 200 });
        test_turn(f.server.loop, NULL, 300);
        CHECK_INT(s.body_bytes, 0);
        CHECK(!s.over);
        CHECK_INT(f.server.open, 1);
        http_call_resume(s.call);
        test_turn(f.server.loop, &s.over, 5000);
        CHECK(s.ended);
        CHECK_INT(s.body_bytes, 20000000);
        stop(&f);
    }
}

TEST(client_cancel_reaches_the_server)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hold") });
        test_turn(f.server.loop, NULL, 50);
        CHECK_INT(s.status, 200);
        http_call_cancel(s.call);
        test_turn(f.server.loop, &f.server.cancelled, 1000);
        CHECK_INT(f.server.cancelled, 1);
        s.cancel_on_body = true;
        get(&f, &s, "/big?n=30000000");
        test_turn(f.server.loop, NULL, 30);
        CHECK_INT(f.server.cancelled, 2);
        s.cancel_on_body = false;
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hello") });
        http_call_cancel(s.call);
        get(&f, &s, "/hello");
        CHECK(s.ended);
        stop(&f);
    }
}

TEST(client_timeouts_say_what_was_late)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/never"), .response_ms = 30 });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.failed && s.error.sent && !s.error.responded);
        CHECK_INT(s.error.err.code, ERR_TIMEOUT);
        CHECK_STR_C(str_c(s.error.err.msg), "GET /never: no answer in time");
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hold"), .stall_ms = 30, .response_ms = 500 });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.failed && s.error.responded);
        CHECK_STR_C(str_c(s.error.err.msg), "GET /hold: the answer stalled");
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hold"), .total_ms = 30 });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK_STR_C(str_c(s.error.err.msg), "GET /hold: not complete in time");
        get(&f, &s, "/hello");
        CHECK(s.ended);
        stop(&f);
    }
}

TEST(client_names_the_reason_when_it_cannot_connect)
{
    struct fixture f;
    struct seen s = { 0 };
    struct err err;
    start(&f, PLAIN_H1, NULL, NULL);
    http_client_free(f.client);
    /* A port that was just free: listened on and closed. */
    struct net_addr a;
    CHECK(net_addr_parse(STR("127.0.0.1:0"), &a));
    int fd = net_listen(&a, 0, &err);
    CHECK(fd >= 0);
    socklen_t len = sizeof(struct sockaddr_un);
    CHECK(getsockname(fd, &a.sa, &len) == 0);
    (void)close(fd);
    struct http_client_config c = { .host = STR("127.0.0.1"), .port = net_addr_port(&a) };
    f.client = http_client_new(f.server.loop, &c, &err);
    call(&f, &s, (struct http_call_config){ .method = STR("POST"), .target = STR("/x") });
    test_turn(f.server.loop, &s.over, 1000);
    CHECK(s.failed && !s.error.sent && !s.error.tls);
    CHECK_INT(s.error.err.code, ERR_UNAVAILABLE);
    CHECK(str_find(str_c(s.error.err.msg), STR("Connection refused")) > 0);
    call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/a b") });
    test_turn(f.server.loop, &s.over, 1000);
    CHECK_INT(s.error.err.code, ERR_INVALID);
    http_client_free(f.client);
    c.host = STR("/nonexistent/socket");
    c.port = 0;
    f.client = http_client_new(f.server.loop, &c, &err);
    call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/x") });
    test_turn(f.server.loop, &s.over, 1000);
    CHECK(str_find(str_c(s.error.err.msg), STR("unix:/nonexistent/socket: No such file")) > 0);
    stop(&f);
}

static void expect_tls_failure(struct fixture *f, const struct net_tls_client_config *tls, const char *host, const char *reason)
{
    struct err err;
    struct seen s = { 0 };
    http_client_free(f->client);
    net_tls_client_unref(f->tls);
    f->tls = net_tls_client_new(tls, &err);
    CHECK_OK(f->tls, &err);
    struct http_client_config c = { .host = str_c(host), .port = f->server.port, .tls = f->tls };
    f->client = http_client_new(f->server.loop, &c, &err);
    call(f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/who") });
    test_turn(f->server.loop, &s.over, 3000);
    if (!reason) {
        CHECK(s.ended);
        return;
    }
    CHECK(s.failed && s.error.tls && !s.error.sent);
    if (str_find(str_c(s.error.err.msg), str_c(reason)) < 0) {
        printf("  %s\n", s.error.err.msg);
    }
    CHECK(str_find(str_c(s.error.err.msg), str_c(reason)) >= 0);
}

TEST(client_verifies_chain_name_and_address)
{
    struct fixture f;
    const struct test_pki *pki = test_pki();
    struct str ca = str_c(pki->ca.cert_pem), other = str_c(pki->other_ca.cert_pem);
    start(&f, TLS_AUTO, NULL, NULL);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = other }, "127.0.0.1", "local issuer certificate");
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = ca, .server_name = STR("wrong.example") }, "127.0.0.1",
                       "hostname mismatch");
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = ca, .server_name = STR("10.9.8.7") }, "127.0.0.1",
                       "IP address mismatch");
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = ca, .server_name = STR("a.b.test.example") }, "127.0.0.1",
                       "hostname mismatch");
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = ca, .server_name = STR("a.test.example") }, "127.0.0.1",
                       NULL);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = ca }, "127.0.0.1", NULL);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = other, .insecure_skip_verify = true }, "127.0.0.1", NULL);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .insecure_skip_verify = true }, "localhost", NULL);
    stop(&f);
}

/* Serves with a certificate of the CA that is expired or not valid yet. */
static void serve_with(struct fixture *f, bool expired, bool early)
{
    struct test_cert leaf;
    struct err err;
    test_cert_make(&leaf, &(struct test_cert_spec){ .cn = "s", .san = "IP:127.0.0.1", .eku = "serverAuth", .expired = expired, .early = early },
                   &test_pki()->ca);
    struct net_tls_server_config sc = { .identity = test_identity(&leaf), .client_ca_pem = str_c(test_pki()->ca.cert_pem),
                                        .alpn = NET_ALPN_H2 };
    CHECK_OK(net_tls_server_reload(f->server.tls, &sc, &err), &err);
    test_cert_free(&leaf);
}

TEST(certificates_outside_of_their_time_are_refused)
{
    struct fixture f;
    const struct net_tls_client_config tls = { .ca_pem = str_c(test_pki()->ca.cert_pem) };
    start(&f, TLS_AUTO, NULL, NULL);
    serve_with(&f, true, false);
    expect_tls_failure(&f, &tls, "127.0.0.1", "certificate has expired");
    serve_with(&f, false, true);
    expect_tls_failure(&f, &tls, "127.0.0.1", "certificate is not yet valid");
    stop(&f);
}

TEST(while_the_clock_is_not_set_only_what_certainly_has_expired_is_refused)
{
    struct fixture f;
    struct seen s = { 0 };
    const struct test_pki *pki = test_pki();
    const struct net_tls_client_config tls = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->client) };
    start(&f, TLS_AUTO, NULL, NULL);
    time_floor_test(-clock_real_s()); /* 1970 */
    time_floor_test_synchronised(0);
    /* By this clock nothing is valid yet, the CA included; and what is verified says how late it is at least. */
    serve_with(&f, false, false);
    expect_tls_failure(&f, &tls, "127.0.0.1", NULL);
    CHECK(time_floor_now_s() >= clock_real_s() - 7300);
    get(&f, &s, "/who");
    CHECK(str_starts(str_c(s.body), STR("verified ")));
    /* An earlier run wrote down a time at which this one had ended. */
    time_floor_raise(clock_real_s() - 60);
    serve_with(&f, true, false);
    expect_tls_failure(&f, &tls, "127.0.0.1", "certificate has expired (the clock is not set)");
    serve_with(&f, false, false);
    struct net_tls_client_config late = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->expired_client) };
    expect_tls_failure(&f, &late, "127.0.0.1", NULL);
    get(&f, &s, "/who");
    CHECK(str_starts(str_c(s.body), STR("bad ")) && str_find(str_c(s.body), STR("expired")) > 0);
    time_floor_test_synchronised(-1);
    time_floor_test(0);
    stop(&f);
}

TEST(client_certificate_is_shown_and_renewed)
{
    struct fixture f;
    struct seen s = { 0 };
    struct err err;
    const struct test_pki *pki = test_pki();
    start(&f, TLS_AUTO, NULL, NULL);
    get(&f, &s, "/who");
    CHECK_STR_C(str_c(s.body), "none - 0 20\n");
    struct net_tls_client_config c = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->client),
                                       .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    CHECK_OK(net_tls_client_reload(f.tls, &c, &err), &err);
    http_client_renew(f.client);
    get(&f, &s, "/who");
    CHECK_STR_C(str_c(s.body), "verified - 2 20\n");
    stop(&f);
}

TEST(a_server_certificate_is_no_client_certificate)
{
    struct fixture f;
    struct seen s = { 0 };
    struct err err;
    const struct test_pki *pki = test_pki();
    start(&f, TLS_AUTO, NULL, NULL);
    struct net_tls_client_config c = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->server),
                                       .alpn = NET_ALPN_H2 };
    CHECK_OK(net_tls_client_reload(f.tls, &c, &err), &err);
    get(&f, &s, "/who");
    CHECK(str_starts(str_c(s.body), STR("bad ")));
    CHECK(str_find(str_c(s.body), STR("purpose")) > 0);
    stop(&f);
}

TEST(an_intermediate_ca_in_the_bundle_is_an_anchor)
{
    struct test_cert root = { 0 }, inter = { 0 }, leaf = { 0 };
    struct fixture f;
    struct err err;
    start(&f, TLS_AUTO, NULL, NULL);
    test_cert_make(&root, &(struct test_cert_spec){ .cn = "root", .ca = true }, NULL);
    test_cert_make(&inter, &(struct test_cert_spec){ .cn = "inter", .ca = true }, &root);
    test_cert_make(&leaf, &(struct test_cert_spec){ .cn = "leaf", .san = "IP:127.0.0.1", .eku = "serverAuth" }, &inter);
    struct net_tls_server_config sc = { .identity = test_identity(&leaf), .alpn = NET_ALPN_H2 };
    CHECK_OK(net_tls_server_reload(f.server.tls, &sc, &err), &err);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = str_c(inter.cert_pem) }, "127.0.0.1", NULL);
    expect_tls_failure(&f, &(struct net_tls_client_config){ .ca_pem = str_c(root.cert_pem) }, "127.0.0.1", "issuer certificate");
    test_cert_free(&root);
    test_cert_free(&inter);
    test_cert_free(&leaf);
    stop(&f);
}

TEST(client_upgrades_on_a_connection_of_its_own)
{
    for (enum kind k = 0; k < KINDS; k++) {
        if (k == PLAIN_H2) {
            continue;
        }
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        get(&f, &s, "/hello");
        struct http_header h = { STR("Upgrade"), STR("shout") };
        struct http_call_config c = { .method = STR("POST"), .target = STR("/upgrade"), .headers = &h, .n_headers = 1, .upgrade = true };
        call(&f, &s, c);
        test_turn(f.server.loop, &s.over, 1000);
        CHECK_INT(s.status, 101);
        CHECK(s.upgraded);
        net_stream_free(s.upgraded);
        c.target = STR("/hello");
        call(&f, &s, c);
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.ended && s.status == 200);
        CHECK_INT(http_client_connections(f.client), 1);
        stop(&f);
    }
}

TEST(client_opens_more_connections_when_the_streams_of_one_are_used_up)
{
    struct fixture f;
    static struct seen s[40];
    start(&f, TLS_AUTO, &(struct test_server_config){ .http = { .max_streams = 10 } }, NULL);
    for (int i = 0; i < 40; i++) {
        s[i] = (struct seen){ 0 };
        call(&f, &s[i], (struct http_call_config){ .method = STR("GET"), .target = STR("/hold") });
    }
    test_turn(f.server.loop, NULL, 300);
    CHECK_INT(f.server.n_held, 40);
    CHECK(http_client_connections(f.client) >= 4 && http_client_connections(f.client) <= 6);
    struct seen more = { 0 };
    get(&f, &more, "/hello");
    CHECK(more.ended);
    stop(&f);
}

TEST(client_uses_one_http1_connection_for_each_call_up_to_its_limit)
{
    struct fixture f;
    static struct seen s[6];
    start(&f, PLAIN_H1, NULL, &(struct http_client_config){ .max_connections = 4 });
    for (int i = 0; i < 6; i++) {
        s[i] = (struct seen){ 0 };
        call(&f, &s[i], (struct http_call_config){ .method = STR("GET"), .target = STR("/hold") });
    }
    test_turn(f.server.loop, NULL, 100);
    CHECK_INT(http_client_connections(f.client), 4);
    CHECK_INT(f.server.n_held, 4);
    http_call_cancel(s[0].call);
    test_turn(f.server.loop, NULL, 50);
    CHECK_INT(f.server.n_held, 4);
    stop(&f);
}

TEST(client_repeats_a_get_on_a_connection_that_the_server_had_closed)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, &(struct test_server_config){ .http = { .idle_ms = 40 } }, NULL);
        for (int i = 0; i < 3; i++) {
            get(&f, &s, "/hello");
            CHECK(s.ended);
            usleep(60000); /* nobody turns the loop: the client finds out only when it sends */
        }
        stop(&f);
    }
}

TEST(client_hears_that_an_answer_broke_off)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 };
        start(&f, k, NULL, NULL);
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hold") });
        test_turn(f.server.loop, NULL, 50);
        CHECK_INT(f.server.n_held, 1);
        f.server.n_held = 0;
        http_stream_reset(f.server.held[0]);
        http_stream_release(f.server.held[0]);
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.failed && s.error.sent && s.error.responded);
        CHECK_INT(s.error.err.code, ERR_IO);
        stop(&f);
    }
}

TEST(client_survives_a_server_that_drains)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        struct seen s = { 0 }, later = { 0 };
        start(&f, k, NULL, NULL);
        get(&f, &s, "/hello");
        call(&f, &later, (struct http_call_config){ .method = STR("GET"), .target = STR("/later") });
        test_turn(f.server.loop, NULL, 5);
        unsigned drained = 0;
        http_server_drain(f.server.http, 3000, NULL, &drained);
        test_turn(f.server.loop, &later.over, 1000);
        CHECK(later.ended);
        test_turn(f.server.loop, NULL, 1200);
        CHECK_INT(http_server_connections(f.server.http), 0);
        call(&f, &s, (struct http_call_config){ .method = STR("GET"), .target = STR("/hello") });
        test_turn(f.server.loop, &s.over, 1000);
        CHECK(s.failed && !s.error.sent);
        stop(&f);
    }
}

TEST(client_freed_with_calls_under_way_is_silent)
{
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        static struct seen s[3];
        memset(s, 0, sizeof(s));
        start(&f, k, NULL, NULL);
        call(&f, &s[0], (struct http_call_config){ .method = STR("GET"), .target = STR("/hold") });
        call(&f, &s[1], (struct http_call_config){ .method = STR("GET"), .target = STR("/big?n=9000000") });
        test_turn(f.server.loop, NULL, 8);
        call(&f, &s[2], (struct http_call_config){ .method = STR("GET"), .target = STR("/hello") });
        f.client = http_client_free(f.client);
        test_turn(f.server.loop, NULL, 20);
        CHECK(!s[2].over && !s[0].over);
        stop(&f);
    }
}

static void free_client(struct http_call *c UNUSED, struct str data UNUSED, void *arg)
{
    struct fixture *f = arg;
    f->client = http_client_free(f->client);
}

static void ignore_response(struct http_call *c UNUSED, const struct http_response *r UNUSED, void *arg UNUSED)
{
}

TEST(client_may_be_freed_inside_a_callback)
{
    static const struct http_call_ops freeing = { .on_response = ignore_response, .on_body = free_client };
    for (enum kind k = 0; k < KINDS; k++) {
        struct fixture f;
        start(&f, k, NULL, NULL);
        struct http_call_config c = { .method = STR("GET"), .target = STR("/hello") };
        (void)http_client_start(f.client, &c, &freeing, &f);
        test_turn(f.server.loop, NULL, 50);
        CHECK(!f.client);
        stop(&f);
    }
}

TEST(client_speaks_over_a_unix_socket)
{
    struct fixture f;
    struct seen s = { 0 };
    struct err err;
    struct net_addr a;
    char path[64];
    start(&f, PLAIN_H1, NULL, NULL);
    http_client_free(f.client);
    (void)snprintf(path, sizeof(path), "@coracle-test-net-%d", (int)getpid());
    CHECK(net_addr_unix(str_c(path), &a));
    int fd = net_listen(&a, 0600, &err);
    CHECK_OK(fd >= 0, &err);
    CHECK_OK(http_server_listen(f.server.http, fd, NULL, NULL, &err), &err);
    struct http_client_config c = { .host = str_c(path), .protocol = HTTP_CLIENT_H2_PRIOR };
    f.client = http_client_new(f.server.loop, &c, &err);
    get(&f, &s, "/who");
    CHECK_STR_C(str_c(s.body), "none - 0 20\n");
    stop(&f);
}
