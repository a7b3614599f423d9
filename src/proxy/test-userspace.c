/* The userspace mode: traffic through its table and its ports, in network namespaces of our own. Skipped without the rights for
 * them. */
#include "proxy/test-modes.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <unistd.h>

#include "nft/conntrack.h"

#define BIG (8u << 20)

TEST(userspace_connections_go_to_one_endpoint_after_the_other_in_both_families)
{
    struct modes f;
    modes_setup(&f, NULL, -1);
    modes_apply(&f);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(modes_reach(&f, "10.96.0.10", 80), i % N_ENDPOINTS);
        CHECK_INT(modes_reach(&f, "fd96::10", 80), N_ENDPOINTS + i % N_ENDPOINTS);
    }
    /* From the node itself and from a pod. */
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "10.96.0.10", 80) >= 0);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "fd96::10", 80) >= 0);
    CHECK(modes_reach_from(&f, f.ns.endpoints, "10.9.1.1", "10.96.0.10", 80) >= 0);
    CHECK_INT(modes_reach(&f, "10.96.0.10", 81), -1); /* no such port */
    modes_teardown(&f);
}

TEST(userspace_half_close_and_much_data_go_through)
{
    struct modes f;
    char *sent = malloc(BIG), *got = malloc(BIG + 4);
    size_t out = 0, in = 0;
    modes_setup(&f, NULL, -1);
    modes_apply(&f);
    for (size_t i = 0; i < BIG; i++) {
        sent[i] = (char)(i * 7 + i / 251);
    }
    int fd = modes_begin_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, SOCK_STREAM);
    CHECK_INT(modes_read_number(&f, fd), 0);
    bool ended = false;
    while (!ended) {
        CHECK(modes_await(&f, fd, (short)(POLLIN | (out < BIG ? POLLOUT : 0)), 5000));
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
    modes_teardown(&f);
}

TEST(userspace_an_endpoint_that_does_not_answer_is_followed_by_the_next)
{
    struct modes f;
    modes_setup(&f, NULL, 0);
    modes_apply(&f);
    for (int i = 0; i < 4; i++) {
        CHECK(modes_reach(&f, "10.96.0.10", 80) > 0);
    }
    /* One that swallows what is sent to it: no host has that address. */
    f.addresses[0][0] = STR("10.9.1.77");
    modes_apply(&f);
    for (int i = 0; i < 2; i++) {
        CHECK(modes_reach(&f, "10.96.0.10", 80) > 0);
    }
    f.slice[0].n_endpoints = 0;
    modes_apply(&f);
    CHECK_INT(modes_reach(&f, "10.96.0.10", 80), -1);
    modes_teardown(&f);
}

TEST(userspace_ports_are_of_the_range_and_come_back_when_the_service_goes)
{
    struct modes f;
    struct userspace_config c = modes_config(&f);
    struct err err;
    c.tables[1].family = 0;
    CHECK_OK(port_range_parse(STR("40100+1"), &c.range, &err), &err);
    modes_setup(&f, &c, -1);
    modes_apply(&f);
    CHECK(modes_reach(&f, "10.96.0.10", 80) >= 0);
    f.service.spec.cluster_ip = f.ips[0] = STR("10.96.0.11");
    modes_set(&f, "ns/b", true);
    modes_write(&f, false);
    CHECK(modes_reach(&f, "10.96.0.11", 80) >= 0);
    CHECK_STR_C(str_c(f.told), "");
    f.service.spec.cluster_ip = f.ips[0] = STR("10.96.0.12");
    modes_set(&f, "ns/c", true);
    modes_write(&f, false);
    CHECK_STR_C(str_c(f.told), "ProxyPortsExhausted");
    CHECK_INT(modes_reach(&f, "10.96.0.12", 80), -1);
    f.engine->ops->take_waiting(f.engine, modes_note_again, &f);
    CHECK_STR_C(str_c(f.again), "");
    modes_set(&f, "ns/b", false);
    f.engine->ops->take_waiting(f.engine, modes_note_again, &f);
    CHECK_STR_C(str_c(f.again), "ns/c");
    modes_set(&f, "ns/c", true);
    modes_write(&f, false);
    CHECK(modes_reach(&f, "10.96.0.12", 80) >= 0);
    modes_set(&f, "ns/svc", false);
    modes_set(&f, "ns/c", false);
    modes_write(&f, false);
    CHECK_INT(modes_elements(&f), 0);
    int fd = modes_bound(NFPROTO_IPV4, "0.0.0.0", 40100, SOCK_STREAM), fd2 = modes_bound(NFPROTO_IPV4, "0.0.0.0", 40101, SOCK_STREAM);
    close(fd);
    close(fd2);
    modes_teardown(&f);
}

