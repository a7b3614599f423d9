#include "kinds/core/pod-cells.h"

#include "api/gen/core_v1.h"

struct row {
    int total, ready;
    int32_t restarts, sidecar_restarts;
    struct api_time last_restart, last_sidecar_restart;
    struct str reason;
};

static const struct core_v1_container *init_by_name(const struct core_v1_pod_spec *spec, struct str name)
{
    for (size_t i = 0; i < spec->n_init_containers; i++) {
        if (str_eq(spec->init_containers[i].name, name)) {
            return &spec->init_containers[i];
        }
    }
    return NULL;
}

static bool is_sidecar(const struct core_v1_container *c)
{
    return c && str_eq_c(c->restart_policy, "Always");
}

static bool later(struct api_time a, struct api_time b)
{
    return a.set && (!b.set || a.sec > b.sec);
}

static const struct core_v1_pod_condition *condition(const struct core_v1_pod *p, const char *type)
{
    for (size_t i = 0; i < p->status.n_conditions; i++) {
        if (str_eq_c(p->status.conditions[i].type, type)) {
            return &p->status.conditions[i];
        }
    }
    return NULL;
}

static struct str terminated_text(struct arena *a, const char *prefix, const struct core_v1_container_state_terminated *t)
{
    if (!str_empty(t->reason)) {
        return arena_printf(a, "%s%.*s", prefix, STR_ARG(t->reason));
    }
    return t->signal != 0 ? arena_printf(a, "%sSignal:%d", prefix, t->signal) : arena_printf(a, "%sExitCode:%d", prefix, t->exit_code);
}

/* Init containers in order; true while the pod is still initializing. */
static bool init_part(struct arena *a, const struct core_v1_pod *p, struct row *row)
{
    for (size_t i = 0; i < p->status.n_init_container_statuses; i++) {
        const struct core_v1_container_status *s = &p->status.init_container_statuses[i];
        bool sidecar = is_sidecar(init_by_name(&p->spec, s->name));
        row->restarts += s->restart_count;
        if (s->last_state.terminated && later(s->last_state.terminated->finished_at, row->last_restart)) {
            row->last_restart = s->last_state.terminated->finished_at;
        }
        if (sidecar) {
            row->sidecar_restarts += s->restart_count;
            if (s->last_state.terminated && later(s->last_state.terminated->finished_at, row->last_sidecar_restart)) {
                row->last_sidecar_restart = s->last_state.terminated->finished_at;
            }
        }
        if (s->state.terminated && s->state.terminated->exit_code == 0) {
            continue;
        }
        if (sidecar && s->has_started && s->started) {
            row->ready += s->ready;
            continue;
        }
        if (s->state.terminated) {
            row->reason = terminated_text(a, "Init:", s->state.terminated);
        } else if (s->state.waiting && !str_empty(s->state.waiting->reason) && !str_eq_c(s->state.waiting->reason, "PodInitializing")) {
            row->reason = arena_printf(a, "Init:%.*s", STR_ARG(s->state.waiting->reason));
        } else {
            row->reason = arena_printf(a, "Init:%zu/%zu", i, p->spec.n_init_containers);
        }
        return true;
    }
    return false;
}

static void main_part(struct arena *a, const struct core_v1_pod *p, struct row *row)
{
    bool running = false;
    struct str failed = STR_NULL;
    row->restarts = row->sidecar_restarts;
    row->last_restart = row->last_sidecar_restart;
    for (size_t i = p->status.n_container_statuses; i-- > 0;) {
        const struct core_v1_container_status *s = &p->status.container_statuses[i];
        row->restarts += s->restart_count;
        if (s->last_state.terminated && later(s->last_state.terminated->finished_at, row->last_restart)) {
            row->last_restart = s->last_state.terminated->finished_at;
        }
        if (s->state.waiting && !str_empty(s->state.waiting->reason)) {
            row->reason = s->state.waiting->reason;
        } else if (s->state.terminated) {
            row->reason = terminated_text(a, "", s->state.terminated);
            if (s->state.terminated->exit_code != 0) {
                failed = row->reason;
            }
        } else if (s->ready && s->state.running) {
            running = true;
            row->ready++;
        }
    }
    /* "Completed" with a container that runs: the pod runs, or is not ready. */
    if (str_eq_c(row->reason, "Completed")) {
        const struct core_v1_pod_condition *ready = condition(p, "Ready");
        if (running) {
            row->reason = ready && str_eq_c(ready->status, "True") ? STR("Running") : STR("NotReady");
        } else if (failed.ptr) {
            row->reason = failed;
        }
    }
}

static void completed(struct kind_cells *c, const struct core_v1_pod *p)
{
    bool ok = str_eq_c(p->status.phase, "Succeeded");
    if (ok || str_eq_c(p->status.phase, "Failed")) {
        c->completed = true;
        c->completed_reason = p->status.phase;
        c->completed_message = ok ? STR("The pod has completed successfully.") : STR("The pod failed.");
    }
}

void pod_cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_pod *p = obj;
    const struct core_v1_pod_condition *scheduled = condition(p, "PodScheduled");
    struct row row = { .total = (int)p->spec.n_containers, .reason = str_empty(p->status.reason) ? p->status.phase : p->status.reason };
    if (scheduled && str_eq_c(scheduled->reason, "SchedulingGated")) {
        row.reason = STR("SchedulingGated");
    }
    for (size_t i = 0; i < p->spec.n_init_containers; i++) {
        row.total += is_sidecar(&p->spec.init_containers[i]);
    }
    const struct core_v1_pod_condition *initialized = condition(p, "Initialized");
    if (!init_part(c->arena, p, &row) || (initialized && str_eq_c(initialized->status, "True"))) {
        main_part(c->arena, p, &row);
    }
    bool ended = str_eq_c(p->status.phase, "Succeeded") || str_eq_c(p->status.phase, "Failed");
    if (p->metadata.deletion_timestamp.set) {
        row.reason = str_eq_c(p->status.reason, "NodeLost") ? STR("Unknown") : !ended ? STR("Terminating") : row.reason;
    }
    cell_str(c, p->metadata.name);
    cell_printf(c, "%d/%d", row.ready, row.total);
    cell_str(c, row.reason);
    if (row.restarts != 0 && row.last_restart.set) {
        struct str age = kind_duration_text(c->arena, c->now_sec - row.last_restart.sec);
        cell_printf(c, "%d (%.*s ago)", row.restarts, STR_ARG(age));
    } else {
        cell_printf(c, "%d", row.restarts);
    }
    cell_age(c, p->metadata.creation_timestamp);
    cell_str(c, p->status.n_pod_ips > 0 ? p->status.pod_ips[0].ip : STR("<none>"));
    cell_str(c, str_empty(p->spec.node_name) ? STR("<none>") : p->spec.node_name);
    cell_str(c, str_empty(p->status.nominated_node_name) ? STR("<none>") : p->status.nominated_node_name);
    if (p->spec.n_readiness_gates > 0) {
        int on = 0;
        for (size_t i = 0; i < p->spec.n_readiness_gates; i++) {
            for (size_t j = 0; j < p->status.n_conditions; j++) {
                on += str_eq(p->status.conditions[j].type, p->spec.readiness_gates[i].condition_type) &&
                      str_eq_c(p->status.conditions[j].status, "True");
            }
        }
        cell_printf(c, "%d/%zu", on, p->spec.n_readiness_gates);
    } else {
        cell_str(c, STR("<none>"));
    }
    completed(c, p);
}
