/* What a Job's policies make of its pods: failures, successes, limits of each index, replacement. */
#include "client/fixture.h"
#include "controllers/job-private.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define FINALIZER "\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]"

static void put_job(struct fixture *f, const char *spec, const char *status)
{
    char json[4096];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"work\",\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":{"
             "\"selector\":{\"matchLabels\":{\"job\":\"w\"}},%s,\"template\":{\"metadata\":{\"labels\":{\"job\":\"w\"}},"
             "\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\"}]}}},"
             "\"status\":{\"startTime\":\"2027-01-15T08:00:00Z\"%s}}",
             spec, status);
    fixture_put(f, "batch", "v1", "jobs", json);
}

static void begin(struct fixture *f, const char *spec)
{
    fixture_init(f, &controller_job);
    f->now = NOW;
    put_job(f, spec, "");
}

static void put_pod(struct fixture *f, const char *name, const char *meta, const char *phase, const char *more)
{
    char json[4096];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"1\",\"labels\":{\"job\":\"w\"},"
             "\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"name\":\"work\",\"uid\":\"u\",\"controller\":true}]"
             "%s},\"spec\":{\"nodeName\":\"n\"},\"status\":{\"phase\":\"%s\"%s}}",
             name, name, meta, phase, more);
    fixture_put(f, "", "v1", "pods", json);
}

#define EXITED(code)                                                                                                       \
    ",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":" code                                \
    ",\"finishedAt\":\"2027-01-15T08:00:00Z\"}}}]"
#define DISRUPTED ",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]"
#define INDEX(i, more) "," FINALIZER ",\"annotations\":{\"batch.kubernetes.io/job-completion-index\":\"" i "\"" more "}"
#define FAILED_BEFORE(n) ",\"batch.kubernetes.io/job-index-failure-count\":\"" n "\""
#define POLICY                                                                                                             \
    "\"completions\":2,\"parallelism\":1,\"backoffLimit\":0,\"podReplacementPolicy\":\"Failed\",\"podFailurePolicy\":{"    \
    "\"rules\":[{\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]},"        \
    "{\"action\":\"FailJob\",\"onExitCodes\":{\"containerName\":\"c\",\"operator\":\"In\",\"values\":[42]}},"             \
    "{\"action\":\"Count\",\"onExitCodes\":{\"operator\":\"NotIn\",\"values\":[1]}}]}"

TEST(an_exit_code_may_fail_the_whole_job)
{
    struct fixture f;
    begin(&f, POLICY);
    put_pod(&f, "a", "," FINALIZER, "Failed", EXITED("42"));
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"FailureTarget\",\"status\":\"True\"") != NULL &&
          strstr(out, "\"reason\":\"PodFailurePolicy\"") != NULL);
    CHECK(strstr(out, "Container c for pod d/a failed with exit code 42 matching FailJob rule at index 1") != NULL);
    CHECK(strstr(out, "\"uncountedTerminatedPods\":{\"failed\":[\"a\"]}") != NULL &&
          strstr(out, "\"type\":\"Failed\"") == NULL);
    put_job(&f, POLICY,
            ",\"uncountedTerminatedPods\":{\"failed\":[\"a\"]},\"conditions\":[{\"type\":\"FailureTarget\",\"status\":"
            "\"True\",\"reason\":\"PodFailurePolicy\",\"message\":\"m\"}]");
    put_pod(&f, "a", "", "Failed", EXITED("42"));
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"Failed\",\"status\":\"True\"") != NULL && strstr(out, "\"failed\":1,") != NULL);
    CHECK(strstr(out, "event Warning PodFailurePolicy: m") != NULL);
    fixture_deinit(&f);
}

TEST(an_ignored_failure_is_let_go_and_not_counted)
{
    struct fixture f;
    begin(&f, POLICY);
    put_pod(&f, "a", "," FINALIZER, "Failed", DISRUPTED);
    f.now = NOW + 3600;
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "PATCH pods d/a ") != NULL && fixture_count(out, "POST pods d ") == 1);
    CHECK(strstr(out, "\"failed\":[") == NULL && strstr(out, "FailureTarget") == NULL);
    fixture_deinit(&f);
}

TEST(a_failure_that_no_rule_matches_counts)
{
    struct fixture f;
    begin(&f, POLICY);
    put_pod(&f, "a", "," FINALIZER, "Failed", EXITED("1"));
    CHECK(strstr(fixture_pass(&f, "d/work"), "\"reason\":\"BackoffLimitExceeded\"") != NULL);
    fixture_deinit(&f);
}

