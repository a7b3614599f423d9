/* The life of pods on a runtime in memory. */
#include "kubelet/test-fixture.h"

static const struct core_v1_pod_condition *condition(const struct core_v1_pod_status *s, const char *type)
{
    for (size_t i = 0; i < s->n_conditions; i++) {
        if (str_eq_c(s->conditions[i].type, type)) {
            return &s->conditions[i];
        }
    }
    return NULL;
}

static bool is_running(struct fixture *f, const char *name)
{
    const struct fake_container *c = fixture_run(f, name);
    return c && c->state == CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
}

TEST(a_pod_gets_a_sandbox_and_its_containers_and_is_ready)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}, {name: b, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK_INT(f.fake.n_sandboxes, 1);
    CHECK(is_running(&f, "a") && is_running(&f, "b"));
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    CHECK_STR_C(s->phase, "Running");
    CHECK_STR_C(s->pod_ip, "10.9.0.7");
    CHECK_STR_C(s->host_ip, "192.0.2.1");
    CHECK_STR_C(s->qos_class, "BestEffort");
    CHECK_STR_C(condition(s, "Ready")->status, "True");
    CHECK_STR_C(condition(s, "PodReadyToStartContainers")->status, "True");
    CHECK(s->container_statuses[0].ready && s->container_statuses[0].started && s->container_statuses[0].state.running);
    fixture_deinit(&f);
}

TEST(a_quiet_pod_asks_the_runtime_for_nothing)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    unsigned calls = f.fake.calls;
    pod_wake(p);
    fixture_settle(&f);
    CHECK_INT(f.fake.calls, calls);
    fixture_deinit(&f);
}

TEST(init_containers_run_one_by_one_and_sidecars_go_on)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {initContainers: [{name: i1, image: 'x:1'}, {name: side, image: 'x:1', restartPolicy: Always},"
                                    " {name: i2, image: 'x:1'}], containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK(is_running(&f, "i1") && !fixture_run(&f, "side") && !fixture_run(&f, "a"));
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    CHECK_STR_C(s->phase, "Pending");
    CHECK_STR_C(s->container_statuses[0].state.waiting->reason, "PodInitializing");
    CHECK_STR_C(condition(s, "Initialized")->status, "False");
    CHECK_STR_C(condition(s, "Initialized")->message, "containers with incomplete status: [i1 side i2]");
    fixture_exit(&f, p, "i1", 0);
    CHECK(is_running(&f, "side") && is_running(&f, "i2") && !fixture_run(&f, "a"));
    fixture_exit(&f, p, "i2", 0);
    CHECK(is_running(&f, "side") && is_running(&f, "a"));
    CHECK_STR_C(fixture_status(&f, p)->phase, "Running");
    fixture_exit(&f, p, "side", 1);
    CHECK_INT(fixture_run(&f, "side")->attempt, 1); /* the first restart is at once */
    CHECK(is_running(&f, "side"));
    fixture_deinit(&f);
}

TEST(a_container_that_fails_again_backs_off)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    fixture_exit(&f, p, "a", 3);
    CHECK_INT(fixture_run(&f, "a")->attempt, 1);
    fixture_exit(&f, p, "a", 3);
    CHECK(!is_running(&f, "a"));
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    const struct core_v1_container_status *c = &s->container_statuses[0];
    CHECK_STR_C(s->phase, "Running");
    CHECK_STR_C(c->state.waiting->reason, "CrashLoopBackOff");
    CHECK_STR_C(c->state.waiting->message, "back-off 10s restarting failed container=a pod=p_default(uid-1)");
    CHECK_INT(c->last_state.terminated->exit_code, 3);
    CHECK_INT(c->restart_count, 1);
    CHECK_STR_C(condition(s, "Ready")->message, "containers with unready status: [a]");
    fixture_deinit(&f);
}

