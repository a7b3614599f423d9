/* HorizontalPodAutoscalers: the examples of Kubernetes' documentation, and whole rounds with answers as text. */
#include "api/decode-json.h"
#include "base/test.h"
#include "controllers/hpa-decide.h"

#define NOW 100000
static const struct hpa_tuning usual = { .up = 0.1, .down = 0.1, .cpu_initialization_s = 300, .initial_readiness_s = 30, .now_s = NOW };

/* ---- how many, by one metric ---- */

/* Pods: '.' counts, 'm' has no sample, 'u' is not ready yet, 'p' is pending, 'x' failed. */
static int32_t count(const char *pods, int64_t each, int64_t request, struct hpa_target target, int32_t current)
{
    struct hpa_pod p[16] = { { .request = 0 } };
    struct hpa_sample s[16];
    char names[16][24];
    size_t n = strlen(pods), n_samples = 0;
    struct hpa_count c;
    struct arena a;
    struct err err = { .msg = "" };
    arena_init(&a, ARENA_NO_BUDGET);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "p%zu", i);
        bool unready = pods[i] == 'u';
        p[i] = (struct hpa_pod){ .name = str_c(names[i]), .has_ready = true, .ready = !unready, .pending = pods[i] == 'p', .gone = pods[i] == 'x',
                                 .start_s = unready ? NOW - 10 : NOW - 1000, .ready_since_s = unready ? NOW - 10 : NOW - 900, .request = request };
        if (pods[i] != 'm' && pods[i] != 'p') {
            s[n_samples++] = (struct hpa_sample){ .pod = p[i].name, .value = each, .at_s = NOW - 15, .window_s = 30 };
        }
    }
    bool ok = hpa_count_pods(&a, &usual, p, n, s, n_samples, true, &target, current, &c, &err);
    arena_deinit(&a);
    return ok ? c.replicas : -1;
}

