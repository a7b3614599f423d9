/*
 * What a Job counts, and when it is over ("Jobs": "Job termination and cleanup", KEP-2307: tracking
 * with finalizers).
 *
 * Every pod carries a finalizer until it is counted, so that none is lost or counted twice, whoever
 * deletes it and whenever we stop:
 *   1. a pod that has ended is written into status.uncountedTerminatedPods,
 *   2. then its finalizer is removed,
 *   3. then, without its finalizer, it becomes a number, and its entry goes.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "controllers/job-private.h"
#include "controllers/pod-facts.h"

/* Entries of uncountedTerminatedPods at one time. */
#define UNCOUNTED_MOST 500

const struct batch_v1_job_condition *job_condition(const struct batch_v1_job_status *st,
                                                   const char *type)
{
    for (size_t i = 0; i < st->n_conditions; i++) {
        if (str_eq_c(st->conditions[i].type, type)) {
            return &st->conditions[i];
        }
    }
    return NULL;
}

static bool is_true(const struct batch_v1_job_status *st, const char *type)
{
    const struct batch_v1_job_condition *c = job_condition(st, type);
    return c && str_eq_c(c->status, "True");
}

bool job_is_finished(const job_t *job)
{
    return is_true(&job->status, "Complete") || is_true(&job->status, "Failed");
}

void job_set_condition(struct job_pass *p, const char *type, const char *status, const char *reason,
                       const char *message)
{
    struct batch_v1_job_condition *all =
        arena_new_n(act_arena(p->a), struct batch_v1_job_condition, p->st.n_conditions + 1);
    struct api_time now = { .sec = act_now(p->a), .set = true };
    size_t n = p->st.n_conditions, at = n;
    if (!all) {
        abort();
    }
    if (n) {
        memcpy(all, p->st.conditions, n * sizeof(*all));
    }
    for (size_t i = 0; i < n; i++) {
        at = str_eq_c(all[i].type, type) ? i : at;
    }
    if (at < n && str_eq_c(all[at].status, status) && str_eq_c(all[at].reason, reason)) {
        return;
    }
    all[at] = (struct batch_v1_job_condition){ .type = str_c(type),
                                               .status = str_c(status),
                                               .reason = str_c(reason),
                                               .message = str_c(message),
                                               .last_probe_time = now,
                                               .last_transition_time = now };
    p->st.conditions = all;
    p->st.n_conditions = MAX(n, at + 1);
}

/* ---- counting ---- */

static bool has_uid(const struct str *list, size_t n, struct str uid)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], uid)) {
            return true;
        }
    }
    return false;
}

static const struct core_v1_pod *pod_of_uid(const struct job_pass *p, struct str uid)
{
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        if (str_eq(pod->metadata.uid, uid)) {
            return pod;
        }
    }
    return NULL;
}

/* Entries whose pod has lost its finalizer (or is gone) become a number. */
static void settle(struct job_pass *p, struct str **list, size_t *n, int32_t *count)
{
    struct str *kept = arena_new_n(act_arena(p->a), struct str, *n + UNCOUNTED_MOST);
    size_t k = 0;
    if (!kept) {
        abort();
    }
    for (size_t i = 0; i < *n; i++) {
        const struct core_v1_pod *pod = pod_of_uid(p, (*list)[i]);
        if (pod && job_has_finalizer(pod)) {
            kept[k++] = (*list)[i];
        } else {
            (*count)++;
        }
    }
    *list = kept;
    *n = k;
}

/* A pod that is being deleted counts as failed, unless it is to be replaced only once it has really
 * ended. */
static bool has_failed(const job_t *job, const struct core_v1_pod *pod)
{
    if (str_eq_c(pod->status.phase, "Failed")) {
        return true;
    }
    return !str_eq_c(job->spec.pod_replacement_policy, "Failed") &&
           pod->metadata.deletion_timestamp.set && !str_eq_c(pod->status.phase, "Succeeded");
}

