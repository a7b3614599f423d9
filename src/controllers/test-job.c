#include "client/fixture.h"
#include "controllers/job-private.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define JOB(spec, status)                                                                          \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"work\",\"uid\":\"u\",\"resourceVersion\":"      \
    "\"1\",\"generation\":1},\"spec\":{" spec                                                      \
    ",\"selector\":{\"matchLabels\":{\"job\":\"w\"}},\"template\":{\"metadata\":{\"labels\":{"     \
    "\"job\":\"w\"}},\"spec\":{\"restartPolicy\":\"Never\","                                       \
    "\"containers\":[{\"name\":\"c\"}]}}},\"status\":{\"startTime\":\"2027-01-15T08:00:"           \
    "00Z\"" status "}}"
#define OWNER                                                                                      \
    "\"ownerReferences\":[{\"apiVersion\":\"batch/"                                                \
    "v1\",\"kind\":\"Job\",\"name\":\"work\",\"uid\":\"u\",\"controller\":true}]"
#define FINALIZER "\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]"
#define ENDED                                                                                      \
    ",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"finishedAt\":\"2027-01-" \
    "15T08:00:00Z\"}}}]"

static void put_pod(struct fixture *f, const char *name, const char *meta, const char *phase,
                    const char *more)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\","
             "\"resourceVersion\":\"1\",\"labels\":{\"job\":\"w\"}," OWNER
             "%s},\"spec\":{\"nodeName\":\"n\"},\"status\":{\"phase\":\"%s\"%s}}",
             name, name, meta, phase, more);
    fixture_put(f, "", "v1", "pods", json);
}

static void begin(struct fixture *f, const char *job)
{
    fixture_init(f, &controller_job);
    f->now = NOW;
    fixture_put(f, "batch", "v1", "jobs", job);
}

TEST(a_job_makes_as_many_pods_as_it_may_with_the_finalizer)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":5,\"parallelism\":2", ""));
    const char *out = fixture_pass(&f, "d/work");
    CHECK_INT(fixture_count(out, "POST pods d "), 2);
    CHECK_INT(fixture_count(out, FINALIZER), 2);
    CHECK(strstr(out, "event Normal SuccessfulCreate: Created pod: work-") != NULL);
    fixture_deinit(&f);
}

TEST(a_pod_is_written_down_before_its_finalizer_goes_and_counted_after)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":2,\"parallelism\":1", ""));
    put_pod(&f, "a", "," FINALIZER, "Succeeded", "");
    const char *out = fixture_pass(&f, "d/work");
    const char *status = strstr(out, "PUT jobs d/work/status "), *barrier = strstr(out, "--\n"),
               *patch = strstr(out, "PATCH pods d/a ");
    CHECK(status && barrier && patch && status < barrier && barrier < patch);
    CHECK(strstr(out, "\"uncountedTerminatedPods\":{\"succeeded\":[\"a\"]}") != NULL &&
          strstr(out, "\"succeeded\":1,") == NULL);
    CHECK_INT(fixture_count(out, "POST pods"), 1); /* the next one */
    fixture_put(&f, "batch", "v1", "jobs",
                JOB("\"completions\":2,\"parallelism\":1",
                    ",\"uncountedTerminatedPods\":{\"succeeded\":[\"a\"]}"));
    CHECK(strstr(fixture_pass(&f, "d/work"), "PATCH pods d/a ") != NULL); /* still there: again */
    put_pod(&f, "a", "", "Succeeded", "");
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"succeeded\":1,") != NULL &&
          strstr(out, "\"uncountedTerminatedPods\":{}") != NULL);
    fixture_deinit(&f);
}

TEST(a_job_is_complete_when_all_are_counted)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":2,\"parallelism\":1",
                  ",\"succeeded\":1,\"uncountedTerminatedPods\":{\"succeeded\":[\"b\"]}"));
    put_pod(&f, "b", "", "Succeeded", "");
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"SuccessCriteriaMet\",\"status\":\"True\"") != NULL &&
          strstr(out, "\"type\":\"Complete\",\"status\":\"True\"") != NULL);
    CHECK(strstr(out, "\"completionTime\":\"2027-01-15T08:00:00Z\"") != NULL &&
          strstr(out, "\"succeeded\":2,") != NULL);
    CHECK_INT(fixture_count(out, "POST pods"), 0);
    fixture_deinit(&f);
}

TEST(failed_pods_are_made_anew_after_a_pause_until_the_limit)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":1,\"parallelism\":1,\"backoffLimit\":1", ",\"failed\":1"));
    put_pod(&f, "a", "", "Failed", ENDED);
    f.now = NOW + 4;
    const char *out = fixture_pass(&f, "d/work");
    CHECK(fixture_count(out, "POST pods") == 0 && strstr(out, "again after 6000 ms") != NULL);
    f.now = NOW + 10;
    CHECK_INT(fixture_count(fixture_pass(&f, "d/work"), "POST pods"), 1);
    put_pod(&f, "b", "," FINALIZER, "Failed", ENDED);
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"FailureTarget\",\"status\":\"True\"") != NULL &&
          strstr(out, "\"reason\":\"BackoffLimitExceeded\"") != NULL);
    CHECK(strstr(out, "\"type\":\"Failed\"") == NULL && fixture_count(out, "POST pods") == 0);
    fixture_put(&f, "batch", "v1", "jobs",
                JOB("\"completions\":1,\"parallelism\":1,\"backoffLimit\":1",
                    ",\"failed\":1,\"uncountedTerminatedPods\":{\"failed\":[\"b\"]},\"conditions\":"
                    "[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":"
                    "\"BackoffLimitExceeded\"}]"));
    put_pod(&f, "b", "", "Failed", ENDED);
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"Failed\",\"status\":\"True\"") != NULL &&
          strstr(out, "\"failed\":2,") != NULL);
    fixture_deinit(&f);
}

