/* What Services and EndpointSlices want of the table, without a kernel. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include "base/arena.h"
#include "base/test.h"
#include "proxy/endpoints.h"
#include "proxy/ruleset.h"

#define MAX_ENDPOINTS 8

struct fixture {
    struct ruleset *rs;
    struct core_v1_service service;
    struct core_v1_service_port port;
    struct discovery_v1_endpoint_slice slice;
    struct discovery_v1_endpoint endpoints[MAX_ENDPOINTS];
    struct str addresses[MAX_ENDPOINTS];
    struct discovery_v1_endpoint_port slice_port;
    struct arena a;
};

static void setup(struct fixture *f)
{
    struct ruleset_config config = { .node = STR("here"), .table.family = NFPROTO_IPV4 };
    *f = (struct fixture){ 0 };
    arena_init(&f->a, 1 << 20);
    f->rs = ruleset_new(&config);
    f->port =
        (struct core_v1_service_port){ .name = STR("web"), .protocol = STR("TCP"), .port = 80 };
    f->service.spec = (struct core_v1_service_spec){
        .ports = &f->port, .n_ports = 1, .cluster_ip = STR("10.96.0.10"), .type = STR("ClusterIP")
    };
    f->slice_port = (struct discovery_v1_endpoint_port){
        .name = STR("web"), .protocol = STR("TCP"), .port = 8080, .has_port = true
    };
    f->slice = (struct discovery_v1_endpoint_slice){ .address_type = STR("IPv4"),
                                                     .endpoints = f->endpoints,
                                                     .n_endpoints = 3,
                                                     .ports = &f->slice_port,
                                                     .n_ports = 1 };
    for (int i = 0; i < MAX_ENDPOINTS; i++) {
        f->addresses[i] = arena_printf(&f->a, "10.1.0.%d", i + 1);
        f->endpoints[i] =
            (struct discovery_v1_endpoint){ .addresses = &f->addresses[i],
                                            .n_addresses = 1,
                                            .node_name = i ? STR("other") : STR("here") };
    }
}

static void teardown(struct fixture *f)
{
    ruleset_free(f->rs);
    arena_deinit(&f->a);
}

static void set(struct fixture *f, struct str key, bool there)
{
    const struct discovery_v1_endpoint_slice *slices[] = { &f->slice };
    ruleset_set_service(f->rs, key, there ? &f->service : NULL, slices, 1);
}

/* Writes, and returns how many messages that took. */
static unsigned write(struct fixture *f)
{
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, 1);
    ruleset_write_changes(f->rs, &x);
    nft_batch_end(&x);
    CHECK(!nft_batch_failed(&x));
    unsigned n = x.n_messages;
    nft_batch_deinit(&x);
    return n;
}

static struct proxy_addr ip(const char *text)
{
    struct proxy_addr a;
    CHECK(proxy_addr_parse(NFPROTO_IPV4, str_c(text), &a));
    return a;
}

static struct endpoints choose(struct fixture *f, struct str zone)
{
    static const struct discovery_v1_endpoint_slice *slices[1];
    struct endpoints e;
    slices[0] = &f->slice;
    struct endpoints_in in = {
        .family = NFPROTO_IPV4, .slices = slices, .n_slices = 1, .port = &f->port, .node = STR("here"), .zone = zone
    };
    CHECK(endpoints_choose(&f->a, &in, &e));
    return e;
}

static bool good(struct fixture *f, const char *endpoint)
{
    struct proxy_endpoint e = { .port = htons(8080) };
    CHECK(inet_pton(AF_INET, endpoint, e.addr.b) == 1);
    return ruleset_connection_is_good(f->rs, IPPROTO_TCP, &(struct proxy_addr[]){ ip("10.96.0.10") }[0], htons(80), false,
                                      &e);
}

TEST(nothing_changed_is_nothing_written)
{
    struct fixture f;
    setup(&f);
    set(&f, STR("ns/a"), true);
    CHECK(write(&f) > 0);
    set(&f, STR("ns/a"), true);
    CHECK_INT(write(&f), 0);
    /* There and back before it was written: nothing either. */
    f.slice.n_endpoints = 1;
    set(&f, STR("ns/a"), true);
    f.slice.n_endpoints = 3;
    set(&f, STR("ns/a"), true);
    CHECK_INT(write(&f), 0);
    teardown(&f);
}

TEST(a_second_service_with_as_many_endpoints_makes_no_rules)
{
    struct fixture f;
    setup(&f);
    set(&f, STR("ns/a"), true);
    write(&f);
    f.service.spec.cluster_ip = STR("10.96.0.11");
    set(&f, STR("ns/b"), true);
    CHECK_INT(write(&f), 3); /* elements of the shared chain's set, service-endpoints, cluster-ips */
    set(&f, STR("ns/b"), false);
    CHECK_INT(write(&f), 3);
    teardown(&f);
}

