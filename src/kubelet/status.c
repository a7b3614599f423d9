/* The status of a pod, computed from the facts (Kubernetes documentation, "Pod Lifecycle"). */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "api/quantity.h"
#include "base/buf.h"
#include "base/clock.h"

/* ---- class of service ---- */

static bool has_resources(const struct core_v1_resource_requirements *r, bool *equal)
{
    static const char *const names[] = { "cpu", "memory" };
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int64_t request = resource_milli(r->requests, r->n_requests, names[i]);
        int64_t limit = resource_milli(r->limits, r->n_limits, names[i]);
        any = any || request || limit;
        if (!limit || (request && request != limit)) {
            *equal = false;
        }
    }
    return any;
}

struct str pod_qos_class(const struct core_v1_pod *obj)
{
    bool any = false, equal = true;
    if (obj->spec.resources && has_resources(obj->spec.resources, &equal)) {
        return equal ? STR("Guaranteed") : STR("Burstable");
    }
    equal = true;
    for (size_t i = 0; i < obj->spec.n_init_containers; i++) {
        any = has_resources(&obj->spec.init_containers[i].resources, &equal) || any;
    }
    for (size_t i = 0; i < obj->spec.n_containers; i++) {
        any = has_resources(&obj->spec.containers[i].resources, &equal) || any;
    }
    return !any ? STR("BestEffort") : equal ? STR("Guaranteed") : STR("Burstable");
}

/* ---- containers ---- */

static struct api_time time_of(int64_t ns)
{
    return (struct api_time){ .sec = ns / 1000000000, .set = ns > 0 };
}

static struct str container_id(const struct kubelet *k, struct arena *a, const char *id)
{
    return id[0] ? arena_printf(a, "%s://%s", k->rt->scheme ? k->rt->scheme : "containerd", id) : STR_NULL;
}

static void terminated(const struct kubelet *k, const struct container_run *r, struct arena *a, struct core_v1_container_state *ret)
{
    struct core_v1_container_state_terminated *t = arena_new(a, struct core_v1_container_state_terminated);
    if (!t) {
        return;
    }
    t->exit_code = r->exit_code;
    t->reason = r->reason[0] ? arena_str(a, str_c(r->reason)) : r->exit_code == 0 ? STR("Completed") : STR("Error");
    t->message = r->message ? arena_str(a, str_c(r->message)) : STR_NULL;
    t->started_at = time_of(r->started_ns);
    t->finished_at = time_of(r->finished_ns);
    t->container_id = container_id(k, a, r->id);
    ret->terminated = t;
}

static void waiting(struct arena *a, const char *reason, const char *message, struct core_v1_container_state *ret)
{
    ret->waiting = arena_new(a, struct core_v1_container_state_waiting);
    if (ret->waiting) {
        ret->waiting->reason = arena_str(a, str_c(reason));
        ret->waiting->message = message[0] ? arena_str(a, str_c(message)) : STR_NULL;
    }
}

static bool pod_ends(const struct pod *p)
{
    return p->finished || p->deleting || p->gone;
}