TEST(a_pod_that_is_being_deleted_is_replaced_once_it_has_failed)
{
    struct fixture f;
    begin(&f, "\"completions\":1,\"parallelism\":1,\"podReplacementPolicy\":\"Failed\"");
    put_pod(&f, "a", "," FINALIZER ",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\"", "Running", "");
    f.now = NOW + 3600;
    const char *out = fixture_pass(&f, "d/work");
    CHECK(fixture_count(out, "POST pods") == 0 && strstr(out, "\"terminating\":1") != NULL &&
          strstr(out, "PATCH pods") == NULL);
    put_pod(&f, "a", "," FINALIZER ",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\"", "Failed", "");
    out = fixture_pass(&f, "d/work");
    CHECK(fixture_count(out, "POST pods") == 1 && strstr(out, "\"failed\":[\"a\"]") != NULL);
    fixture_deinit(&f);
    begin(&f, "\"completions\":1,\"parallelism\":1,\"podReplacementPolicy\":\"TerminatingOrFailed\"");
    put_pod(&f, "a", "," FINALIZER ",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\"", "Running", "");
    f.now = NOW + 3600;
    out = fixture_pass(&f, "d/work");
    CHECK(fixture_count(out, "POST pods") == 1 && strstr(out, "\"failed\":[\"a\"]") != NULL);
    fixture_deinit(&f);
}

#define PER_INDEX                                                                                                          \
    "\"completions\":3,\"parallelism\":3,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":1,\"backoffLimit\":"      \
    "2147483647"

TEST(each_index_has_its_own_limit_and_its_pods_carry_the_count)
{
    struct fixture f;
    begin(&f, PER_INDEX);
    const char *out = fixture_pass(&f, "d/work");
    CHECK_INT(fixture_count(out, "POST pods d "), 3);
    CHECK_INT(fixture_count(out, "\"batch.kubernetes.io/job-index-failure-count\":\"0\""), 3);
    put_pod(&f, "a", INDEX("0", FAILED_BEFORE("0")), "Running", "");
    put_pod(&f, "b", INDEX("1", FAILED_BEFORE("0")), "Failed", EXITED("1"));
    put_pod(&f, "c", INDEX("2", FAILED_BEFORE("0")), "Running", "");
    f.now = NOW + 4;
    out = fixture_pass(&f, "d/work"); /* kept, with the count, until the next one is there */
    CHECK(strstr(out, "again after 6000 ms") != NULL && strstr(out, "PATCH pods") == NULL &&
          fixture_count(out, "POST pods") == 0);
    f.now = NOW + 10;
    out = fixture_pass(&f, "d/work");
    CHECK(fixture_count(out, "POST pods") == 1 && strstr(out, "PATCH pods") == NULL);
    CHECK(strstr(out, "\"batch.kubernetes.io/job-index-failure-count\":\"1\"") != NULL);
    put_pod(&f, "d", INDEX("1", FAILED_BEFORE("1")), "Running", "");
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "PATCH pods d/b ") != NULL && strstr(out, "\"failed\":[\"b\"]") != NULL);
    CHECK(strstr(out, "\"failedIndexes\":\"\"") != NULL);
    put_pod(&f, "b", "", "Failed", EXITED("1"));
    put_pod(&f, "d", INDEX("1", FAILED_BEFORE("1")), "Failed", EXITED("1"));
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"failedIndexes\":\"1\"") != NULL && strstr(out, "PATCH pods d/d ") != NULL);
    CHECK(fixture_count(out, "POST pods") == 0 && strstr(out, "FailureTarget") == NULL);
    fixture_deinit(&f);
}

TEST(a_job_with_failed_indexes_fails_when_the_others_are_done)
{
    struct fixture f;
    begin(&f, PER_INDEX);
    put_job(&f, PER_INDEX, ",\"completedIndexes\":\"0,2\",\"succeeded\":2,\"failedIndexes\":\"1\",\"failed\":2");
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"reason\":\"FailedIndexes\"") != NULL && strstr(out, "\"type\":\"Failed\"") != NULL);
    fixture_deinit(&f);
    begin(&f, PER_INDEX ",\"maxFailedIndexes\":0");
    put_pod(&f, "b", INDEX("1", FAILED_BEFORE("1")), "Failed", EXITED("1"));
    put_pod(&f, "a", INDEX("0", FAILED_BEFORE("0")), "Running", "");
    out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"reason\":\"MaxFailedIndexesExceeded\"") != NULL && strstr(out, "DELETE pods d/a ") != NULL);
    fixture_deinit(&f);
}

