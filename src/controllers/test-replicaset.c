#include "controllers/controllers.h"
#include "client/fixture.h"

#define SET(replicas)                                                                              \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\",\"resourceVersion\":\"1\"," \
    "\"generation\":1},"                                                                           \
    "\"spec\":{\"replicas\":" replicas ",\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"          \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":" \
    "\"c\",\"image\":\"i\"}]}}}}"
#define OWNER                                                                                      \
    "\"ownerReferences\":[{\"apiVersion\":\"apps/"                                                 \
    "v1\",\"kind\":\"ReplicaSet\",\"name\":\"web\",\"uid\":\"u\",\"controller\":true}]"

static void put_pod(struct fixture *f, const char *name, const char *labels, const char *owner,
                    const char *status)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\","
             "\"resourceVersion\":\"1\",\"labels\":{%s}%s%s},"
             "\"spec\":{\"nodeName\":\"n1\"},\"status\":{%s}}",
             name, name, labels, *owner ? "," : "", owner, status);
    fixture_put(f, "", "v1", "pods", json);
}

TEST(missing_pods_are_created_with_owner_and_labels)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets", SET("3"));
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(
        fixture_count(
            out,
            "POST pods d {\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web-"),
        3);
    CHECK_INT(
        fixture_count(
            out,
            "\"labels\":{\"app\":\"w\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
            "\"ReplicaSet\",\"name\":\"web\",\"uid\":\"u\",\"controller\":true,"
            "\"blockOwnerDeletion\":true}]"),
        3);
    CHECK_INT(fixture_count(out, "event Normal SuccessfulCreate: Created pod: web-"), 3);
    CHECK_INT(fixture_count(out, "PUT replicasets d/web/status"), 1);
    fixture_deinit(&f);
}

TEST(surplus_pods_that_are_not_ready_go_first)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets", SET("1"));
    put_pod(&f, "ready", "\"app\":\"w\"", OWNER,
            "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]");
    put_pod(&f, "pending", "\"app\":\"w\"", OWNER, "\"phase\":\"Pending\"");
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "DELETE pods"), 1);
    CHECK_INT(fixture_count(out, "DELETE pods d/pending"), 1);
    CHECK(strstr(out, "\"uid\":\"pending\""));
    fixture_deinit(&f);
}

TEST(ended_and_terminating_pods_are_replaced_and_terminating_ones_counted)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets", SET("1"));
    put_pod(&f, "failed", "\"app\":\"w\"", OWNER, "\"phase\":\"Failed\"");
    put_pod(&f, "going", "\"app\":\"w\"", OWNER ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"",
            "\"phase\":\"Running\"");
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST pods"), 1);
    CHECK(strstr(out, "\"terminatingReplicas\":1"));
    fixture_deinit(&f);
}

TEST(a_matching_orphan_is_adopted_and_an_owned_pod_that_does_not_match_released)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets", SET("0"));
    put_pod(&f, "orphan", "\"app\":\"w\"", "", "\"phase\":\"Running\"");
    put_pod(&f, "stray", "\"app\":\"x\"", OWNER, "\"phase\":\"Running\"");
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(
        out,
        "PATCH pods d/orphan {\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"apps/v1\""));
    CHECK(strstr(out,
                 "PATCH pods d/stray "
                 "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"u\"}]"));
    CHECK_INT(fixture_count(out, "DELETE"), 0);
    fixture_deinit(&f);
}

TEST(no_pod_is_made_in_place_of_an_orphan_that_is_adopted)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets", SET("1"));
    put_pod(&f, "orphan", "\"app\":\"w\"", "", "\"phase\":\"Running\"");
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "PATCH pods d/orphan"), 1);
    CHECK_INT(fixture_count(out, "POST pods"), 0);
    CHECK(strstr(out, "again after"));
    fixture_deinit(&f);
}

TEST(a_set_that_is_as_it_should_be_writes_nothing)
{
    struct fixture f;
    fixture_init(&f, &controller_replicaset);
    fixture_put(&f, "apps", "v1", "replicasets",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\","
                "\"resourceVersion\":\"1\",\"generation\":1},"
                "\"spec\":{\"replicas\":1,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"
                "\"template\":{\"metadata\":"
                "{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}},"
                "\"status\":{\"replicas\":1,"
                "\"fullyLabeledReplicas\":1,\"readyReplicas\":1,\"availableReplicas\":1,"
                "\"terminatingReplicas\":0,"
                "\"observedGeneration\":1}}");
    put_pod(&f, "a", "\"app\":\"w\"", OWNER,
            "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]");
    CHECK_STR_C(str_c(fixture_pass(&f, "d/web")), "");
    fixture_deinit(&f);
}
