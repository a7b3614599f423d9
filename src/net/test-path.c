#include "net/path.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "net/http-client.h"
#include "net/stream.h"
#include "net/test-certs.h"
#include "net/test-server.h"

struct seen {
    struct net_path_info in, out, listener;
    char in_subject[NET_PATH_SUBJECT_SIZE], own_subject[NET_PATH_SUBJECT_SIZE], out_peer[NET_PATH_SUBJECT_SIZE];
    char error[NET_PATH_ERROR_SIZE + 1];
    unsigned n;
};

static void see(const struct net_path_info *i, void *arg)
{
    struct seen *s = arg;
    s->n++;
    if (i->listener) {
        s->listener = *i;
        (void)!str_to_cstr(i->own_subject, s->own_subject, sizeof(s->own_subject));
    } else if (i->outgoing) {
        s->out = *i;
        (void)!str_to_cstr(i->peer_subject, s->out_peer, sizeof(s->out_peer));
        (void)!str_to_cstr(i->last_error, s->error, sizeof(s->error));
    } else {
        s->in = *i;
        (void)!str_to_cstr(i->peer_subject, s->in_subject, sizeof(s->in_subject));
    }
}

static struct seen look(struct loop *l)
{
    struct seen s = { 0 };
    net_path_each(l, see, &s);
    return s;
}

static void ignore(struct net_stream *s UNUSED, struct str d UNUSED, void *arg UNUSED)
{
}
static const struct net_stream_ops quiet = { .on_data = ignore };

TEST(bytes_of_a_connection_go_to_the_path_it_has_at_the_time_and_stay_when_it_closes)
{
    struct err err;
    struct loop *l = loop_new(&err);
    struct net_stream *pair[2];
    CHECK(net_stream_pair(l, pair) == 0);
    struct net_path_spec spec = { .peer = STR("strangers"), .purpose = STR("API") };
    struct net_path *strangers = net_path_get(l, &spec);
    spec.peer = STR("kubelets");
    struct net_path *kubelets = net_path_get(l, &spec);
    CHECK(strangers != kubelets);
    net_stream_set_ops(pair[0], &quiet, NULL);
    net_stream_set_ops(pair[1], &quiet, NULL);
    net_stream_resume(pair[0]);
    net_stream_set_path(pair[0], strangers);
    net_stream_write_str(pair[1], STR("four"));
    test_turn(l, NULL, 10);
    net_stream_set_path(pair[0], kubelets);
    net_stream_set_path(pair[0], kubelets);
    strangers = net_path_unref(strangers);
    struct seen s = look(l);
    CHECK_INT(s.n, 2);
    CHECK_STR_C(s.in.peer, "kubelets");
    CHECK_INT(s.in.open, 1);
    CHECK_INT(s.in.opened, 1);
    CHECK_INT(s.in.bytes_in, 0);
    CHECK_INT(s.in.transport, NET_TRANSPORT_UNIX);
    net_stream_write_str(pair[1], STR("seven b"));
    test_turn(l, NULL, 10);
    CHECK_INT(look(l).in.bytes_in, 7);
    net_stream_free(pair[0]);
    net_stream_free(pair[1]);
    s = look(l);
    CHECK_INT(s.in.bytes_in, 7);
    CHECK_INT(s.in.open, 0);
    CHECK_INT(s.in.transport, NET_TRANSPORT_UNIX);
    loop_free(l);
    net_path_unref(kubelets); /* outlives the loop */
}

static unsigned answers, failures;
static void on_response(struct http_call *c UNUSED, const struct http_response *r UNUSED, void *arg UNUSED)
{
}
static void on_end(struct http_call *c UNUSED, const struct http_headers *t UNUSED, void *arg UNUSED)
{
    answers++;
}
static void on_error(struct http_call *c UNUSED, const struct http_call_error *e UNUSED, void *arg UNUSED)
{
    failures++;
}
static const struct http_call_ops call_ops = { .on_response = on_response, .on_end = on_end, .on_error = on_error };

