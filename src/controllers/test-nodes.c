#include "client/fixture.h"
#include "controllers/controllers.h"
#include "controllers/service-endpoints.h"

#define POD(name, node)                                                                            \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"" name                     \
    "\",\"resourceVersion\":\"3\"},\"spec\":{\"nodeName\":\"" node                                 \
    "\"},\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
#define NODE(ready)                                                                                \
    "{\"metadata\":{\"name\":\"n1\",\"uid\":\"n1\",\"resourceVersion\":\"2\"},\"status\":{"        \
    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"},"                               \
    "{\"type\":\"MemoryPressure\",\"status\":\"" ready "\"},"                                      \
    "{\"type\":\"DiskPressure\",\"status\":\"" ready "\"},"                                        \
    "{\"type\":\"PIDPressure\",\"status\":\"" ready "\"}]}}"

TEST(a_silent_node_is_told_of_before_its_taints_and_pods)
{
    struct fixture f;
    controllers_config.node_monitor_grace_ms = 0;
    controllers_config.node_eviction_rate = 1000;
    fixture_init(&f, &controller_node_lifecycle);
    fixture_put(&f, "", "v1", "nodes", NODE("True"));
    fixture_put(&f, "", "v1", "pods", POD("a", "n1"));
    fixture_put(&f, "", "v1", "pods", POD("b", "n1"));
    fixture_put(&f, "", "v1", "pods", POD("c", "n2"));
    const char *out = fixture_pass(&f, "n1");
    CHECK_INT(fixture_count(out, "PATCH nodes /n1/status"), 1);
    CHECK_INT(fixture_count(out, "PATCH"), 1);
    fixture_put(&f, "", "v1", "nodes", NODE("Unknown"));
    out = fixture_pass(&f, "n1");
    CHECK_INT(fixture_count(out, "PATCH nodes /n1 "), 1);
    CHECK_INT(fixture_count(out, "node.kubernetes.io/unreachable"), 2);
    CHECK_INT(fixture_count(out, "PATCH pods d/"), 2);
    CHECK_INT(fixture_count(out, "d/c"), 0);
    fixture_deinit(&f);
}

static void put_node(struct fixture *f, const char *name, const char *cidr)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"2\"},\"spec\":{%s%s%s}}", name,
             name, cidr ? "\"podCIDR\":\"" : "", cidr ? cidr : "", cidr ? "\"" : "");
    fixture_put(f, "", "v1", "nodes", json);
}

TEST(a_node_gets_the_first_range_that_nobody_has)
{
    struct fixture f;
    controllers_config.allocate_node_cidrs = true;
    controllers_config.cluster_cidr = STR("10.244.0.0/22");
    controllers_config.node_cidr_mask = 24;
    fixture_init(&f, &controller_node_ipam);
    put_node(&f, "a", "10.244.0.0/24");
    put_node(&f, "b", "10.244.2.0/24");
    put_node(&f, "c", NULL);
    CHECK_INT(fixture_count(fixture_pass(&f, "c"), "\"podCIDR\":\"10.244.1.0/24\""), 1);
    put_node(&f, "c", "10.244.1.0/24");
    put_node(&f, "d", NULL);
    CHECK_INT(fixture_count(fixture_pass(&f, "d"), "\"podCIDR\":\"10.244.3.0/24\""), 1);
    put_node(&f, "d", "10.244.3.0/24");
    put_node(&f, "e", NULL);
    CHECK_INT(fixture_count(fixture_pass(&f, "e"), "PATCH"), 0);
    /* What a node gives back is given out again. */
    put_node(&f, "b", "10.9.0.0/24");
    CHECK_INT(fixture_count(fixture_pass(&f, "e"), "\"podCIDR\":\"10.244.2.0/24\""), 1);
    fixture_deinit(&f);
    controllers_config.allocate_node_cidrs = false;
}

TEST(a_node_gets_a_range_of_each_family)
{
    struct fixture f;
    controllers_config.allocate_node_cidrs = true;
    controllers_config.cluster_cidr = STR("fd00:10::/62,10.244.0.0/22");
    controllers_config.node_cidr_mask = controllers_config.node_cidr_mask_v6 = 0;
    controllers_config.node_cidr_mask_v4 = 25;
    fixture_init(&f, &controller_node_ipam);
    put_node(&f, "a", NULL);
    CHECK_INT(fixture_count(fixture_pass(&f, "a"), "\"podCIDR\":\"fd00:10::/64\",\"podCIDRs\":[\"fd00:10::/64\",\"10.244.0.0/25\"]"), 1);
    fixture_put(&f, "", "v1", "nodes",
                "{\"metadata\":{\"name\":\"b\",\"uid\":\"b\",\"resourceVersion\":\"3\"},\"spec\":{\"podCIDR\":\"fd00:10::/64\","
                "\"podCIDRs\":[\"fd00:10::/64\",\"10.244.0.128/25\"]}}");
    CHECK_INT(fixture_count(fixture_pass(&f, "a"), "[\"fd00:10:0:1::/64\",\"10.244.0.0/25\"]"), 1);
    fixture_deinit(&f);
    controllers_config.allocate_node_cidrs = false;
    controllers_config.node_cidr_mask_v4 = 0;
}

static void put_cidr(struct fixture *f, const char *name, const char *cidr, const char *more)
{
    char json[512];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"2\"%s},\"spec\":{\"cidrs\":[\"%s\"]}}",
             name, name, more, cidr);
    fixture_put(f, "networking.k8s.io", "v1", "servicecidrs", json);
}

