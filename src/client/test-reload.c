/* Credentials that change on disk while calls are under way. */
#include "base/test.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fs.h"
#include "client/client-private.h"
#include "net/addr.h"
#include "net/http-server.h"
#include "net/loop.h"
#include "net/tls.h"
#include "pki/cert.h"

struct fixture {
    char dir[32];
    struct loop *loop;
    struct http_server *server;
    struct net_tls_server *tls;
    struct pki_key *ca_key;
    struct pki_cert *ca;
    struct client *client;
    uint16_t port;
    struct http_stream *watch; /* the answer that stays open */
    char who[64], watched[64];
    unsigned answers, ends;
    bool failed;
};

static void put(struct fixture *f, const char *name, struct str text)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    CHECK_OK(fs_write_atomic(path, text, 0600, &err), &err);
}

/* A certificate in <name>.crt and its key in <name>.key. */
static void issue(struct fixture *f, const char *cn, unsigned usage, struct buf *cert_pem, struct buf *key_pem)
{
    struct err err;
    const struct str ips[] = { STR("127.0.0.1") };
    struct pki_cert_spec spec = { .names = { .cn = str_c(cn), .ips = ips, .n_ips = 1 }, .usages = usage,
                                  .not_before = clock_real_s() - 60, .not_after = clock_real_s() + 3600 };
    struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *cert = pki_cert_sign(f->ca, f->ca_key, key, &spec, &err);
    CHECK(cert);
    buf_init(cert_pem, 65536);
    buf_init(key_pem, 65536);
    pki_cert_write_pem(cert, cert_pem);
    CHECK(pki_key_write_private(key, key_pem));
    pki_cert_unref(cert);
    pki_key_unref(key);
}

/* GET /who: the peer's name; GET /version?watch: its name, and the answer stays open. */
static void on_request(struct http_stream *s, void *arg)
{
    struct fixture *f = arg;
    const struct http_request *r = http_stream_request(s);
    struct pki_cert_info info = { .names.cn = STR_INIT("nobody") };
    if (r->peer && r->peer->state == NET_PEER_VERIFIED) {
        struct err err;
        struct pki_cert *c = pki_cert_of_der(r->peer->chain[0], &err);
        CHECK(c && pki_cert_inspect(c, http_stream_arena(s), &info, &err));
        pki_cert_unref(c);
    }
    struct net_chunk body = net_chunk_copy(info.names.cn);
    if (str_find(r->target, STR("watch")) >= 0) {
        http_stream_respond(s, 200, NULL, 0, -1);
        http_stream_write(s, &body, 1);
        f->watch = s;
        return;
    }
    http_stream_reply(s, 200, NULL, 0, &body, 1);
    http_stream_release(s);
}

static void on_who(void *data, const struct client_answer *answer)
{
    struct fixture *f = data;
    f->failed = answer->err != NULL;
    snprintf(f->who, sizeof(f->who), "%.*s", STR_ARG(answer->body));
    f->answers++;
}

static void on_watch_data(void *data, struct str bytes)
{
    struct fixture *f = data;
    size_t n = strlen(f->watched);
    snprintf(f->watched + n, sizeof(f->watched) - n, "%.*s", STR_ARG(bytes));
}

static void on_watch_end(void *data, const struct client_answer *answer UNUSED)
{
    ((struct fixture *)data)->ends++;
}

static void turns(struct fixture *f, unsigned ms)
{
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until) {
        loop_turn(f->loop, 5);
    }
}

static const char *who(struct fixture *f)
{
    unsigned before = f->answers;
    client_raw(f->client, STR("GET"), STR("/who"), STR_NULL, STR_NULL, on_who, f);
    for (int i = 0; i < 400 && f->answers == before; i++) {
        loop_turn(f->loop, 5);
    }
    return f->answers == before ? "no answer" : f->failed ? "failed" : f->who;
}

static void start(struct fixture *f)
{
    struct err err;
    struct net_addr addr;
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    struct buf cert, key, ca;
    *f = (struct fixture){ .dir = "/tmp/c-reload-XXXXXX" };
    CHECK(mkdtemp(f->dir) != NULL);
    struct pki_cert_spec spec = { .names = { .cn = STR("ca") }, .ca = true, .path_len = -1, .not_before = clock_real_s() - 60,
                                  .not_after = clock_real_s() + 7200 };
    f->ca_key = pki_key_generate(PKI_KEY_P256, 0, &err);
    f->ca = pki_cert_self_sign(f->ca_key, &spec, &err);
    buf_init(&ca, 65536);
    pki_cert_write_pem(f->ca, &ca);
    put(f, "ca.crt", buf_str(&ca));
    f->loop = loop_new(&err);
    issue(f, "server", PKI_USAGE_SERVER_AUTH, &cert, &key);
    const struct net_tls_server_config tls = { .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) },
                                               .client_ca_pem = buf_str(&ca), .alpn = NET_ALPN_H2 | NET_ALPN_H1 };
    f->tls = net_tls_server_new(&tls, &err);
    const struct http_server_config http = { .on_request = on_request, .arg = f };
    f->server = http_server_new(f->loop, &http, &err);
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), 0, &addr));
    int fd = net_listen(&addr, 0600, &err);
    CHECK(fd >= 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    f->port = ntohs(in.sin_port);
    CHECK_OK(http_server_listen(f->server, fd, f->tls, NULL, &err), &err);
    buf_deinit(&cert);
    buf_deinit(&key);
    buf_deinit(&ca);
}

