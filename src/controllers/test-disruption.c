#include "controllers/controllers.h"
#include "client/fixture.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define BUDGET(spec, status)                                                                       \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"b\",\"uid\":\"b\",\"resourceVersion\":\"1\","   \
    "\"generation\":3},\"spec\":{" spec                                                            \
    ",\"selector\":{\"matchLabels\":{\"app\":\"w\"}}},\"status\":{" status "}}"
#define OWNED(kind, name)                                                                          \
    ",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"" kind "\",\"name\":\"" name     \
    "\",\"uid\":\"" name "\",\"controller\":true}]"
#define READY "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"

static void put_pod(struct fixture *f, const char *name, const char *meta, const char *status)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\","
             "\"resourceVersion\":\"1\",\"labels\":{\"app\":\"w\"}%s},\"status\":{%s}}",
             name, name, meta, status);
    fixture_put(f, "", "v1", "pods", json);
}

static void begin(struct fixture *f, const char *budget)
{
    fixture_init(f, &controller_disruption);
    f->now = NOW;
    fixture_put(f, "policy", "v1", "poddisruptionbudgets", budget);
}

TEST(a_budget_tells_how_many_may_go)
{
    struct fixture f;
    begin(&f, BUDGET("\"minAvailable\":1", ""));
    put_pod(&f, "p1", "", READY);
    put_pod(&f, "p2", "", READY);
    put_pod(&f, "p3", "", "\"phase\":\"Pending\"");
    const char *out = fixture_pass(&f, "d/b");
    CHECK(strstr(out,
                 "\"status\":{\"observedGeneration\":3,\"disruptionsAllowed\":1,\"currentHealthy\":"
                 "2,\"desiredHealthy\":1,\"expectedPods\":3,\"conditions\":["
                 "{\"type\":\"DisruptionAllowed\",\"status\":\"True\",\"observedGeneration\":3,"
                 "\"lastTransitionTime\":\"2027-01-15T08:00:00Z\",\"reason\":\"SufficientPods\","
                 "\"message\":\"\"}]}") != NULL);
    put_pod(&f, "p2", "", "\"phase\":\"Pending\"");
    out = fixture_pass(&f, "d/b");
    CHECK(strstr(out, "\"disruptionsAllowed\":0") != NULL &&
          strstr(out, "\"reason\":\"InsufficientPods\"") != NULL);
    fixture_deinit(&f);
}

TEST(percentages_and_unavailable_ones_are_of_what_the_controllers_want)
{
    struct fixture f;
    begin(&f, BUDGET("\"maxUnavailable\":\"40%\"", ""));
    fixture_put(&f, "apps", "v1", "deployments",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"web\","
                "\"resourceVersion\":\"1\"},\"spec\":{\"replicas\":5}}");
    fixture_put(
        &f, "apps", "v1", "replicasets",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"rs\",\"uid\":\"rs\",\"resourceVersion\":"
        "\"1\"" OWNED("Deployment", "web") "},\"spec\":{\"replicas\":9}}");
    put_pod(&f, "p1", OWNED("ReplicaSet", "rs"), READY);
    put_pod(&f, "p2", OWNED("ReplicaSet", "rs"), READY);
    put_pod(&f, "p3", OWNED("ReplicaSet", "rs"), READY);
    put_pod(&f, "p4", OWNED("ReplicaSet", "rs"), READY);
    const char *out = fixture_pass(&f, "d/b");
    CHECK(strstr(out, "\"disruptionsAllowed\":1,\"currentHealthy\":4,\"desiredHealthy\":3,"
                      "\"expectedPods\":5") != NULL);
    put_pod(&f, "p4", OWNED("ReplicaSet", "unknown"), READY);
    out = fixture_pass(&f, "d/b");
    CHECK(strstr(out, "\"disruptionsAllowed\":0") != NULL &&
          strstr(out, "\"reason\":\"SyncFailed\"") != NULL);
    fixture_deinit(&f);
}

TEST(an_evicted_pod_is_not_counted_until_it_should_have_been_gone)
{
    struct fixture f;
    begin(&f, BUDGET("\"minAvailable\":1", "\"disruptedPods\":{\"gone\":\"2027-01-15T08:00:00Z\","
                                           "\"p1\":\"2027-01-15T08:00:00Z\"}"));
    put_pod(&f, "p1", "", READY);
    put_pod(&f, "p2", "", READY);
    f.now = NOW + 30;
    const char *out = fixture_pass(&f, "d/b");
    CHECK(strstr(out, "\"disruptedPods\":{\"p1\":\"2027-01-15T08:00:00Z\"},\"disruptionsAllowed\":"
                      "0,\"currentHealthy\":1") != NULL);
    CHECK(strstr(out, "again after 90000 ms") != NULL);
    f.now = NOW + 120;
    out = fixture_pass(&f, "d/b");
    CHECK(strstr(out, "\"disruptionsAllowed\":1,\"currentHealthy\":2") != NULL &&
          strstr(out, "disruptedPods") == NULL);
    fixture_deinit(&f);
}
