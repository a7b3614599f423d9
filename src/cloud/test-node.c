#include "cloud/test-provider.h"

#define TAINT "{\"key\":\"node.cloudprovider.kubernetes.io/uninitialized\",\"value\":\"true\",\"effect\":\"NoSchedule\"}"
#define OTHER "{\"key\":\"gpu\",\"effect\":\"NoExecute\"}"
#define NODE(meta, spec, status) \
    "{\"metadata\":{\"name\":\"n1\",\"uid\":\"u1\",\"resourceVersion\":\"7\"" meta "},\"spec\":{" spec "},\"status\":{" status "}}"
#define NOT_READY "\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]"

static void put(struct fixture *f, const char *json)
{
    fixture_put(f, "", "v1", "nodes", json);
}

TEST(a_new_node_gets_its_addresses_first_and_then_loses_the_taint)
{
    struct fixture f;
    cloud_begin(&f, &cloud_node_controller, CLOUD_HEAD "region: home\nnodes: [{name: n1, zone: rack-1, instanceType: nuc, labels: {disk: ssd}, "
                                                       "addresses: [{type: InternalIP, address: 10.0.0.1}]}]");
    put(&f, NODE("", "\"taints\":[" OTHER "," TAINT "]", ""));
    const char *out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "PATCH nodes /n1/status") != NULL);
    CHECK(strstr(out, "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"Hostname\",\"address\":\"n1\"}]") != NULL);
    CHECK(strstr(out, "taints") == NULL);
    put(&f, NODE("", "\"taints\":[" OTHER "," TAINT "]",
                 "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"Hostname\",\"address\":\"n1\"}]"));
    out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "\"taints\":[{\"key\":\"gpu\",\"effect\":\"NoExecute\"}]") != NULL);
    CHECK(strstr(out, "\"providerID\":\"bare-metal://n1\"") != NULL);
    CHECK(strstr(out, "\"topology.kubernetes.io/zone\":\"rack-1\"") != NULL && strstr(out, "\"topology.kubernetes.io/region\":\"home\"") != NULL);
    CHECK(strstr(out, "\"node.kubernetes.io/instance-type\":\"nuc\"") != NULL && strstr(out, "\"disk\":\"ssd\"") != NULL);
    CHECK(strstr(out, "event Normal Synced: Node synced successfully") != NULL);
    cloud_end(&f);
}

TEST(without_a_file_the_kubelets_word_and_labels_count)
{
    struct fixture f;
    cloud_begin(&f, &cloud_node_controller, "");
    put(&f, NODE("", "\"taints\":[" TAINT "]", ""));
    const char *out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "NoNodeAddress") != NULL && strstr(out, "PATCH") == NULL);
    put(&f, NODE(",\"annotations\":{\"alpha.kubernetes.io/provided-node-ip\":\"10.0.0.9\",\"bare-metal.coracle.local/external-ip\":\"2001:DB8::9\"},"
                 "\"labels\":{\"bare-metal.coracle.local/zone\":\"z\"}",
                 "\"taints\":[" TAINT "]", ""));
    out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.9\"},{\"type\":\"ExternalIP\",\"address\":\"2001:db8::9\"},"
                      "{\"type\":\"Hostname\",\"address\":\"n1\"}]") != NULL);
    cloud_end(&f);
}

TEST(an_initialised_node_is_left_as_it_is)
{
    struct fixture f;
    cloud_begin(&f, &cloud_node_controller, "");
    put(&f, NODE("", "", "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"Hostname\",\"address\":\"h\"}]"));
    const char *out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "PATCH") == NULL && strstr(out, "again after 300000 ms") != NULL);
    cloud_end(&f);
}

TEST(a_machine_that_is_gone_takes_its_node_with_it_once_it_is_not_ready)
{
    struct fixture f;
    cloud_begin(&f, &cloud_node_lifecycle_controller, CLOUD_HEAD "onlyListedNodes: true\nnodes: [{name: n2}]");
    put(&f, NODE("", "", "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"));
    CHECK(strstr(fixture_pass(&f, "n1"), "DELETE") == NULL);
    put(&f, NODE("", "", NOT_READY));
    const char *out = fixture_pass(&f, "n1");
    CHECK(strstr(out, "DELETE nodes /n1") != NULL && strstr(out, "DeletingNode") != NULL);
    cloud_end(&f);
}

TEST(a_machine_that_is_off_taints_its_node_until_it_is_ready)
{
    struct fixture f;
    cloud_begin(&f, &cloud_node_lifecycle_controller, CLOUD_HEAD "nodes: [{name: n1, shutdown: true}]");
    put(&f, NODE("", "", NOT_READY));
    CHECK(strstr(fixture_pass(&f, "n1"), "\"taints\":[{\"key\":\"node.cloudprovider.kubernetes.io/shutdown\",\"effect\":\"NoSchedule\"}]") != NULL);
    put(&f, NODE("", "\"taints\":[{\"key\":\"node.cloudprovider.kubernetes.io/shutdown\",\"effect\":\"NoSchedule\"}]",
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"));
    CHECK(strstr(fixture_pass(&f, "n1"), "\"taints\":[]") != NULL);
    cloud_end(&f);
}
