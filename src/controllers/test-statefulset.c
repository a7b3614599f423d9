#include "client/fixture.h"
#include "controllers/controllers.h"

#define TEMPLATE(image)                                                                                                             \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"a\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"" image "\"}]}}"
#define SET_OF(image, status, more)                                                                                                 \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"generation\":1},"                \
    "\"spec\":{\"serviceName\":\"svc\",\"selector\":{\"matchLabels\":{\"app\":\"a\"}}," TEMPLATE(image) more "},\"status\":{" status "}}"
#define SET(image, more) SET_OF(image, "", more)
#define OWNER                                                                                                                       \
    "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"name\":\"web\",\"uid\":\"u\",\"controller\":true}]"
#define REVISION(image, hash, number)                                                                                               \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web-" hash "\",\"uid\":\"" hash "\",\"resourceVersion\":\"1\"," OWNER "},"       \
    "\"data\":{\"spec\":{" TEMPLATE(image) "}},\"revision\":" number "}"
#define READY                                                                                                                       \
    "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"1970-01-01T00:00:10Z\"}]"
#define NOT_READY "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]"
#define CLAIMS                                                                                                                      \
    ",\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{"    \
    "\"requests\":{\"storage\":\"1Mi\"}}}}]"

static void put_meta(struct fixture *f, const char *name, const char *hash, const char *meta, const char *status)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"uid-%s\",\"resourceVersion\":\"1\",\"labels\":{\"app\":"
             "\"a\",\"controller-revision-hash\":\"web-%s\",\"statefulset.kubernetes.io/pod-name\":\"%s\"}%s},\"status\":{%s}}",
             name, name, hash, name, meta, status);
    fixture_put(f, "", "v1", "pods", json);
}

static void put_pod(struct fixture *f, const char *name, const char *hash, const char *status)
{
    put_meta(f, name, hash, "," OWNER, status);
}

static void begin(struct fixture *f, const char *set)
{
    fixture_init(f, &controller_statefulset);
    fixture_put(f, "apps", "v1", "statefulsets", set);
    fixture_put(f, "apps", "v1", "controllerrevisions", REVISION("i:1", "h1", "1"));
}

TEST(a_stateful_set_begins_with_the_revision_of_its_template)
{
    struct fixture f;
    fixture_init(&f, &controller_statefulset);
    fixture_put(&f, "apps", "v1", "statefulsets", SET("i:1", ""));
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(out, "POST controllerrevisions d ") == out);
    CHECK(strstr(out, "\"name\":\"web-") != NULL && strstr(out, "\"labels\":{\"app\":\"a\",\"controller.kubernetes.io/hash\":\"") != NULL);
    CHECK(strstr(out, "\"data\":{\"spec\":{\"template\":{\"$patch\":\"replace\",") != NULL);
    CHECK_INT(fixture_count(out, "POST pods"), 0);
    fixture_deinit(&f);
}

TEST(ordered_pods_are_made_one_after_the_other)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":3"));
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST pods d "), 1);
    CHECK(strstr(out, "\"name\":\"web-0\"") != NULL && strstr(out, "\"hostname\":\"web-0\"") != NULL);
    CHECK(strstr(out, "\"subdomain\":\"svc\"") != NULL);
    CHECK(strstr(out, "\"labels\":{\"app\":\"a\",\"apps.kubernetes.io/pod-index\":\"0\",\"controller-revision-hash\":\"web-h1\","
                      "\"statefulset.kubernetes.io/pod-name\":\"web-0\"}") != NULL);
    CHECK(strstr(out, "event Normal SuccessfulCreate: create Pod web-0 in StatefulSet web successful") != NULL);
    put_pod(&f, "web-0", "h1", NOT_READY);
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "POST pods"), 0);
    put_pod(&f, "web-0", "h1", READY);
    out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST pods"), 1);
    CHECK(strstr(out, "\"name\":\"web-1\"") != NULL);
    CHECK(strstr(out, "\"readyReplicas\":1") != NULL && strstr(out, "\"currentRevision\":\"web-h1\"") != NULL);
    fixture_deinit(&f);
}

TEST(a_pod_that_is_not_long_enough_ready_holds_up_the_next)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":2,\"minReadySeconds\":20"));
    put_pod(&f, "web-0", "h1", READY);
    f.now = 15;
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST pods"), 0);
    CHECK(strstr(out, "again after 15000 ms") != NULL);
    f.now = 30;
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "POST pods"), 1);
    fixture_deinit(&f);
}