TEST(a_service_cidr_stays_while_its_addresses_are_in_use)
{
    static const char gone[] = ",\"deletionTimestamp\":\"1970-01-01T00:00:00Z\",\"finalizers\":[\"networking.k8s.io/service-cidr-finalizer\"]";
    struct fixture f;
    fixture_init(&f, &controller_servicecidrs);
    put_cidr(&f, "a", "10.97.0.0/24", "");
    const char *out = fixture_pass(&f, "a");
    CHECK_INT(fixture_count(out, "service-cidr-finalizer"), 1);
    CHECK_INT(fixture_count(out, "\"status\":\"True\""), 1);
    fixture_put(&f, "networking.k8s.io", "v1", "ipaddresses",
                "{\"metadata\":{\"name\":\"10.97.0.9\",\"uid\":\"i\",\"resourceVersion\":\"2\",\"labels\":{\"ipaddress.kubernetes.io/managed-by\":"
                "\"ipallocator.k8s.io\"}}}");
    put_cidr(&f, "a", "10.97.0.0/24", gone);
    out = fixture_pass(&f, "a");
    CHECK_INT(fixture_count(out, "\"reason\":\"Terminating\""), 1);
    CHECK_INT(fixture_count(out, "deleteFromPrimitiveList"), 0);
    put_cidr(&f, "b", "10.97.0.0/16", ""); /* another has the address, too */
    CHECK_INT(fixture_count(fixture_pass(&f, "a"), "$deleteFromPrimitiveList/finalizers"), 1);
    fixture_deinit(&f);
}

TEST(pods_of_nodes_that_are_gone_are_removed_after_a_time)
{
    struct fixture f;
    fixture_init(&f, &controller_pod_gc);
    fixture_put(&f, "", "v1", "nodes", NODE("True"));
    fixture_put(&f, "", "v1", "pods", POD("a", "n1"));
    fixture_put(&f, "", "v1", "pods", POD("b", "gone"));
    CHECK_INT(fixture_count(fixture_pass(&f, "all"), "DELETE"), 0);
    f.now += 60;
    const char *out = fixture_pass(&f, "all");
    CHECK_INT(fixture_count(out, "DELETE"), 1);
    CHECK_INT(fixture_count(out, "DELETE pods d/b"), 1);
    fixture_deinit(&f);
}

TEST(ended_pods_beyond_the_threshold_go_oldest_first)
{
    struct fixture f;
    char json[256];
    controllers_config.terminated_pod_gc_threshold = 2;
    fixture_init(&f, &controller_pod_gc);
    for (int i = 0; i < 4; i++) {
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p%d\",\"uid\":\"p%d\",\"resourceVersion\":\"3\","
                 "\"creationTimestamp\":\"2026-01-0%dT00:00:00Z\"},\"status\":{\"phase\":\"Failed\"}}",
                 i, i, 9 - i);
        fixture_put(&f, "", "v1", "pods", json);
    }
    const char *out = fixture_pass(&f, "all");
    CHECK_INT(fixture_count(out, "DELETE"), 2);
    CHECK_INT(fixture_count(out, "DELETE pods d/p3") + fixture_count(out, "DELETE pods d/p2"), 2);
    fixture_deinit(&f);
    controllers_config.terminated_pod_gc_threshold = 0;
}

TEST(a_service_has_the_pods_that_its_selector_finds)
{
    struct fixture f;
    char json[512];
    fixture_init(&f, &controller_endpointslice);
    for (int i = 0; i < 6; i++) {
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"p%d\",\"uid\":\"p%d\",\"resourceVersion\":\"3\","
                 "\"labels\":{\"app\":\"%s\"}},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.%d\","
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
                 i == 5 ? "other" : "d", i, i, i % 2 ? "web" : "db", i + 1);
        fixture_put(&f, "", "v1", "pods", json);
    }
    fixture_put(&f, "", "v1", "services",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"s\",\"uid\":\"s\",\"resourceVersion\":\"2\"},\"spec\":{"
                "\"selector\":{\"app\":\"web\"},\"clusterIP\":\"10.96.0.9\",\"ipFamilies\":[\"IPv4\"],"
                "\"ports\":[{\"port\":80}]}}");
    const char *out = fixture_pass(&f, "d/s");
    CHECK_INT(fixture_count(out, "POST endpointslices"), 1);
    CHECK_INT(fixture_count(out, "\"addresses\""), 2);
    CHECK_INT(fixture_count(out, "10.0.0.2") + fixture_count(out, "10.0.0.4"), 2);
    fixture_deinit(&f);
}

TEST(a_pod_whose_second_address_changes_is_another_endpoint)
{
    struct core_v1_pod_ip first[] = { { .ip = STR_INIT("10.0.0.1") }, { .ip = STR_INIT("fd00::1") } },
                          second[] = { { .ip = STR_INIT("10.0.0.1") }, { .ip = STR_INIT("fd00::2") } };
    struct core_v1_pod a = { .status = { .pod_ip = STR_INIT("10.0.0.1"), .pod_ips = first, .n_pod_ips = 2 } }, b = a;
    CHECK(!service_endpoints_pod_changed(&a, &b));
    b.status.pod_ips = second;
    CHECK(service_endpoints_pod_changed(&a, &b));
}