static void container_status(struct pod_container *c, struct arena *a, struct core_v1_container_status *s)
{
    struct pod *p = c->pod;
    bool exited = c->has_run && c->run.state == CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
    s->name = c->spec->name;
    s->image = c->has_run && c->run.image[0] && !str_starts(str_c(c->run.image), STR("sha256:")) ? arena_str(a, str_c(c->run.image)) : c->spec->image;
    s->image_id = c->has_run ? arena_str(a, str_c(c->run.image_ref)) : STR_EMPTY;
    s->restart_count = c->restarts;
    s->has_started = true;
    s->allocated_resources = c->spec->resources.requests;
    s->n_allocated_resources = c->spec->resources.n_requests;
    s->resources = arena_new(a, struct core_v1_resource_requirements);
    if (s->resources) {
        *s->resources = c->spec->resources;
    }
    if (c->has_run) {
        s->container_id = container_id(c->pod->k, a, c->run.id);
    }
    if (container_is_running(c)) {
        s->state.running = arena_new(a, struct core_v1_container_state_running);
        if (s->state.running) {
            s->state.running->started_at = time_of(c->run.started_ns);
        }
        s->started = container_is_started(c);
        s->ready = container_is_ready(c);
        if (c->has_last) {
            terminated(c->pod->k, &c->last, a, &s->last_state);
        }
        return;
    }
    /* An ended run is the state, unless another one follows: then it is what was before. */
    if (exited && (c->kind == CONTAINER_INIT ? c->run.exit_code == 0 : false)) {
        terminated(c->pod->k, &c->run, a, &s->state);
        s->ready = true;
        s->started = false;
    } else if (exited && (pod_ends(p) || !container_restarts(c, c->run.exit_code) || (!c->waiting_reason[0] && !p->busy))) {
        terminated(c->pod->k, &c->run, a, &s->state);
        if (c->has_last) {
            terminated(c->pod->k, &c->last, a, &s->last_state);
        }
    } else if (exited) {
        waiting(a, c->waiting_reason[0] ? c->waiting_reason : "ContainerCreating", c->waiting_message, &s->state);
        terminated(c->pod->k, &c->run, a, &s->last_state);
    } else if (c->waiting_reason[0] && !pod_ends(p)) {
        waiting(a, c->waiting_reason, c->waiting_message, &s->state);
    } else if (c->kind == CONTAINER_MAIN && p->obj->spec.n_init_containers) {
        waiting(a, "PodInitializing", "", &s->state);
    } else {
        waiting(a, "ContainerCreating", "", &s->state);
    }
}

static struct core_v1_container_status *statuses(struct pod *p, struct arena *a, unsigned kinds, size_t *ret_n)
{
    struct core_v1_container_status *list = arena_new_n(a, struct core_v1_container_status, p->n_containers + 1);
    *ret_n = 0;
    for (size_t i = 0; list && i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->spec && (kinds & (1u << c->kind))) {
            container_status(c, a, &list[(*ret_n)++]);
        }
    }
    return *ret_n ? list : NULL;
}

/* ---- phase ---- */

static struct str phase_of(struct pod *p)
{
    size_t n = 0, running = 0, waiting_n = 0, ok = 0, failed = 0, init_left = 0, init_failed = 0;
    if (p->rejected || p->evicted) {
        return STR("Failed");
    }
    if (str_eq_c(p->obj->status.phase, "Succeeded") || str_eq_c(p->obj->status.phase, "Failed")) {
        return p->obj->status.phase; /* an end is for ever */
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        bool exited = c->has_run && c->run.state == CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
        if (!c->spec || c->kind == CONTAINER_EPHEMERAL) {
            continue;
        }
        if (c->kind == CONTAINER_INIT) {
            bool done = exited && c->run.exit_code == 0;
            init_left += !done;
            init_failed += exited && c->run.exit_code != 0 && !container_restarts(c, c->run.exit_code);
            continue;
        }
        if (c->kind == CONTAINER_SIDECAR) {
            init_left += !container_is_running(c) && !exited;
            continue;
        }
        n++;
        if (container_is_running(c)) {
            running++;
        } else if (exited && (pod_ends(p) || !container_restarts(c, c->run.exit_code))) {
            c->run.exit_code == 0 ? ok++ : failed++;
        } else if (exited) {
            running++; /* between two runs */
        } else {
            waiting_n++;
        }
    }
    if (init_failed && str_eq_c(p->obj->spec.restart_policy, "Never") && running == 0) {
        return STR("Failed");
    }
    if (init_left && running == 0 && ok + failed == 0) {
        return pod_ends(p) && p->n_sandboxes == 0 && p->read_once && p->finished ? STR("Failed") : STR("Pending");
    }
    if (waiting_n) {
        return running || ok || failed ? STR("Running") : pod_ends(p) && p->finished ? STR("Failed") : STR("Pending");
    }
    if (running) {
        return STR("Running");
    }
    if (ok == n) {
        return STR("Succeeded");
    }
    return STR("Failed");
}