static int64_t ended_at(const struct core_v1_pod *pod, int64_t now)
{
    int64_t at = 0;
    for (size_t i = 0; i < pod->status.n_container_statuses; i++) {
        const struct core_v1_container_state_terminated *t =
            pod->status.container_statuses[i].state.terminated;
        at = t && t->finished_at.set ? MAX(at, t->finished_at.sec) : at;
    }
    return at                                     ? at
           : pod->metadata.deletion_timestamp.set ? MIN(pod->metadata.deletion_timestamp.sec, now)
                                                  : now;
}

static void count_pods(struct job_pass *p)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        bool succeeded = str_eq_c(pod->status.phase, "Succeeded"), failed = has_failed(p->job, pod),
             fresh = job_has_finalizer(pod);
        if (failed && (fresh || str_eq_c(pod->status.phase, "Failed"))) {
            p->last_failure_s = MAX(p->last_failure_s, ended_at(pod, act_now(p->a)));
        }
        p->terminating += pod_is_terminating(pod);
        if (pod_is_active(pod)) {
            p->active++;
            p->ready += pod_is_ready(pod);
        }
        if (succeeded && p->indexed) {
            int32_t index = job_index_of(pod, p->done.n);
            if (index >= 0 && fresh) {
                p->done.in[index] = 1;
            }
        } else if (succeeded && fresh &&
                   !has_uid(u->succeeded, u->n_succeeded, pod->metadata.uid)) {
            if (u->n_succeeded + u->n_failed < UNCOUNTED_MOST) {
                u->succeeded[u->n_succeeded++] = pod->metadata.uid;
            }
        } else if (failed && fresh && !has_uid(u->failed, u->n_failed, pod->metadata.uid)) {
            p->new_failures++;
            if (u->n_succeeded + u->n_failed < UNCOUNTED_MOST) {
                u->failed[u->n_failed++] = pod->metadata.uid;
            }
        }
    }
}

/* ---- over? ---- */

static int32_t backoff_limit(const job_t *job)
{
    return job->spec.has_backoff_limit ? job->spec.backoff_limit : 6;
}

/* Containers that start again in their pods count, too. */
static bool restarts_exceed(const struct job_pass *p)
{
    int64_t restarts = 0;
    if (!str_eq_c(p->job->spec.template.spec.restart_policy, "OnFailure")) {
        return false;
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        if (str_eq_c(pod->status.phase, "Running") || str_eq_c(pod->status.phase, "Pending")) {
            for (size_t k = 0; k < pod->status.n_init_container_statuses; k++) {
                restarts += pod->status.init_container_statuses[k].restart_count;
            }
            for (size_t k = 0; k < pod->status.n_container_statuses; k++) {
                restarts += pod->status.container_statuses[k].restart_count;
            }
        }
    }
    return backoff_limit(p->job) == 0 ? restarts > 0 : restarts >= backoff_limit(p->job);
}

static bool deadline_is_over(struct job_pass *p)
{
    bool suspended = p->job->spec.has_suspend && p->job->spec.suspend;
    if (!p->job->spec.has_active_deadline_seconds || !p->st.start_time.set || suspended) {
        return false;
    }
    int64_t left = p->st.start_time.sec + p->job->spec.active_deadline_seconds - act_now(p->a);
    if (left > 0) {
        act_requeue_after(p->a, (uint64_t)left * 1000);
    }
    return left <= 0;
}

static bool has_completed(const struct job_pass *p)
{
    if (!p->job->spec
             .has_completions) { /* a work queue: one success says that there is no more work */
        return p->succeeded > 0 && p->active == 0;
    }
    return p->succeeded >= p->job->spec.completions && p->active == 0;
}

static void decide(struct job_pass *p)
{
    if (is_true(&p->st, "FailureTarget") || is_true(&p->st, "SuccessCriteriaMet")) {
        return;
    }
    if ((p->failed > backoff_limit(p->job)) || restarts_exceed(p)) {
        job_set_condition(p, "FailureTarget", "True", "BackoffLimitExceeded",
                          "Job has reached the specified backoff limit");
    } else if (deadline_is_over(p)) {
        job_set_condition(p, "FailureTarget", "True", "DeadlineExceeded",
                          "Job was active longer than specified deadline");
    } else if (has_completed(p)) {
        job_set_condition(p, "SuccessCriteriaMet", "True", "CompletionsReached",
                          "Reached expected number of succeeded pods");
    }
}

