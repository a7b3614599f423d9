/* KubeSchedulerConfiguration: what it says is done or named as what is not. */
#include "scheduler/config-file.h"

#include "base/test.h"
#include "scheduler/test-fixture.h"

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

static struct arena arena = { .budget = ARENA_NO_BUDGET };
static struct component_options component;
static struct sched_settings settings;
static struct flag_result given;
static struct err err;

static bool read(const char *text)
{
    component = (struct component_options){ .leader_elect = true };
    return sched_config_read(&arena, str_c(text), &given, &component, &settings, &err);
}

static bool is_refused(const char *text, const char *why)
{
    bool refused = !read(text) && strstr(err.msg, why);
    if (!refused) {
        printf("  said: %s\n", err.msg);
    }
    return refused;
}

TEST(profiles_connection_and_election_are_read)
{
    CHECK_OK(read(HEAD "parallelism: 16\npodInitialBackoffSeconds: 2\npercentageOfNodesToScore: 50\nleaderElection: {leaderElect: false, leaseDuration: 20s, resourceName: mine}\n"
                       "clientConnection: {kubeconfig: /k, qps: 12.5, burst: 30}\n"
                       "profiles:\n- schedulerName: packer\n  plugins: {score: {disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit, weight: 5}]}}\n"
                       "  pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}}}]\n"
                       "- percentageOfNodesToScore: 7\n  plugins: {postFilter: {disabled: [{name: DefaultPreemption}]}}\n"),
             &err);
    CHECK_INT(settings.n_profiles, 2);
    CHECK_INT(settings.percentage_of_nodes, 50);
    CHECK_INT(settings.initial_backoff_ms, 2000);
    CHECK_INT(settings.max_backoff_ms, 0);
    CHECK_STR_C(settings.profiles[0].name, "packer");
    CHECK_INT(settings.profiles[0].fit, SCHED_MOST_ALLOCATED);
    CHECK_INT(settings.profiles[0].cpu_weight, 3);
    CHECK_STR_C(settings.profiles[1].name, "default-scheduler");
    CHECK(settings.profiles[1].no_preemption && !settings.profiles[1].no_score);
    CHECK_INT(settings.profiles[1].percentage_of_nodes, 7);
    CHECK(!component.leader_elect);
    CHECK_INT(component.lease_ms, 20000);
    CHECK_STR_C(component.lease_name, "mine");
    CHECK_STR_C(component.kubeconfig, "/k");
    CHECK_INT(component.kube_api_burst, 30);
}

TEST(what_is_not_honoured_is_named)
{
    CHECK(is_refused("kind: Other\n", "not a KubeSchedulerConfiguration"));
    CHECK(is_refused(HEAD "paralelism: 1\n", "unknown field \"paralelism\""));
    CHECK(is_refused(HEAD "profiles: [{schedulerNam: x}]\n", "unknown field \"profiles.schedulerNam\""));
    CHECK(is_refused(HEAD "profiles: [{schedulerName: x}, {schedulerName: x}]\n", "two have the schedulerName"));
    CHECK(is_refused(HEAD "profiles: [{plugins: {filter: {disabled: [{name: NoSuch}]}}}]\n", "there is no plugin \"NoSuch\""));
    CHECK(is_refused(HEAD "profiles: [{plugins: {filter: {enabled: [{name: VolumeZone}]}}}]\n", "not implemented by Coracle"));
    CHECK(is_refused(HEAD "profiles: [{plugins: {queueSort: {disabled: [{name: PrioritySort}]}}}]\n", "plugins.queueSort is not implemented"));
    CHECK(is_refused(HEAD "profiles: [{plugins: {multiPoint: {disabled: [{name: DefaultBinder}]}}}]\n", "cannot be disabled"));
    CHECK(is_refused(HEAD "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardWeight: 1}}]}]\n", "InterPodAffinityArgs.hardWeight"));
    CHECK(is_refused(HEAD "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: RequestedToCapacityRatio}}}]}]\n",
                     "is not implemented"));
    CHECK(is_refused(HEAD "extenders: [{urlPrefix: 'http://x'}]\n", "unknown field \"extenders\""));
    CHECK(is_refused(HEAD "parallelism: 1\nparallelism: 2\n", "already set"));
}

static struct str chosen(struct fixture *f, const struct sched_profile *p)
{
    struct cycle_result r;
    f->profile = p;
    fixture_schedule(f, fixture_pod(f, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}}"), &r);
    return r.node ? r.node->name : STR_NULL;
}

TEST(a_profile_packs_or_spreads_and_leaves_filters_out)
{
    struct fixture f;
    fixture_init(&f);
    fixture_node(&f, "{\"metadata\":{\"name\":\"full\"},\"status\":{\"allocatable\":{\"cpu\":\"8\",\"memory\":\"16Gi\",\"pods\":\"9\"}}}");
    fixture_node(&f, "{\"metadata\":{\"name\":\"empty\"},\"status\":{\"allocatable\":{\"cpu\":\"8\",\"memory\":\"16Gi\",\"pods\":\"9\"}}}");
    fixture_pod(&f, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"nodeName\":\"full\",\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"4\",\"memory\":\"8Gi\"}}}]}}");
    CHECK_STR_C(chosen(&f, NULL), "empty");
    CHECK_OK(read(HEAD "profiles: [{plugins: {score: {disabled: [{name: NodeResourcesBalancedAllocation}]}},"
                       " pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}]\n"),
             &err);
    CHECK_STR_C(chosen(&f, &settings.profiles[0]), "full");
    fixture_node(&f, "{\"metadata\":{\"name\":\"full\"},\"spec\":{\"unschedulable\":true},\"status\":{\"allocatable\":{\"cpu\":\"8\",\"memory\":\"16Gi\",\"pods\":\"9\"}}}");
    CHECK_STR_C(chosen(&f, &settings.profiles[0]), "empty");
    CHECK_OK(read(HEAD "profiles: [{plugins: {filter: {disabled: [{name: NodeUnschedulable}, {name: TaintToleration}]}},"
                       " pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}]\n"),
             &err);
    CHECK_STR_C(chosen(&f, &settings.profiles[0]), "full");
    fixture_deinit(&f);
}
