/* Both families in the nftables mode, and what holds in both modes. */
#include "proxy/test-modes.h"

#include <linux/netfilter.h>
#include <stdlib.h>
#include <unistd.h>

#include "nft/conntrack.h"

/* The fixture with the nftables mode. */
static void setup_nftables(struct modes *f)
{
    struct userspace_config c = modes_config(f);
    modes_setup(f, NULL, -1);
    f->engine->ops->free(f->engine);
    CHECK(proxy_cidr_parse(STR("fd09:1::/64"), &c.tables[1].pod_cidr));
    c.tables[1].has_pod_cidr = true;
    f->engine = engine_nftables_new(c.tables, STR("here"));
    modes_write(f, true);
}

TEST(a_dual_stack_service_spreads_over_the_endpoints_of_each_family)
{
    struct modes f;
    int count[2 * N_ENDPOINTS] = { 0 };
    setup_nftables(&f);
    modes_apply(&f);
    for (int i = 0; i < 60; i++) {
        int v4 = modes_reach(&f, "10.96.0.10", 80), v6 = modes_reach(&f, "fd96::10", 80);
        CHECK(v4 >= 0 && v4 < N_ENDPOINTS && v6 >= N_ENDPOINTS);
        count[v4]++;
        count[v6]++;
    }
    for (int i = 0; i < 2 * N_ENDPOINTS; i++) {
        CHECK(count[i] > 5);
    }
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "fd96::10", 80) >= N_ENDPOINTS);
    CHECK_INT(modes_reach(&f, "fd96::10", 81), -1);
    /* An endpoint that is gone gets nothing; without any it is refused at once; the other family goes on. */
    f.slice[1].n_endpoints = 1;
    modes_apply(&f);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(modes_reach(&f, "fd96::10", 80), N_ENDPOINTS);
    }
    CHECK_INT(modes_reach_from(&f, f.ns.endpoints, "fd09:1::1", "fd96::10", 80), N_ENDPOINTS); /* itself */
    f.slice[1].n_endpoints = 0;
    modes_apply(&f);
    CHECK_INT(modes_reach(&f, "fd96::10", 80), -1);
    CHECK(modes_reach(&f, "10.96.0.10", 80) >= 0);
    modes_teardown(&f);
}

TEST(a_service_of_one_family_takes_nothing_of_the_other)
{
    struct modes f;
    setup_nftables(&f);
    f.service.spec.n_cluster_ips = 1;
    f.service.spec.type = STR("NodePort");
    f.port.node_port = 30080;
    modes_apply(&f);
    CHECK(modes_reach(&f, "10.9.2.254", 30080) >= 0);
    CHECK_INT(modes_reach(&f, "fd09:2::fe", 30080), -1); /* nobody listens there */
    size_t v4 = modes_elements(&f);
    f.service.spec.n_cluster_ips = 2;
    modes_apply(&f);
    CHECK(modes_elements(&f) > v4);
    CHECK(modes_reach(&f, "fd09:2::fe", 30080) >= N_ENDPOINTS);
    CHECK(modes_reach_from(&f, f.ns.node, NULL, "fd09:1::fe", 30080) >= N_ENDPOINTS);
    f.service.spec.n_cluster_ips = 1;
    modes_apply(&f);
    CHECK_INT(modes_elements(&f), v4);
    modes_teardown(&f);
}

TEST(ipv6_affinity_local_policy_and_source_ranges)
{
    struct modes f;
    struct core_v1_client_ip_config client = { .timeout_seconds = 100, .has_timeout_seconds = true };
    struct core_v1_session_affinity_config affinity = { .client_ip = &client };
    struct core_v1_load_balancer_ingress ingress = { .ip = STR("2001:db8::7") };
    struct str ranges[] = { STR("fd09:2::1/128"), STR("10.0.0.0/8") };
    setup_nftables(&f);
    f.service.spec.session_affinity = STR("ClientIP");
    f.service.spec.session_affinity_config = &affinity;
    modes_apply(&f);
    int first = modes_reach(&f, "fd96::10", 80);
    CHECK(first >= N_ENDPOINTS);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(modes_reach(&f, "fd96::10", 80), first);
    }
    CHECK(netns_run((const char *const[]){ "sh", "-c", "nft list table ip6 " PROXY_TABLE " > /dev/null", NULL }));
    f.service.spec.session_affinity = STR("None");
    f.service.spec.type = STR("LoadBalancer");
    f.service.spec.external_traffic_policy = STR("Local");
    f.service.status.load_balancer.ingress = &ingress;
    f.service.status.load_balancer.n_ingress = 1;
    modes_apply(&f);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(modes_reach(&f, "2001:db8::7", 80), N_ENDPOINTS); /* the one of this node */
    }
    f.service.spec.external_traffic_policy = STR("Cluster");
    f.service.spec.load_balancer_source_ranges = ranges;
    f.service.spec.n_load_balancer_source_ranges = 2;
    modes_apply(&f);
    CHECK(modes_reach_from(&f, f.ns.clients, "fd09:2::1", "2001:db8::7", 80) >= N_ENDPOINTS);
    CHECK_INT(modes_reach_from(&f, f.ns.clients, "fd09:2::2", "2001:db8::7", 80), -2);
    modes_set(&f, "ns/svc", false);
    modes_write(&f, false);
    CHECK_INT(modes_elements(&f), 0);
    modes_teardown(&f);
}