TEST(indexes_that_are_missing_are_made_with_their_number)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":4,\"parallelism\":2,\"completionMode\":\"Indexed\"",
                  ",\"completedIndexes\":\"0\",\"succeeded\":1"));
    put_pod(&f, "a",
            "," FINALIZER ",\"annotations\":{\"batch.kubernetes.io/job-completion-index\":\"1\"}",
            "Running", "");
    put_pod(&f, "b",
            "," FINALIZER ",\"annotations\":{\"batch.kubernetes.io/job-completion-index\":\"2\"}",
            "Succeeded", "");
    const char *out = fixture_pass(&f, "d/work");
    CHECK_INT(fixture_count(out, "POST pods d "), 1);
    CHECK(strstr(out, "\"annotations\":{\"batch.kubernetes.io/job-completion-index\":\"3\"}") !=
              NULL &&
          strstr(out, "\"hostname\":\"work-3\"") != NULL);
    CHECK(strstr(out, "\"name\":\"JOB_COMPLETION_INDEX\"") != NULL);
    CHECK(strstr(out, "\"completedIndexes\":\"0,2\"") != NULL &&
          strstr(out, "\"succeeded\":2,") != NULL);
    CHECK(strstr(out, "PATCH pods d/b ") != NULL);
    fixture_deinit(&f);
}

TEST(a_suspended_job_has_no_pods_and_counts_none_of_those_it_takes_away)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":2,\"parallelism\":2,\"suspend\":true", ""));
    put_pod(&f, "a", "," FINALIZER, "Running", "");
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "PATCH pods d/a ") != NULL && strstr(out, "DELETE pods d/a ") != NULL);
    CHECK(strstr(out, "\"type\":\"Suspended\",\"status\":\"True\"") != NULL &&
          strstr(out, "\"startTime\"") == NULL);
    CHECK(strstr(out, "\"failed\"") == NULL);
    fixture_deinit(&f);
}

TEST(a_deadline_ends_a_job_and_its_pods)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":1,\"parallelism\":1,\"activeDeadlineSeconds\":30", ""));
    put_pod(&f, "a", "," FINALIZER, "Running", "");
    f.now = NOW + 10;
    CHECK(strstr(fixture_pass(&f, "d/work"), "again after 20000 ms") != NULL);
    f.now = NOW + 30;
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "DELETE pods d/a ") != NULL &&
          strstr(out, "\"reason\":\"DeadlineExceeded\"") != NULL);
    fixture_deinit(&f);
}

TEST(pods_of_a_job_that_is_gone_are_let_go_after_asking_the_server)
{
    struct fixture f;
    fixture_init(&f, &controller_job);
    put_pod(&f, "a", "," FINALIZER, "Running", "");
    const char *out = fixture_pass(&f, "d/work");
    const char *get = strstr(out, "GET jobs d/work "), *patch = strstr(out, "PATCH pods d/a ");
    CHECK(get && patch && get < patch);
    CHECK(
        strstr(out,
               "\"$deleteFromPrimitiveList/finalizers\":[\"batch.kubernetes.io/job-tracking\"]") !=
        NULL);
    fixture_deinit(&f);
}

TEST(a_job_of_another_controller_is_left_alone)
{
    struct fixture f;
    begin(&f, JOB("\"completions\":1,\"managedBy\":\"example.com/other\"", ""));
    CHECK_STR_C(str_c(fixture_pass(&f, "d/work")), "");
    fixture_deinit(&f);
}

TEST(completion_indexes_read_as_they_are_written)
{
    static const char *const texts[] = { "0", "0,1", "0-2", "1,3-5,7", "0,1,3,4,6-9" };
    struct arena a;
    uint8_t in[10];
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct job_indexes x = { .in = in, .n = 10 };
        memset(in, 0, sizeof(in));
        CHECK(job_indexes_parse(str_c(texts[i]), &x));
        CHECK_STR_C(job_indexes_str(&a, &x), texts[i]);
    }
    struct job_indexes x = { .in = in, .n = 10 };
    CHECK(!job_indexes_parse(STR("3-1"), &x) && !job_indexes_parse(STR("10"), &x) &&
          !job_indexes_parse(STR("-1"), &x) && !job_indexes_parse(STR("a"), &x));
    arena_deinit(&a);
}

TEST(an_ended_job_goes_when_its_time_is_over)
{
    struct fixture f;
    fixture_init(&f, &controller_ttl_after_finished);
    fixture_put(&f, "batch", "v1", "jobs",
                JOB("\"ttlSecondsAfterFinished\":60",
                    ",\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\","
                    "\"lastTransitionTime\":\"2027-01-15T08:00:00Z\"}]"));
    f.now = NOW + 20;
    CHECK_STR_C(str_c(fixture_pass(&f, "d/work")), "again after 40000 ms\n");
    f.now = NOW + 60;
    CHECK(strstr(fixture_pass(&f, "d/work"), "\"propagationPolicy\":\"Foreground\"") != NULL);
    fixture_deinit(&f);
}