TEST(a_rule_may_fail_an_index_at_once_or_ignore_its_failure)
{
    struct fixture f;
    begin(&f, PER_INDEX ",\"podReplacementPolicy\":\"Failed\",\"podFailurePolicy\":{\"rules\":[{\"action\":\"FailIndex\",\"onExitCodes\":{"
                        "\"operator\":\"In\",\"values\":[9]}},{\"action\":\"Ignore\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[7]}}]}");
    put_pod(&f, "a", INDEX("0", FAILED_BEFORE("0")), "Failed", EXITED("9"));
    put_pod(&f, "b", INDEX("1", FAILED_BEFORE("1")), "Failed", EXITED("7"));
    put_pod(&f, "c", INDEX("2", FAILED_BEFORE("0")), "Running", "");
    f.now = NOW + 3600;
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"failedIndexes\":\"0\"") != NULL && fixture_count(out, "POST pods") == 1);
    CHECK(strstr(out, "\"batch.kubernetes.io/job-index-failure-count\":\"1\",\"batch.kubernetes.io/job-index-ignored-failure-count\":\"1\"") !=
          NULL);
    fixture_deinit(&f);
}

TEST(some_indexes_or_a_number_of_them_may_be_enough)
{
    static const char *const enough[] = { "\"succeededIndexes\":\"0,2\"", "\"succeededCount\":2",
                                          "\"succeededIndexes\":\"0-3\",\"succeededCount\":2" };
    static const char *const less[] = { "\"succeededIndexes\":\"0-2\"", "\"succeededCount\":3",
                                        "\"succeededIndexes\":\"2-3\",\"succeededCount\":2" };
    for (size_t i = 0; i < 2 * ARRAY_SIZE(enough); i++) {
        bool is = i < ARRAY_SIZE(enough);
        struct fixture f;
        char spec[512];
        snprintf(spec, sizeof(spec),
                 "\"completions\":4,\"parallelism\":4,\"completionMode\":\"Indexed\",\"successPolicy\":{\"rules\":[{"
                 "\"succeededCount\":4},{%s}]}",
                 is ? enough[i] : less[i - ARRAY_SIZE(enough)]);
        begin(&f, spec);
        put_job(&f, spec, ",\"completedIndexes\":\"0\",\"succeeded\":1");
        put_pod(&f, "b", INDEX("1", ""), "Running", "");
        put_pod(&f, "c", INDEX("2", ""), "Succeeded", "");
        const char *out = fixture_pass(&f, "d/work");
        CHECK_INT(fixture_count(out, "DELETE pods d/b "), is);
        CHECK_INT(fixture_count(out, "\"reason\":\"SuccessPolicy\",\"message\":\"Matched rules at index 1\""), is);
        CHECK_INT(fixture_count(out, "POST pods"), is ? 0 : 1);
        fixture_deinit(&f);
    }
}

TEST(a_job_that_had_enough_is_complete_for_that_reason)
{
    struct fixture f;
    begin(&f, "\"completions\":4,\"parallelism\":1,\"completionMode\":\"Indexed\",\"successPolicy\":{\"rules\":[{\"succeededCount\":1}]}");
    put_pod(&f, "a", INDEX("0", ""), "Succeeded", "");
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "\"type\":\"Complete\",\"status\":\"True\"") != NULL);
    CHECK_INT(fixture_count(out, "\"reason\":\"SuccessPolicy\",\"message\":\"Matched rules at index 0\""), 2);
    fixture_deinit(&f);
}

TEST(pods_of_indexes_that_are_not_wanted_any_more_go)
{
    struct fixture f;
    begin(&f, "\"completions\":1,\"parallelism\":1,\"completionMode\":\"Indexed\"");
    put_pod(&f, "a", INDEX("0", ""), "Running", "");
    put_pod(&f, "b", INDEX("0", ""), "Running", ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]");
    put_pod(&f, "c", INDEX("1", ""), "Running", "");
    const char *out = fixture_pass(&f, "d/work");
    CHECK(strstr(out, "DELETE pods d/a ") && strstr(out, "DELETE pods d/c ") && !strstr(out, "DELETE pods d/b "));
    fixture_deinit(&f);
}

TEST(the_pause_after_failures_begins_anew_with_a_success)
{
    struct fixture f;
    begin(&f, "\"completions\":3,\"parallelism\":1");
    put_job(&f, "\"completions\":3,\"parallelism\":1", ",\"failed\":4,\"succeeded\":1");
    put_pod(&f, "a", "", "Failed", ",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"finishedAt\":\"2027-01-15T07:00:00Z\"}}}]");
    put_pod(&f, "b", "", "Succeeded",
            ",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"finishedAt\":\"2027-01-15T07:30:00Z\"}}}]");
    CHECK_INT(fixture_count(fixture_pass(&f, "d/work"), "POST pods"), 1);
    put_pod(&f, "c", "", "Failed", EXITED("1"));
    CHECK(strstr(fixture_pass(&f, "d/work"), "again after 10000 ms") != NULL);
    fixture_deinit(&f);
}
