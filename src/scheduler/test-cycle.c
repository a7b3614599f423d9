#include "base/test.h"
#include "scheduler/test-fixture.h"

#define NODE(name, cpu, extra)                                                                     \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"kubernetes.io/hostname\":\"" name          \
    "\"}},\"spec\":{" extra "},"                                                                   \
    "\"status\":{\"allocatable\":{\"cpu\":\"" cpu "\",\"memory\":\"8Gi\",\"pods\":\"10\"}}}"
#define POD(name, cpu, extra)                                                                      \
    "{\"metadata\":{\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"" name               \
    "\",\"labels\":{\"app\":\"a\"}},"                                                              \
    "\"spec\":{" extra "\"containers\":[{\"name\":\"c\",\"image\":\"i\","                          \
    "\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]}}"

TEST(a_pod_goes_to_the_node_with_most_left)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "4", ""));
    fixture_node(&f, NODE("n2", "4", ""));
    fixture_pod(&f, POD("busy", "3", "\"nodeName\":\"n1\","));
    fixture_schedule(&f, fixture_pod(&f, POD("p", "500m", "")), &r);
    CHECK(r.node);
    CHECK_STR_C(r.node->name, "n2");
    fixture_deinit(&f);
}

TEST(a_pod_that_fits_nowhere_is_told_why_per_reason)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "1", ""));
    fixture_node(
        &f,
        NODE("n2", "4", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    fixture_node(&f, NODE("n3", "4", "\"unschedulable\":true"));
    fixture_schedule(&f, fixture_pod(&f, POD("p", "2", "")), &r);
    CHECK(!r.node);
    CHECK_STR_C(r.message, "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated "
                           "taint {k: v}, 1 node(s) were "
                           "unschedulable. preemption: 0/3 nodes are available: 3 Preemption is "
                           "not helpful for scheduling.");
    fixture_deinit(&f);
}

TEST(without_nodes_the_message_says_so)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_schedule(&f, fixture_pod(&f, POD("p", "1", "")), &r);
    CHECK_STR_C(r.message, "no nodes available to schedule pods");
    CHECK(r.rejected_by);
    fixture_deinit(&f);
}

TEST(a_tolerated_taint_does_not_keep_a_pod_away)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(
        &f,
        NODE("n1", "4", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    fixture_schedule(
        &f,
        fixture_pod(&f,
                    POD("p", "1", "\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}],")),
        &r);
    CHECK(r.node);
    fixture_schedule(
        &f, fixture_pod(&f, POD("q", "1", "\"tolerations\":[{\"key\":\"k\",\"value\":\"w\"}],")),
        &r);
    CHECK(!r.node);
    fixture_deinit(&f);
}

TEST(node_selector_and_affinity_expressions_choose_nodes_by_label)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "4", ""));
    fixture_node(&f, NODE("n2", "4", ""));
    fixture_schedule(
        &f, fixture_pod(&f, POD("p", "1", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n2\"},")),
        &r);
    CHECK(r.node && str_eq(r.node->name, STR("n2")));
    fixture_schedule(
        &f,
        fixture_pod(
            &f, POD("q", "1",
                    "\"affinity\":{\"nodeAffinity\":{"
                    "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":["
                    "{\"matchExpressions\":[{\"key\":\"kubernetes.io/"
                    "hostname\",\"operator\":\"NotIn\",\"values\":[\"n2\"]}]}]}}},")),
        &r);
    CHECK(r.node && str_eq(r.node->name, STR("n1")));
    fixture_schedule(&f, fixture_pod(&f, POD("s", "1", "\"nodeSelector\":{\"none\":\"x\"},")), &r);
    CHECK(!r.node);
    CHECK(str_starts(
        r.message,
        STR("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")));
    fixture_deinit(&f);
}

