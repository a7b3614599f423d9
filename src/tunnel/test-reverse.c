/* Reverse tunnels: hub and agent on loopback, over real TLS; and the socket in front. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/test.h"
#include "pki/cert.h"
#include "tunnel/agent.h"
#include "tunnel/front.h"
#include "tunnel/hub.h"
#include "tunnel/limits.h"
#include "tunnel/test-sshd.h"

struct authority {
    struct pki_key *key;
    struct pki_cert *cert;
};

static void authority_init(struct authority *a, const char *cn)
{
    struct err err;
    struct pki_cert_spec spec = { .names = { .cn = str_c(cn) }, .ca = true, .path_len = 0, .not_before = clock_real_s() - 300,
                                  .not_after = clock_real_s() + 3600 };
    a->key = pki_key_generate(PKI_KEY_P256, 0, &err);
    a->cert = pki_cert_self_sign(a->key, &spec, &err);
    CHECK(a->key && a->cert);
}

static void authority_deinit(struct authority *a)
{
    pki_cert_unref(a->cert);
    pki_key_unref(a->key);
}

static void issue(const struct authority *a, const char *cn, const char *org, bool server, struct buf *cert, struct buf *key)
{
    struct err err;
    struct str orgs[] = { str_c(org) }, ips[] = { STR("127.0.0.1") };
    struct pki_cert_spec spec = {
        .names = { .cn = str_c(cn), .orgs = orgs, .n_orgs = org ? 1 : 0, .ips = ips, .n_ips = server ? 1 : 0 },
        .usages = PKI_USAGE_DIGITAL_SIGNATURE | (server ? PKI_USAGE_SERVER_AUTH : PKI_USAGE_CLIENT_AUTH),
        .not_before = clock_real_s() - 300, .not_after = clock_real_s() + 1800,
    };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *c = pki_cert_sign(a->cert, a->key, k, &spec, &err);
    CHECK_OK(c, &err);
    buf_init(cert, 65536);
    buf_init(key, 65536);
    pki_cert_write_pem(c, cert);
    CHECK(pki_key_write_private(k, key));
    pki_cert_unref(c);
    pki_key_unref(k);
}

struct fixture {
    char dir[64], socket[80];
    struct loop *loop;
    struct authority ca;
    struct hub *hub;
    struct front *front;
    struct tunnel_link *link;
    struct agent *agent;
    struct tunnel_allow allow;
    struct net_tls_client *tls;
    uint16_t port;
    int listen_fd;
    uint16_t target_port;
    int echo[64], n_echo;
};

static struct tunnel_link *find(void *arg, struct str node)
{
    struct fixture *f = arg;
    return str_eq_c(node, "node-1") ? f->link : NULL;
}

static struct tunnel_far *front_open(void *arg, struct str host, uint16_t port, const struct tunnel_far_events *events, void *events_arg,
                                     struct err *err)
{
    struct fixture *f = arg;
    return f->link->ops->open(f->link, host, port, events, events_arg, err);
}

static int front_get(void *arg UNUSED, struct str path, struct buf *b, const char **type UNUSED)
{
    buf_printf(b, "you asked for %.*s\n", STR_ARG(path));
    return 200;
}

static const struct front_ops front_ops = { front_open, front_get };

static struct str file(struct fixture *f, const char *name, struct str content, char path[128])
{
    struct err err;
    (void)snprintf(path, 128, "%s/%s", f->dir, name);
    CHECK_OK(fs_write_atomic(path, content, 0600, &err), &err);
    return str_c(path);
}

static void start_hub(struct fixture *f)
{
    struct buf cert, key, ca;
    struct err err;
    char address[64], p1[128], p2[128], p3[128];
    issue(&f->ca, "tunnel", NULL, true, &cert, &key);
    buf_init(&ca, 65536);
    pki_cert_write_pem(f->ca.cert, &ca);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
    struct hub_config c = { str_c(address), file(f, "tls.crt", buf_str(&cert), p1), file(f, "tls.key", buf_str(&key), p2),
                            file(f, "ca.crt", buf_str(&ca), p3) };
    f->hub = hub_new(f->loop, &c, find, f, &err);
    CHECK_OK(f->hub, &err);
    buf_deinit(&cert);
    buf_deinit(&key);
    buf_deinit(&ca);
}

static void start_agent(struct fixture *f, const struct authority *signer, const char *cn, const char *org)
{
    struct buf cert, key, ca;
    struct err err;
    char server[64];
    issue(signer, cn, org, false, &cert, &key);
    buf_init(&ca, 65536);
    pki_cert_write_pem(f->ca.cert, &ca);
    struct net_tls_client_config tc = { .ca_pem = buf_str(&ca), .alpn = NET_ALPN_H2,
                                        .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) } };
    f->tls = net_tls_client_new(&tc, &err);
    CHECK_OK(f->tls, &err);
    (void)snprintf(server, sizeof(server), "127.0.0.1:%u", f->port);
    struct agent_config ac = { str_c(server), f->tls, &f->allow };
    f->agent = agent_new(f->loop, &ac, &err);
    CHECK_OK(f->agent, &err);
    buf_deinit(&cert);
    buf_deinit(&key);
    buf_deinit(&ca);
}

static void fixture_init(struct fixture *f)
{
    struct err err;
    struct net_addr a;
    memset(f, 0, sizeof(*f));
    log_setup("test", LOG_ERROR);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-tunnel.XXXXXX");
    CHECK(mkdtemp(f->dir));
    (void)snprintf(f->socket, sizeof(f->socket), "%s/sock", f->dir);
    f->loop = loop_new(&err);
    authority_init(&f->ca, "test-ca");
    f->port = test_free_port();
    f->target_port = test_free_port();
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), f->target_port, &a));
    f->listen_fd = net_listen(&a, 0600, &err);
    CHECK(f->listen_fd >= 0);
    f->allow.ports[f->allow.n_ports++] = f->target_port;
    f->link = reverse_link_new(f->loop, STR("node-1"));
    reverse_link_set_kubelet(f->link, STR("127.0.0.1"), f->target_port);
    f->front = front_new(f->loop, str_c(f->socket), 0600, &front_ops, f, &err);
    CHECK_OK(f->front, &err);
    start_hub(f);
}

static void fixture_deinit(struct fixture *f)
{
    struct err err;
    f->front = front_free(f->front);
    agent_free(f->agent);
    hub_free(f->hub);
    tunnel_link_free(f->link);
    net_tls_client_unref(f->tls);
    for (int i = 0; i < 10; i++) {
        loop_turn(f->loop, 1);
    }
    loop_free(f->loop);
    authority_deinit(&f->ca);
    (void)close(f->listen_fd);
    for (int i = 0; i < f->n_echo; i++) {
        (void)close(f->echo[i]);
    }
    (void)!fs_remove_tree(f->dir, &err);
}

/* Turns the loop, and the target, which sends back what it gets; 'echo_limit' connections do not (they are kept). */
static void turn(struct fixture *f, bool echo)
{
    static char buffer[65536];
    loop_turn(f->loop, 1);
    int fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 && f->n_echo < 64) {
        f->echo[f->n_echo++] = fd;
    }
    for (int i = 0; echo && i < f->n_echo; i++) {
        ssize_t n = recv(f->echo[i], buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n == 0) {
            (void)shutdown(f->echo[i], SHUT_WR);
        }
        for (ssize_t at = 0; at < n;) {
            ssize_t w = send(f->echo[i], buffer + at, (size_t)(n - at), MSG_DONTWAIT | MSG_NOSIGNAL);
            at += w > 0 ? w : 0;
            if (w <= 0) {
                loop_turn(f->loop, 1);
            }
        }
    }
}