/* The last word, once no pod is left to say another. */
static void conclude(struct job_pass *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    const struct batch_v1_job_condition *failure = job_condition(&p->st, "FailureTarget");
    bool settled = p->active == 0 && p->terminating == 0 && u->n_succeeded == 0 && u->n_failed == 0;
    if (is_true(&p->st, "FailureTarget") && settled) {
        char reason[64], message[256];
        snprintf(reason, sizeof(reason), "%.*s", STR_ARG(failure->reason));
        snprintf(message, sizeof(message), "%.*s", STR_ARG(failure->message));
        job_set_condition(p, "Failed", "True", arena_str(act_arena(p->a), str_c(reason)).ptr,
                          arena_str(act_arena(p->a), str_c(message)).ptr);
        act_event(p->a, p->s->jobs_resource, p->job, "Warning", reason, "%s", message);
    } else if (is_true(&p->st, "SuccessCriteriaMet") && settled) {
        job_set_condition(p, "Complete", "True", "CompletionsReached",
                          "Reached expected number of succeeded pods");
        p->st.completion_time = (struct api_time){ .sec = act_now(p->a), .set = true };
        act_event(p->a, p->s->jobs_resource, p->job, "Normal", "Completed", "Job completed");
    }
}

bool job_count(struct job_pass *p)
{
    struct arena *arena = act_arena(p->a);
    struct batch_v1_uncounted_terminated_pods *u =
        arena_new(arena, struct batch_v1_uncounted_terminated_pods);
    if (!u) {
        abort();
    }
    if (p->st.uncounted_terminated_pods) {
        *u = *p->st.uncounted_terminated_pods;
    }
    p->st.uncounted_terminated_pods = u;
    if (p->indexed) {
        p->done.n = p->job->spec.completions;
        p->done.in = arena_alloc(arena, (size_t)MAX(p->done.n, 1));
        if (!p->done.in) {
            abort();
        }
        (void)job_indexes_parse(p->st.completed_indexes,
                                &p->done); /* what cannot be read is counted anew from the pods */
    }
    settle(p, &u->succeeded, &u->n_succeeded, &p->st.succeeded);
    settle(p, &u->failed, &u->n_failed, &p->st.failed);
    count_pods(p);
    if (p->indexed) {
        p->st.completed_indexes = job_indexes_str(arena, &p->done);
        p->st.succeeded = 0;
        for (int32_t i = 0; i < p->done.n; i++) {
            p->st.succeeded += p->done.in[i];
        }
        p->succeeded = p->st.succeeded;
    } else {
        p->succeeded = p->st.succeeded + (int32_t)u->n_succeeded;
    }
    p->failed = p->st.failed + (int32_t)u->n_failed;
    decide(p);
    conclude(p);
    return !is_true(&p->st, "FailureTarget") && !is_true(&p->st, "SuccessCriteriaMet");
}

void job_write_status(struct job_pass *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    job_t changed = *p->job;
    p->st.active = p->active;
    p->st.ready = p->ready;
    p->st.has_ready = true;
    p->st.terminating = p->terminating;
    p->st.has_terminating = true;
    changed.status = p->st;
    if (!api_equal_field(&batch_v1_job_type, "status", p->job, &changed)) {
        act_update_sub(p->a, p->s->jobs_resource, "status", &changed);
    }
    act_barrier(p->a); /* only what is written down is let go */
    bool over = job_is_finished(&changed);
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int32_t index = p->indexed && str_eq_c(pod->status.phase, "Succeeded")
                            ? job_index_of(pod, p->done.n)
                            : -1;
        if (job_has_finalizer(pod) &&
            (over || index >= 0 || has_uid(u->succeeded, u->n_succeeded, pod->metadata.uid) ||
             has_uid(u->failed, u->n_failed, pod->metadata.uid))) {
            job_release_pod(p->s, p->a, pod);
        }
    }
}