TEST(path_of_a_client_knows_tls_version_cipher_and_both_certificates)
{
    struct test_server t;
    struct err err;
    const struct test_pki *pki = test_pki();
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct net_tls_client_config cc = { .ca_pem = str_c(pki->ca.cert_pem), .identity = test_identity(&pki->client),
                                        .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    struct net_tls_client *tls = net_tls_client_new(&cc, &err);
    struct net_path_spec spec = { .outgoing = true, .peer = STR("kubelet/node-1"), .purpose = STR("logs"), .address = STR("127.0.0.1:1"),
                                  .authn = "client certificate" };
    struct net_path *path = net_path_get(t.loop, &spec);
    struct http_client_config hc = { .host = STR("localhost"), .port = t.port, .tls = tls, .path = path };
    struct http_client *c = http_client_new(t.loop, &hc, &err);
    answers = failures = 0;
    (void)http_client_start(c, &(struct http_call_config){ .method = STR("GET"), .target = STR("/hello") }, &call_ops, NULL);
    test_turn(t.loop, &answers, 2000);
    CHECK_INT(answers, 1);
    struct seen s = look(t.loop);
    CHECK_INT(s.n, 2);
    CHECK_STR_C(s.out.peer, "kubelet/node-1");
    CHECK_STR_C(str_c(s.out.authn), "client certificate");
    CHECK_INT(s.out.transport, NET_TRANSPORT_TLS);
    CHECK_STR_C(str_c(s.out.tls_version), "TLSv1.3");
    CHECK_STR_C(str_c(s.out.cipher), "TLS_AES_128_GCM_SHA256");
    CHECK_STR_C(str_c(s.out.http), "HTTP/2");
    CHECK_INT(s.out.peer_state, NET_PEER_VERIFIED);
    CHECK(s.out.peer_not_after > 0 && s.out.own_not_after > 0);
    CHECK(s.out.bytes_in > 500 && s.out.bytes_out > 500);
    CHECK(strstr(s.out_peer, "CN=") != NULL);
    /* The server's side of the same connection belongs to the listener. */
    CHECK_INT(s.listener.open, 1);
    CHECK_INT(s.listener.transport, NET_TRANSPORT_TLS);
    CHECK_INT(s.listener.peer_state, NET_PEER_VERIFIED);
    CHECK(s.listener.asks_certificates);
    CHECK_STR_C(str_c(s.own_subject), s.out_peer);
    http_client_free(c);
    test_turn(t.loop, NULL, 20);
    s = look(t.loop);
    CHECK_INT(s.out.open, 0);
    CHECK_STR_C(str_c(s.out.tls_version), "TLSv1.3");
    CHECK_INT(s.out.opened, 1);
    net_path_unref(path);
    net_tls_client_unref(tls);
    test_server_stop(&t);
}

TEST(path_of_a_client_keeps_why_its_last_connection_failed)
{
    struct test_server t;
    struct err err;
    const struct test_pki *pki = test_pki();
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct net_tls_client_config cc = { .ca_pem = str_c(pki->other_ca.cert_pem), .alpn = NET_ALPN_H1 };
    struct net_tls_client *tls = net_tls_client_new(&cc, &err);
    struct http_client_config hc = { .host = STR("localhost"), .port = t.port, .tls = tls };
    struct http_client *c = http_client_new(t.loop, &hc, &err);
    answers = failures = 0;
    (void)http_client_start(c, &(struct http_call_config){ .method = STR("GET"), .target = STR("/hello") }, &call_ops, NULL);
    test_turn(t.loop, &failures, 2000);
    CHECK_INT(failures, 1);
    test_turn(t.loop, NULL, 50);
    struct seen s = look(t.loop);
    CHECK_INT(s.out.failed, 1);
    CHECK(strstr(s.error, "certificate is refused") != NULL);
    CHECK(s.out.error_age_ms < 2000);
    CHECK_INT(s.listener.failed, 1);
    http_client_free(c);
    net_tls_client_unref(tls);
    test_server_stop(&t);
}

TEST(paths_are_bounded_and_those_in_use_stay)
{
    struct err err;
    struct loop *l = loop_new(&err);
    struct net_path *held = net_path_get(l, &(struct net_path_spec){ .outgoing = true, .peer = STR("held") });
    for (int i = 0; i < NET_MAX_PATHS + 10; i++) {
        char peer[32];
        (void)snprintf(peer, sizeof(peer), "pod-%d", i);
        (void)net_path_unref(net_path_get(l, &(struct net_path_spec){ .outgoing = true, .peer = str_c(peer) }));
    }
    CHECK_INT(look(l).n, NET_MAX_PATHS);
    struct net_path *again = net_path_get(l, &(struct net_path_spec){ .outgoing = true, .peer = STR("held") });
    CHECK(again == held);
    net_path_unref(again);
    net_path_unref(held);
    loop_free(l);
}
