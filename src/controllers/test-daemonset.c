#include "controllers/controllers.h"
#include "client/fixture.h"

#define TEMPLATE(image)                                                                            \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"a\"}},\"spec\":{\"containers\":[{\"name\":" \
    "\"c\",\"image\":\"" image "\"}]}}"
#define SET(image, more)                                                                           \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"agent\",\"uid\":\"u\",\"resourceVersion\":"     \
    "\"1\",\"generation\":1},"                                                                     \
    "\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"a\"}}," TEMPLATE(image) more "}}"
#define REVISION(image, hash, number)                                                              \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"agent-" hash "\",\"uid\":\"" hash               \
    "\",\"resourceVersion\":\"1\",\"labels\":{\"controller-revision-hash\":\"" hash "\"}," OWNER   \
    "},"                                                                                           \
    "\"data\":{\"spec\":{" TEMPLATE(image) "}},\"revision\":" number "}"
#define OWNER                                                                                      \
    "\"ownerReferences\":[{\"apiVersion\":\"apps/"                                                 \
    "v1\",\"kind\":\"DaemonSet\",\"name\":\"agent\",\"uid\":\"u\",\"controller\":true}]"
#define READY                                                                                      \
    "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","               \
    "\"lastTransitionTime\":\"1970-01-01T00:00:10Z\"}]"

static void put_node(struct fixture *f, const char *name, const char *labels, const char *taints)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"1\",\"labels\":{%"
             "s}},\"spec\":{\"taints\":[%s]}}",
             name, name, labels, taints);
    fixture_put(f, "", "v1", "nodes", json);
}

static void put_pod(struct fixture *f, const char *name, const char *node, const char *hash,
                    const char *status)
{
    char json[2048];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":"
        "\"1\",\"labels\":{\"app\":\"a\",\"controller-revision-hash\":\"%s\"}," OWNER
        "},\"spec\":{\"nodeName\":\"%s\"},\"status\":{%s}}",
        name, name, hash, node, status);
    fixture_put(f, "", "v1", "pods", json);
}

static void begin(struct fixture *f, const char *set)
{
    fixture_init(f, &controller_daemonset);
    fixture_put(f, "apps", "v1", "daemonsets", set);
}

TEST(a_daemon_set_begins_with_the_revision_of_its_template)
{
    struct fixture f;
    begin(&f, SET("i:1", ""));
    put_node(&f, "n1", "", "");
    const char *out = fixture_pass(&f, "d/agent");
    CHECK(strstr(out, "POST controllerrevisions d ") == out);
    CHECK(strstr(out, "\"data\":{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{"
                      "\"labels\":{\"app\":\"a\"}},\"spec\":{") != NULL);
    CHECK(strstr(out, "\"revision\":1}") != NULL &&
          strstr(out, "\"labels\":{\"app\":\"a\",\"controller-revision-hash\":\"") != NULL);
    CHECK_INT(fixture_count(out, "POST pods"), 0);
    fixture_deinit(&f);
}

TEST(every_node_that_it_may_be_on_gets_a_pod)
{
    struct fixture f;
    begin(&f, SET("i:1", ""));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
    put_node(&f, "n1", "", "");
    put_node(&f, "n2", "",
             "{\"key\":\"node.kubernetes.io/"
             "unschedulable\",\"effect\":\"NoSchedule\"},{\"key\":\"node.kubernetes.io/"
             "not-ready\",\"effect\":\"NoExecute\"}");
    put_node(&f, "n3", "", "{\"key\":\"gpu\",\"effect\":\"NoSchedule\"}");
    const char *out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "POST pods d "), 2);
    CHECK(strstr(out, "\"labels\":{\"app\":\"a\",\"controller-revision-hash\":\"h1\"}") != NULL);
    CHECK(strstr(
              out,
              "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
              "\"nodeSelectorTerms\":[{\"matchFields\":["
              "{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\"]}]}]}}}") != NULL);
    CHECK_INT(
        fixture_count(out, "\"key\":\"node.kubernetes.io/"
                           "unschedulable\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\""),
        2);
    CHECK_INT(fixture_count(out, "\"values\":[\"n3\"]"), 0);
    CHECK(strstr(out, "event Normal SuccessfulCreate: Created pod: agent-") != NULL);
    CHECK(strstr(out, "\"desiredNumberScheduled\":2") != NULL &&
          strstr(out, "\"numberUnavailable\":2") != NULL);
    fixture_deinit(&f);
}

