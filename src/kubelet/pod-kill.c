/*
 * The way down of one container: its preStop hook, then the runtime's stop with what is left of the grace. Several run beside each
 * other and beside the pod's operation. Also here: stopping sandboxes, and removing what ended.
 */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"

int64_t container_grace(const struct pod_container *c)
{
    const struct pod *p = c->pod;
    return p->obj && p->obj->spec.has_termination_grace_period_seconds ? p->obj->spec.termination_grace_period_seconds : 30;
}

static void kill_done(struct pod_container *c)
{
    c->kill.on = false;
    c->kill.call = NULL;
    c->pod->kills--;
    c->pod->stale = true;
    pod_wake(c->pod);
}

static void on_stopped(void *arg, const void *response UNUSED, const struct err *err)
{
    struct pod_container *c = arg;
    if (err && err->code != ERR_NOT_FOUND) {
        log_warning("pod %s/%s: container %s cannot be stopped: %s", c->pod->ns, c->pod->name, c->name, err->msg);
        c->not_before_ms = loop_now_ms(c->pod->k->loop) + 2000;
    }
    kill_done(c);
}

static void stop_now(struct pod_container *c)
{
    struct kubelet *k = c->pod->k;
    int64_t used_s = (int64_t)((loop_now_ms(k->loop) - c->kill.begun_ms) / 1000);
    int64_t left = MAX(c->kill.grace_s - used_s, c->kill.grace_s == 0 ? (int64_t)0 : (int64_t)KUBELET_MIN_GRACE_S);
    if (c->kill.grace_s < KUBELET_MIN_GRACE_S) {
        left = c->kill.grace_s;
    }
    const struct cri_v1_stop_container_request request = { .container_id = str_c(c->kill.id), .timeout = left };
    c->kill.call = runtime_call(k->rt, &cri_v1_runtime_service_stop_container_rpc, &request, (uint64_t)left * 1000 + runtime_timeout_ms(k->rt),
                                on_stopped, c);
}

static void on_hook(void *arg, enum handler_result result, struct str output)
{
    struct pod_container *c = arg;
    c->kill.hook = NULL;
    if (result != HANDLER_OK) {
        pod_event(c->pod, c, "Warning/FailedPreStopHook", "PreStopHook failed%s%.*s", output.len ? ": " : "", STR_ARG(output));
    }
    stop_now(c);
}

void container_stop(struct pod_container *c, int64_t grace_s, const char *reason)
{
    struct kubelet *k = c->pod->k;
    if (c->kill.on) {
        if (grace_s >= c->kill.grace_s) {
            return;
        }
        /* A shorter grace than the one under way. */
        c->kill.grace_s = grace_s;
        c->kill.hook = handler_cancel(c->kill.hook);
        runtime_cancel(k->rt, c->kill.call);
        stop_now(c);
        return;
    }
    if (c->not_before_ms > loop_now_ms(k->loop)) {
        return;
    }
    c->kill = (struct container_kill){ .on = true, .grace_s = grace_s, .begun_ms = loop_now_ms(k->loop) };
    snprintf(c->kill.id, sizeof(c->kill.id), "%s", c->run.id);
    c->pod->kills++;
    if (reason[0]) {
        pod_event(c->pod, c, "Normal/Killing", "%s", reason);
    } else {
        pod_event(c->pod, c, "Normal/Killing", "Stopping container %s", c->name);
    }
    const struct core_v1_lifecycle *l = c->spec ? c->spec->lifecycle : NULL;
    if (l && l->pre_stop && grace_s > 0) {
        const struct handler_action action = { .exec = l->pre_stop->exec, .http_get = l->pre_stop->http_get,
                                               .tcp_socket = l->pre_stop->tcp_socket, .sleep = l->pre_stop->sleep };
        c->kill.hook = handler_start(c, &action, (uint64_t)grace_s * 1000, false, on_hook, c);
        return;
    }
    stop_now(c);
}

void container_kill_cancel(struct pod_container *c)
{
    if (c->kill.on) {
        handler_cancel(c->kill.hook);
        runtime_cancel(c->pod->k->rt, c->kill.call);
        c->kill.on = false;
        c->pod->kills--;
    }
}

/* ---- sandboxes and what ended ---- */

struct sweep_op {
    struct pod *p;
    struct runtime_call *call;
    size_t sandbox;   /* the one that is treated */
    bool remove;
    bool failed;
    char id[CRI_ID_SIZE];
};

static void sweep_cancel(void *arg)
{
    struct sweep_op *op = arg;
    runtime_cancel(op->p->k->rt, op->call);
    free(op);
}

static void sweep_end(struct sweep_op *op)
{
    struct pod *p = op->p;
    if (op->failed) {
        loop_timer_start(&p->timer, 2000);
    }
    bool failed = op->failed;
    free(op);
    p->stale = true;
    if (failed) {
        /* Not at once again: the timer wakes it. */
        p->busy = false;
        p->op = NULL;
        p->op_cancel = NULL;
        return;
    }
    pod_op_done(p, true);
}

