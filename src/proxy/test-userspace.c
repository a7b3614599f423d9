/* The userspace mode: traffic through its table and its ports, in network namespaces of our own. Skipped without the rights for
 * them. */
#include "proxy/userspace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "nft/conntrack.h"
#include "nft/socket.h"
#include "proxy/netns.h"

#define PORT 8080
#define N_ENDPOINTS 3
#define BIG (8u << 20)

/* Listens on one address in a thread: says its number, then gives back what it gets until that ends. */
struct server {
    int tcp, udp;
    char number;
    pthread_t thread, udp_thread;
};

struct fixture {
    struct netns ns;
    struct loop *loop;
    struct engine *engine;
    struct nft_socket *nl;
    struct server servers[2 * N_ENDPOINTS]; /* IPv4, then IPv6 */
    struct core_v1_service service;
    struct core_v1_service_port port;
    struct str ips[2];
    struct discovery_v1_endpoint_slice slice[2];
    struct discovery_v1_endpoint endpoints[2][N_ENDPOINTS];
    struct str addresses[2][N_ENDPOINTS];
    struct discovery_v1_endpoint_port slice_port;
    char told[64], again[64];
};

static void *serve_one(void *arg)
{
    int fd = *(int *)arg;
    char b[65536];
    ssize_t n;
    free(arg);
    while ((n = read(fd, b, sizeof(b))) > 0) {
        for (ssize_t at = 0, w; at < n; at += w) {
            if ((w = send(fd, b + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0) {
                close(fd);
                return NULL;
            }
        }
    }
    (void)send(fd, "end", 3, MSG_NOSIGNAL); /* after the client has ended its half */
    close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    const struct server *s = arg;
    int fd;
    while ((fd = accept4(s->tcp, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t t;
        int *copy = malloc(sizeof(*copy));
        *copy = fd;
        (void)send(fd, &s->number, 1, MSG_NOSIGNAL);
        CHECK_INT(pthread_create(&t, NULL, serve_one, copy), 0);
        pthread_detach(t);
    }
    return NULL;
}

static void *serve_udp(void *arg)
{
    const struct server *s = arg;
    char b[2048];
    for (;;) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(s->udp, b + 1, sizeof(b) - 1, 0, (struct sockaddr *)&from, &len);
        if (n <= 0) {
            return NULL; /* an empty datagram ends it */
        }
        b[0] = s->number;
        (void)sendto(s->udp, b, (size_t)n + 1, 0, (const struct sockaddr *)&from, len);
    }
}

static int bound(uint8_t family, const char *ip, uint16_t port, int type)
{
    struct sockaddr_storage sa;
    struct proxy_addr a;
    int one = 1;
    CHECK(proxy_addr_parse(family, str_c(ip), &a));
    socklen_t len = proxy_addr_to_sockaddr(family, &a, htons(port), &sa);
    int fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    CHECK_INT(bind(fd, (const struct sockaddr *)&sa, len), 0);
    return fd;
}

static void start_server(struct server *s, int number, bool listens)
{
    char ip[32];
    bool v6 = number >= N_ENDPOINTS;
    snprintf(ip, sizeof(ip), v6 ? "fd09:1::%d" : "10.9.1.%d", number % N_ENDPOINTS + 1);
    s->number = (char)('0' + number);
    s->tcp = bound(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4, ip, PORT, SOCK_STREAM);
    s->udp = bound(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4, ip, PORT, SOCK_DGRAM);
    if (listens) {
        CHECK_INT(listen(s->tcp, 1000), 0);
    }
    CHECK_INT(pthread_create(&s->thread, NULL, serve, s), 0);
    CHECK_INT(pthread_create(&s->udp_thread, NULL, serve_udp, s), 0);
}

static void note_again(void *data, struct str key)
{
    struct fixture *f = data;
    CHECK(str_to_cstr(key, f->again, sizeof(f->again)));
}

static void note_told(void *data, const struct core_v1_service *service UNUSED, const char *reason, const char *text UNUSED)
{
    snprintf(((struct fixture *)data)->told, sizeof(((struct fixture *)data)->told), "%s", reason);
}

static void write_table(struct fixture *f, bool all)
{
    struct err err = { 0 };
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(f->nl));
    bool any = f->engine->ops->write(f->engine, &x, all);
    nft_batch_end(&x);
    CHECK_OK(!any || nft_socket_send(f->nl, &x, NULL, &err), &err);
    nft_batch_deinit(&x);
}

static void set(struct fixture *f, const char *key, bool there)
{
    const struct discovery_v1_endpoint_slice *slices[] = { &f->slice[0], &f->slice[1] };
    f->engine->ops->set_service(f->engine, str_c(key), there ? &f->service : NULL, slices, 2);
}

/* Brings the Service's present state into the kernel. */
static void apply(struct fixture *f)
{
    set(f, "ns/svc", true);
    write_table(f, false);
}

static struct userspace_config default_config(struct fixture *f)
{
    struct userspace_config config = { .tables = { { .family = NFPROTO_IPV4, .has_pod_cidr = true }, { .family = NFPROTO_IPV6 } },
                                       .node = STR("here"),
                                       .udp_timeout_ms = 250,
                                       .files = 20000,
                                       .again = note_again,
                                       .tell = note_told,
                                       .data = f };
    CHECK(proxy_cidr_parse(STR("10.9.1.0/24"), &config.tables[0].pod_cidr));
    return config;
}

/* Service 10.96.0.10 and fd96::10, port 80, of three endpoints in each family. The endpoint that is 'dead' does not listen. */
static void setup(struct fixture *f, const struct userspace_config *config, int dead)
{
    struct err err = { 0 };
    struct userspace_config c = default_config(f);
    *f = (struct fixture){ 0 };
    if (!netns_make(&f->ns, &err)) {
        netns_end(&f->ns);
        test_skip("%s", err.msg);
    }
    netns_enter(f->ns.endpoints);
    for (int i = 0; i < 2 * N_ENDPOINTS; i++) {
        start_server(&f->servers[i], i, i != dead);
    }
    netns_enter(f->ns.node);
    f->ips[0] = STR("10.96.0.10");
    f->ips[1] = STR("fd96::10");
    f->port = (struct core_v1_service_port){ .protocol = STR("TCP"), .port = 80 };
    f->service.metadata = (struct meta_v1_object_meta){ .name = STR("svc"), .namespace = STR("ns") };
    f->service.spec = (struct core_v1_service_spec){ .ports = &f->port,
                                                     .n_ports = 1,
                                                     .cluster_ip = f->ips[0],
                                                     .cluster_ips = f->ips,
                                                     .n_cluster_ips = 2,
                                                     .type = STR("ClusterIP") };
    f->slice_port = (struct discovery_v1_endpoint_port){ .protocol = STR("TCP"), .port = PORT, .has_port = true };
    static const char *const texts[2][N_ENDPOINTS] = { { "10.9.1.1", "10.9.1.2", "10.9.1.3" },
                                                       { "fd09:1::1", "fd09:1::2", "fd09:1::3" } };
    for (int v6 = 0; v6 < 2; v6++) {
        for (int i = 0; i < N_ENDPOINTS; i++) {
            f->addresses[v6][i] = str_c(texts[v6][i]);
            f->endpoints[v6][i] = (struct discovery_v1_endpoint){ .addresses = &f->addresses[v6][i],
                                                                  .n_addresses = 1,
                                                                  .node_name = i ? STR("other") : STR("here") };
        }
        f->slice[v6] = (struct discovery_v1_endpoint_slice){ .address_type = v6 ? STR("IPv6") : STR("IPv4"),
                                                             .endpoints = f->endpoints[v6],
                                                             .n_endpoints = N_ENDPOINTS,
                                                             .ports = &f->slice_port,
                                                             .n_ports = 1 };
    }
    f->loop = loop_new(&err);
    CHECK_OK(f->loop != NULL, &err);
    f->nl = nft_socket_open(&err);
    CHECK_OK(f->nl != NULL, &err);
    f->engine = engine_userspace_new(f->loop, config ? config : &c);
    write_table(f, true);
}

static void teardown(struct fixture *f)
{
    f->engine->ops->free(f->engine);
    loop_free(f->loop);
    nft_socket_close(f->nl);
    netns_enter(f->ns.endpoints);
    for (int i = 0; i < 2 * N_ENDPOINTS; i++) {
        struct server *s = &f->servers[i];
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        shutdown(s->tcp, SHUT_RDWR);
        CHECK_INT(getsockname(s->udp, (struct sockaddr *)&sa, &len), 0);
        (void)sendto(s->udp, "", 0, 0, (const struct sockaddr *)&sa, len);
        pthread_join(s->thread, NULL);
        pthread_join(s->udp_thread, NULL);
        close(s->tcp);
        close(s->udp);
    }
    netns_end(&f->ns);
}

/* Turns the loop until the descriptor has events, or for 'ms'. */
static bool await(struct fixture *f, int fd, short events, int ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    uint64_t end = clock_mono_ms() + (uint64_t)ms;
    do {
        loop_turn(f->loop, 1);
        if (poll(&p, 1, 0) == 1) {
            return true;
        }
    } while (clock_mono_ms() < end);
    return false;
}

static void turn(struct fixture *f, int ms)
{
    uint64_t end = clock_mono_ms() + (uint64_t)ms;
    while (clock_mono_ms() < end) {
        loop_turn(f->loop, 5);
    }
}

/* A connection from a namespace, begun. */
static int begin_from(struct fixture *f, int ns, const char *from, const char *ip, uint16_t port, int type)
{
    uint8_t family = strchr(ip, ':') ? NFPROTO_IPV6 : NFPROTO_IPV4;
    struct sockaddr_storage sa;
    struct proxy_addr a;
    netns_enter(ns);
    int fd = from ? bound(family, from, 0, type | SOCK_NONBLOCK)
                  : socket(family == NFPROTO_IPV6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    netns_enter(f->ns.node);
    CHECK(proxy_addr_parse(family, str_c(ip), &a));
    socklen_t len = proxy_addr_to_sockaddr(family, &a, htons(port), &sa);
    CHECK(connect(fd, (const struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
    return fd;
}

/* Which endpoint answers: its number; -1 reset or refused, -2 no answer in 1.5 s, -3 closed without a word. */
static int read_number(struct fixture *f, int fd)
{
    char c;
    if (!await(f, fd, POLLIN, 1500)) {
        return -2;
    }
    ssize_t n = read(fd, &c, 1);
    return n == 1 ? c - '0' : n == 0 ? -3 : -1;
}

static int reach_from(struct fixture *f, int ns, const char *from, const char *ip, uint16_t port)
{
    int fd = begin_from(f, ns, from, ip, port, SOCK_STREAM), result = read_number(f, fd);
    close(fd);
    turn(f, 3);
    return result;
}

static int reach(struct fixture *f, const char *ip, uint16_t port)
{
    return reach_from(f, f->ns.clients, NULL, ip, port);
}

static size_t inlets(const struct fixture *f)
{
    struct ruleset_stats stats;
    f->engine->ops->stats(f->engine, &stats);
    return stats.elements;
}

TEST(userspace_connections_go_to_one_endpoint_after_the_other_in_both_families)
{
    struct fixture f;
    setup(&f, NULL, -1);
    apply(&f);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(reach(&f, "10.96.0.10", 80), i % N_ENDPOINTS);
        CHECK_INT(reach(&f, "fd96::10", 80), N_ENDPOINTS + i % N_ENDPOINTS);
    }
    /* From the node itself and from a pod. */
    CHECK(reach_from(&f, f.ns.node, NULL, "10.96.0.10", 80) >= 0);
    CHECK(reach_from(&f, f.ns.node, NULL, "fd96::10", 80) >= 0);
    CHECK(reach_from(&f, f.ns.endpoints, "10.9.1.1", "10.96.0.10", 80) >= 0);
    CHECK_INT(reach(&f, "10.96.0.10", 81), -1); /* no such port */
    teardown(&f);
}

TEST(userspace_half_close_and_much_data_go_through)
{
    struct fixture f;
    char *sent = malloc(BIG), *got = malloc(BIG + 4);
    size_t out = 0, in = 0;
    setup(&f, NULL, -1);
    apply(&f);
    for (size_t i = 0; i < BIG; i++) {
        sent[i] = (char)(i * 7 + i / 251);
    }
    int fd = begin_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, SOCK_STREAM);
    CHECK_INT(read_number(&f, fd), 0);
    bool ended = false;
    while (!ended) {
        CHECK(await(&f, fd, (short)(POLLIN | (out < BIG ? POLLOUT : 0)), 5000));
        if (out < BIG) {
            ssize_t n = send(fd, sent + out, BIG - out, MSG_DONTWAIT | MSG_NOSIGNAL);
            out += n > 0 ? (size_t)n : 0;
            if (out == BIG) {
                shutdown(fd, SHUT_WR);
            }
        }
        ssize_t n = recv(fd, got + in, BIG + 4 - in, MSG_DONTWAIT);
        CHECK(n >= 0 || errno == EAGAIN);
        in += n > 0 ? (size_t)n : 0;
        ended = n == 0;
    }
    CHECK_INT(in, BIG + 3);
    CHECK(memcmp(sent, got, BIG) == 0);
    CHECK(memcmp(got + BIG, "end", 3) == 0);
    close(fd);
    free(sent);
    free(got);
    teardown(&f);
}

TEST(userspace_an_endpoint_that_does_not_answer_is_followed_by_the_next)
{
    struct fixture f;
    setup(&f, NULL, 0);
    apply(&f);
    for (int i = 0; i < 4; i++) {
        CHECK(reach(&f, "10.96.0.10", 80) > 0);
    }
    /* One that swallows what is sent to it: no host has that address. */
    f.addresses[0][0] = STR("10.9.1.77");
    apply(&f);
    for (int i = 0; i < 2; i++) {
        CHECK(reach(&f, "10.96.0.10", 80) > 0);
    }
    f.slice[0].n_endpoints = 0;
    apply(&f);
    CHECK_INT(reach(&f, "10.96.0.10", 80), -1);
    teardown(&f);
}

TEST(userspace_ports_are_of_the_range_and_come_back_when_the_service_goes)
{
    struct fixture f;
    struct userspace_config c = default_config(&f);
    struct err err;
    c.tables[1].family = 0;
    CHECK_OK(port_range_parse(STR("40100+1"), &c.range, &err), &err);
    setup(&f, &c, -1);
    apply(&f);
    CHECK(reach(&f, "10.96.0.10", 80) >= 0);
    f.service.spec.cluster_ip = f.ips[0] = STR("10.96.0.11");
    set(&f, "ns/b", true);
    write_table(&f, false);
    CHECK(reach(&f, "10.96.0.11", 80) >= 0);
    CHECK_STR_C(str_c(f.told), "");
    f.service.spec.cluster_ip = f.ips[0] = STR("10.96.0.12");
    set(&f, "ns/c", true);
    write_table(&f, false);
    CHECK_STR_C(str_c(f.told), "ProxyPortsExhausted");
    CHECK_INT(reach(&f, "10.96.0.12", 80), -1);
    f.engine->ops->take_waiting(f.engine, note_again, &f);
    CHECK_STR_C(str_c(f.again), "");
    set(&f, "ns/b", false);
    f.engine->ops->take_waiting(f.engine, note_again, &f);
    CHECK_STR_C(str_c(f.again), "ns/c");
    set(&f, "ns/c", true);
    write_table(&f, false);
    CHECK(reach(&f, "10.96.0.12", 80) >= 0);
    set(&f, "ns/svc", false);
    set(&f, "ns/c", false);
    write_table(&f, false);
    CHECK_INT(inlets(&f), 0);
    int fd = bound(NFPROTO_IPV4, "0.0.0.0", 40100, SOCK_STREAM), fd2 = bound(NFPROTO_IPV4, "0.0.0.0", 40101, SOCK_STREAM);
    close(fd);
    close(fd2);
    teardown(&f);
}

TEST(userspace_only_what_was_redirected_reaches_a_port_of_the_range)
{
    struct fixture f;
    struct userspace_config c = default_config(&f);
    struct err err;
    c.tables[1].family = 0;
    CHECK_OK(port_range_parse(STR("40200"), &c.range, &err), &err);
    setup(&f, &c, -1);
    apply(&f);
    CHECK(reach(&f, "10.96.0.10", 80) >= 0);
    CHECK_INT(reach(&f, "10.9.2.254", 40200), -2);
    CHECK_INT(reach_from(&f, f.ns.node, NULL, "127.0.0.1", 40200), -2);
    teardown(&f);
}
