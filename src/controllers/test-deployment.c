#include "controllers/controllers.h"
#include "client/fixture.h"

static void put_deployment(struct fixture *f, const char *image, const char *spec,
                           const char *status)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\","
             "\"resourceVersion\":\"9\",\"generation\":2},"
             "\"spec\":{\"replicas\":4,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},\"template\":"
             "{\"metadata\":{\"labels\":"
             "{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}},"
             "\"progressDeadlineSeconds\":600,\"revisionHistoryLimit\":1%s},\"status\":{%s}}",
             image, spec, status);
    fixture_put(f, "apps", "v1", "deployments", json);
}

static void put_set(struct fixture *f, const char *name, const char *image, const char *revision,
                    int replicas, int available)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\","
             "\"resourceVersion\":\"5\",\"labels\":{\"app\":"
             "\"w\",\"pod-template-hash\":\"%s\"},\"annotations\":{\"deployment.kubernetes.io/"
             "desired-replicas\":\"4\","
             "\"deployment.kubernetes.io/max-replicas\":\"5\",\"deployment.kubernetes.io/"
             "revision\":\"%s\"},"
             "\"ownerReferences\":[{\"apiVersion\":\"apps/"
             "v1\",\"kind\":\"Deployment\",\"name\":\"web\",\"uid\":\"u\","
             "\"controller\":true}]},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{"
             "\"app\":\"w\"}},\"template\":"
             "{\"metadata\":{\"labels\":{\"app\":\"w\",\"pod-template-hash\":\"%s\"}},\"spec\":{"
             "\"containers\":[{\"name\":\"c\","
             "\"image\":\"%s\"}]}}},\"status\":{\"replicas\":%d,\"readyReplicas\":%d,"
             "\"availableReplicas\":%d}}",
             name, name, name, revision, replicas, name, image, replicas, available, available);
    fixture_put(f, "apps", "v1", "replicasets", json);
}

TEST(a_new_deployment_gets_a_set_of_full_size)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:1", "", "");
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(
                  out, "POST replicasets d {\"kind\":\"ReplicaSet\",\"apiVersion\":\"apps/v1\""),
              1);
    CHECK(strstr(out, "\"deployment.kubernetes.io/revision\":\"1\""));
    CHECK(strstr(out, "\"spec\":{\"replicas\":4,"));
    CHECK(strstr(out, "event Normal ScalingReplicaSet: Scaled up replica set web-"));
    CHECK(strstr(out, "\"reason\":\"NewReplicaSetCreated\""));
    fixture_deinit(&f);
}

TEST(a_changed_template_surges_first)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:2", "", "");
    put_set(&f, "old", "i:1", "1", 4, 4);
    const char *out = fixture_pass(&f, "d/web");
    /* 25 % of four: one more than wanted, so that the new set begins with one. */
    CHECK_INT(fixture_count(out, "POST replicasets"), 1);
    CHECK(strstr(out, "\"deployment.kubernetes.io/revision\":\"2\""));
    CHECK(strstr(out, "from 0 to 1"));
    CHECK_INT(fixture_count(out, "PUT replicasets"), 0);
    fixture_deinit(&f);
}

TEST(old_pods_go_only_as_far_as_availability_allows)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:2", "", "");
    put_set(&f, "old", "i:1", "1", 4, 4);
    put_set(&f, "new", "i:2", "2", 1, 0);
    const char *out = fixture_pass(&f, "d/web");
    /* Three must stay available: one of the old may go while the new one is not ready. */
    CHECK(strstr(out, "event Normal ScalingReplicaSet: Scaled down replica set old from 4 to 3"));
    CHECK_INT(fixture_count(out, "POST"), 0);
    put_set(&f, "old", "i:1", "1", 3, 3);
    fixture_deinit(&f);
}

TEST(recreate_waits_until_the_old_pods_are_gone)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:2", ",\"strategy\":{\"type\":\"Recreate\"}", "");
    put_set(&f, "old", "i:1", "1", 4, 4);
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(out, "Scaled down replica set old from 4 to 0"));
    CHECK_INT(fixture_count(out, "POST replicasets"), 0);
    fixture_deinit(&f);
}

TEST(a_rollback_takes_the_old_set_up_again_with_a_new_revision)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:1", "", "");
    put_set(&f, "first", "i:1", "1", 0, 0);
    put_set(&f, "second", "i:2", "2", 4, 4);
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST replicasets"), 0);
    CHECK(strstr(out, "PUT replicasets d/first"));
    CHECK(strstr(out, "\"deployment.kubernetes.io/revision\":\"3\""));
    CHECK(strstr(out, "\"deployment.kubernetes.io/revision-history\":\"1\""));
    fixture_deinit(&f);
}

TEST(a_complete_rollout_is_told_and_history_is_cut)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(
        &f, "i:3", "",
        "\"observedGeneration\":2,\"replicas\":4,\"updatedReplicas\":3,\"availableReplicas\":3,"
        "\"readyReplicas\":3");
    put_set(&f, "s1", "i:1", "1", 0, 0);
    put_set(&f, "s2", "i:2", "2", 0, 0);
    put_set(&f, "s3", "i:3", "3", 4, 4);
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(out, "DELETE replicasets d/s1"));
    CHECK(!strstr(out, "DELETE replicasets d/s2"));
    CHECK(strstr(out, "\"reason\":\"NewReplicaSetAvailable\",\"message\":\"ReplicaSet \\\"s3\\\" "
                      "has successfully progressed.\""));
    CHECK(strstr(out, "\"reason\":\"MinimumReplicasAvailable\""));
    fixture_deinit(&f);
}

TEST(a_paused_deployment_makes_no_new_set)
{
    struct fixture f;
    fixture_init(&f, &controller_deployment);
    put_deployment(&f, "i:2", ",\"paused\":true", "");
    put_set(&f, "old", "i:1", "1", 4, 4);
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "replicasets"), 0);
    CHECK(strstr(out, "\"reason\":\"DeploymentPaused\""));
    fixture_deinit(&f);
}
