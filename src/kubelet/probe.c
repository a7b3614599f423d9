/*
 * Probes of a running container (Kubernetes documentation, "Liveness, Readiness, and Startup Probes"), and its postStart hook.
 * Liveness and readiness wait for startup. The first try comes after initialDelaySeconds; a result counts after its threshold.
 */
#include "kubelet/kubelet-private.h"

#include "base/clock.h"
#include "base/log.h"

static const struct core_v1_probe *spec_of(const struct prober *p)
{
    const struct core_v1_container *s = p->c->spec;
    return !s ? NULL : p->kind == PROBE_STARTUP ? s->startup_probe : p->kind == PROBE_LIVENESS ? s->liveness_probe : s->readiness_probe;
}

static bool startup_passed(const struct pod_container *c)
{
    return !c->spec->startup_probe || (c->probers[PROBE_STARTUP].on && c->probers[PROBE_STARTUP].result);
}

bool container_is_started(const struct pod_container *c)
{
    return container_is_running(c) && c->post_start_done && startup_passed(c);
}

bool container_is_ready(const struct pod_container *c)
{
    if (!container_is_started(c)) {
        return false;
    }
    return !c->spec->readiness_probe || (c->probers[PROBE_READINESS].on && c->probers[PROBE_READINESS].result);
}

static int32_t at_least(int32_t v, int32_t fallback)
{
    return v > 0 ? v : fallback;
}

static void prober_stop(struct prober *p)
{
    loop_timer_stop(&p->timer);
    p->handler = handler_cancel(p->handler);
    p->on = false;
    p->result = false;
    p->successes = p->failures = 0;
}

static void act(struct prober *p, struct str output)
{
    struct pod_container *c = p->c;
    static const char *const names[PROBE_KINDS] = { "startup", "liveness", "readiness" };
    const struct core_v1_probe *s = spec_of(p);
    if (p->kind == PROBE_READINESS || p->result) {
        return;
    }
    char reason[160];
    snprintf(reason, sizeof(reason), "Container %s failed %s probe, will be restarted", c->name, names[p->kind]);
    log_info("pod %s/%s: container %s failed its %s probe: %.*s", c->pod->ns, c->pod->name, c->name, names[p->kind], STR_ARG(output));
    container_stop(c, s->has_termination_grace_period_seconds ? s->termination_grace_period_seconds : container_grace(c), reason);
}

static void on_result(void *arg, enum handler_result result, struct str output)
{
    struct prober *p = arg;
    static const char *const names[PROBE_KINDS] = { "Startup", "Liveness", "Readiness" };
    const struct core_v1_probe *s = spec_of(p);
    p->handler = NULL;
    if (!s || !p->on) {
        return;
    }
    loop_timer_start(&p->timer, (uint64_t)at_least(s->period_seconds, 10) * 1000);
    bool before = p->result;
    if (result == HANDLER_OK) {
        p->failures = 0;
        p->successes++;
        if (p->successes >= at_least(s->success_threshold, 1)) {
            p->result = true;
        }
    } else {
        p->successes = 0;
        p->failures++;
        pod_event(p->c->pod, p->c, "Warning/Unhealthy", "%s probe %s: %.*s", names[p->kind], result == HANDLER_ERROR ? "errored" : "failed",
                  STR_ARG(output));
        if (p->failures >= at_least(s->failure_threshold, 3)) {
            p->result = false;
            act(p, output);
        }
    }
    if (before != p->result) {
        if (p->kind == PROBE_STARTUP && p->result) {
            loop_timer_stop(&p->timer); /* it has done its work */
        }
        pod_wake(p->c->pod);
    }
}

static void on_due(void *arg)
{
    struct prober *p = arg;
    const struct core_v1_probe *s = spec_of(p);
    if (!s || p->handler || !container_is_running(p->c)) {
        return;
    }
    if (p->c->kill.on || (p->kind != PROBE_STARTUP && !container_is_started(p->c))) {
        loop_timer_start(&p->timer, 500);
        return;
    }
    const struct handler_action action = { .exec = s->probe_handler.exec, .http_get = s->probe_handler.http_get,
                                           .tcp_socket = s->probe_handler.tcp_socket, .grpc = s->probe_handler.grpc };
    p->handler = handler_start(p->c, &action, (uint64_t)at_least(s->timeout_seconds, 1) * 1000, true, on_result, p);
}