/* ---- conditions ---- */

enum { COND_READY_TO_START, COND_INITIALIZED, COND_READY, COND_CONTAINERS_READY, COND_SCHEDULED, COND_DISRUPTION, COND_MAX };

static void condition(struct pod *p, int which, bool value, struct str reason, struct str message, struct core_v1_pod_condition *ret)
{
    static const struct str types[COND_MAX] = { STR_INIT("PodReadyToStartContainers"), STR_INIT("Initialized"), STR_INIT("Ready"),
                                                STR_INIT("ContainersReady"), STR_INIT("PodScheduled"), STR_INIT("DisruptionTarget") };
    char state = value ? 'T' : 'F';
    if (p->condition_state[which] != state) {
        p->transition[which] = (struct api_time){ .sec = clock_real_s(), .set = true };
        /* What an earlier kubelet told keeps its time. */
        for (size_t i = 0; !p->condition_state[which] && i < p->obj->status.n_conditions; i++) {
            const struct core_v1_pod_condition *c = &p->obj->status.conditions[i];
            if (str_eq(c->type, types[which]) && str_eq_c(c->status, value ? "True" : "False") && c->last_transition_time.set) {
                p->transition[which] = c->last_transition_time;
            }
        }
        p->condition_state[which] = state;
    }
    *ret = (struct core_v1_pod_condition){ .type = types[which], .status = value ? STR("True") : STR("False"), .reason = reason, .message = message,
                                           .last_transition_time = p->transition[which], .observed_generation = p->obj->metadata.generation };
}

/* "containers with unready status: [a b]" */
static struct str unready(struct pod *p, struct arena *a, bool init, bool *ret_all)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    *ret_all = true;
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        bool exited = c->has_run && c->run.state == CRI_V1_CONTAINER_STATE_CONTAINER_EXITED, good;
        if (!c->spec || c->kind == CONTAINER_EPHEMERAL) {
            continue;
        }
        if (init) {
            good = c->kind == CONTAINER_MAIN || (c->kind == CONTAINER_SIDECAR ? container_is_started(c) || exited : exited && c->run.exit_code == 0);
        } else {
            good = c->kind == CONTAINER_INIT || container_is_ready(c);
        }
        if (!good) {
            buf_printf(&b, "%s%s", *ret_all ? "" : " ", c->name);
            *ret_all = false;
        }
    }
    return *ret_all ? STR_NULL
                    : arena_printf(a, init ? "containers with incomplete status: [%.*s]" : "containers with unready status: [%.*s]",
                                   STR_ARG(buf_str(&b)));
}

static bool gates_pass(struct pod *p, const struct core_v1_pod *live)
{
    for (size_t i = 0; i < p->obj->spec.n_readiness_gates; i++) {
        bool yes = false;
        for (size_t j = 0; live && j < live->status.n_conditions; j++) {
            yes = yes || (str_eq(live->status.conditions[j].type, p->obj->spec.readiness_gates[i].condition_type) &&
                          str_eq_c(live->status.conditions[j].status, "True"));
        }
        if (!yes) {
            return false;
        }
    }
    return true;
}