TEST(userspace_a_service_that_found_no_port_gets_the_one_of_a_service_that_goes)
{
    struct modes f;
    struct userspace_config c = modes_config(&f);
    struct err err;
    struct core_v1_service_port both[2] = { { .name = STR("tcp"), .protocol = STR("TCP"), .port = 80 },
                                            { .name = STR("udp"), .protocol = STR("UDP"), .port = 80 } };
    CHECK_OK(port_range_parse(STR("40300"), &c.range, &err), &err);
    modes_setup(&f, &c, -1);
    f.service.spec.n_cluster_ips = 1;
    f.service.spec.ports = both;
    f.service.spec.n_ports = 2;
    modes_apply(&f);
    f.service.spec.ports = &f.port;
    f.service.spec.n_ports = 1;
    f.service.spec.cluster_ip = f.ips[0] = STR("10.96.0.11");
    modes_set(&f, "ns/b", true);
    modes_write(&f, false);
    CHECK_INT(modes_reach(&f, "10.96.0.11", 80), -1);
    f.engine->ops->take_waiting(f.engine, modes_note_again, &f);
    modes_set(&f, "ns/svc", false);
    f.engine->ops->take_waiting(f.engine, modes_note_again, &f);
    CHECK_STR_C(str_c(f.again), "ns/b");
    modes_set(&f, "ns/b", true);
    modes_write(&f, false);
    CHECK(modes_reach(&f, "10.96.0.11", 80) >= 0);
    modes_teardown(&f);
}

TEST(userspace_only_what_was_redirected_reaches_a_port_of_the_range)
{
    struct modes f;
    struct userspace_config c = modes_config(&f);
    struct err err;
    c.tables[1].family = 0;
    CHECK_OK(port_range_parse(STR("40200"), &c.range, &err), &err);
    modes_setup(&f, &c, -1);
    modes_apply(&f);
    CHECK(modes_reach(&f, "10.96.0.10", 80) >= 0);
    CHECK_INT(modes_reach(&f, "10.9.2.254", 40200), -2);
    CHECK_INT(modes_reach_from(&f, f.ns.node, NULL, "127.0.0.1", 40200), -2);
    modes_teardown(&f);
}

/* Sends a datagram and reads the answer: which endpoint, or -2; the answer has to come from where the datagram went. */
static int ask_udp(struct modes *f, int fd)
{
    char b[16];
    CHECK(send(fd, "hello", 5, 0) == 5);
    if (!modes_await(f, fd, POLLIN, 400)) {
        return -2;
    }
    ssize_t n = recv(fd, b, sizeof(b), 0);
    CHECK(n < 0 || (n == 6 && memcmp(b + 1, "hello", 5) == 0));
    return n < 0 ? -1 : b[0] - '0';
}

static void udp(struct modes *f)
{
    f->port.protocol = f->slice_port.protocol = STR("UDP");
}

TEST(userspace_a_udp_client_keeps_its_endpoint_until_it_is_idle)
{
    struct modes f;
    modes_setup(&f, NULL, -1);
    udp(&f);
    modes_apply(&f);
    static const char *const ips[] = { "10.96.0.10", "fd96::10" };
    for (int v6 = 0; v6 < 2; v6++) {
        int fd = modes_begin_from(&f, f.ns.clients, NULL, ips[v6], 80, SOCK_DGRAM);
        int first = ask_udp(&f, fd);
        CHECK(first >= v6 * N_ENDPOINTS && first < (v6 + 1) * N_ENDPOINTS);
        for (int i = 0; i < 5; i++) {
            CHECK_INT(ask_udp(&f, fd), first);
        }
        int other = modes_begin_from(&f, f.ns.clients, NULL, ips[v6], 80, SOCK_DGRAM);
        CHECK(ask_udp(&f, other) != first);
        modes_turn(&f, 400);
        CHECK(ask_udp(&f, fd) != first);
        close(other);
        close(fd);
        fd = modes_begin_from(&f, f.ns.node, NULL, ips[v6], 80, SOCK_DGRAM);
        CHECK(ask_udp(&f, fd) >= 0);
        close(fd);
    }
    modes_teardown(&f);
}