static bool until_open(struct fixture *f, int ms)
{
    for (uint64_t end = clock_mono_ms() + (uint64_t)ms; f->link->facts.state != TUNNEL_OPEN && clock_mono_ms() < end;) {
        turn(f, false);
    }
    return f->link->facts.state == TUNNEL_OPEN;
}

/* A client of the socket: sends and reads what comes until 'want' bytes, the end, or time. */
static int ask(struct fixture *f, const char *request)
{
    struct net_addr a;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(net_addr_unix(str_c(f->socket), &a) && connect(fd, &a.sa, a.len) == 0);
    CHECK(send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
    return fd;
}

static size_t receive(struct fixture *f, int fd, char *dst, size_t want, int ms)
{
    size_t got = 0;
    for (uint64_t end = clock_mono_ms() + (uint64_t)ms; got < want && clock_mono_ms() < end;) {
        ssize_t n = recv(fd, dst + got, want - got, MSG_DONTWAIT);
        if (n == 0) {
            break;
        }
        got += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            turn(f, true);
        }
    }
    return got;
}

#define OK_HEAD "HTTP/1.1 200 Connection established\r\n\r\n"

TEST(a_node_behind_nat_is_reached_through_the_tunnel_that_it_opened)
{
    enum { TOTAL = 3 << 20 };
    struct fixture f;
    char request[100], head[200];
    static char big[TOTAL], back[TOTAL];
    fixture_init(&f);
    start_agent(&f, &f.ca, "system:node:node-1", "system:nodes");
    CHECK(until_open(&f, 10000));
    CHECK_STR_C(str_c(f.link->facts.trust), "certificate");
    CHECK(strstr(f.link->facts.identity, "system:node:node-1"));
    (void)snprintf(request, sizeof(request), "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: x\r\n\r\nearly", f.target_port);
    int fd = ask(&f, request);
    size_t n = receive(&f, fd, head, sizeof(OK_HEAD) - 1 + 5, 5000);
    CHECK_STR(str_n(head, n), STR(OK_HEAD "early"));
    for (size_t i = 0; i < TOTAL; i++) {
        big[i] = (char)(i * 11 + (i >> 12));
    }
    size_t sent = 0, got = 0;
    for (uint64_t end = clock_mono_ms() + 20000; got < TOTAL && clock_mono_ms() < end;) {
        ssize_t w = sent < TOTAL ? send(fd, big + sent, TOTAL - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
        sent += w > 0 ? (size_t)w : 0;
        ssize_t r = recv(fd, back + got, TOTAL - got, MSG_DONTWAIT);
        got += r > 0 ? (size_t)r : 0;
        turn(&f, true);
    }
    CHECK_INT(got, TOTAL);
    CHECK(memcmp(big, back, TOTAL) == 0);
    /* half close */
    (void)shutdown(fd, SHUT_WR);
    CHECK_INT(receive(&f, fd, head, 1, 5000), 0);
    (void)close(fd);
    for (int i = 0; i < 50; i++) {
        turn(&f, true);
    }
    f.link->ops->refresh(f.link);
    CHECK_INT(f.link->facts.streams, 0);
    CHECK_INT(front_connections(f.front), 0);
    fixture_deinit(&f);
}

TEST(a_slow_reader_of_a_reverse_stream_stops_its_source_and_nobody_else)
{
    struct fixture f;
    char request[100], head[200];
    static char piece[65536];
    fixture_init(&f);
    start_agent(&f, &f.ca, "system:node:node-1", "system:nodes");
    CHECK(until_open(&f, 10000));
    (void)snprintf(request, sizeof(request), "CONNECT 127.0.0.1:%u HTTP/1.1\r\n\r\n", f.target_port);
    int before = f.n_echo;
    int slow = ask(&f, request);
    for (int i = 0; i < 500 && f.n_echo == before; i++) {
        turn(&f, false);
    }
    int source = f.echo[f.n_echo - 1];
    size_t sent = 0;
    for (uint64_t end = clock_mono_ms() + 1500; clock_mono_ms() < end;) {
        ssize_t n = send(source, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        turn(&f, false);
    }
    /* Sockets' buffers of three hops hold some megabytes; ours hold a few hundred KiB. */
    CHECK(sent < 24u << 20);
    int quick = ask(&f, request);
    CHECK_INT(receive(&f, quick, head, sizeof(OK_HEAD) - 1, 5000), sizeof(OK_HEAD) - 1);
    CHECK(send(quick, "ping", 4, MSG_NOSIGNAL) == 4);
    CHECK_INT(receive(&f, quick, head, 4, 5000), 4);
    (void)close(slow);
    (void)close(quick);
    fixture_deinit(&f);
}

static bool refused_with(struct fixture *f, const char *request, const char *status, const char *reason)
{
    char text[2000];
    int fd = ask(f, request);
    size_t n = receive(f, fd, text, sizeof(text) - 1, 5000);
    text[n] = '\0';
    (void)close(fd);
    bool ok = strstr(text, status) && strstr(text, reason);
    if (!ok) {
        printf("  got: %s\n", text);
    }
    return ok;
}

TEST(an_agent_refuses_what_is_not_its_nodes_and_the_answer_says_so)
{
    struct fixture f;
    char request[100];
    fixture_init(&f);
    CHECK(refused_with(&f, "CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "no reverse tunnel open"));
    start_agent(&f, &f.ca, "system:node:node-1", "system:nodes");
    CHECK(until_open(&f, 10000));
    CHECK(refused_with(&f, "CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "not open to tunnels"));
    CHECK(refused_with(&f, "CONNECT 192.0.2.7:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "no address of this node"));
    CHECK(refused_with(&f, "CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "no address of this node"));
    CHECK(refused_with(&f, "CONNECT somewhere:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ", "only addresses"));
    f.allow.ports[f.allow.n_ports++] = test_free_port();
    (void)snprintf(request, sizeof(request), "CONNECT 127.0.0.1:%u HTTP/1.1\r\n\r\n", f.allow.ports[f.allow.n_ports - 1]);
    CHECK(refused_with(&f, request, "HTTP/1.1 503 ", "refuse"));
    CHECK(refused_with(&f, "DELETE / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "CONNECT"));
    CHECK(refused_with(&f, "GET /paths HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "you asked for /paths"));
    fixture_deinit(&f);
}

static void check_never_opens(const char *cn, const char *org, bool foreign)
{
    struct fixture f;
    struct authority other;
    fixture_init(&f);
    authority_init(&other, "other-ca");
    start_agent(&f, foreign ? &other : &f.ca, cn, org);
    CHECK(!until_open(&f, 1500));
    fixture_deinit(&f);
    authority_deinit(&other);
}

TEST(a_tunnel_needs_the_nodes_own_certificate)
{
    check_never_opens("system:node:node-2", "system:nodes", false);
    check_never_opens("system:node:node-1", "system:masters", false);
    check_never_opens("node-1", "system:nodes", false);
    check_never_opens("system:node:node-1", "system:nodes", true);
}

TEST(a_reverse_tunnel_comes_back_after_the_hub_was_away)
{
    struct fixture f;
    fixture_init(&f);
    start_agent(&f, &f.ca, "system:node:node-1", "system:nodes");
    CHECK(until_open(&f, 10000));
    f.hub = hub_free(f.hub);
    f.link = tunnel_link_free(f.link);
    for (int i = 0; i < 30; i++) {
        turn(&f, false);
    }
    CHECK(!agent_is_connected(f.agent));
    f.link = reverse_link_new(f.loop, STR("node-1"));
    start_hub(&f);
    CHECK(until_open(&f, 10000));
    fixture_deinit(&f);
}