TEST(parallel_pods_are_made_at_once_and_ordinals_may_start_higher)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":3,\"podManagementPolicy\":\"Parallel\",\"ordinals\":{\"start\":5}"));
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST pods d "), 3);
    CHECK(strstr(out, "\"name\":\"web-5\"") != NULL && strstr(out, "\"name\":\"web-7\"") != NULL);
    put_pod(&f, "web-0", "h1", READY); /* below the start: one too many */
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "DELETE pods d/web-0 "), 1);
    fixture_deinit(&f);
}

TEST(a_set_of_absurd_size_costs_what_one_pass_may_cost)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":2147483647,\"podManagementPolicy\":\"Parallel\",\"ordinals\":{\"start\":2147483640}"));
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "POST pods d "), 7);
    fixture_put(&f, "apps", "v1", "statefulsets", SET("i:1", ",\"replicas\":2147483647,\"podManagementPolicy\":\"Parallel\""));
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "POST pods d "), 500);
    fixture_deinit(&f);
}

TEST(claims_come_before_their_pods_and_one_that_goes_is_waited_for)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":1" CLAIMS));
    const char *out = fixture_pass(&f, "d/web");
    const char *claim = strstr(out, "POST persistentvolumeclaims d "), *pod = strstr(out, "POST pods d ");
    CHECK(claim && pod && claim < pod && strstr(claim, "--\n") < pod);
    CHECK(strstr(claim, "\"name\":\"data-web-0\"") != NULL && strstr(claim, "\"labels\":{\"app\":\"a\"}") != NULL);
    CHECK(strstr(pod, "\"volumes\":[{\"name\":\"data\",\"persistentVolumeClaim\":{\"claimName\":\"data-web-0\"}}]") != NULL);
    CHECK(strstr(claim, "\"ownerReferences\"") > pod); /* of the pod alone */
    fixture_put(&f, "", "v1", "persistentvolumeclaims",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"data-web-0\",\"uid\":\"c\",\"resourceVersion\":\"1\","
                "\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"}}");
    out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "POST"), 0);
    CHECK(strstr(out, "again after 1000 ms") != NULL);
    fixture_deinit(&f);
}

TEST(the_retention_policy_says_with_whom_a_claim_goes)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":1,\"persistentVolumeClaimRetentionPolicy\":{\"whenDeleted\":\"Delete\",\"whenScaled\":"
                         "\"Delete\"}" CLAIMS));
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(out, "POST persistentvolumeclaims d ") == out);
    CHECK(strstr(out, "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"name\":\"web\",\"uid\":\"u\"") <
          strstr(out, "POST pods"));
    put_pod(&f, "web-0", "h1", READY);
    put_pod(&f, "web-1", "h1", READY);
    fixture_put(&f, "", "v1", "persistentvolumeclaims",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"data-web-0\",\"uid\":\"c0\",\"resourceVersion\":\"1\"}}");
    fixture_put(&f, "", "v1", "persistentvolumeclaims",
                "{\"metadata\":{\"namespace\":\"d\",\"name\":\"data-web-1\",\"uid\":\"c1\",\"resourceVersion\":\"1\"," OWNER "}}");
    out = fixture_pass(&f, "d/web");
    const char *first = strstr(out, "PUT persistentvolumeclaims d/data-web-0 "), *second = strstr(out, "PUT persistentvolumeclaims d/data-web-1 ");
    CHECK(first && second && first < second);
    CHECK(strstr(first, "\"kind\":\"StatefulSet\"") != NULL);
    CHECK(strstr(second, "\"kind\":\"Pod\",\"name\":\"web-1\",\"uid\":\"uid-web-1\"") != NULL);
    CHECK(strstr(out, "DELETE pods d/web-1 ") > second);
    fixture_deinit(&f);
}

TEST(ended_pods_are_made_anew_and_too_many_go_from_the_top)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":2"));
    put_pod(&f, "web-0", "h1", READY);
    put_pod(&f, "web-1", "h1", "\"phase\":\"Failed\"");
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "DELETE pods d/web-1 "), 1);
    CHECK(strstr(out, "event Warning RecreatingFailedPod: StatefulSet d/web is recreating failed Pod web-1") != NULL);
    put_pod(&f, "web-1", "h1", READY);
    put_pod(&f, "web-2", "h1", READY);
    put_pod(&f, "web-3", "h1", READY);
    out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "DELETE pods"), 1);
    CHECK(strstr(out, "DELETE pods d/web-3 ") != NULL);
    put_pod(&f, "web-0", "h1", NOT_READY); /* none goes while another is not well */
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "DELETE pods"), 0);
    fixture_deinit(&f);
}

/* A set of template i:2, of which everything is still i:1. */
#define ROLLING(spec) SET_OF("i:2", "\"currentRevision\":\"web-h1\"", spec)

