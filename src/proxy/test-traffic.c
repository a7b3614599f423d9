/* Traffic through the table, in network namespaces of our own. Skipped without the
 * rights for them. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/test.h"
#include "nft/conntrack.h"
#include "nft/socket.h"
#include "proxy/netns.h"
#include "proxy/ruleset.h"

#define PORT 8080
#define N_ENDPOINTS 3

struct fixture {
    struct netns ns;
    struct ruleset *rs;
    struct nft_socket *nl;
    int tcp[N_ENDPOINTS], udp[N_ENDPOINTS];
    struct core_v1_service service;
    struct core_v1_service_port port;
    struct discovery_v1_endpoint_slice slice;
    struct discovery_v1_endpoint endpoints[N_ENDPOINTS];
    struct str addresses[N_ENDPOINTS];
    struct discovery_v1_endpoint_port slice_port;
};

static int listen_on(const char *ip, int type)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
    int one = 1, fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(inet_pton(AF_INET, ip, &a.sin_addr) == 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    CHECK_INT(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    if (type == SOCK_STREAM) {
        CHECK_INT(listen(fd, 100), 0);
    }
    return fd;
}

/* Service 10.96.0.10:80 of three endpoints, port 8080. */
static void setup(struct fixture *f)
{
    static const char *const ips[] = { "10.9.1.1", "10.9.1.2", "10.9.1.3" };
    struct err err = { 0 };
    *f = (struct fixture){ 0 };
    if (!netns_make(&f->ns, &err)) {
        netns_end(&f->ns);
        test_skip("%s", err.msg);
    }
    netns_enter(f->ns.endpoints);
    for (int i = 0; i < N_ENDPOINTS; i++) {
        f->tcp[i] = listen_on(ips[i], SOCK_STREAM);
        f->udp[i] = listen_on(ips[i], SOCK_DGRAM);
        f->addresses[i] = str_c(ips[i]);
        f->endpoints[i] =
            (struct discovery_v1_endpoint){ .addresses = &f->addresses[i],
                                            .n_addresses = 1,
                                            .node_name = i ? STR("other") : STR("here") };
    }
    netns_enter(f->ns.node);
    f->nl = nft_socket_open(&err);
    CHECK_OK(f->nl != NULL, &err);
    f->port = (struct core_v1_service_port){ .protocol = STR("TCP"), .port = 80 };
    f->service.spec = (struct core_v1_service_spec){
        .ports = &f->port, .n_ports = 1, .cluster_ip = STR("10.96.0.10"), .type = STR("ClusterIP")
    };
    f->slice_port = (struct discovery_v1_endpoint_port){ .protocol = STR("TCP"),
                                                         .port = PORT,
                                                         .has_port = true };
    f->slice = (struct discovery_v1_endpoint_slice){ .address_type = STR("IPv4"),
                                                     .endpoints = f->endpoints,
                                                     .n_endpoints = N_ENDPOINTS,
                                                     .ports = &f->slice_port,
                                                     .n_ports = 1 };
    struct ruleset_config config = { .node = STR("here"), .table = { .family = NFPROTO_IPV4, .has_pod_cidr = true } };
    CHECK(proxy_cidr_parse(STR("10.9.1.0/24"), &config.table.pod_cidr));
    f->rs = ruleset_new(&config);
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(f->nl));
    ruleset_write_all(f->rs, &x);
    nft_batch_end(&x);
    CHECK_OK(nft_socket_send(f->nl, &x, NULL, &err), &err);
    nft_batch_deinit(&x);
}

static void teardown(struct fixture *f)
{
    for (int i = 0; i < N_ENDPOINTS; i++) {
        close(f->tcp[i]);
        close(f->udp[i]);
    }
    nft_socket_close(f->nl);
    ruleset_free(f->rs);
    netns_end(&f->ns);
}

/* Brings the Service's present state into the kernel. */
static void apply(struct fixture *f)
{
    const struct discovery_v1_endpoint_slice *slices[] = { &f->slice };
    struct err err = { 0 };
    struct nft_batch x;
    ruleset_set_service(f->rs, STR("ns/svc"), &f->service, slices, 1);
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(f->nl));
    bool any = ruleset_write_changes(f->rs, &x);
    nft_batch_end(&x);
    CHECK_OK(!any || nft_socket_send(f->nl, &x, NULL, &err), &err);
    nft_batch_deinit(&x);
}

