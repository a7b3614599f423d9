#include "cloud/test-provider.h"

#define POOLS \
    CLOUD_HEAD "loadBalancer:\n  class: example.com/lan\n  pools:\n  - {name: lan, addresses: [192.0.2.1-192.0.2.2, 'fd00::1']}\n" \
               "  - {name: kept, addresses: [198.51.100.1], autoAssign: false}\n  - {name: team, addresses: [203.0.113.1], namespaces: [team]}\n"
#define FIN "\"finalizers\":[\"service.kubernetes.io/load-balancer-cleanup\"]"
#define SERVICE(ns, name, meta, spec, ips) \
    "{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"u-" name "\",\"resourceVersion\":\"1\"," meta "}," \
    "\"spec\":{\"type\":\"LoadBalancer\",\"ipFamilies\":[\"IPv4\"]" spec "},\"status\":{\"loadBalancer\":{\"ingress\":[" ips "]}}}"
#define IP(x) "{\"ip\":\"" x "\",\"ipMode\":\"VIP\"}"

static void put(struct fixture *f, const char *json)
{
    fixture_put(f, "", "v1", "services", json);
}

#define HAS(out, text) \
    do { \
        const char *has_in = (out); \
        if (!strstr(has_in, (text))) { \
            printf("  not in: %s\n", has_in); \
        } \
        CHECK(strstr(has_in, (text)) != NULL); \
    } while (0)

TEST(a_service_gets_a_finalizer_and_then_an_address)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, SERVICE("d", "a", "\"labels\":{}", "", ""));
    const char *out = fixture_pass(&f, "d/a");
    HAS(out, FIN);
    HAS(out, "event Normal EnsuringLoadBalancer: Ensuring load balancer");
    CHECK(strstr(out, "192.0.2") == NULL);
    put(&f, SERVICE("d", "a", FIN, "", ""));
    out = fixture_pass(&f, "d/a");
    HAS(out, "\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\",\"ipMode\":\"VIP\"}]}");
    HAS(out, "event Normal EnsuredLoadBalancer");
    put(&f, SERVICE("d", "a", FIN, "", IP("192.0.2.1")));
    CHECK(strstr(fixture_pass(&f, "d/a"), "PATCH") == NULL);
    cloud_end(&f);
}

TEST(no_address_is_given_twice_and_an_empty_pool_is_an_event)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, SERVICE("d", "b", FIN, "", IP("192.0.2.1"))); /* before a restart */
    put(&f, SERVICE("d", "a", FIN, "", ""));
    put(&f, SERVICE("d", "c", FIN, "", ""));
    HAS(fixture_pass(&f, "d/a"), "\"ip\":\"192.0.2.2\"");
    /* It is held though its status was not written yet. */
    const char *out = fixture_pass(&f, "d/c");
    HAS(out, "event Warning SyncLoadBalancerFailed: Error syncing load balancer: no IPv4 address is free in the pools that this Service may use");
    CHECK(strstr(out, "PATCH") == NULL);
    put(&f, SERVICE("d", "b", FIN ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "", IP("192.0.2.1")));
    out = fixture_pass(&f, "d/b");
    HAS(out, "event Normal DeletingLoadBalancer");
    HAS(out, "event Normal DeletedLoadBalancer");
    HAS(out, "\"finalizers\":[]");
    HAS(fixture_pass(&f, "d/c"), "\"ip\":\"192.0.2.1\"");
    cloud_end(&f);
}

TEST(addresses_and_pools_are_asked_for)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, SERVICE("d", "a", FIN, ",\"loadBalancerIP\":\"192.0.2.2\"", ""));
    HAS(fixture_pass(&f, "d/a"), "\"ip\":\"192.0.2.2\"");
    put(&f, SERVICE("d", "b", FIN, ",\"loadBalancerIP\":\"192.0.2.2\"", ""));
    HAS(fixture_pass(&f, "d/b"), "the requested 192.0.2.2 is in use by Service d/a");
    put(&f, SERVICE("d", "b", FIN ",\"annotations\":{\"bare-metal.coracle.local/pool\":\"kept\"}", "", ""));
    HAS(fixture_pass(&f, "d/b"), "\"ip\":\"198.51.100.1\"");
    put(&f, SERVICE("d", "c", FIN, ",\"loadBalancerIP\":\"203.0.113.1\"", ""));
    HAS(fixture_pass(&f, "d/c"), "the requested 203.0.113.1 is in no pool that this Service may use");
    put(&f, SERVICE("d", "c", FIN ",\"annotations\":{\"bare-metal.coracle.local/load-balancer-ips\":\"10.0.0.0.1\"}", "", ""));
    HAS(fixture_pass(&f, "d/c"), "\"10.0.0.0.1\" is no IP address");
    put(&f, SERVICE("d", "c", FIN ",\"annotations\":{\"bare-metal.coracle.local/pool\":\"nothing\"}", "", ""));
    HAS(fixture_pass(&f, "d/c"), "there is no pool");
    put(&f, SERVICE("team", "a", FIN ",\"annotations\":{\"bare-metal.coracle.local/pool\":\"team\"}", "", ""));
    HAS(fixture_pass(&f, "team/a"), "\"ip\":\"203.0.113.1\"");
    cloud_end(&f);
}

TEST(two_families_get_two_addresses)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"a\",\"uid\":\"a\",\"resourceVersion\":\"1\"," FIN "},\"spec\":{\"type\":\"LoadBalancer\","
            "\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\",\"IPv4\"]}}");
    HAS(fixture_pass(&f, "d/a"), "[{\"ip\":\"fd00::1\",\"ipMode\":\"VIP\"},{\"ip\":\"192.0.2.1\",\"ipMode\":\"VIP\"}]");
    put(&f, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"b\",\"uid\":\"b\",\"resourceVersion\":\"1\"," FIN "},\"spec\":{\"type\":\"LoadBalancer\","
            "\"ipFamilyPolicy\":\"PreferDualStack\",\"ipFamilies\":[\"IPv4\",\"IPv6\"]}}");
    HAS(fixture_pass(&f, "d/b"), "\"ingress\":[{\"ip\":\"192.0.2.2\",\"ipMode\":\"VIP\"}]");
    cloud_end(&f);
}

TEST(classes_of_others_are_left_alone_and_our_own_is_served)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, SERVICE("d", "a", "\"labels\":{}", ",\"loadBalancerClass\":\"other.example/x\"", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/a")), "");
    put(&f, SERVICE("d", "a", FIN ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", ",\"loadBalancerClass\":\"other.example/x\"", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/a")), "");
    put(&f, SERVICE("d", "b", FIN, ",\"loadBalancerClass\":\"example.com/lan\"", ""));
    HAS(fixture_pass(&f, "d/b"), "\"ip\":\"192.0.2.1\"");
    cloud_end(&f);
}

TEST(a_service_that_is_no_load_balancer_any_more_gives_back)
{
    struct fixture f;
    cloud_begin(&f, &cloud_service_controller, POOLS);
    put(&f, SERVICE("d", "a", FIN, "", IP("192.0.2.1")));
    put(&f, "{\"metadata\":{\"namespace\":\"d\",\"name\":\"a\",\"uid\":\"u-a\",\"resourceVersion\":\"1\"," FIN "},\"spec\":{\"type\":\"ClusterIP\"}}");
    const char *out = fixture_pass(&f, "d/a");
    HAS(out, "\"finalizers\":[]");
    put(&f, SERVICE("d", "b", FIN, "", ""));
    HAS(fixture_pass(&f, "d/b"), "\"ip\":\"192.0.2.1\"");
    cloud_end(&f);
}
