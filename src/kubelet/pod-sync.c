/*
 * The machine of one pod: compares goal and facts, and starts the one next operation. It keeps nothing of its own about where it
 * is, so a kubelet that was started again goes on where the last one stopped.
 *
 * Order of a start: admission, volumes, sandbox, init containers one by one (sidecars go on running), main containers.
 * Order of an end: containers (hooks, SIGTERM, SIGKILL after the grace), sandbox, status, volumes, the API object.
 */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/client.h"
#include "kubelet/volume.h"

static void machine(void *arg);

void pod_wake(struct pod *p)
{
    loop_task_defer(&p->task);
}

static void on_timer(void *arg)
{
    pod_wake(arg);
}

void pod_machine_init(struct pod *p)
{
    loop_task_init(&p->task, p->k->loop, machine, p);
    loop_timer_init(&p->timer, p->k->loop, on_timer, p);
}

void pod_machine_stop(struct pod *p)
{
    loop_task_cancel(&p->task);
    loop_timer_stop(&p->timer);
    if (p->op_cancel) {
        p->op_cancel(p->op);
        p->op = NULL;
        p->op_cancel = NULL;
    }
}

void pod_op_done(struct pod *p, bool stale)
{
    p->busy = false;
    p->op_soft = false;
    p->op = NULL;
    p->op_cancel = NULL;
    p->stale = p->stale || stale;
    pod_wake(p);
}

struct pod_sandbox *pod_ready_sandbox(struct pod *p)
{
    return p->n_sandboxes && p->sandboxes[0].ready ? &p->sandboxes[0] : NULL;
}

bool container_is_current(const struct pod_container *c)
{
    const struct pod *p = c->pod;
    return c->has_run && p->n_sandboxes && strcmp(c->run.sandbox, p->sandboxes[0].id) == 0;
}

bool container_is_running(const struct pod_container *c)
{
    return c->has_run && c->run.state == CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
}

static bool has_exited(const struct pod_container *c)
{
    return c->has_run && c->run.state == CRI_V1_CONTAINER_STATE_CONTAINER_EXITED;
}

static bool by_policy(struct str policy, int32_t exit_code)
{
    return str_eq_c(policy, "Never") ? false : str_eq_c(policy, "OnFailure") ? exit_code != 0 : true;
}

/* restartPolicyRules of a container (KEP-5307): the first rule that the exit code matches decides. */
static bool by_rules(const struct core_v1_container *spec, int32_t exit_code, bool *ret)
{
    for (size_t i = 0; i < spec->n_restart_policy_rules; i++) {
        const struct core_v1_container_restart_rule *r = &spec->restart_policy_rules[i];
        bool in = false;
        if (!r->exit_codes) {
            continue;
        }
        for (size_t j = 0; j < r->exit_codes->n_values; j++) {
            in = in || r->exit_codes->values[j] == exit_code;
        }
        if (in == str_eq_c(r->exit_codes->operator, "In")) {
            *ret = str_eq_c(r->action, "Restart") || str_eq_c(r->action, "RestartAllContainers");
            return true;
        }
    }
    return false;
}

bool container_restarts(const struct pod_container *c, int32_t exit_code)
{
    bool restart;
    if (c->kind == CONTAINER_SIDECAR) {
        return true;
    }
    if (c->kind == CONTAINER_EPHEMERAL) {
        return false;
    }
    if (by_rules(c->spec, exit_code, &restart)) {
        return restart;
    }
    struct str policy = c->spec->restart_policy.len ? c->spec->restart_policy : c->pod->obj->spec.restart_policy;
    if (c->kind == CONTAINER_INIT) {
        return exit_code != 0 && !str_eq_c(policy, "Never");
    }
    return by_policy(policy, exit_code);
}

/* ---- the way up ---- */

static void note_waiting(struct pod_container *c, const char *reason, const char *message)
{
    snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
    snprintf(c->waiting_message, sizeof(c->waiting_message), "%.500s", message);
}

/* Looks again at that time at the latest. */
static void wake_at(struct pod *p, uint64_t at)
{
    p->wake_ms = MIN(p->wake_ms, at);
}

static void set_finished(struct pod *p)
{
    p->finished = true;
    log_info("pod %s/%s has ended", p->ns, p->name);
    if (p->source == POD_FROM_API || p->source == POD_FROM_DISK) {
        checkpoint_write(p);
    }
}