static void conditions(struct pod *p, struct arena *a, struct str phase, struct core_v1_pod_status *s)
{
    bool all_init, all_ready;
    bool completed = str_eq_c(phase, "Succeeded"), failed = str_eq_c(phase, "Failed");
    bool sandbox = pod_ready_sandbox(p) && (p->sandboxes[0].n_ips || p->obj->spec.host_network);
    struct str init_msg = unready(p, a, true, &all_init), ready_msg = unready(p, a, false, &all_ready);
    const struct core_v1_pod *live = p->k->pod_informer ? informer_get(p->k->pod_informer, str_c(p->ns), str_c(p->name)) : NULL;
    s->conditions = arena_new_n(a, struct core_v1_pod_condition, COND_MAX);
    if (!s->conditions) {
        return;
    }
    condition(p, COND_READY_TO_START, sandbox && !completed && !failed, STR_NULL, STR_NULL, &s->conditions[s->n_conditions++]);
    bool main_seen = false;
    for (size_t i = 0; i < p->n_containers; i++) {
        main_seen = main_seen || (p->containers[i]->kind == CONTAINER_MAIN && p->containers[i]->has_run);
    }
    bool initialized = all_init || completed || main_seen;
    condition(p, COND_INITIALIZED, initialized, completed ? STR("PodCompleted") : initialized ? STR_NULL : STR("ContainersNotInitialized"),
              initialized ? STR_NULL : init_msg, &s->conditions[s->n_conditions++]);
    bool ready = all_ready && !completed && !failed && initialized;
    bool gated = ready && !gates_pass(p, live);
    struct str reason = completed ? STR("PodCompleted") : failed ? STR("PodFailed") : ready ? STR_NULL : STR("ContainersNotReady");
    struct str message = completed || failed || ready ? STR_NULL : ready_msg;
    condition(p, COND_READY, ready && !gated, gated ? STR("ReadinessGatesNotReady") : reason,
              gated ? STR("the status of a readiness gate is not \"True\"") : message, &s->conditions[s->n_conditions++]);
    condition(p, COND_CONTAINERS_READY, ready, reason, message, &s->conditions[s->n_conditions++]);
    condition(p, COND_SCHEDULED, true, STR_NULL, STR_NULL, &s->conditions[s->n_conditions++]);
    if (p->over_limit) {
        condition(p, COND_DISRUPTION, true, STR("TerminationByKubelet"), str_c(p->end_message), &s->conditions[s->n_conditions++]);
    }
}

/* ---- the whole ---- */

static void addresses(struct pod *p, struct arena *a, struct core_v1_pod_status *s)
{
    const struct pod_sandbox *sb = p->n_sandboxes ? &p->sandboxes[0] : NULL;
    s->host_ip = str_c(p->k->node_ip);
    s->host_ips = arena_new(a, struct core_v1_host_ip);
    if (s->host_ips && s->host_ip.len) {
        s->host_ips[0].ip = s->host_ip;
        s->n_host_ips = 1;
    }
    s->pod_ips = arena_new_n(a, struct core_v1_pod_ip, 2);
    if (!s->pod_ips || !sb) {
        return;
    }
    if (p->obj->spec.host_network) {
        s->pod_ips[s->n_pod_ips++].ip = s->host_ip;
    }
    for (size_t i = 0; !p->obj->spec.host_network && i < sb->n_ips; i++) {
        s->pod_ips[s->n_pod_ips++].ip = arena_str(a, str_c(sb->ips[i]));
    }
    s->pod_ip = s->n_pod_ips ? s->pod_ips[0].ip : STR_NULL;
}

const struct core_v1_pod_status *pod_status_of(struct pod *p, struct arena *a)
{
    struct core_v1_pod_status *s = arena_new(a, struct core_v1_pod_status);
    if (!s || !p->obj) {
        return NULL;
    }
    s->observed_generation = p->obj->metadata.generation;
    s->phase = phase_of(p);
    s->reason = p->end_reason[0] ? str_c(p->end_reason) : STR_NULL;
    s->message = p->end_message[0] ? str_c(p->end_message) : STR_NULL;
    s->start_time = p->start_time;
    s->qos_class = pod_qos_class(p->obj);
    conditions(p, a, s->phase, s);
    addresses(p, a, s);
    if (p->rejected) {
        return s;
    }
    s->init_container_statuses = statuses(p, a, (1u << CONTAINER_INIT) | (1u << CONTAINER_SIDECAR), &s->n_init_container_statuses);
    s->container_statuses = statuses(p, a, 1u << CONTAINER_MAIN, &s->n_container_statuses);
    s->ephemeral_container_statuses = statuses(p, a, 1u << CONTAINER_EPHEMERAL, &s->n_ephemeral_container_statuses);
    return s;
}