/* Writes, and returns how many bytes that took without the batch's frame. */
static size_t write_bytes(struct fixture *f)
{
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, 1);
    size_t before = x.b.len;
    ruleset_write_changes(f->rs, &x);
    size_t n = x.b.len - before;
    nft_batch_deinit(&x);
    return n;
}

TEST(an_endpoint_that_goes_moves_one_other_at_most)
{
    struct fixture f;
    setup(&f);
    f.slice.n_endpoints = MAX_ENDPOINTS;
    set(&f, STR("ns/a"), true);
    write(&f);
    f.slice.n_endpoints = MAX_ENDPOINTS - 1;
    set(&f, STR("ns/a"), true);
    size_t last = write_bytes(&f);
    f.endpoints[1] = f.endpoints[MAX_ENDPOINTS - 2]; /* the second goes, the last one takes its number */
    f.slice.n_endpoints = MAX_ENDPOINTS - 2;
    set(&f, STR("ns/a"), true);
    CHECK(write_bytes(&f) < 3 * last);
    CHECK(!good(&f, "10.1.0.2"));
    CHECK(good(&f, "10.1.0.7"));
    CHECK(good(&f, "10.1.0.3"));
    teardown(&f);
}

TEST(a_number_of_endpoints_belongs_to_the_next_power_of_two)
{
    static const uint32_t classes[][2] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 4 }, { 4, 4 }, { 5, 8 }, { 1000, 1024 } };
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        CHECK_INT(proxy_class(classes[i][0]), classes[i][1]);
    }
}

TEST(a_change_of_class_takes_along_the_chain_that_nobody_uses)
{
    struct fixture f;
    setup(&f);
    set(&f, STR("ns/a"), true);
    write(&f);
    f.service.spec.cluster_ip = STR("10.96.0.11");
    f.slice.n_endpoints = 5;
    set(&f, STR("ns/b"), true);
    CHECK(write(&f) > 4); /* the first of its class: chain, set, rules */
    f.slice.n_endpoints = 4;
    set(&f, STR("ns/b"), true);
    unsigned gone = write(&f);
    CHECK(gone > 4);
    f.slice.n_endpoints = 3;
    set(&f, STR("ns/b"), true);
    CHECK_INT(write(&f), 1); /* the same class: one element */
    teardown(&f);
}

#define WAITING_SIZE 32

static void note(void *data, struct str key)
{
    CHECK(str_to_cstr(key, data, WAITING_SIZE));
}

TEST(an_address_belongs_to_the_first_until_it_is_free)
{
    struct fixture f;
    struct str ips[] = { STR("192.0.2.1") };
    char waiting[WAITING_SIZE] = "";
    setup(&f);
    f.service.spec.external_ips = ips;
    f.service.spec.n_external_ips = 1;
    set(&f, STR("ns/a"), true);
    f.service.spec.cluster_ip = STR("10.96.0.11");
    set(&f, STR("ns/b"), true);
    write(&f);
    set(&f, STR("ns/a"), false);
    ruleset_take_waiting(f.rs, note, waiting);
    CHECK_STR_C(str_c(waiting), "ns/b");
    set(&f, STR("ns/b"), true);
    write(&f);
    struct proxy_endpoint e = { .addr = ip("10.1.0.1"), .port = htons(8080) };
    CHECK(ruleset_connection_is_good(f.rs, IPPROTO_TCP, &(struct proxy_addr[]){ ip("192.0.2.1") }[0], htons(80), false,
                                     &e));
    set(&f, STR("ns/b"), false);
    write(&f);
    struct ruleset_stats stats;
    ruleset_stats(f.rs, &stats);
    CHECK_INT(stats.elements, 0);
    CHECK_INT(stats.services, 0);
    teardown(&f);
}

TEST(connections_to_endpoints_that_are_gone_are_not_good)
{
    struct fixture f;
    setup(&f);
    set(&f, STR("ns/a"), true);
    CHECK(good(&f, "10.1.0.1"));
    CHECK(good(&f, "10.1.0.3"));
    CHECK(!good(&f, "10.1.0.4"));
    f.slice.n_endpoints = 2;
    set(&f, STR("ns/a"), true);
    CHECK(!good(&f, "10.1.0.3"));
    f.service.spec.session_affinity = STR("ClientIP");
    set(&f, STR("ns/a"), true);
    CHECK(good(&f, "10.1.0.2"));
    CHECK(!good(&f, "10.1.0.3"));
    /* Went past us before there were endpoints; and what is no service of ours. */
    CHECK(!ruleset_connection_is_good(f.rs, IPPROTO_TCP, &(struct proxy_addr[]){ ip("10.96.0.10") }[0], htons(80), false,
                                      NULL));
    CHECK(ruleset_connection_is_good(f.rs, IPPROTO_TCP, &(struct proxy_addr[]){ ip("10.96.0.99") }[0], htons(80), false,
                                     NULL));
    f.slice.n_endpoints = 0;
    set(&f, STR("ns/a"), true);
    CHECK(!good(&f, "10.1.0.1"));
    teardown(&f);
}