/* May a run that ended be followed by another now? */
static bool restart_is_due(struct pod_container *c)
{
    uint64_t now = loop_now_ms(c->pod->k->loop);
    if (!c->backoff_ms) {
        return true;
    }
    int64_t real_s;
    uint32_t ns;
    clock_real(&real_s, &ns);
    int64_t since_ms = real_s * 1000 - c->run.finished_ns / 1000000;
    int64_t ran_ms = (c->run.finished_ns - c->run.started_ns) / 1000000;
    if (since_ms > KUBELET_BACKOFF_RESET_MS || ran_ms > KUBELET_BACKOFF_RESET_MS) {
        c->backoff_ms = 0;
        return true;
    }
    int64_t left = (int64_t)c->backoff_ms - MAX(since_ms, (int64_t)0);
    if (left <= 0) {
        return true;
    }
    char message[768];
    unsigned s = (unsigned)(c->backoff_ms / 1000);
    char text[32];
    if (s < 60) {
        snprintf(text, sizeof(text), "%us", s);
    } else {
        snprintf(text, sizeof(text), "%um%us", s / 60, s % 60);
    }
    snprintf(message, sizeof(message), "back-off %s restarting failed container=%s pod=%s_%s(%s)", text, c->name, c->pod->name,
             c->pod->ns, c->pod->uid);
    if (strcmp(c->waiting_reason, "CrashLoopBackOff") != 0) {
        pod_event(c->pod, c, "Warning/BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, c->pod->name,
                  c->pod->ns, c->pod->uid);
    }
    note_waiting(c, "CrashLoopBackOff", message);
    wake_at(c->pod, now + (uint64_t)left);
    return false;
}

/* Starts the container when nothing keeps it waiting. True when an operation was begun. */
static bool try_start(struct pod_container *c)
{
    uint64_t now = loop_now_ms(c->pod->k->loop);
    if (c->kill.on) {
        return false;
    }
    if (container_is_current(c) && has_exited(c)) {
        if (!restart_is_due(c)) {
            return false;
        }
    }
    if (c->pull_not_before_ms > now) {
        char message[512];
        snprintf(message, sizeof(message), "Back-off pulling image \"%.*s\": %.380s", STR_ARG(c->spec->image), c->pull_error);
        if (strcmp(c->waiting_reason, "ImagePullBackOff") != 0 && c->pull_not_before_ms - now < c->pull_backoff_ms / 2) {
            pod_event(c->pod, c, "Normal/BackOff", "Back-off pulling image \"%.*s\"", STR_ARG(c->spec->image));
            note_waiting(c, "ImagePullBackOff", message);
        }
        wake_at(c->pod, strcmp(c->waiting_reason, "ImagePullBackOff") == 0 ? c->pull_not_before_ms
                                                                         : now + c->pull_backoff_ms / 2 + 1);
        return false;
    }
    if (c->not_before_ms > now) {
        wake_at(c->pod, c->not_before_ms);
        return false;
    }
    pod_start_container(c);
    return true;
}

static bool main_created(struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        if (p->containers[i]->kind == CONTAINER_MAIN && container_is_current(p->containers[i])) {
            return true;
        }
    }
    return false;
}

/* Every main container has ended for good. */
static bool mains_ended(struct pod *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->kind != CONTAINER_MAIN) {
            continue;
        }
        n++;
        if (!has_exited(c) || c->kill.on || container_restarts(c, c->run.exit_code)) {
            return false;
        }
    }
    return n > 0;
}

/* An init container failed and nothing restarts it. */
static bool init_failed(struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->kind == CONTAINER_INIT && has_exited(c) && c->run.exit_code != 0 && !container_restarts(c, c->run.exit_code)) {
            return true;
        }
    }
    return false;
}

static struct pod_container *nth(struct pod *p, bool init, size_t index)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->index == index && c->kind != CONTAINER_EPHEMERAL && (c->kind != CONTAINER_MAIN) == init) {
            return c;
        }
    }
    return NULL;
}