/* Connects from an address in a namespace; says which endpoint got it and (may be NULL) from whom.
 * -1 refused, -2 no answer. */
static int reach_from(struct fixture *f, int ns, const char *from, const char *ip, uint16_t port,
                      uint32_t *ret_source)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) },
                       me = { .sin_family = AF_INET }, peer;
    socklen_t len = sizeof(peer);
    int result = -2, e = 0;
    netns_enter(ns);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    netns_enter(f->ns.node);
    CHECK(inet_pton(AF_INET, ip, &to.sin_addr) == 1);
    if (from) {
        CHECK(inet_pton(AF_INET, from, &me.sin_addr) == 1);
        CHECK_INT(bind(fd, (const struct sockaddr *)&me, sizeof(me)), 0);
    }
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
        result = errno == ECONNREFUSED ? -1 : -2;
    } else {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        if (poll(&p, 1, 500) == 1) {
            socklen_t n = sizeof(e);
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
            result = e == ECONNREFUSED ? -1 : -2;
        }
    }
    for (int i = 0; i < N_ENDPOINTS && result == -2 && !e; i++) {
        int got = accept4(f->tcp[i], (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
        if (got >= 0) {
            result = i;
            if (ret_source) {
                *ret_source = ntohl(peer.sin_addr.s_addr);
            }
            close(got);
        }
    }
    close(fd);
    return result;
}

static int reach(struct fixture *f, const char *ip, uint16_t port)
{
    return reach_from(f, f->ns.clients, NULL, ip, port, NULL);
}

#define ADDR(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

TEST(a_cluster_ip_spreads_over_its_endpoints)
{
    struct fixture f;
    int count[N_ENDPOINTS] = { 0 };
    setup(&f);
    apply(&f);
    /* Three endpoints are of class four: what is drawn in vain is drawn again, and nobody gets more for it. */
    for (int i = 0; i < 300; i++) {
        int e = reach(&f, "10.96.0.10", 80);
        CHECK(e >= 0);
        count[e]++;
    }
    for (int i = 0; i < N_ENDPOINTS; i++) {
        CHECK(count[i] > 60 && count[i] < 140); /* five standard deviations */
    }
    teardown(&f);
}

TEST(an_endpoint_that_is_gone_gets_nothing_from_then_on)
{
    struct fixture f;
    setup(&f);
    apply(&f);
    f.slice.n_endpoints = 1;
    apply(&f);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(reach(&f, "10.96.0.10", 80), 0);
    }
    teardown(&f);
}

TEST(without_endpoints_connections_are_refused_at_once)
{
    struct fixture f;
    setup(&f);
    f.slice.n_endpoints = 0;
    apply(&f);
    CHECK_INT(reach(&f, "10.96.0.10", 80), -1);
    CHECK_INT(reach_from(&f, f.ns.node, NULL, "10.96.0.10", 80, NULL), -1);
    f.slice.n_endpoints = 1;
    apply(&f);
    CHECK_INT(reach(&f, "10.96.0.10", 80), 0);
    CHECK_INT(reach(&f, "10.96.0.10", 81), -1); /* no such port */
    teardown(&f);
}

TEST(the_node_itself_and_pods_reach_a_cluster_ip)
{
    struct fixture f;
    uint32_t source = 0;
    setup(&f);
    apply(&f);
    CHECK(reach_from(&f, f.ns.node, NULL, "10.96.0.10", 80, NULL) >= 0);
    /* From outside the pods' range the source becomes the node's. */
    CHECK(reach_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, &source) >= 0);
    CHECK_INT(source, ADDR(10, 9, 1, 254));
    teardown(&f);
}

TEST(an_endpoint_reaches_itself_through_its_service)
{
    struct fixture f;
    uint32_t source = 0;
    setup(&f);
    f.slice.n_endpoints = 1;
    apply(&f);
    CHECK_INT(reach_from(&f, f.ns.endpoints, "10.9.1.1", "10.96.0.10", 80, &source), 0);
    CHECK_INT(source, ADDR(10, 9, 1, 254));
    teardown(&f);
}