TEST(a_table_of_either_family_that_is_made_anew_serves_both)
{
    struct modes f;
    setup_nftables(&f);
    modes_apply(&f);
    CHECK(netns_run((const char *const[]){ "nft", "delete", "table", "ip6", PROXY_TABLE, NULL }));
    CHECK(!nft_socket_has_table(f.nl, NFPROTO_IPV6, PROXY_TABLE));
    CHECK(nft_socket_has_table(f.nl, NFPROTO_IPV4, PROXY_TABLE));
    modes_write(&f, true);
    CHECK(modes_reach(&f, "10.96.0.10", 80) >= 0);
    CHECK(modes_reach(&f, "fd96::10", 80) >= N_ENDPOINTS);
    modes_teardown(&f);
}

TEST(a_neighbour_does_not_reach_what_listens_on_loopback_even_with_route_localnet)
{
    struct modes f;
    struct userspace_config c = modes_config(&f);
    modes_setup(&f, &c, -1);
    CHECK(netns_sysctl("ipv4/conf/all/route_localnet", "1"));
    f.service.spec.type = STR("NodePort");
    f.port.node_port = 30080;
    int secret = modes_bound(NFPROTO_IPV4, "127.0.0.1", 10255, SOCK_STREAM);
    CHECK_INT(listen(secret, 10), 0);
    netns_enter(f.ns.clients);
    CHECK(netns_sysctl("ipv4/conf/all/route_localnet", "1"));
    CHECK(netns_run((const char *const[]){ "sh", "-c",
                                           "ip route del local 127.0.0.0/8 dev lo table local; ip addr del 127.0.0.1/8 dev lo;"
                                           "ip route add 127.0.0.0/8 via 10.9.2.254",
                                           NULL }));
    netns_enter(f.ns.node);
    /* Without our table it is open: the test shows that it tests something. */
    CHECK(netns_run((const char *const[]){ "nft", "delete", "table", "ip", PROXY_TABLE, NULL }));
    int fd = modes_begin_from(&f, f.ns.clients, "10.9.2.1", "127.0.0.1", 10255, SOCK_STREAM), got;
    CHECK(modes_await(&f, fd, POLLOUT, 500));
    close(fd);
    CHECK((got = accept(secret, NULL, NULL)) >= 0);
    close(got);
    modes_set(&f, "ns/svc", true);
    modes_write(&f, true);
    fd = modes_begin_from(&f, f.ns.clients, "10.9.2.1", "127.0.0.1", 10255, SOCK_STREAM);
    CHECK(!modes_await(&f, fd, POLLOUT, 300));
    close(fd);
    CHECK_INT(modes_reach_from(&f, f.ns.clients, "10.9.2.1", "127.0.0.1", 30080), -2);
    CHECK(modes_reach(&f, "10.9.2.254", 30080) >= 0);
    /* The same in the nftables mode. */
    f.engine->ops->free(f.engine);
    f.engine = engine_nftables_new(c.tables, STR("here"));
    modes_set(&f, "ns/svc", true);
    modes_write(&f, true);
    fd = modes_begin_from(&f, f.ns.clients, "10.9.2.1", "127.0.0.1", 10255, SOCK_STREAM);
    CHECK(!modes_await(&f, fd, POLLOUT, 300));
    close(fd);
    CHECK_INT(modes_reach_from(&f, f.ns.clients, "10.9.2.1", "127.0.0.1", 30080), -2);
    CHECK(modes_reach(&f, "10.9.2.254", 30080) >= 0);
    close(secret);
    modes_teardown(&f);
}

TEST(endpoints_on_loopback_and_link_local_addresses_are_refused_in_both_modes)
{
    struct modes f;
    struct userspace_config c = modes_config(&f);
    const struct discovery_v1_endpoint_slice *slices[] = { &f.slice[0], &f.slice[1] };
    modes_setup(&f, NULL, -1);
    f.addresses[0][0] = STR("127.0.0.1");
    f.addresses[0][1] = STR("169.254.169.254");
    f.addresses[1][0] = STR("::1");
    f.addresses[1][1] = STR("fe80::1");
    CHECK_INT(f.engine->ops->set_service(f.engine, STR("ns/svc"), &f.service, slices, 2), 4);
    modes_write(&f, false);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 4; k++) {
            CHECK_INT(modes_reach(&f, "10.96.0.10", 80), 2);
            CHECK_INT(modes_reach(&f, "fd96::10", 80), N_ENDPOINTS + 2);
        }
        f.engine->ops->free(f.engine);
        f.engine = engine_nftables_new(c.tables, STR("here"));
        CHECK_INT(f.engine->ops->set_service(f.engine, STR("ns/svc"), &f.service, slices, 2), 4);
        modes_write(&f, true);
    }
    modes_teardown(&f);
}
