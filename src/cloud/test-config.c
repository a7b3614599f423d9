#include "cloud/bare-metal-config.h"

#include "base/test.h"

#define HEAD "apiVersion: bare-metal.coracle.local/v1\nkind: BareMetalConfiguration\n"

static struct arena arena;
static struct bare_metal_config config;
static struct err err;

static bool parse(const char *text)
{
    arena_deinit(&arena);
    arena_init(&arena, 1u << 20);
    return bare_metal_config_parse(&arena, str_c(text), &config, &err);
}

TEST(no_file_means_no_pools_and_routes_by_agents)
{
    CHECK_OK(parse(""), &err);
    CHECK_INT(config.n_pools, 0);
    CHECK_INT(config.routes_by, BARE_METAL_ROUTES_AGENTS);
    CHECK_STR_C(config.lease_namespace, "kube-system");
    CHECK_INT(config.lease_ms, 6000);
    arena_deinit(&arena);
}

TEST(a_complete_file_is_read)
{
    CHECK_OK(parse(HEAD "region: home\nonlyListedNodes: true\n"
                        "nodes:\n- name: b\n  zone: rack-2\n- name: a\n  providerID: bare-metal://1\n  instanceType: nuc\n"
                        "  addresses: [{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: '2001:db8::1'}]\n"
                        "  labels: {disk: ssd}\n"
                        "loadBalancer:\n  class: example.com/lan\n  leaseDuration: 3s\n  leaseNamespace: lb\n  pools:\n"
                        "  - name: lan\n    addresses: [192.0.2.0/30, 192.0.2.10-192.0.2.12, 192.0.2.20, 'fd00::10-fd00::1f']\n"
                        "  - name: other\n    addresses: [198.51.100.7]\n    autoAssign: false\n    namespaces: [x]\n    interfaces: [eth1]\n"
                        "routes: {by: router}\n"),
             &err);
    CHECK_INT(config.n_nodes, 2);
    const struct bare_metal_node *a = bare_metal_config_node(&config, STR("a"));
    CHECK(a && a->n_addresses == 2 && a->n_labels == 1);
    CHECK(!bare_metal_config_node(&config, STR("c")));
    CHECK_STR_C(bare_metal_config_node(&config, STR("b"))->zone, "rack-2");
    CHECK_STR_C(config.class, "example.com/lan");
    CHECK_INT(config.lease_ms, 3000);
    CHECK_INT(config.routes_by, BARE_METAL_ROUTES_ROUTER);
    struct ip ip;
    CHECK(ip_parse(STR("192.0.2.11"), &ip));
    CHECK_STR_C(bare_metal_config_pool(&config, &ip)->name, "lan");
    CHECK(ip_parse(STR("192.0.2.13"), &ip) && !bare_metal_config_pool(&config, &ip));
    CHECK(ip_parse(STR("fd00::1f"), &ip) && bare_metal_config_pool(&config, &ip));
    CHECK(ip_parse(STR("198.51.100.7"), &ip) && !bare_metal_config_pool(&config, &ip)->auto_assign);
    arena_deinit(&arena);
}

TEST(what_is_not_known_or_cannot_be_is_refused_by_name)
{
    static const char *const rows[][2] = {
        { "kind: x", "no BareMetalConfiguration" },
        { HEAD "regions: a", "unknown field \"regions\"" },
        { HEAD "region: a\nregion: b", "already set" },
        { HEAD "nodes: [{name: a}, {name: a}]", "two nodes" },
        { HEAD "nodes: [{zone: a}]", "nodes[].name" },
        { HEAD "nodes: [{name: a, addresses: [{type: InternalIP, address: here}]}]", "\"here\" is no address" },
        { HEAD "nodes: [{name: a, addresses: [{type: IP, address: 1.2.3.4}]}]", "of type \"IP\"" },
        { HEAD "nodes: [{name: a, shutdown: 1}]", "true or false" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [192.0.2.1/24]}]}", "\"192.0.2.1/24\" is no range" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [192.0.2.9-192.0.2.1]}]}", "is no range" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [127.0.0.1]}]}", "is no range" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [192.0.2.0-fd00::1]}]}", "is no range" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [192.0.2.0/24]}, {name: b, addresses: [192.0.2.7]}]}", "overlaps" },
        { HEAD "loadBalancer: {pools: [{name: a, addresses: [192.0.2.0/24]}, {name: a, addresses: [198.51.100.0/24]}]}", "two pools" },
        { HEAD "loadBalancer: {pools: [{name: a}]}", "needs a name and addresses" },
        { HEAD "loadBalancer: {pool: []}", "unknown field \"loadBalancer.pool\"" },
        { HEAD "loadBalancer: {leaseDuration: 1s}", "leaseDuration" },
        { HEAD "routes: {by: me}", "routes.by" },
        { HEAD "a: [", "yaml" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CHECK(!parse(rows[i][0]));
        if (!strstr(err.msg, rows[i][1])) {
            printf("  wanted \"%s\" in: %s\n", rows[i][1], err.msg);
        }
        CHECK(strstr(err.msg, rows[i][1]) != NULL);
    }
    arena_deinit(&arena);
}

TEST(addresses_and_prefixes)
{
    struct ip a, b;
    struct ip_prefix p;
    char text[IP_TEXT_SIZE];
    CHECK(ip_parse(STR("10.0.255.255"), &a) && ip_next(&a, &b));
    CHECK_STR_C(ip_text(&b, text), "10.1.0.0");
    CHECK(ip_parse(STR("2001:db8::ffff"), &a) && ip_next(&a, &b));
    CHECK_STR_C(ip_text(&b, text), "2001:db8::1:0");
    CHECK(ip_parse(STR("255.255.255.255"), &a) && !ip_next(&a, &b));
    CHECK(!ip_parse(STR("::ffff:1.2.3.4"), &a) && !ip_parse(STR("1.2.3"), &a) && !ip_parse(STR(""), &a));
    CHECK(ip_prefix_parse(STR("fd00:0:0:8::/61"), false, &p));
    b = ip_prefix_last(&p);
    CHECK_STR_C(ip_text(&b, text), "fd00::f:ffff:ffff:ffff:ffff");
    CHECK(ip_prefix_has(&p, &b) && ip_parse(STR("fd00:0:0:10::"), &a) && !ip_prefix_has(&p, &a));
    CHECK(!ip_prefix_parse(STR("10.0.0.1/24"), false, &p) && ip_prefix_parse(STR("10.0.0.1/24"), true, &p));
    CHECK(!ip_prefix_parse(STR("10.0.0.0/33"), true, &p) && !ip_prefix_parse(STR("10.0.0.0"), true, &p));
    CHECK(ip_parse(STR("fe80::1"), &a) && !ip_is_unicast(&a));
    CHECK(ip_parse(STR("224.0.0.1"), &a) && !ip_is_unicast(&a));
}