TEST(node_ports_answer_on_every_address_of_the_node)
{
    struct fixture f;
    uint32_t source = 0;
    setup(&f);
    f.service.spec.type = STR("NodePort");
    f.port.node_port = 30080;
    apply(&f);
    CHECK(reach_from(&f, f.ns.clients, NULL, "10.9.2.254", 30080, &source) >= 0);
    CHECK_INT(source, ADDR(10, 9, 1, 254));
    CHECK(reach(&f, "10.9.1.254", 30080) >= 0);
    CHECK(reach_from(&f, f.ns.node, NULL, "10.9.1.254", 30080, NULL) >= 0);
    f.slice.n_endpoints = 0;
    apply(&f);
    CHECK_INT(reach(&f, "10.9.2.254", 30080), -1);
    teardown(&f);
}

TEST(external_policy_local_keeps_the_source_and_the_node)
{
    struct fixture f;
    uint32_t source = 0;
    struct core_v1_load_balancer_ingress ingress = { .ip = STR("203.0.113.7") };
    setup(&f);
    f.service.spec.type = STR("LoadBalancer");
    f.service.spec.external_traffic_policy = STR("Local");
    f.service.status.load_balancer.ingress = &ingress;
    f.service.status.load_balancer.n_ingress = 1;
    f.port.node_port = 30080;
    apply(&f);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(reach_from(&f, f.ns.clients, "10.9.2.2", "203.0.113.7", 80, &source), 0);
        CHECK_INT(source, ADDR(10, 9, 2, 2));
        CHECK_INT(reach_from(&f, f.ns.clients, "10.9.2.2", "10.9.2.254", 30080, &source), 0);
        CHECK_INT(source, ADDR(10, 9, 2, 2));
    }
    /* The node itself uses all of them; with none here, outsiders get no answer and the node still
     * does. */
    f.endpoints[0].node_name = STR("other");
    apply(&f);
    CHECK_INT(reach(&f, "203.0.113.7", 80), -2);
    CHECK(reach_from(&f, f.ns.node, NULL, "203.0.113.7", 80, NULL) >= 0);
    teardown(&f);
}

TEST(a_client_stays_with_its_endpoint_while_affinity_lasts)
{
    struct fixture f;
    struct core_v1_client_ip_config client = { .timeout_seconds = 1, .has_timeout_seconds = true };
    struct core_v1_session_affinity_config affinity = { .client_ip = &client };
    bool moved = false;
    setup(&f);
    f.service.spec.session_affinity = STR("ClientIP");
    f.service.spec.session_affinity_config = &affinity;
    apply(&f);
    int first = reach(&f, "10.96.0.10", 80);
    CHECK(first >= 0);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(reach(&f, "10.96.0.10", 80), first);
    }
    for (int i = 0; i < 12 && !moved; i++) {
        usleep(1200000);
        moved = reach(&f, "10.96.0.10", 80) != first;
    }
    CHECK(moved);
    /* It goes elsewhere when its endpoint is gone. */
    client.timeout_seconds = 10800;
    apply(&f);
    first = reach(&f, "10.96.0.10", 80);
    f.endpoints[first] = f.endpoints[2];
    f.slice.n_endpoints = 2;
    apply(&f);
    int second = reach(&f, "10.96.0.10", 80);
    CHECK(second >= 0 && second != first);
    CHECK_INT(reach(&f, "10.96.0.10", 80), second);
    f.service.spec.session_affinity = STR("None");
    apply(&f);
    CHECK(reach(&f, "10.96.0.10", 80) >= 0);
    teardown(&f);
}

/* Sends a datagram; which endpoint got it, or -2. */
static int send_udp(struct fixture *f, int fd, const char *ip, uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    char b[8];
    CHECK(inet_pton(AF_INET, ip, &to.sin_addr) == 1);
    (void)sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, sizeof(to));
    for (int tries = 0; tries < 50; tries++) {
        for (int i = 0; i < N_ENDPOINTS; i++) {
            if (recv(f->udp[i], b, sizeof(b), 0) >= 0) {
                return i;
            }
        }
        usleep(2000);
    }
    return -2;
}

static bool is_good(void *data, const struct conntrack_flow *c)
{
    const struct fixture *f = data;
    struct proxy_endpoint e = { .port = c->replier_port };
    struct proxy_addr to;
    memcpy(e.addr.b, c->replier, 16);
    memcpy(to.b, c->destination, 16);
    bool rewritten = memcmp(c->replier, c->destination, 16) != 0 || c->replier_port != c->destination_port;
    return ruleset_connection_is_good(f->rs, c->protocol, &to, c->destination_port, false, rewritten ? &e : NULL);
}