/* What the API was told about this very run by an earlier kubelet: a restart of ours must not make a pod look unready. */
static bool told_before(const struct pod_container *c, enum probe_kind kind)
{
    const struct core_v1_pod_status *s = &c->pod->obj->status;
    const struct core_v1_container_status *lists[] = { s->container_statuses, s->init_container_statuses };
    const size_t n[] = { s->n_container_statuses, s->n_init_container_statuses };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (size_t j = 0; j < n[i]; j++) {
            if (str_eq_c(lists[i][j].name, c->name) && str_ends(lists[i][j].container_id, str_c(c->run.id))) {
                return kind == PROBE_READINESS ? lists[i][j].ready : kind == PROBE_STARTUP && lists[i][j].has_started && lists[i][j].started;
            }
        }
    }
    return false;
}

static void prober_start(struct prober *p, struct pod_container *c, enum probe_kind kind)
{
    *p = (struct prober){ .c = c, .kind = kind, .on = true, .result = kind == PROBE_LIVENESS };
    snprintf(p->id, sizeof(p->id), "%s", c->run.id);
    loop_timer_init(&p->timer, c->pod->k->loop, on_due, p);
    const struct core_v1_probe *s = spec_of(p);
    int64_t since_s = clock_real_s() - c->run.started_ns / 1000000000;
    int64_t delay = MAX((int64_t)s->initial_delay_seconds - since_s, (int64_t)0);
    p->result = p->result || told_before(c, kind);
    if (kind == PROBE_STARTUP && p->result) {
        return; /* it has passed */
    }
    loop_timer_start(&p->timer, (uint64_t)delay * 1000);
}

/* ---- postStart ---- */

static void on_post_start(void *arg, enum handler_result result, struct str output)
{
    struct pod_container *c = arg;
    c->post_start = NULL;
    c->post_start_done = true;
    if (result != HANDLER_OK) {
        pod_event(c->pod, c, "Warning/FailedPostStartHook", "PostStartHook failed%s%.*s", output.len ? ": " : "", STR_ARG(output));
        container_stop(c, container_grace(c), "FailedPostStartHook");
    }
    pod_wake(c->pod);
}

static void run_post_start(struct pod_container *c)
{
    const struct core_v1_lifecycle_handler *h = c->spec->lifecycle ? c->spec->lifecycle->post_start : NULL;
    if (c->post_start_done || c->post_start) {
        return;
    }
    if (!h || strcmp(c->started_here, c->run.id) != 0) {
        c->post_start_done = true;
        return;
    }
    const struct handler_action action = { .exec = h->exec, .http_get = h->http_get, .tcp_socket = h->tcp_socket, .sleep = h->sleep };
    c->post_start = handler_start(c, &action, 3600000, false, on_post_start, c);
}

void probes_stop(struct pod_container *c)
{
    for (size_t i = 0; i < PROBE_KINDS; i++) {
        prober_stop(&c->probers[i]);
    }
    c->post_start = handler_cancel(c->post_start);
}

void probes_update(struct pod_container *c)
{
    if (!c->spec || !container_is_running(c) || c->kill.on || c->pod->deleting || c->pod->gone) {
        bool keep = c->spec && container_is_running(c) && c->kill.on && !c->pod->deleting && !c->pod->gone;
        if (!keep) {
            bool done = c->post_start_done;
            probes_stop(c);
            c->post_start_done = done && container_is_running(c);
        }
        return;
    }
    run_post_start(c);
    const struct core_v1_probe *specs[PROBE_KINDS] = { c->spec->startup_probe, c->spec->liveness_probe, c->spec->readiness_probe };
    for (size_t i = 0; i < PROBE_KINDS; i++) {
        struct prober *p = &c->probers[i];
        if (p->on && strcmp(p->id, c->run.id) != 0) {
            prober_stop(p);
        }
        if (!p->on && specs[i] && c->kind != CONTAINER_INIT && c->kind != CONTAINER_EPHEMERAL) {
            prober_start(p, c, (enum probe_kind)i);
        }
    }
}