static void next_sandbox(struct sweep_op *op);

static void on_removed(void *arg, const void *response UNUSED, const struct err *err)
{
    struct sweep_op *op = arg;
    op->call = NULL;
    if (err && err->code != ERR_NOT_FOUND) {
        log_warning("pod %s/%s: its sandbox cannot be removed: %s", op->p->ns, op->p->name, err->msg);
        op->failed = true;
    }
    op->sandbox++;
    next_sandbox(op);
}

static void on_sandbox_stopped(void *arg, const void *response UNUSED, const struct err *err)
{
    struct sweep_op *op = arg;
    op->call = NULL;
    if (err && err->code != ERR_NOT_FOUND) {
        log_warning("pod %s/%s: its sandbox cannot be stopped: %s", op->p->ns, op->p->name, err->msg);
        op->failed = true;
        sweep_end(op);
        return;
    }
    if (!op->remove) {
        op->sandbox++;
        next_sandbox(op);
        return;
    }
    const struct cri_v1_remove_pod_sandbox_request request = { .pod_sandbox_id = str_c(op->id) };
    op->call = runtime_call(op->p->k->rt, &cri_v1_runtime_service_remove_pod_sandbox_rpc, &request, KUBELET_SANDBOX_TIMEOUT_MS, on_removed, op);
}

static void next_sandbox(struct sweep_op *op)
{
    struct pod *p = op->p;
    while (op->sandbox < p->n_sandboxes && !op->remove && !p->sandboxes[op->sandbox].ready) {
        op->sandbox++;
    }
    if (op->sandbox >= p->n_sandboxes) {
        sweep_end(op);
        return;
    }
    snprintf(op->id, sizeof(op->id), "%s", p->sandboxes[op->sandbox].id);
    const struct cri_v1_stop_pod_sandbox_request request = { .pod_sandbox_id = str_c(op->id) };
    op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_stop_pod_sandbox_rpc, &request, KUBELET_SANDBOX_TIMEOUT_MS, on_sandbox_stopped, op);
}

static struct sweep_op *sweep_new(struct pod *p)
{
    struct sweep_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    op->p = p;
    p->busy = true;
    p->op = op;
    p->op_cancel = sweep_cancel;
    return op;
}

void pod_stop_sandboxes(struct pod *p, bool remove)
{
    struct sweep_op *op = sweep_new(p);
    op->remove = remove;
    next_sandbox(op);
}

/* Ended runs beyond those kept, one after the other, then sandboxes of earlier attempts that nothing kept belongs to. */
static void next_dead(struct sweep_op *op);

static void on_dead_removed(void *arg, const void *response UNUSED, const struct err *err)
{
    struct sweep_op *op = arg;
    op->call = NULL;
    if (err && err->code != ERR_NOT_FOUND) {
        op->failed = true;
    }
    next_dead(op);
}

static bool sandbox_in_use(const struct pod *p, const char *id)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct pod_container *c = p->containers[i];
        if ((c->has_run && strcmp(c->run.sandbox, id) == 0) || (c->has_last && strcmp(c->last.sandbox, id) == 0)) {
            return true;
        }
    }
    return false;
}

bool pod_old_sandboxes(const struct pod *p)
{
    for (size_t i = 1; i < p->n_sandboxes; i++) {
        if (!sandbox_in_use(p, p->sandboxes[i].id)) {
            return true;
        }
    }
    return false;
}

static void next_dead(struct sweep_op *op)
{
    struct pod *p = op->p;
    struct dead_container *d = p->dead;
    if (d) {
        const struct cri_v1_remove_container_request request = { .container_id = str_c(d->id) };
        op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_remove_container_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_dead_removed, op);
        p->dead = d->next;
        free(d);
        return;
    }
    for (op->sandbox = MAX(op->sandbox, (size_t)1); op->sandbox < p->n_sandboxes; op->sandbox++) {
        if (!sandbox_in_use(p, p->sandboxes[op->sandbox].id)) {
            snprintf(op->id, sizeof(op->id), "%s", p->sandboxes[op->sandbox].id);
            const struct cri_v1_stop_pod_sandbox_request request = { .pod_sandbox_id = str_c(op->id) };
            op->remove = true;
            p->n_sandboxes = op->sandbox + 1;
            op->call = runtime_call(p->k->rt, &cri_v1_runtime_service_stop_pod_sandbox_rpc, &request, KUBELET_SANDBOX_TIMEOUT_MS,
                                    on_sandbox_stopped, op);
            return;
        }
    }
    sweep_end(op);
}

void pod_remove_dead(struct pod *p)
{
    next_dead(sweep_new(p));
}