static bool is_good(void *data, const struct conntrack_flow *c)
{
    const struct modes *f = data;
    return f->engine->ops->is_good(f->engine, c, false);
}

TEST(userspace_a_udp_client_moves_on_when_the_port_is_another_one)
{
    struct modes f;
    struct err err = { 0 };
    size_t deleted = 0;
    modes_setup(&f, NULL, -1);
    udp(&f);
    modes_apply(&f);
    int fd = modes_begin_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, SOCK_DGRAM);
    CHECK(ask_udp(&f, fd) >= 0);
    modes_set(&f, "ns/svc", false);
    modes_write(&f, false);
    CHECK(f.engine->ops->take_udp_changed(f.engine));
    CHECK_OK(conntrack_sweep(NFPROTO_IPV4, IPPROTO_UDP, is_good, &f, &deleted, &err), &err);
    CHECK_INT(deleted, 1);
    modes_apply(&f);
    CHECK(ask_udp(&f, fd) >= 0);
    CHECK_OK(conntrack_sweep(NFPROTO_IPV4, IPPROTO_UDP, is_good, &f, &deleted, &err), &err);
    CHECK_INT(deleted, 0);
    close(fd);
    modes_teardown(&f);
}

TEST(userspace_node_ports_answer_on_addresses_of_the_node_and_on_loopback_to_the_node_alone)
{
    struct modes f;
    modes_setup(&f, NULL, -1);
    f.service.spec.type = STR("NodePort");
    f.port.node_port = 30080;
    modes_apply(&f);
    CHECK(modes_reach(&f, "10.9.2.254", 30080) >= 0);
    CHECK(modes_reach(&f, "10.9.1.254", 30080) >= 0);
    CHECK(modes_reach(&f, "fd09:2::fe", 30080) >= N_ENDPOINTS);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "10.9.1.254", 30080) >= 0);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "127.0.0.1", 30080) >= 0);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "::1", 30080) >= N_ENDPOINTS);
    modes_teardown(&f);
}

TEST(userspace_a_client_stays_with_its_endpoint_while_affinity_lasts)
{
    struct modes f;
    struct core_v1_client_ip_config client = { .timeout_seconds = 1, .has_timeout_seconds = true };
    struct core_v1_session_affinity_config affinity = { .client_ip = &client };
    modes_setup(&f, NULL, -1);
    f.service.spec.session_affinity = STR("ClientIP");
    f.service.spec.session_affinity_config = &affinity;
    modes_apply(&f);
    int first = modes_reach_from(&f, f.ns.clients, "10.9.2.1", "10.96.0.10", 80);
    int other = modes_reach_from(&f, f.ns.clients, "10.9.2.2", "10.96.0.10", 80);
    CHECK(first >= 0 && other >= 0 && first != other);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(modes_reach_from(&f, f.ns.clients, "10.9.2.1", "10.96.0.10", 80), first);
        CHECK_INT(modes_reach_from(&f, f.ns.clients, "10.9.2.2", "10.96.0.10", 80), other);
    }
    modes_turn(&f, 1100);
    CHECK(modes_reach_from(&f, f.ns.clients, "10.9.2.1", "10.96.0.10", 80) != first);
    modes_teardown(&f);
}

TEST(userspace_external_policy_local_stays_on_this_node_for_outsiders)
{
    struct modes f;
    struct core_v1_load_balancer_ingress ingress = { .ip = STR("203.0.113.7") };
    bool elsewhere = false;
    modes_setup(&f, NULL, -1);
    f.service.spec.type = STR("LoadBalancer");
    f.service.spec.external_traffic_policy = STR("Local");
    f.service.status.load_balancer.ingress = &ingress;
    f.service.status.load_balancer.n_ingress = 1;
    f.port.node_port = 30080;
    modes_apply(&f);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(modes_reach(&f, "203.0.113.7", 80), 0);
        CHECK_INT(modes_reach(&f, "10.9.2.254", 30080), 0);
        elsewhere = modes_reach_from(&f, f.ns.endpoints, "10.9.1.2", "203.0.113.7", 80) > 0 || elsewhere;
        elsewhere = modes_reach(&f, "10.96.0.10", 80) > 0 || elsewhere;
    }
    CHECK(elsewhere);
    f.endpoints[0][0].node_name = STR("other");
    modes_apply(&f);
    CHECK_INT(modes_reach(&f, "203.0.113.7", 80), -1);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "203.0.113.7", 80) >= 0);
    modes_teardown(&f);
}