/* Its first pass. */
static const char *begin_roll(struct fixture *f, const char *set)
{
    begin(f, set);
    fixture_put(f, "apps", "v1", "controllerrevisions", REVISION("i:2", "h2", "2"));
    put_pod(f, "web-0", "h1", READY);
    put_pod(f, "web-1", "h1", READY);
    put_pod(f, "web-2", "h1", READY);
    return fixture_pass(f, "d/web");
}

TEST(a_new_template_rolls_from_the_top_down)
{
    struct fixture f;
    const char *out = begin_roll(&f, ROLLING(",\"replicas\":3,\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":0}}"));
    CHECK_INT(fixture_count(out, "DELETE pods"), 1);
    CHECK(strstr(out, "DELETE pods d/web-2 ") != NULL);
    CHECK(strstr(out, "\"currentReplicas\":2,\"currentRevision\":\"web-h1\",\"updateRevision\":\"web-h2\"") != NULL);
    put_pod(&f, "web-2", "h2", NOT_READY);
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "DELETE pods"), 0);
    put_pod(&f, "web-2", "h2", READY);
    CHECK_INT(fixture_count(fixture_pass(&f, "d/web"), "DELETE pods d/web-1 "), 1);
    put_pod(&f, "web-1", "h2", READY);
    put_pod(&f, "web-0", "h2", READY);
    out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "DELETE pods"), 0);
    CHECK(strstr(out, "\"currentRevision\":\"web-h2\"") != NULL && strstr(out, "\"currentReplicas\":3") != NULL);
    fixture_deinit(&f);
}

TEST(below_the_partition_pods_stay_and_are_made_of_the_old_template)
{
    struct fixture f;
    const char *out = begin_roll(&f, ROLLING(",\"replicas\":4,\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":4}}"));
    CHECK_INT(fixture_count(out, "DELETE pods"), 0);
    CHECK(strstr(out, "\"name\":\"web-3\"") != NULL && strstr(out, "\"controller-revision-hash\":\"web-h1\"") != NULL);
    CHECK(strstr(out, "\"image\":\"i:1\"") != NULL);
    fixture_deinit(&f);
}

TEST(on_delete_waits_for_somebody)
{
    struct fixture f;
    const char *out = begin_roll(&f, ROLLING(",\"replicas\":4,\"updateStrategy\":{\"type\":\"OnDelete\"}"));
    CHECK_INT(fixture_count(out, "DELETE pods"), 0);
    CHECK(strstr(out, "\"image\":\"i:2\"") != NULL);
    fixture_deinit(&f);
}

TEST(several_may_be_away_when_the_server_keeps_that_field)
{
    struct fixture f;
    const char *out = begin_roll(&f, ROLLING(",\"replicas\":3,\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":2}}"));
    CHECK_INT(fixture_count(out, "DELETE pods"), 2);
    CHECK(strstr(out, "DELETE pods d/web-2 ") != NULL && strstr(out, "DELETE pods d/web-1 ") != NULL);
    fixture_deinit(&f);
}

TEST(orphans_of_its_name_are_adopted_and_strangers_released)
{
    struct fixture f;
    begin(&f, SET("i:1", ",\"replicas\":1"));
    put_meta(&f, "web-0", "h1", "", READY);
    put_meta(&f, "web-x", "h1", "", READY);
    const char *out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "PATCH pods"), 1);
    CHECK(strstr(out, "PATCH pods d/web-0 ") == out && strstr(out, "\"uid\":\"u\"") != NULL);
    put_pod(&f, "web-0", "h1", READY);
    put_pod(&f, "other-1", "h1", READY);
    out = fixture_pass(&f, "d/web");
    CHECK_INT(fixture_count(out, "PATCH pods d/other-1 "), 1);
    CHECK(strstr(out, "\"$patch\":\"delete\"") != NULL);
    fixture_deinit(&f);
}

TEST(old_revisions_beyond_the_limit_go_unless_a_pod_is_of_them)
{
    struct fixture f;
    begin(&f, SET_OF("i:1", "\"currentRevision\":\"web-h1\"", ",\"replicas\":1,\"revisionHistoryLimit\":0"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:2", "h2", "2"));
    fixture_put(&f, "apps", "v1", "controllerrevisions", REVISION("i:0", "h0", "0"));
    put_pod(&f, "web-0", "h2", NOT_READY);
    const char *out = fixture_pass(&f, "d/web");
    CHECK(strstr(out, "PUT controllerrevisions d/web-h1 ") != NULL && strstr(out, "\"revision\":3}") != NULL);
    CHECK_INT(fixture_count(out, "DELETE controllerrevisions"), 1);
    CHECK(strstr(out, "DELETE controllerrevisions d/web-h0 ") != NULL);
    fixture_deinit(&f);
}