/* True when the main containers may start; '*ret_begun' when an operation was begun. */
static bool run_init(struct pod *p, bool *ret_begun)
{
    bool initialized = main_created(p);
    *ret_begun = false;
    for (size_t i = 0; i < p->obj->spec.n_init_containers; i++) {
        struct pod_container *c = nth(p, true, i);
        bool current = container_is_current(c);
        if (c->kind == CONTAINER_INIT) {
            if (initialized || (current && has_exited(c) && c->run.exit_code == 0)) {
                continue;
            }
            if (!(current && container_is_running(c))) {
                *ret_begun = try_start(c);
            }
            return false;
        }
        if (current && container_is_running(c)) {
            if (!initialized && !container_is_started(c)) {
                return false;
            }
            continue;
        }
        *ret_begun = try_start(c);
        if (*ret_begun || !initialized) {
            return false;
        }
    }
    return true;
}

static void run_containers(struct pod *p)
{
    bool begun;
    if (!run_init(p, &begun)) {
        return;
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->kind != CONTAINER_MAIN && c->kind != CONTAINER_EPHEMERAL) {
            continue;
        }
        bool current = container_is_current(c);
        if (current && container_is_running(c)) {
            continue;
        }
        if (current && has_exited(c) && !container_restarts(c, c->run.exit_code)) {
            continue;
        }
        /* A run of an older sandbox that ended for good is not repeated. */
        if (!current && has_exited(c) && !container_restarts(c, c->run.exit_code)) {
            continue;
        }
        if (try_start(c)) {
            return;
        }
    }
}

static bool stop_running(struct pod *p, const char *reason)
{
    bool any = false;
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (container_is_running(c)) {
            container_stop(c, p->deleting || p->gone || p->over_limit ? p->grace_s : container_grace(c), reason);
            any = true;
        }
    }
    return any || p->kills > 0;
}

static void stop_changed(struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        struct pod_container *c = p->containers[i];
        if (c->kind == CONTAINER_MAIN && container_is_running(c) && c->run.hash && c->run.hash != container_hash(c->spec)) {
            char reason[160];
            snprintf(reason, sizeof(reason), "Container %s definition changed, will be restarted", c->name);
            container_stop(c, container_grace(c), reason);
        }
    }
}

static bool deadline_passed(struct pod *p)
{
    if (!p->obj->spec.has_active_deadline_seconds || !p->start_time.set) {
        return false;
    }
    int64_t left = p->start_time.sec + p->obj->spec.active_deadline_seconds - clock_real_s();
    if (left > 0) {
        wake_at(p, loop_now_ms(p->k->loop) + (uint64_t)left * 1000);
        return false;
    }
    return true;
}

/* A changed manifest makes another pod of the same name: it begins when the one before it has ended. */
static bool waits_for_predecessor(struct pod *p)
{
    struct pod *other;
    for (size_t pos = 0; p->source == POD_FROM_FILE && (other = pods_next(p->k, &pos));) {
        if (other != p && other->source == POD_FROM_FILE && other->gone && strcmp(other->name, p->name) == 0 && strcmp(other->ns, p->ns) == 0) {
            return true;
        }
    }
    return false;
}

static void run(struct pod *p)
{
    struct kubelet *k = p->k;
    uint64_t now = loop_now_ms(k->loop);
    if (waits_for_predecessor(p)) {
        wake_at(p, now + 100);
        return;
    }
    if (!p->admitted) {
        if (!pod_admit(p, p->reject_reason, sizeof(p->reject_reason), p->reject_message, sizeof(p->reject_message))) {
            p->rejected = true;
            p->finished = true;
            snprintf(p->end_reason, sizeof(p->end_reason), "%s", p->reject_reason);
            snprintf(p->end_message, sizeof(p->end_message), "%s", p->reject_message);
            pod_event(p, NULL, "Warning/Rejected", "%s", p->reject_message);
            return;
        }
        p->admitted = true;
        if (!p->start_time.set) {
            p->start_time = (struct api_time){ .sec = clock_real_s(), .set = true };
        }
        p->status_dirty = true;
    }
    if (mains_ended(p) || init_failed(p)) {
        set_finished(p);
        pod_wake(p);
        return;
    }
    if (deadline_passed(p)) {
        snprintf(p->end_reason, sizeof(p->end_reason), "DeadlineExceeded");
        snprintf(p->end_message, sizeof(p->end_message), "Pod was active on the node longer than the specified deadline");
        p->evicted = true;
        set_finished(p);
        pod_wake(p);
        return;
    }
    if (p->over_limit) {
        p->evicted = true;
        set_finished(p);
        pod_wake(p);
        return;
    }
    if (!p->volumes_ready || volumes_due(p)) {
        if (p->volumes_ready || !p->volumes_checked_ms || now >= p->volumes_checked_ms + 2000) {
            volumes_setup(p);
            return;
        }
        wake_at(p, p->volumes_checked_ms + 2000);
        return;
    }
    stop_changed(p);
    if (!pod_ready_sandbox(p)) {
        if (stop_running(p, "Pod sandbox changed, it will be killed and re-created.")) {
            return;
        }
        if (!p->obj->spec.host_network && !node_network_ready(k)) {
            if (!p->network_missed) {
                p->network_missed = true;
                pod_event(p, NULL, "Warning/NetworkNotReady", "network is not ready: the runtime has no network configuration yet");
            }
            return;
        }
        if (p->sandbox_not_before_ms > now) {
            wake_at(p, p->sandbox_not_before_ms);
            return;
        }
        pod_start_sandbox(p);
        return;
    }
    run_containers(p);
    if (!p->busy && (p->dead || pod_old_sandboxes(p))) {
        pod_remove_dead(p);
    }
}