TEST(the_ratio_of_usage_to_target_says_how_many)
{
    static const struct {
        const char *pods;
        int64_t each, request;
        struct hpa_target target;
        int32_t want;
    } cases[] = {
        /* "If the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled" */
        { "...", 200, 1000, { .average = 100 }, 6 },
        /* "If the current value is instead 50m, you'll halve the number of replicas" */
        { "....", 50, 1000, { .average = 100 }, 2 },
        /* "skips any scaling action if the ratio is sufficiently close to 1.0" */
        { "...", 105, 1000, { .average = 100 }, 3 },
        { "...", 95, 1000, { .average = 100 }, 3 },
        { "...", 111, 1000, { .average = 100 }, 4 },
        /* percent of the request */
        { "...", 900, 1000, { .utilization = 50 }, 6 },
        { "...", 500, 1000, { .utilization = 50 }, 3 },
        { "..", 300, 1000, { .utilization = 100 }, 1 },
        /* pods without samples use all they ask for on the way down, and nothing on the way up */
        { "..m", 200, 1000, { .utilization = 50 }, 3 },
        { "..m", 900, 1000, { .utilization = 50 }, 4 },
        { ".mm", 600, 1000, { .utilization = 50 }, 3 }, /* what is made up must not turn it round */
        { "...m", 100, 1000, { .utilization = 100 }, 2 },
        /* pods that only begin count for nothing on the way up, and are left out otherwise */
        { "..u", 900, 1000, { .utilization = 50 }, 4 },
        { "..u", 200, 1000, { .utilization = 50 }, 1 },
        { "..p", 900, 1000, { .utilization = 50 }, 4 },
        { "..x", 900, 1000, { .utilization = 50 }, 4 },
        { "uu", 900, 1000, { .utilization = 50 }, -1 }, /* nothing to go by */
        { "", 900, 1000, { .utilization = 50 }, -1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int32_t got = count(cases[i].pods, cases[i].each, cases[i].request, cases[i].target, (int32_t)strlen(cases[i].pods));
        if (got != cases[i].want) {
            printf("case %zu: %d\n", i, got);
        }
        CHECK_INT(got, cases[i].want);
    }
}

TEST(values_that_are_not_of_pods_scale_all_or_are_shared)
{
    CHECK_INT(hpa_count_value(&usual, 20000, 10000, 3, 3).replicas, 6);
    CHECK_INT(hpa_count_value(&usual, 10500, 10000, 3, 3).replicas, 3);
    CHECK_INT(hpa_count_value(&usual, 20000, 10000, 3, 2).replicas, 4); /* of those that are ready */
    CHECK_INT(hpa_count_value(&usual, 20000, 10000, 0, 0).replicas, 2);
    CHECK_INT(hpa_count_shared(&usual, 30000, 5000, 3).replicas, 6);
    CHECK_INT(hpa_count_shared(&usual, 15500, 5000, 3).replicas, 3);
    CHECK_INT(hpa_count_shared(&usual, 30000, 5000, 3).usage, 10000);
}

/* ---- behavior ---- */

static const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior(struct arena *a, const char *json)
{
    struct err err;
    void *obj = arena_alloc(a, autoscaling_v2_horizontal_pod_autoscaler_behavior_type.size);
    CHECK_OK(api_decode_json(a, &autoscaling_v2_horizontal_pod_autoscaler_behavior_type, str_c(json), NULL, obj, &err), &err);
    return obj;
}

/* Goes on to where it is told to; returns the number reached. */
static int32_t go(struct hpa_memory *m, struct hpa_bounds *b, int64_t at_s, int32_t *current, int32_t desired, struct hpa_told *told)
{
    b->now_s = at_s;
    hpa_memory_begin(m, at_s, *current);
    int32_t next = hpa_normalize(m, b, *current, desired, told);
    hpa_memory_scaled(m, b, *current, next);
    *current = next;
    return next;
}

TEST(without_a_behavior_it_doubles_at_most_and_goes_down_after_five_minutes)
{
    struct hpa_memory m = { .ups = { 0 } };
    struct hpa_bounds b = { .min = 2, .max = 30, .down_window_s = 300 };
    struct hpa_told told;
    int32_t n = 3;
    CHECK_INT(go(&m, &b, 1000, &n, 20, &told), 6);
    CHECK_STR_C(str_c(told.limit_reason), "ScaleUpLimit");
    CHECK_INT(go(&m, &b, 1015, &n, 20, &told), 12);
    CHECK_INT(go(&m, &b, 1030, &n, 40, &told), 24);
    CHECK_INT(go(&m, &b, 1045, &n, 40, &told), 30);
    CHECK_STR_C(str_c(told.limit_reason), "TooManyReplicas");
    CHECK_INT(go(&m, &b, 1060, &n, 1, &told), 30);
    CHECK_STR_C(str_c(told.able_reason), "ScaleDownStabilized");
    CHECK_INT(go(&m, &b, 1346, &n, 1, &told), 2);
    CHECK_STR_C(str_c(told.limit_reason), "TooFewReplicas");
    hpa_memory_deinit(&m);
}

TEST(policies_say_how_fast_it_goes)
{
    struct hpa_memory m = { .ups = { 0 } };
    struct arena a;
    struct hpa_told told;
    int32_t n = 80;
    arena_init(&a, ARENA_NO_BUDGET);
    /* The documentation's: 4 pods or a tenth a minute, whichever is more; down from 80 to 10. */
    struct hpa_bounds b = { .min = 10, .max = 100, .down_window_s = 300,
                            .behavior = behavior(&a, "{\"scaleDown\":{\"stabilizationWindowSeconds\":0,\"policies\":[{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":60},"
                                                     "{\"type\":\"Percent\",\"value\":10,\"periodSeconds\":60}]}}") };
    CHECK_INT(go(&m, &b, 1000, &n, 10, &told), 72);
    CHECK_STR_C(str_c(told.limit_reason), "ScaleDownLimit");
    CHECK_INT(go(&m, &b, 1015, &n, 10, &told), 72); /* the minute is not over */
    CHECK_INT(go(&m, &b, 1061, &n, 10, &told), 64); /* a tenth of 72, cut off, leaves 64 */
    n = 12;
    hpa_memory_deinit(&m);
    CHECK_INT(go(&m, &b, 2000, &n, 1, &told), 10);
    CHECK_STR_C(str_c(told.limit_reason), "TooFewReplicas");
    /* Up: 4 pods or twice as many every 15 seconds, unless it says otherwise. */
    b.min = 1;
    n = 1;
    hpa_memory_deinit(&m);
    CHECK_INT(go(&m, &b, 3000, &n, 100, &told), 5);
    CHECK_INT(go(&m, &b, 3016, &n, 100, &told), 10);
    b.behavior = behavior(&a, "{\"scaleUp\":{\"selectPolicy\":\"Min\"},\"scaleDown\":{\"selectPolicy\":\"Disabled\",\"stabilizationWindowSeconds\":0}}");
    CHECK_INT(go(&m, &b, 3100, &n, 100, &told), 14);
    CHECK_INT(go(&m, &b, 3200, &n, 1, &told), 14);
    /* An upward window: the lowest of the last minute. */
    b.behavior = behavior(&a, "{\"scaleUp\":{\"stabilizationWindowSeconds\":60}}");
    hpa_memory_deinit(&m);
    n = 4;
    CHECK_INT(go(&m, &b, 4000, &n, 6, &told), 4);
    CHECK_STR_C(str_c(told.able_reason), "ScaleUpStabilized");
    CHECK_INT(go(&m, &b, 4061, &n, 8, &told), 8);
    arena_deinit(&a);
    hpa_memory_deinit(&m);
}