TEST(only_ready_endpoints_count_and_terminating_ones_when_none_is_left)
{
    struct fixture f;
    setup(&f);
    f.endpoints[1].conditions = (struct discovery_v1_endpoint_conditions){ .has_ready = true };
    CHECK_INT(choose(&f, STR_NULL).n_all, 2);
    for (int i = 0; i < 3; i++) {
        f.endpoints[i].conditions =
            (struct discovery_v1_endpoint_conditions){ .has_ready = true,
                                                       .has_serving = true,
                                                       .serving = i > 0,
                                                       .has_terminating = true,
                                                       .terminating = true };
    }
    struct endpoints e = choose(&f, STR_NULL);
    CHECK_INT(e.n_all, 2);
    CHECK_INT(e.n_local, 0);
    CHECK_INT(e.n_local_ready, 0);
    teardown(&f);
}

TEST(a_terminating_endpoint_of_this_node_serves_local_traffic_beside_ready_ones_elsewhere)
{
    struct fixture f;
    setup(&f);
    f.endpoints[0].conditions = (struct discovery_v1_endpoint_conditions){ .has_ready = true,
                                                                           .has_serving = true,
                                                                           .serving = true,
                                                                           .has_terminating = true,
                                                                           .terminating = true };
    struct endpoints e = choose(&f, STR_NULL);
    CHECK_INT(e.n_all, 2);
    CHECK_INT(e.n_local, 1);
    CHECK_INT(e.n_local_ready, 0);
    teardown(&f);
}

TEST(hints_count_when_all_endpoints_have_them_and_one_is_for_this_zone)
{
    struct fixture f;
    struct discovery_v1_for_zone a = { .name = STR("a") }, b = { .name = STR("b") };
    struct discovery_v1_endpoint_hints for_a = { .for_zones = &a, .n_for_zones = 1 },
                                       for_b = { .for_zones = &b, .n_for_zones = 1 };
    setup(&f);
    f.endpoints[0].hints = f.endpoints[1].hints = &for_a;
    CHECK_INT(choose(&f, STR("a")).n_all, 3);
    f.endpoints[2].hints = &for_b;
    CHECK_INT(choose(&f, STR("a")).n_all, 2);
    CHECK_INT(choose(&f, STR("b")).n_all, 1);
    CHECK_INT(choose(&f, STR("c")).n_all, 3);
    CHECK_INT(choose(&f, STR_NULL).n_all, 3);
    teardown(&f);
}

TEST(ports_are_matched_by_name_and_protocol)
{
    struct fixture f;
    setup(&f);
    f.slice_port.name = STR("other");
    CHECK_INT(choose(&f, STR_NULL).n_all, 0);
    f.slice_port.name = STR("web");
    f.slice_port.protocol = STR("UDP");
    CHECK_INT(choose(&f, STR_NULL).n_all, 0);
    teardown(&f);
}

TEST(headless_and_foreign_services_are_nothing_to_us)
{
    struct fixture f;
    struct api_str_pair label = { STR("service.kubernetes.io/service-proxy-name"), STR("mine") };
    setup(&f);
    f.service.spec.cluster_ip = STR("None");
    set(&f, STR("ns/a"), true);
    CHECK_INT(write(&f), 0);
    f.service.spec.cluster_ip = STR("10.96.0.10");
    f.service.metadata.labels = &label;
    f.service.metadata.n_labels = 1;
    set(&f, STR("ns/a"), true);
    CHECK_INT(write(&f), 0);
    teardown(&f);
}

TEST(load_balancers_ask_how_many_ready_endpoints_are_here)
{
    struct fixture f;
    struct ruleset_health h;
    size_t pos = 0;
    setup(&f);
    f.service.spec.type = STR("LoadBalancer");
    f.service.spec.external_traffic_policy = STR("Local");
    f.service.spec.health_check_node_port = 31000;
    set(&f, STR("ns/a"), true);
    CHECK(ruleset_next_health(f.rs, &pos, &h));
    CHECK_STR_C(h.key, "ns/a");
    CHECK_INT(h.port, 31000);
    CHECK_INT(h.n_local, 1);
    CHECK(!ruleset_next_health(f.rs, &pos, &h));
    teardown(&f);
}