/* ---- the way down ---- */

static bool has_ready_sandbox(const struct pod *p)
{
    for (size_t i = 0; i < p->n_sandboxes; i++) {
        if (p->sandboxes[i].ready) {
            return true;
        }
    }
    return false;
}

static void forget(struct pod *p)
{
    char dir[PATH_MAX];
    struct err err = { 0 };
    pod_log_dir(p, dir);
    if (!volumes_teardown(p, &err)) {
        log_warning("pod %s/%s: %s", p->ns, p->name, err.msg);
        wake_at(p, loop_now_ms(p->k->loop) + 5000);
        return;
    }
    (void)!fs_remove_tree(dir, NULL);
    cgroup_remove_pod(p);
    checkpoint_remove(p->k, p->uid);
    pods_forget(p);
}

/* False when the pod was forgotten. */
static bool end(struct pod *p)
{
    if (stop_running(p, "")) {
        return true;
    }
    if (has_ready_sandbox(p)) {
        pod_stop_sandboxes(p, false);
        return true;
    }
    if (p->gone) {
        if (p->n_sandboxes || p->dead || p->n_strangers) {
            pod_stop_sandboxes(p, true);
            return true;
        }
        struct kubelet *k = p->k;
        char uid[sizeof(p->uid)];
        snprintf(uid, sizeof(uid), "%s", p->uid);
        forget(p);
        return pods_find(k, str_c(uid)) != NULL;
    }
    if (p->deleting) {
        struct err err = { 0 };
        if (!volumes_teardown(p, &err)) {
            log_warning("pod %s/%s: %s", p->ns, p->name, err.msg);
            wake_at(p, loop_now_ms(p->k->loop) + 5000);
        }
        cgroup_remove_pod(p);
    } else if (p->dead) {
        pod_remove_dead(p);
    }
    return true;
}

static void machine(void *arg)
{
    struct pod *p = arg;
    p->wake_ms = loop_now_ms(p->k->loop) + (uint64_t)p->k->cfg->sync_ms;
    if (p->mirror_only) {
        statics_mirror(p);
        if (p->gone) {
            pods_forget(p);
        }
        return;
    }
    if (p->busy && p->op_soft && (p->deleting || p->gone)) {
        p->op_cancel(p->op);
        pod_op_done(p, true);
    }
    if (p->busy) {
        return;
    }
    if (p->stale) {
        pod_read(p);
        return;
    }
    if (!p->read_once) {
        /* The runtime does not answer: it is asked again when the relist gets through. */
        pod_status_update(p);
        return;
    }
    if (p->source == POD_GHOST && !p->k->pods_synced && p->k->client) {
        return; /* the API has not said yet which pods are ours */
    }
    core_logs_pod_changed(p);
    /* First: whether a sidecar counts as started decides about what comes after it. */
    for (size_t i = 0; i < p->n_containers; i++) {
        probes_update(p->containers[i]);
    }
    if (p->gone || p->deleting || p->finished) {
        if (!end(p)) {
            return;
        }
    } else {
        run(p);
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        probes_update(p->containers[i]);
    }
    pod_status_update(p);
    if (p->source == POD_FROM_FILE) {
        statics_mirror(p);
    }
    loop_timer_start_at(&p->timer, p->wake_ms);
}