static void stop(struct fixture *f)
{
    struct err err;
    client_free(f->client);
    if (f->watch) {
        http_stream_release(f->watch);
    }
    http_server_free(f->server);
    net_tls_server_unref(f->tls);
    loop_free(f->loop);
    pki_cert_unref(f->ca);
    pki_key_unref(f->ca_key);
    CHECK(fs_remove_tree(f->dir, &err));
}

static void make_client(struct fixture *f)
{
    struct arena a;
    struct err err;
    struct client_config config;
    struct buf b;
    char path[128];
    snprintf(path, sizeof(path), "%s/kubeconfig", f->dir);
    buf_init(&b, 65536);
    buf_printf(&b,
               "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
               "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:%u', certificate-authority: ca.crt}}]\n"
               "users: [{name: u, user: {client-certificate: me.crt, client-key: me.key}}]\n",
               f->port);
    put(f, "kubeconfig", buf_str(&b));
    buf_deinit(&b);
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(kubeconfig_read(&a, path, STR_NULL, &config, &err), &err);
    const struct client_options options = { .user_agent = "test" };
    f->client = client_new(f->loop, &config, &options, &err);
    CHECK_OK(f->client != NULL, &err);
    arena_deinit(&a);
}

static void become(struct fixture *f, const char *cn)
{
    struct buf cert, key;
    issue(f, cn, PKI_USAGE_CLIENT_AUTH, &cert, &key);
    put(f, "me.crt", buf_str(&cert));
    put(f, "me.key", buf_str(&key));
    buf_deinit(&cert);
    buf_deinit(&key);
}

TEST(a_renewed_certificate_is_used_by_new_calls_while_a_watch_goes_on)
{
    struct fixture f;
    start(&f);
    become(&f, "alice");
    make_client(&f);
    CHECK_STR_C(str_c(who(&f)), "alice");
    /* A watch: any resource will do, the server looks at the query alone. */
    const struct client_target t = { .resource = api_resource_find(STR_EMPTY, STR("v1"), STR("nodes")), .query = STR("watch=1") };
    CHECK(client_stream(f.client, &t, on_watch_data, on_watch_end, &f) != NULL);
    turns(&f, 100);
    CHECK_STR_C(str_c(f.watched), "alice");
    become(&f, "bob");
    turns(&f, 400);
    CHECK_STR_C(str_c(who(&f)), "bob");
    struct net_chunk more = net_chunk_copy(STR(" goes on"));
    http_stream_write(f.watch, &more, 1);
    turns(&f, 100);
    CHECK_STR_C(str_c(f.watched), "alice goes on");
    CHECK(f.ends == 0);
    stop(&f);
}

TEST(half_of_a_pair_keeps_the_old_one_until_the_other_half_comes)
{
    struct fixture f;
    struct buf cert, key;
    start(&f);
    become(&f, "alice");
    make_client(&f);
    issue(&f, "carol", PKI_USAGE_CLIENT_AUTH, &cert, &key);
    put(&f, "me.crt", buf_str(&cert));
    turns(&f, 400);
    CHECK_STR_C(str_c(who(&f)), "alice");
    put(&f, "me.key", buf_str(&key));
    turns(&f, 400);
    CHECK_STR_C(str_c(who(&f)), "carol");
    buf_deinit(&cert);
    buf_deinit(&key);
    stop(&f);
}

TEST(calls_of_a_client_that_is_held_wait_for_its_certificate)
{
    struct fixture f;
    start(&f);
    become(&f, "alice");
    make_client(&f);
    client_hold(f.client, true);
    client_raw(f.client, STR("GET"), STR("/who"), STR_NULL, STR_NULL, on_who, &f);
    turns(&f, 300);
    CHECK(f.answers == 0);
    become(&f, "dora");
    struct err err;
    CHECK_OK(client_reload(f.client, &err), &err);
    client_hold(f.client, false);
    turns(&f, 400);
    CHECK(f.answers == 1 && !f.failed);
    CHECK_STR_C(str_c(f.who), "dora");
    stop(&f);
}
