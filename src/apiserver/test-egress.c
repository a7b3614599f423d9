/* The way that connections go: address rules, EgressSelectorConfiguration, contradictions. */
#include "apiserver/egress.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/test.h"

static bool allow(const struct egress_rules *r, enum egress_rule rule, const char *ip)
{
    struct net_addr a;
    struct err err;
    CHECK(net_addr_parse_ip(str_c(ip), 80, &a));
    return egress_rules_allow(r, rule, &a, &err);
}

TEST(egress_rules_refuse_what_is_no_address_of_a_cluster)
{
    static const char *const good[] = { "10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8", "126.255.255.255", "128.0.0.1", "169.253.0.1",
                                        "fd00::1", "2001:db8::1", "240.0.0.1", "100.64.0.1", "64:ff9b::0a00:0001" };
    static const char *const bad[] = { "0.0.0.0", "0.1.2.3", "169.254.0.1", "169.254.169.254", "224.0.0.251", "239.1.1.1", "255.255.255.255",
                                       "::", "fe80::1", "febf::1", "ff05::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16",
                                       "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe" };
    static const char *const own[] = { "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1" };
    struct egress_rules none = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK(allow(&none, EGRESS_FOREIGN, good[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!allow(&none, EGRESS_FOREIGN, bad[i]));
        CHECK(!allow(&none, EGRESS_VERIFIED, bad[i]));
        CHECK(allow(&none, EGRESS_ANY, bad[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        CHECK(!allow(&none, EGRESS_FOREIGN, own[i]));
        CHECK(allow(&none, EGRESS_VERIFIED, own[i]));
    }
}

TEST(egress_rules_take_networks_of_the_administrator)
{
    struct egress_rules r;
    struct err err;
    CHECK_OK(egress_rules_parse(&r, STR("10.1.0.0/16, fd01::/64,192.0.2.7/32"), &err), &err);
    CHECK(!allow(&r, EGRESS_FOREIGN, "10.1.255.1") && !allow(&r, EGRESS_VERIFIED, "10.1.0.1") && allow(&r, EGRESS_FOREIGN, "10.2.0.1"));
    CHECK(!allow(&r, EGRESS_FOREIGN, "fd01::5") && allow(&r, EGRESS_FOREIGN, "fd01:0:0:1::5"));
    CHECK(!allow(&r, EGRESS_FOREIGN, "192.0.2.7") && allow(&r, EGRESS_FOREIGN, "192.0.2.8") && !allow(&r, EGRESS_FOREIGN, "::ffff:10.1.0.1"));
    egress_rules_free(&r);
    static const char *const bad[] = { "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/8,,", "::/129", "10.0.0.0/-1" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!egress_rules_parse(&r, str_c(bad[i]), &err));
        CHECK(str_find(str_c(err.msg), STR("--proxy-denied-cidrs")) == 0);
    }
    CHECK(egress_rules_parse(&r, STR_EMPTY, &err) && r.n_denied == 0);
}

#define HEAD "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\n"
#define ONE(name, connection) HEAD "egressSelections:\n- name: " name "\n  connection:\n" connection

TEST(egress_selector_configuration_is_read_strictly)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { HEAD "egressSelections:\n- name: cluster\n  connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: /run/k.sock}}}\n"
          "- name: controlplane\n  connection: {proxyProtocol: Direct}\n"
          "- name: etcd\n  connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: 'https://konnectivity:8131', tlsConfig: "
          "{caBundle: /ca, clientCert: /crt, clientKey: /key}}}}\n", NULL },
        { "kind: EgressSelectorConfiguration\napiVersion: v1\n", "not an EgressSelectorConfiguration" },
        { ONE("cluster", "    proxyProtocol: GRPC\n    transport: {uds: {udsName: /x}}\n"), "GRPC is not spoken here" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n"), "connection.transport is needed" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {}\n"), "exactly one of tcp and uds" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {uds: {udsName: /x}, tcp: {url: 'http://x'}}\n"), "exactly one" },
        { ONE("cluster", "    proxyProtocol: Direct\n    transport: {uds: {udsName: /x}}\n"), "must not be given with proxyProtocol Direct" },
        { ONE("cluster", "    proxyProtocol: Tcp\n"), "none of Direct, HTTPConnect, GRPC" },
        { ONE("everything", "    proxyProtocol: Direct\n"), "none of controlplane, cluster, etcd" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {tcp: {url: 'https://x:1'}}\n"), "tlsConfig must be given" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {tcp: {url: 'http://x:1', tlsConfig: {}}}\n"), "tlsConfig must not" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {tcp: {url: 'https://x:1', tlsConfig: {caBundle: /c}}}\n"), "clientCert" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {tcp: {url: 'x:1'}}\n"), "begins neither" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {tcp: {url: 'http://x:1/path'}}\n"), "more than a host and a port" },
        { ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {uds: {udsName: run/x}}\n"), "absolute path" },
        { ONE("cluster", "    proxyProtokoll: HTTPConnect\n"), "unknown field \"proxyProtokoll\"" },
        { HEAD "egressSelections:\n- name: etcd\n  connection: {proxyProtocol: Direct}\n- name: etcd\n  connection: {proxyProtocol: Direct}\n", "twice" },
        { HEAD "egressSelections:\n- name: etcd\n", "no connection" },
        { HEAD "egressSelections: 5\n", "a list is needed" },
        { HEAD "selections: []\n", "unknown field \"selections\"" },
        { "[", "yaml" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct egress_selection s[EGRESS_PURPOSES];
        struct err err = { 0 };
        struct arena a;
        arena_init(&a, 1u << 20);
        bool ok = egress_config_parse(&a, str_c(cases[i].text), s, &err);
        if (ok != (cases[i].error == NULL) || (cases[i].error && str_find(str_c(err.msg), str_c(cases[i].error)) < 0)) {
            printf("  case %zu: %s\n", i, err.msg);
        }
        CHECK(ok == (cases[i].error == NULL));
        CHECK(ok || str_find(str_c(err.msg), str_c(cases[i].error)) >= 0);
        if (ok) {
            CHECK(s[EGRESS_CLUSTER].proxied && s[EGRESS_CLUSTER].port == 0 && !s[EGRESS_CLUSTER].tls);
            CHECK_STR_C(s[EGRESS_CLUSTER].host, "/run/k.sock");
            CHECK(s[EGRESS_CONTROLPLANE].given && !s[EGRESS_CONTROLPLANE].proxied);
            CHECK(s[EGRESS_ETCD].tls && s[EGRESS_ETCD].port == 8131);
            CHECK_STR_C(s[EGRESS_ETCD].host, "konnectivity");
            CHECK_STR_C(s[EGRESS_ETCD].client_key, "/key");
        }
        arena_deinit(&a);
    }
}

TEST(egress_by_tunnel_and_by_selector_contradict_each_other)
{
    char path[] = "/tmp/coracle-test-egress-XXXXXX";
    struct err err;
    struct str way;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    (void)close(fd);
    CHECK_OK(fs_write_atomic(path, STR(ONE("cluster", "    proxyProtocol: HTTPConnect\n    transport: {uds: {udsName: /run/k.sock}}\n")), 0600, &err),
             &err);
    struct egress *e = egress_new(&(struct egress_config){ .selector_file = str_c(path) }, &err);
    CHECK_OK(e != NULL, &err);
    CHECK(egress_is_proxied(e, EGRESS_CLUSTER, &way) && str_eq_c(way, "the egress proxy at unix:/run/k.sock"));
    CHECK(!egress_is_proxied(e, EGRESS_ETCD, &way) && str_eq_c(way, "direct"));
    CHECK(egress_dialer(e, EGRESS_CLUSTER, EGRESS_FOREIGN) != egress_dialer(e, EGRESS_CLUSTER, EGRESS_VERIFIED));
    egress_free(e);
    CHECK(!egress_new(&(struct egress_config){ .selector_file = str_c(path), .tunnel_socket = STR("/run/t.sock") }, &err));
    CHECK(str_find(str_c(err.msg), STR("contradict")) > 0);
    CHECK(!egress_new(&(struct egress_config){ .selector_file = STR("/no/such/file") }, &err));
    CHECK(!egress_new(&(struct egress_config){ .tunnel_socket = STR("relative") }, &err));
    e = egress_new(&(struct egress_config){ .tunnel_socket = STR("/run/t.sock") }, &err);
    CHECK_OK(e && egress_is_proxied(e, EGRESS_CLUSTER, &way) && !egress_is_proxied(e, EGRESS_CONTROLPLANE, &way), &err);
    egress_free(e);
    (void)unlink(path);
}