TEST(restart_policy_decides_how_a_pod_ends)
{
    static const struct {
        const char *policy;
        int code;
        const char *phase;
        bool restarted;
    } cases[] = { { "Never", 0, "Succeeded", false },    { "Never", 1, "Failed", false },      { "OnFailure", 0, "Succeeded", false },
                  { "OnFailure", 1, "Running", true }, { "Always", 0, "Running", true } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        char yaml[256];
        fixture_init(&f);
        snprintf(yaml, sizeof(yaml), "{kind: Pod, metadata: {name: p}, spec: {restartPolicy: %s, containers: [{name: a, image: 'x:1'}]}}", cases[i].policy);
        struct pod *p = fixture_pod(&f, yaml);
        fixture_settle(&f);
        fixture_exit(&f, p, "a", cases[i].code);
        CHECK_STR_C(fixture_status(&f, p)->phase, cases[i].phase);
        CHECK(is_running(&f, "a") == cases[i].restarted);
        CHECK(f.fake.sandboxes[0].ready == cases[i].restarted);
        fixture_deinit(&f);
    }
}

TEST(a_job_with_a_sidecar_ends_when_its_main_container_ends)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {restartPolicy: Never, initContainers: [{name: s, image: 'x:1', restartPolicy: Always}],"
                                    " containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK(is_running(&f, "s") && is_running(&f, "a"));
    fixture_exit(&f, p, "a", 0);
    CHECK(!is_running(&f, "s"));
    CHECK_STR_C(fixture_status(&f, p)->phase, "Succeeded");
    fixture_deinit(&f);
}

TEST(a_pod_that_is_deleted_is_stopped_with_its_grace)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    fixture_pod(&f, "{kind: Pod, metadata: {name: p, deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 7},"
                    " spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK(!is_running(&f, "a"));
    CHECK_INT(fixture_run(&f, "a")->stop_timeout, 7);
    CHECK(!f.fake.sandboxes[0].ready);
    CHECK_STR_C(fixture_status(&f, p)->phase, "Failed");
    pods_gone(&f.k, STR("uid-1"), POD_FROM_API);
    fixture_settle(&f);
    CHECK(pods_find(&f.k, STR("uid-1")) == NULL);
    CHECK(f.fake.sandboxes[0].removed);
    fixture_deinit(&f);
}

TEST(a_new_kubelet_leaves_running_containers_alone)
{
    struct fixture f;
    fixture_init(&f);
    fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    char id[32];
    snprintf(id, sizeof(id), "%s", fixture_run(&f, "a")->id);
    pods_free(&f.k);
    map_init(&f.k.pods);
    checkpoint_load(&f.k); /* without an apiserver: from disk */
    fixture_settle(&f);
    CHECK_INT(f.fake.n_sandboxes, 1);
    CHECK_STR_C(str_c(fixture_run(&f, "a")->id), id);
    CHECK(is_running(&f, "a"));
    struct pod *p = pods_find(&f.k, STR("uid-1"));
    CHECK(p && p->source == POD_FROM_DISK);
    CHECK_STR_C(fixture_status(&f, p)->phase, "Running");
    fixture_deinit(&f);
}

TEST(a_lost_sandbox_is_made_again_with_everything_in_it)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    f.fake.sandboxes[0].ready = false;
    fixture_exit(&f, p, "a", 255);
    CHECK_INT(f.fake.n_sandboxes, 2);
    CHECK_INT(f.fake.sandboxes[1].attempt, 1);
    CHECK(is_running(&f, "a"));
    CHECK_STR_C(str_c(fixture_run(&f, "a")->sandbox), "s2");
    fixture_deinit(&f);
}

TEST(a_changed_image_restarts_the_container)
{
    struct fixture f;
    fixture_init(&f);
    fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'y:1'}]}}");
    fixture_settle(&f);
    CHECK_INT(fixture_run(&f, "a")->attempt, 1);
    CHECK(is_running(&f, "a"));
    fixture_deinit(&f);
}

TEST(an_image_that_is_not_there_and_must_not_be_pulled_keeps_the_container_waiting)
{
    struct fixture f;
    fixture_init(&f);
    f.fake.no_image = true;
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1', imagePullPolicy: Never}]}}");
    fixture_settle(&f);
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    CHECK_STR_C(s->phase, "Pending");
    CHECK_STR_C(s->container_statuses[0].state.waiting->reason, "ErrImageNeverPull");
    CHECK_STR_C(s->container_statuses[0].state.waiting->message, "Container image \"x:1\" is not present with pull policy of Never");
    fixture_deinit(&f);
}

TEST(a_pull_that_fails_tells_why)
{
    struct fixture f;
    fixture_init(&f);
    f.fake.no_image = true;
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK_STR_C(fixture_status(&f, p)->container_statuses[0].state.waiting->reason, "ErrImagePull");
    fixture_deinit(&f);
}

