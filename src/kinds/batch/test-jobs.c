#include "api/decode-json.h"
#include "api/gen/batch_v1.h"
#include "base/test.h"
#include "kinds/table.h"

struct fixture {
    struct arena a;
    struct field_errs errs;
    struct kind_ctx ctx;
};

static struct batch_v1_job *decode(struct fixture *f, const char *spec, const char *pod, const char *status)
{
    struct err err;
    struct batch_v1_job *j = arena_new(&f->a, struct batch_v1_job);
    struct str json = arena_printf(&f->a,
                                   "{\"metadata\":{\"name\":\"j\",\"namespace\":\"d\",\"uid\":\"u\"},\"spec\":{%s\"manualSelector\":true,"
                                   "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{%s"
                                   "\"restartPolicy\":\"Never\",\"dnsPolicy\":\"ClusterFirst\",\"containers\":[{\"name\":\"c\",\"image\":\"i\","
                                   "\"imagePullPolicy\":\"Always\",\"terminationMessagePolicy\":\"File\"}]}}},\"status\":{%s}}",
                                   spec, pod, status);
    CHECK_OK(api_decode_json(&f->a, &batch_v1_job_type, json, NULL, j, &err), &err);
    return j;
}

static void begin(struct fixture *f)
{
    arena_init(&f->a, 4 << 20);
    field_errs_init(&f->errs, &f->a);
    f->ctx = (struct kind_ctx){ .arena = &f->a, .errs = &f->errs };
}

static void check_message(struct fixture *f, const char *want)
{
    CHECK_STR_C(f->errs.n ? field_errs_message(&f->errs, &f->a) : STR("fine"), want);
    arena_deinit(&f->a);
}

static void check_create(const char *spec, const char *want)
{
    struct fixture f;
    begin(&f);
    batch_job_ops.validate_create(&f.ctx, decode(&f, spec, "", ""));
    check_message(&f, want);
}

static void check_update(const char *old_spec, const char *status, const char *spec, const char *pod, const char *want)
{
    struct fixture f;
    begin(&f);
    batch_job_ops.validate_update(&f.ctx, decode(&f, spec, pod, status), decode(&f, old_spec, "", status));
    check_message(&f, want);
}

#define RULE(r) "\"podFailurePolicy\":{\"rules\":[{" r "}]},"
#define INDEXED "\"completionMode\":\"Indexed\",\"completions\":4,"
#define SUCCESS(r) INDEXED "\"successPolicy\":{\"rules\":[{" r "}]},"

TEST(failure_policies_that_mean_nothing_are_told)
{
    check_create(RULE("\"action\":\"FailJob\",\"onExitCodes\":{\"containerName\":\"c\",\"operator\":\"In\",\"values\":[1,42]}"), "fine");
    check_create(RULE("\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]"), "fine");
    check_create(RULE("\"action\":\"FailIndex\",\"onExitCodes\":{\"operator\":\"NotIn\",\"values\":[0]}"),
                 "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be specified");
    check_create(RULE("\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[0]}"),
                 "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator");
    check_create(RULE("\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[3,2]}"),
                 "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,2]: must be ordered");
    check_create(RULE("\"action\":\"FailJob\",\"onExitCodes\":{\"containerName\":\"x\",\"operator\":\"In\",\"values\":[3]}"),
                 "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or "
                 "initContainer names in the pod template");
    check_create(RULE("\"action\":\"Count\""),
                 "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required");
    check_create(RULE("\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"x\",\"status\":\"True\"}]") "\"podReplacementPolicy\":\"TerminatingOrFailed\",",
                 "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"");
}

TEST(success_policies_that_cannot_hold_are_told)
{
    check_create(SUCCESS("\"succeededIndexes\":\"0,2-3\",\"succeededCount\":2"), "fine");
    check_create("\"successPolicy\":{\"rules\":[{\"succeededCount\":1}]},",
                 "spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode");
    check_create(SUCCESS("\"succeededIndexes\":\"0,4\""), "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0,4\": error parsing "
                                                           "succeededIndexes: too large index: \"4\"");
    check_create(SUCCESS("\"succeededIndexes\":\"2,1\""), "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"2,1\": error parsing "
                                                           "succeededIndexes: non-increasing order, previous: 2, current: 1");
    check_create(SUCCESS("\"succeededIndexes\":\"1-2\",\"succeededCount\":3"),
                 "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the "
                 "specified succeededIndexes field)");
    check_create(INDEXED "\"successPolicy\":{\"rules\":[]},",
                 "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified");
}

TEST(limits_of_each_index_need_indexes)
{
    check_create(INDEXED "\"backoffLimitPerIndex\":1,\"maxFailedIndexes\":4,", "fine");
    check_create("\"backoffLimitPerIndex\":1,", "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode");
    check_create(INDEXED "\"maxFailedIndexes\":1,", "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified");
    check_create(INDEXED "\"backoffLimitPerIndex\":1,\"maxFailedIndexes\":5,",
                 "spec.maxFailedIndexes: Invalid value: 5: must be less than or equal to completions");
    check_create("\"managedBy\":\"kueue\",",
                 "spec.managedBy: Invalid value: \"kueue\": must be a domain-prefixed path (such as \"acme.io/foo\")");
}

TEST(what_a_job_is_stays_but_a_resting_one_may_say_where_its_pods_go)
{
#define SELECTOR "\"nodeSelector\":{\"disk\":\"ssd\"},"
#define STARTED "\"startTime\":\"2027-01-15T08:00:00Z\""
    check_update("\"suspend\":true,", "", "\"suspend\":false,", SELECTOR, "fine");
    check_update("\"suspend\":true,", STARTED ",\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\"}]", "", SELECTOR, "fine");
    check_update("\"managedBy\":\"a.io/b\",", "", "\"managedBy\":\"a.io/c\",", "", "spec.managedBy: Invalid value: \"a.io/c\": field is immutable");
    check_update(SUCCESS("\"succeededCount\":1"), "", INDEXED, "", "spec.successPolicy: Invalid value: null: field is immutable");
    check_update(INDEXED, "", "\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,", "", "fine");
    check_update(INDEXED, "", "\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":3,", "",
                 "spec.completions: Invalid value: 2: can only be modified in tandem with spec.parallelism");
    struct fixture f;
    begin(&f);
    batch_job_ops.validate_update(&f.ctx, decode(&f, "", SELECTOR, STARTED), decode(&f, "\"suspend\":true,", "", STARTED));
    CHECK(f.errs.n == 1 && str_eq_c(f.errs.items[0].path, "spec.template"));
    arena_deinit(&f.a);
}