TEST(anti_affinity_keeps_pods_apart_in_both_directions)
{
    static const char anti[] =
        "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":["
        "{\"topologyKey\":\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":"
        "{\"app\":\"a\"}}}]}},";
    struct fixture f;
    struct cycle_result r;
    char with_node[1024], plain[1024];
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "4", ""));
    fixture_node(&f, NODE("n2", "4", ""));
    snprintf(with_node, sizeof(with_node),
             "{\"metadata\":{\"namespace\":\"default\",\"name\":\"x\",\"uid\":\"x\",\"labels\":{"
             "\"app\":\"a\"}},\"spec\":{%s"
             "\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\"}]}}",
             anti);
    fixture_pod(&f, with_node);
    fixture_schedule(&f, fixture_pod(&f, POD("other", "1", "")), &r);
    CHECK(r.node && str_eq(r.node->name, STR("n2")));
    fixture_pod(&f, POD("on2", "1", "\"nodeName\":\"n2\","));
    snprintf(plain, sizeof(plain),
             "{\"metadata\":{\"namespace\":\"default\",\"name\":\"y\",\"uid\":\"y\",\"labels\":{"
             "\"app\":\"b\"}},\"spec\":{%s"
             "\"containers\":[{\"name\":\"c\"}]}}",
             anti);
    fixture_schedule(&f, fixture_pod(&f, plain), &r);
    CHECK(!r.node);
    CHECK(str_starts(
        r.message,
        STR("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.")));
    fixture_deinit(&f);
}

TEST(topology_spread_limits_the_skew)
{
    static const char spread[] =
        "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"kubernetes.io/hostname\","
        "\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"app\":\"a\"}"
        "}}],";
    struct fixture f;
    struct cycle_result r;
    char pod[1024];
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "8", ""));
    fixture_node(&f, NODE("n2", "1", ""));
    fixture_pod(&f, POD("a1", "100m", "\"nodeName\":\"n1\","));
    snprintf(pod, sizeof(pod),
             "{\"metadata\":{\"namespace\":\"default\",\"name\":\"p\",\"uid\":\"p\",\"labels\":{"
             "\"app\":\"a\"}},\"spec\":{%s"
             "\"containers\":[{\"name\":\"c\"}]}}",
             spread);
    fixture_schedule(&f, fixture_pod(&f, pod), &r);
    CHECK(r.node && str_eq(r.node->name, STR("n2")));
    fixture_deinit(&f);
}

TEST(pods_are_alike_when_only_what_is_told_of_them_differs)
{
    struct fixture f;
    fixture_init(&f);
    static const char form[] = "{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"%s\",\"labels\":{\"app\":\"%s\"}},"
                               "\"spec\":{\"schedulingGates\":[%s]},\"status\":{%s}}";
    static const char *const rest[][4] = {
        { "1", "a", "", "" },
        { "2", "a", "", "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\"}]" },
        { "3", "b", "", "" },
        { "4", "a", "{\"name\":\"g\"}", "" },
    };
    const struct core_v1_pod *pods[ARRAY_SIZE(rest)];
    for (size_t i = 0; i < ARRAY_SIZE(rest); i++) {
        char json[512];
        snprintf(json, sizeof(json), form, rest[i][0], rest[i][1], rest[i][2], rest[i][3]);
        pods[i] = fixture_pod(&f, arena_cstr(&f.arena, str_c(json)))->pod;
    }
    CHECK(pods_alike(pods[0], pods[1]));
    CHECK(!pods_alike(pods[0], pods[2]));
    CHECK(!pods_alike(pods[0], pods[3]));
    fixture_deinit(&f);
}

TEST(a_pod_that_no_preemption_helps_is_told_so)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "2", ""));
    fixture_pod(&f, POD("important", "2", "\"priority\":50,\"nodeName\":\"n1\","));
    fixture_schedule(&f, fixture_pod(&f, POD("equal", "1", "\"priority\":50,")), &r);
    CHECK(!r.node && !r.nominated && r.no_victims);
    fixture_schedule(&f, fixture_pod(&f, POD("above", "1", "\"priority\":51,")), &r);
    CHECK(!r.node && r.nominated && !r.no_victims);
    fixture_deinit(&f);
}