TEST(userspace_source_ranges_keep_others_out_of_a_load_balancer)
{
    struct modes f;
    struct core_v1_load_balancer_ingress ingress = { .ip = STR("203.0.113.7") };
    struct str ranges[] = { STR("10.9.2.1/32") };
    modes_setup(&f, NULL, -1);
    f.service.spec.type = STR("LoadBalancer");
    f.service.status.load_balancer.ingress = &ingress;
    f.service.status.load_balancer.n_ingress = 1;
    f.service.spec.load_balancer_source_ranges = ranges;
    f.service.spec.n_load_balancer_source_ranges = 1;
    modes_apply(&f);
    CHECK(modes_reach_from(&f, f.ns.clients, "10.9.2.1", "203.0.113.7", 80) >= 0);
    CHECK_INT(modes_reach_from(&f, f.ns.clients, "10.9.2.2", "203.0.113.7", 80), -1);
    CHECK(modes_reach_from(&f, f.ns.clients, "10.9.2.2", "10.96.0.10", 80) >= 0);
    modes_teardown(&f);
}

TEST(userspace_a_thousand_connections_at_once_and_none_is_left)
{
    enum { MANY = 1000 };
    static int fd[MANY];
    struct modes f;
    modes_setup(&f, NULL, -1);
    modes_apply(&f);
    for (int i = 0; i < MANY; i++) {
        fd[i] = modes_begin_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, SOCK_STREAM);
        loop_turn(f.loop, 0);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(modes_read_number(&f, fd[i]) >= 0);
        CHECK(send(fd[i], "x", 1, MSG_NOSIGNAL) == 1);
    }
    for (int i = 0; i < MANY; i++) {
        char c;
        CHECK(modes_await(&f, fd[i], POLLIN, 2000));
        CHECK(read(fd[i], &c, 1) == 1 && c == 'x');
        close(fd[i]);
    }
    /* The Service may go while they end. */
    modes_set(&f, "ns/svc", false);
    modes_write(&f, false);
    modes_turn(&f, 200);
    modes_teardown(&f);
}

TEST(userspace_a_connection_outlives_its_service_and_a_reset_is_passed_on)
{
    struct modes f;
    char c;
    modes_setup(&f, NULL, -1);
    modes_apply(&f);
    int fd = modes_begin_from(&f, f.ns.clients, NULL, "10.96.0.10", 80, SOCK_STREAM);
    CHECK(modes_read_number(&f, fd) >= 0);
    modes_set(&f, "ns/svc", false);
    modes_write(&f, false);
    CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == 1);
    CHECK(modes_await(&f, fd, POLLIN, 2000));
    CHECK(read(fd, &c, 1) == 1 && c == 'x');
    const struct linger now = { .l_onoff = 1 };
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
    modes_turn(&f, 50);
    modes_teardown(&f);
}

TEST(port_ranges_are_read_in_all_their_forms)
{
    struct port_range r;
    struct err err;
    static const struct {
        const char *text;
        uint16_t first;
        uint32_t n;
    } good[] = { { "", 0, 0 },           { "0", 0, 0 },          { "0-0", 0, 0 },       { "4000-4100", 4000, 101 },
                 { "4000+100", 4000, 101 }, { "4000", 4000, 1 }, { "1-65535", 1, 65535 } };
    static const char *const bad[] = { "-", "4100-4000", "0-100", "x", "1-65536", "65535+1", "4000-", "-4000", "4000+", "99999999999" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK_OK(port_range_parse(str_c(good[i].text), &r, &err), &err);
        CHECK_INT(r.first, good[i].first);
        CHECK_INT(r.n, good[i].n);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!port_range_parse(str_c(bad[i]), &r, &err));
    }
}