TEST(a_node_selector_chooses_and_pods_elsewhere_go)
{
    struct fixture f;
    fixture_init(&f, &controller_daemonset);
    fixture_put(
        &f, "apps", "v1", "daemonsets",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"agent\",\"uid\":\"u\",\"resourceVersion\":"
        "\"1\",\"generation\":1},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"a\"}},"
        "\"template\":{\"metadata\":{\"labels\":{\"app\":\"a\"}},\"spec\":{\"nodeSelector\":{"
        "\"disk\":\"ssd\"},\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
    fixture_put(&f, "apps", "v1", "controllerrevisions",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"agent-h1\",\"uid\":\"h1\","
                "\"resourceVersion\":\"1\",\"labels\":{\"controller-revision-hash\":\"h1\"}," OWNER
                "},\"data\":{\"spec\":{"
                "\"template\":{\"$patch\":\"replace\",\"metadata\":{\"labels\":{\"app\":\"a\"}},"
                "\"spec\":{\"nodeSelector\":{\"disk\":\"ssd\"},\"containers\":[{\"name\":\"c\","
                "\"image\":\"i\"}]}}}},\"revision\":1}");
    put_node(&f, "n1", "\"disk\":\"ssd\"", "");
    put_node(&f, "n2", "", "");
    put_node(&f, "n4", "\"disk\":\"ssd\"", "{\"key\":\"busy\",\"effect\":\"NoSchedule\"}");
    put_pod(&f, "stray", "n2", "h1", READY);
    put_pod(&f, "stays", "n4", "h1", READY); /* NoSchedule drives nobody away */
    const char *out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "POST pods d "), 1);
    CHECK_INT(fixture_count(out, "DELETE pods "), 1);
    CHECK(strstr(out, "DELETE pods d/stray ") != NULL);
    CHECK(strstr(out, "\"numberMisscheduled\":2") != NULL);
    fixture_deinit(&f);
}

TEST(failed_pods_are_replaced_with_growing_pauses_and_doubles_go)
{
    struct fixture f;
    begin(&f, SET("i:1", ""));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
    put_node(&f, "n1", "", "");
    put_pod(&f, "p", "n1", "h1", "\"phase\":\"Failed\"");
    CHECK_INT(fixture_count(fixture_pass(&f, "d/agent"), "DELETE pods d/p "), 1);
    const char *out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "DELETE"), 0);
    CHECK(strstr(out, "again after 1000 ms") != NULL);
    f.now++;
    CHECK_INT(fixture_count(fixture_pass(&f, "d/agent"), "DELETE pods d/p "), 1);
    CHECK(strstr(fixture_pass(&f, "d/agent"), "again after 2000 ms") != NULL);
    put_pod(&f, "p", "n1", "h1", READY);
    put_pod(&f, "q", "n1", "h1", READY);
    out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "DELETE pods "), 1);
    CHECK(strstr(out, "DELETE pods d/q ") != NULL);
    fixture_deinit(&f);
}

TEST(a_new_template_rolls_node_by_node)
{
    struct fixture f;
    begin(&f, SET("i:2", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{"
                         "\"maxUnavailable\":1,\"maxSurge\":0}}"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:2", "h2", "2"));
    put_node(&f, "n1", "", "");
    put_node(&f, "n2", "", "");
    put_node(&f, "n3", "", "");
    put_pod(&f, "a", "n1", "h1", READY);
    put_pod(&f, "b", "n2", "h1", READY);
    put_pod(&f, "c", "n3", "h1", "\"phase\":\"Pending\"");
    const char *out =
        fixture_pass(&f, "d/agent"); /* one is not available as it is: that one goes */
    CHECK_INT(fixture_count(out, "DELETE pods "), 1);
    CHECK(strstr(out, "DELETE pods d/c ") != NULL);
    put_pod(&f, "c", "n3", "h2", "\"phase\":\"Pending\"");
    CHECK_INT(fixture_count(fixture_pass(&f, "d/agent"), "DELETE"), 0);
    put_pod(&f, "c", "n3", "h2", READY);
    out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "DELETE pods "), 1);
    CHECK(strstr(out, "DELETE pods d/a ") != NULL);
    CHECK(strstr(out, "\"updatedNumberScheduled\":1") != NULL);
    fixture_deinit(&f);
}

TEST(a_surging_set_makes_the_new_pod_before_the_old_one_goes)
{
    struct fixture f;
    begin(&f, SET("i:2", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{"
                         "\"maxUnavailable\":0,\"maxSurge\":1}}"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:2", "h2", "2"));
    put_node(&f, "n1", "", "");
    put_node(&f, "n2", "", "");
    put_pod(&f, "a", "n1", "h1", READY);
    put_pod(&f, "b", "n2", "h1", READY);
    const char *out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "POST pods"), 1);
    CHECK(strstr(out, "\"values\":[\"n1\"]") != NULL);
    CHECK_INT(fixture_count(out, "DELETE"), 0);
    put_pod(&f, "a2", "n1", "h2", "\"phase\":\"Pending\"");
    out = fixture_pass(&f, "d/agent");
    CHECK(fixture_count(out, "DELETE") == 0 && fixture_count(out, "POST pods") == 0);
    put_pod(&f, "a2", "n1", "h2", READY);
    CHECK_INT(fixture_count(fixture_pass(&f, "d/agent"), "DELETE pods d/a "), 1);
    fixture_deinit(&f);
}

TEST(on_delete_waits_for_somebody_and_an_old_template_is_the_newest_again)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"updateStrategy\":{\"type\":\"OnDelete\"},\"revisionHistoryLimit\":0"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:2", "h2", "2"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:0", "h0", "0"));
    put_node(&f, "n1", "", "");
    put_pod(&f, "a", "n1", "h2", READY);
    const char *out = fixture_pass(&f, "d/agent");
    CHECK_INT(fixture_count(out, "DELETE pods"), 0);
    CHECK(strstr(out, "PUT controllerrevisions d/agent-h1 ") != NULL &&
          strstr(out, "\"revision\":3}") != NULL);
    CHECK_INT(fixture_count(out, "DELETE controllerrevisions"), 1); /* a pod is still of h2 */
    CHECK(strstr(out, "DELETE controllerrevisions d/agent-h0 ") != NULL);
    fixture_deinit(&f);
}