/* With a node goes its domain, which may have been the one with the fewest pods. */
TEST(a_pod_that_spread_rejected_waits_for_nodes_that_go)
{
    struct fixture f;
    struct cycle_result r;
    unsigned events = 0;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "8", ""));
    fixture_node(&f, NODE("n2", "1", "\"unschedulable\":true"));
    fixture_pod(&f, POD("a1", "100m", "\"nodeName\":\"n1\","));
    struct pod_info *p = fixture_pod(&f, POD("p", "100m",
                                             "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"kubernetes.io/hostname\","
                                             "\"whenUnsatisfiable\":\"DoNotSchedule\","
                                             "\"labelSelector\":{\"matchLabels\":{\"app\":\"a\"}}}],"));
    fixture_schedule(&f, p, &r);
    CHECK(!r.node);
    for (uint64_t by = r.rejected_by; by; by &= by - 1) {
        events |= sched_plugins[__builtin_ctzll(by)]->events;
    }
    CHECK(events & EVENT_NODE_DELETE);
    cache_remove_node(&f.cache, STR("n2"));
    fixture_schedule(&f, p, &r);
    CHECK(r.node);
    fixture_deinit(&f);
}

TEST(what_preemption_cleared_for_one_pod_is_kept_from_others)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "2", ""));
    fixture_node(&f, NODE("n2", "2", ""));
    fixture_pod(&f, POD("low1", "2", "\"priority\":1,\"nodeName\":\"n1\","));
    fixture_pod(&f, POD("low2", "2", "\"priority\":1,\"nodeName\":\"n2\","));
    struct pod_info *first = fixture_pod(&f, POD("first", "2", "\"priority\":100,"));
    fixture_schedule(&f, first, &r);
    CHECK(!r.node && r.nominated);
    struct node_info *node = r.nominated;
    cache_promise(&f.cache, first, node->name);
    /* Another of its priority takes the other node; the first one goes on to its own. */
    fixture_schedule(&f, fixture_pod(&f, POD("second", "2", "\"priority\":100,")), &r);
    CHECK(!r.node && r.nominated && r.nominated != node);
    cache_remove_pod(&f.cache, r.victims[0]);
    fixture_schedule(&f, first, &r);
    CHECK(r.node && r.node != node);
    cache_promise(&f.cache, first, STR_NULL);
    CHECK(list_empty(&node->promised));
    fixture_deinit(&f);
}

TEST(preemption_takes_the_least_important_victims_and_leaves_the_cache_as_it_was)
{
    struct fixture f;
    struct cycle_result r;
    fixture_init(&f);
    fixture_node(&f, NODE("n1", "2", ""));
    fixture_node(&f, NODE("n2", "2", ""));
    fixture_pod(&f, POD("important", "2", "\"priority\":50,\"nodeName\":\"n1\","));
    fixture_pod(&f, POD("small", "1", "\"priority\":1,\"nodeName\":\"n2\","));
    fixture_pod(&f, POD("smaller", "1", "\"priority\":0,\"nodeName\":\"n2\","));
    int64_t used = cache_node(&f.cache, STR("n2"))->requested.milli_cpu;
    fixture_schedule(&f, fixture_pod(&f, POD("p", "1", "\"priority\":100,")), &r);
    CHECK(!r.node && r.nominated);
    CHECK_STR_C(r.nominated->name, "n2");
    CHECK_INT(r.n_victims, 1);
    CHECK_STR_C(r.victims[0]->pod->metadata.name, "smaller");
    CHECK_INT(cache_node(&f.cache, STR("n2"))->requested.milli_cpu, used);
    CHECK_INT(cache_node(&f.cache, STR("n2"))->n_pods, 2);
    fixture_deinit(&f);
}

TEST(sidecars_and_init_containers_count_as_the_larger_of_their_steps)
{
    struct fixture f;
    fixture_init(&f);
    struct pod_info *p =
        fixture_pod(&f, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"initContainers\":["
                        "{\"name\":\"side\",\"restartPolicy\":\"Always\",\"resources\":{"
                        "\"requests\":{\"cpu\":\"200m\"}}},"
                        "{\"name\":\"init\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],"
                        "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":"
                        "\"300m\",\"nvidia.com/gpu\":\"1\"}}}],"
                        "\"overhead\":{\"cpu\":\"50m\"}}}");
    CHECK_INT(p->requests.milli_cpu, 1250);
    CHECK_INT(p->requests.n_extended, 1);
    CHECK_INT(p->requests.extended[0].value, 1);
    fixture_deinit(&f);
}
