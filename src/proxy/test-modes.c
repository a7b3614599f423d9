#include "proxy/test-modes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

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

int modes_bound(uint8_t family, const char *ip, uint16_t port, int type)
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
    s->tcp = modes_bound(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4, ip, PORT, SOCK_STREAM);
    s->udp = modes_bound(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4, ip, PORT, SOCK_DGRAM);
    if (listens) {
        CHECK_INT(listen(s->tcp, 1000), 0);
    }
    CHECK_INT(pthread_create(&s->thread, NULL, serve, s), 0);
    CHECK_INT(pthread_create(&s->udp_thread, NULL, serve_udp, s), 0);
}

void modes_note_again(void *data, struct str key)
{
    struct modes *f = data;
    CHECK(str_to_cstr(key, f->again, sizeof(f->again)));
}

static void note_told(void *data, const struct core_v1_service *service UNUSED, const char *reason, const char *text UNUSED)
{
    snprintf(((struct modes *)data)->told, sizeof(((struct modes *)data)->told), "%s", reason);
}

void modes_write(struct modes *f, bool all)
{
    struct err err = { 0 };
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(f->nl));
    bool any = f->engine->ops->write(f->engine, &x, all);
    nft_batch_end(&x);
    CHECK_OK(!any || nft_socket_send(f->nl, &x, NULL, &err), &err);
    nft_batch_deinit(&x);
}

void modes_set(struct modes *f, const char *key, bool there)
{
    const struct discovery_v1_endpoint_slice *slices[] = { &f->slice[0], &f->slice[1] };
    f->engine->ops->set_service(f->engine, str_c(key), there ? &f->service : NULL, slices, 2);
}

void modes_apply(struct modes *f)
{
    modes_set(f, "ns/svc", true);
    modes_write(f, false);
}

struct userspace_config modes_config(struct modes *f)
{
    struct userspace_config config = { .tables = { { .family = NFPROTO_IPV4, .has_pod_cidr = true }, { .family = NFPROTO_IPV6 } },
                                       .node = STR("here"),
                                       .udp_timeout_ms = 250,
                                       .files = 20000,
                                       .again = modes_note_again,
                                       .tell = note_told,
                                       .data = f };
    CHECK(proxy_cidr_parse(STR("10.9.1.0/24"), &config.tables[0].pod_cidr));
    return config;
}

void modes_setup(struct modes *f, const struct userspace_config *config, int dead)
{
    struct err err = { 0 };
    struct userspace_config c = modes_config(f);
    *f = (struct modes){ 0 };
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
    modes_write(f, true);
}

void modes_teardown(struct modes *f)
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

bool modes_await(struct modes *f, int fd, short events, int ms)
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

void modes_turn(struct modes *f, int ms)
{
    uint64_t end = clock_mono_ms() + (uint64_t)ms;
    while (clock_mono_ms() < end) {
        loop_turn(f->loop, 5);
    }
}

int modes_begin_from(struct modes *f, int ns, const char *from, const char *ip, uint16_t port, int type)
{
    uint8_t family = strchr(ip, ':') ? NFPROTO_IPV6 : NFPROTO_IPV4;
    struct sockaddr_storage sa;
    struct proxy_addr a;
    netns_enter(ns);
    int fd = from ? modes_bound(family, from, 0, type | SOCK_NONBLOCK)
                  : socket(family == NFPROTO_IPV6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    netns_enter(f->ns.node);
    CHECK(proxy_addr_parse(family, str_c(ip), &a));
    socklen_t len = proxy_addr_to_sockaddr(family, &a, htons(port), &sa);
    CHECK(connect(fd, (const struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
    return fd;
}

int modes_read_number(struct modes *f, int fd)
{
    char c;
    if (!modes_await(f, fd, POLLIN, 2000)) {
        return -2;
    }
    ssize_t n = read(fd, &c, 1);
    return n == 1 ? c - '0' : n == 0 ? -3 : -1;
}

int modes_reach_from(struct modes *f, int ns, const char *from, const char *ip, uint16_t port)
{
    int fd = modes_begin_from(f, ns, from, ip, port, SOCK_STREAM), result = modes_read_number(f, fd);
    close(fd);
    modes_turn(f, 3);
    return result;
}

int modes_reach(struct modes *f, const char *ip, uint16_t port)
{
    return modes_reach_from(f, f->ns.clients, NULL, ip, port);
}

size_t modes_elements(const struct modes *f)
{
    struct ruleset_stats stats;
    f->engine->ops->stats(f->engine, &stats);
    return stats.elements;
}