/* ---- whole rounds ---- */

#define HPA(metrics, more)                                                                                                         \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"h\"},\"spec\":{\"minReplicas\":1,\"maxReplicas\":10,\"scaleTargetRef\":{\"apiVersion\":\"apps/v1\"," \
    "\"kind\":\"Deployment\",\"name\":\"web\"},\"metrics\":[" metrics "]" more "}}"
#define CPU "{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}"
#define SIDECAR "{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"container\":\"c\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"100m\"}}}"
#define RATE "{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"rate\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}"
#define HITS "{\"type\":\"Object\",\"object\":{\"metric\":{\"name\":\"hits\"},\"describedObject\":{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"name\":\"i\"},\"target\":{\"type\":\"Value\",\"value\":\"10\"}}}"
#define QUEUE "{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\",\"selector\":{\"matchLabels\":{\"q\":\"1\"}}},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"30\"}}}"
#define SCALE(n) "{\"spec\":{\"replicas\":" n "},\"status\":{\"replicas\":" n ",\"selector\":\"app=web\"}}"
#define POD(name) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}]},\"status\":{\"phase\":\"Running\",\"startTime\":\"1970-01-01T00:10:00Z\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"1970-01-01T00:10:05Z\"}]}}"
#define PODS "{\"items\":[" POD("a") "," POD("b") "]}"
#define USAGE(name) "{\"metadata\":{\"name\":\"" name "\"},\"timestamp\":\"1970-01-02T03:46:00Z\",\"window\":\"30s\",\"containers\":[{\"name\":\"c\",\"usage\":{\"cpu\":\"200m\"}}]}"
#define USAGES "{\"items\":[" USAGE("a") "," USAGE("b") "]}"

struct round {
    struct arena arena;
    struct hpa_memory memory;
    struct hpa_inputs in;
    struct hpa_outcome out;
    hpa_t hpa;
};

/* 'answers': one text for each metric; NULL is an API that is not served. */
static void decide(struct round *r, const char *hpa, const char *scale, const char *const *answers)
{
    struct err err;
    memset(r, 0, sizeof(*r));
    arena_init(&r->arena, ARENA_NO_BUDGET);
    CHECK_OK(api_decode_json(&r->arena, &autoscaling_v2_horizontal_pod_autoscaler_type, str_c(hpa), NULL, &r->hpa, &err), &err);
    r->in = (struct hpa_inputs){ .hpa = &r->hpa, .n_metrics = r->hpa.spec.n_metrics, .tuning = usual, .down_window_s = 300, .now_s = NOW,
                                 .scale_answer = { .body = str_c(scale) }, .pods = { .body = STR_INIT(PODS) },
                                 .answers = arena_new_n(&r->arena, struct hpa_answer, r->hpa.spec.n_metrics) };
    for (size_t i = 0; i < r->in.n_metrics; i++) {
        r->in.answers[i] = answers[i] ? (struct hpa_answer){ .body = str_c(answers[i]), .http_status = 200 }
                                      : (struct hpa_answer){ .error = STR("404 page not found"), .http_status = 404 };
    }
    CHECK(hpa_read_scale(&r->arena, &r->in));
    hpa_decide(&r->arena, &r->in, &r->memory, &r->out);
    hpa_status(&r->out, &r->arena, NOW, &r->hpa);
}

static void end(struct round *r)
{
    arena_deinit(&r->arena);
    hpa_memory_deinit(&r->memory);
}

static const struct hpa_condition *condition(const struct round *r, enum hpa_condition_type type)
{
    return &r->out.conditions[type];
}

TEST(a_round_with_metrics_scales_and_tells)
{
    struct round r;
    decide(&r, HPA(CPU, ""), SCALE("2"), (const char *const[]){ USAGES });
    CHECK(r.out.rescale);
    CHECK_INT(r.out.desired, 4);
    CHECK_STR_C(r.out.why, "cpu resource utilization (percentage of request) above target");
    CHECK_STR_C(condition(&r, HPA_SCALING_ACTIVE)->message, "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)");
    CHECK(r.hpa.status.n_current_metrics == 1 && r.hpa.status.current_metrics[0].resource->current.average_utilization == 100);
    CHECK_STR_C(r.hpa.status.current_metrics[0].resource->current.average_value, "200m");
    hpa_scaled(&r.arena, &r.in, &r.memory, &(struct hpa_answer){ .http_status = 200 }, &r.out);
    CHECK_STR_C(r.out.events[0].message, "New size: 4; reason: cpu resource utilization (percentage of request) above target");
    CHECK_STR_C(condition(&r, HPA_ABLE_TO_SCALE)->message, "the HPA controller was able to update the target scale to 4");
    hpa_scaled(&r.arena, &r.in, &r.memory, &(struct hpa_answer){ .error = STR_INIT("no") }, &r.out);
    CHECK_STR_C(str_c(condition(&r, HPA_ABLE_TO_SCALE)->reason), "FailedUpdateScale");
    end(&r);
}