TEST(images_are_pulled_one_at_a_time_when_asked_to)
{
    for (int serialize = 0; serialize < 2; serialize++) {
        struct fixture f;
        fixture_init(&f);
        f.fake.no_image = f.fake.hold_pulls = true;
        f.cfg.serialize_pulls = serialize;
        struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p, uid: u1}, spec: {containers: [{name: a, image: 'x:1'}]}}");
        fixture_pod(&f, "{kind: Pod, metadata: {name: q, uid: u2}, spec: {containers: [{name: b, image: 'y:1'}]}}");
        fixture_pod(&f, "{kind: Pod, metadata: {name: r, uid: u3}, spec: {containers: [{name: c, image: 'z:1'}]}}");
        fixture_settle(&f);
        CHECK_INT(f.fake.n_pulls, serialize ? 1 : 3);
        if (serialize) {
            pods_gone(&f.k, p->obj->metadata.uid, POD_FROM_API); /* the one that pulls is cancelled: the next begins */
            fixture_settle(&f);
            CHECK_INT(f.fake.n_pulls, 1);
            fixture_pulled(&f);
            CHECK(is_running(&f, "b"));
            CHECK_INT(f.fake.n_pulls, 1);
            fixture_pulled(&f);
            CHECK(is_running(&f, "c"));
            CHECK_INT(f.fake.n_pulls, 0);
        }
        fixture_deinit(&f);
    }
}

TEST(a_pod_that_does_not_fit_is_rejected)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1', resources: {requests: {cpu: '3'}}}]}}");
    fixture_settle(&f);
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    CHECK_STR_C(s->phase, "Failed");
    CHECK_STR_C(s->reason, "OutOfcpu");
    CHECK_STR_C(s->message, "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000");
    CHECK_INT(f.fake.n_sandboxes, 0);
    fixture_deinit(&f);
}

TEST(a_failed_post_start_hook_ends_the_container)
{
    struct fixture f;
    fixture_init(&f);
    f.fake.exec_fails = STR("bad");
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {restartPolicy: Never, containers: [{name: a, image: 'x:1',"
                                    " lifecycle: {postStart: {exec: {command: [bad]}}}}]}}");
    fixture_settle(&f);
    CHECK(!is_running(&f, "a"));
    CHECK_STR_C(fixture_status(&f, p)->phase, "Failed");
    fixture_deinit(&f);
}

TEST(readiness_waits_for_the_probe)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1',"
                                    " readinessProbe: {initialDelaySeconds: 60, exec: {command: [ok]}}}]}}");
    fixture_settle(&f);
    CHECK(is_running(&f, "a"));
    CHECK_STR_C(condition(fixture_status(&f, p), "Ready")->status, "False");
    fixture_deinit(&f);
}

TEST(a_sysctl_of_the_whole_node_is_rejected)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'},"
                                    " {name: kernel.msgmax, value: '1'}]}, containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK_STR_C(fixture_status(&f, p)->reason, "SysctlForbidden");
    CHECK_STR_C(fixture_status(&f, p)->message, "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
    fixture_deinit(&f);
}

TEST(what_this_kubelet_cannot_do_is_said)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {hostUsers: false, containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    CHECK_INT(f.fake.n_sandboxes, 0);
    CHECK_STR_C(str_c(p->sandbox_error), "hostUsers: false: this kubelet makes no user namespaces");
    fixture_deinit(&f);
}

TEST(what_has_ended_does_not_begin_again_after_a_boot_without_the_apiserver)
{
    struct fixture f;
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {restartPolicy: Never, containers: [{name: a, image: 'x:1'}]}}");
    fixture_settle(&f);
    fixture_exit(&f, p, "a", 0);
    CHECK_STR_C(fixture_status(&f, p)->phase, "Succeeded");
    pods_free(&f.k);
    map_init(&f.k.pods);
    f.fake.n_containers = f.fake.n_sandboxes = 0; /* the runtime has forgotten everything */
    checkpoint_load(&f.k);
    fixture_settle(&f);
    CHECK(pods_find(&f.k, STR("uid-1")) != NULL);
    CHECK_INT(f.fake.n_sandboxes, 0);
    fixture_deinit(&f);
}