TEST(a_udp_client_moves_on_when_its_endpoint_is_gone)
{
    struct fixture f;
    struct err err = { 0 };
    size_t deleted = 0;
    setup(&f);
    f.port.protocol = f.slice_port.protocol = STR("UDP");
    f.slice.n_endpoints = 0;
    apply(&f);
    netns_enter(f.ns.clients);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    netns_enter(f.ns.node);
    CHECK_INT(send_udp(&f, fd, "10.96.0.10", 80), -2);
    f.slice.n_endpoints = 1;
    apply(&f);
    CHECK(ruleset_take_udp_changed(f.rs));
    CHECK_OK(conntrack_sweep(NFPROTO_IPV4, IPPROTO_UDP, is_good, &f, NULL, &err), &err);
    CHECK_INT(send_udp(&f, fd, "10.96.0.10", 80), 0);
    /* Another endpoint: without a sweep the connection sticks to the old one. */
    f.addresses[0] = STR("10.9.1.2");
    apply(&f);
    CHECK_INT(send_udp(&f, fd, "10.96.0.10", 80), 0);
    CHECK_OK(conntrack_sweep(NFPROTO_IPV4, IPPROTO_UDP, is_good, &f, &deleted, &err), &err);
    CHECK_INT(deleted, 1);
    CHECK_INT(send_udp(&f, fd, "10.96.0.10", 80), 1);
    CHECK_OK(conntrack_sweep(NFPROTO_IPV4, IPPROTO_UDP, is_good, &f, &deleted, &err), &err);
    CHECK_INT(deleted, 0);
    close(fd);
    teardown(&f);
}

TEST(source_ranges_keep_others_out_of_a_load_balancer)
{
    struct fixture f;
    struct core_v1_load_balancer_ingress ingress = { .ip = STR("203.0.113.7") };
    struct str ranges[] = { STR("10.9.2.1/32") };
    setup(&f);
    f.service.spec.type = STR("LoadBalancer");
    f.service.status.load_balancer.ingress = &ingress;
    f.service.status.load_balancer.n_ingress = 1;
    f.service.spec.load_balancer_source_ranges = ranges;
    f.service.spec.n_load_balancer_source_ranges = 1;
    apply(&f);
    CHECK(reach_from(&f, f.ns.clients, "10.9.2.1", "203.0.113.7", 80, NULL) >= 0);
    CHECK_INT(reach_from(&f, f.ns.clients, "10.9.2.2", "203.0.113.7", 80, NULL), -2);
    CHECK(reach_from(&f, f.ns.clients, "10.9.2.2", "10.96.0.10", 80, NULL) >= 0);
    f.service.spec.n_load_balancer_source_ranges = 0;
    apply(&f);
    CHECK(reach_from(&f, f.ns.clients, "10.9.2.2", "203.0.113.7", 80, NULL) >= 0);
    teardown(&f);
}

TEST(what_nft_lists_can_be_read_and_a_service_that_goes_leaves_nothing)
{
    struct fixture f;
    const struct discovery_v1_endpoint_slice *slices[] = { &f.slice };
    struct ruleset_stats stats;
    setup(&f);
    f.service.spec.session_affinity = STR("ClientIP");
    f.service.spec.type = STR("NodePort");
    f.service.spec.external_traffic_policy = STR("Local");
    f.port.node_port = 30080;
    apply(&f);
    CHECK(netns_run((const char *const[]){
        "sh", "-c", "nft list table ip " PROXY_TABLE " > /dev/null", NULL }));
    ruleset_set_service(f.rs, STR("ns/svc"), NULL, slices, 0);
    struct nft_batch x;
    struct err err;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(f.nl));
    CHECK(ruleset_write_changes(f.rs, &x));
    nft_batch_end(&x);
    CHECK_OK(nft_socket_send(f.nl, &x, NULL, &err), &err);
    nft_batch_deinit(&x);
    ruleset_stats(f.rs, &stats);
    CHECK_INT(stats.elements, 0);
    CHECK_INT(stats.endpoints, 0);
    CHECK(netns_run((const char *const[]){
        "sh", "-c",
        "! nft list table ip " PROXY_TABLE
        " | grep -E 'elements = |(chain|set) (affinity|endpoint|sources|port)-'",
        NULL }));
    teardown(&f);
}