TEST(the_highest_of_all_metrics_counts)
{
    struct round r;
    decide(&r, HPA(CPU "," SIDECAR "," RATE "," HITS "," QUEUE, ",\"behavior\":{}"), SCALE("2"),
           (const char *const[]){ USAGES, USAGES,
                                  "{\"items\":[{\"describedObject\":{\"name\":\"a\"},\"value\":\"30\"},{\"describedObject\":{\"name\":\"b\"},\"value\":\"20\"}]}",
                                  "{\"items\":[{\"describedObject\":{\"name\":\"i\"},\"value\":\"25\"}]}", "{\"items\":[{\"value\":\"100\"},{\"value\":\"70\"}]}" });
    CHECK_INT(r.out.desired, 6); /* the queue: 170 of 30 each */
    CHECK_STR_C(r.out.why, "external metric queue(q=1) above target");
    CHECK_INT(r.hpa.status.n_current_metrics, 5);
    CHECK_STR_C(r.hpa.status.current_metrics[2].pods->current.average_value, "25");
    CHECK_STR_C(r.hpa.status.current_metrics[3].object->current.value, "25");
    CHECK_STR_C(r.hpa.status.current_metrics[4].external->current.average_value, "85");
    end(&r);
}

TEST(metrics_that_nobody_serves_leave_the_scale_alone)
{
    struct round r;
    decide(&r, HPA(CPU, ""), SCALE("2"), (const char *const[]){ NULL });
    CHECK(!r.out.rescale && r.out.desired == 2);
    CHECK_STR_C(str_c(condition(&r, HPA_SCALING_ACTIVE)->status), "False");
    CHECK_STR_C(str_c(condition(&r, HPA_SCALING_ACTIVE)->reason), "FailedGetResourceMetric");
    CHECK_STR_C(condition(&r, HPA_SCALING_ACTIVE)->message,
                "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from "
                "resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)");
    CHECK_INT(r.out.n_events, 2);
    CHECK_STR_C(str_c(r.out.events[1].reason), "FailedComputeMetricsReplicas");
    CHECK(str_starts(r.out.events[1].message, STR("invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: ")));
    end(&r);
    /* One is mute: up is fine by the others, down is not. */
    decide(&r, HPA(CPU "," RATE, ""), SCALE("2"), (const char *const[]){ USAGES, NULL });
    CHECK_INT(r.out.desired, 4);
    end(&r);
    decide(&r, HPA(CPU "," RATE, ""), SCALE("8"), (const char *const[]){ USAGES, NULL });
    CHECK(!r.out.rescale);
    CHECK_STR_C(str_c(condition(&r, HPA_SCALING_ACTIVE)->reason), "FailedGetPodsMetric");
    end(&r);
}

TEST(the_bounds_go_before_the_metrics)
{
    static const struct {
        const char *scale;
        int32_t want;
        const char *why;
    } cases[] = {
        { SCALE("20"), 10, "Current number of replicas above Spec.MaxReplicas" },
        { SCALE("0"), 0, NULL },
        { "{\"spec\":{\"replicas\":2},\"status\":{\"replicas\":2}}", 2, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct round r;
        decide(&r, HPA(CPU, ""), cases[i].scale, (const char *const[]){ USAGES });
        CHECK(!hpa_needs_metrics(&r.in));
        CHECK_INT(r.out.desired, cases[i].want);
        CHECK(cases[i].why ? str_eq_c(r.out.why, cases[i].why) : !r.out.rescale);
        if (!cases[i].why) {
            CHECK_STR_C(str_c(condition(&r, HPA_SCALING_ACTIVE)->reason), i == 1 ? "ScalingDisabled" : "InvalidSelector");
        }
        end(&r);
    }
}

TEST(each_kind_of_metric_has_its_path)
{
    static const struct {
        const char *metric, *path;
    } cases[] = {
        { CPU, "/apis/metrics.k8s.io/v1beta1/namespaces/d/pods?labelSelector=app%3Dweb" },
        { RATE, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/d/pods/*/rate?labelSelector=app%3Dweb" },
        { HITS, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/d/ingresses.networking.k8s.io/i/hits" },
        { QUEUE, "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/queue?labelSelector=q%3D1" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a;
        struct err err;
        metric_spec_t m = { .type = STR_NULL };
        arena_init(&a, ARENA_NO_BUDGET);
        CHECK_OK(api_decode_json(&a, &autoscaling_v2_metric_spec_type, str_c(cases[i].metric), NULL, &m, &err), &err);
        CHECK_STR_C(hpa_metric_path(&a, STR("d"), &m, STR("app=web")), cases[i].path);
        arena_deinit(&a);
    }
}
