/*
 * What a Job counts ("Jobs": "Job termination and cleanup", KEP-2307: tracking with finalizers).
 *
 * Every pod carries a finalizer until it is counted, so that none is lost or counted twice, whoever
 * deletes it and whenever we stop:
 *   1. a pod that has ended is written into status.uncountedTerminatedPods (of an index that has
 *      succeeded, its number into status.completedIndexes),
 *   2. then its finalizer is removed,
 *   3. then, without its finalizer, it becomes a number, and its entry goes.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "controllers/job-private.h"
#include "controllers/pod-facts.h"

/* Entries of uncountedTerminatedPods at one time. */
#define UNCOUNTED_MOST 500

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

bool job_pod_failed(const struct job_pass *p, const struct core_v1_pod *pod)
{
    if (str_eq_c(pod->status.phase, "Failed")) {
        return true;
    }
    return !p->replaces_failed_only && pod->metadata.deletion_timestamp.set &&
           !str_eq_c(pod->status.phase, "Succeeded");
}

int64_t job_pod_ended_s(const struct core_v1_pod *pod)
{
    int64_t at = 0;
    for (size_t i = 0; i < pod->status.n_container_statuses; i++) {
        const struct core_v1_container_state_terminated *t =
            pod->status.container_statuses[i].state.terminated;
        at = t && t->finished_at.set ? MAX(at, t->finished_at.sec) : at;
    }
    if (at) {
        return at;
    }
    if (pod->metadata.deletion_timestamp.set) {
        return pod->metadata.deletion_timestamp.sec - (pod->metadata.has_deletion_grace_period_seconds
                                                           ? pod->metadata.deletion_grace_period_seconds
                                                           : 0);
    }
    const struct core_v1_pod_condition *ready = pod_condition(pod, STR("Ready"));
    return ready && ready->last_transition_time.set ? ready->last_transition_time.sec
                                                    : pod->metadata.creation_timestamp.sec;
}

/* A pod that was taken away without failing (a suspended Job's, one too many) says nothing. */
static bool tells_of_failure(const struct job_pass *p, const struct core_v1_pod *pod)
{
    return job_pod_failed(p, pod) &&
           (job_has_finalizer(pod) || !pod->metadata.deletion_timestamp.set);
}

/* Failures since the last success. Of those before the first success the status knows the number even when pods are gone. */
static void count_failures_in_row(struct job_pass *p)
{
    int64_t success_s = 0;
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        if (str_eq_c(pod->status.phase, "Succeeded")) {
            success_s = MAX(success_s, job_pod_ended_s(pod));
        }
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int64_t at = tells_of_failure(p, pod) ? job_pod_ended_s(pod) : 0;
        if (at > success_s) {
            p->failures_in_row++;
            p->last_failure_s = MAX(p->last_failure_s, at);
        }
    }
    if (p->succeeded == 0 && p->last_failure_s) {
        p->failures_in_row = MAX(p->failures_in_row, p->failed);
    }
}

static void count_pods(struct job_pass *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        p->terminating += pod_is_terminating(pod);
        if (pod_is_active(pod)) {
            p->active++;
            p->ready += pod_is_ready(pod);
        }
        if (!job_has_finalizer(pod)) {
            continue;
        }
        int32_t index = p->indexed ? job_index_of(pod, p->done.n) : -1;
        bool noted = has_uid(u->failed, u->n_failed, pod->metadata.uid);
        if (str_eq_c(pod->status.phase, "Succeeded") && !noted) {
            if (index >= 0) {
                p->done.in[index] = 1;
            } else if (!p->indexed) {
                p->succeeded += !has_uid(u->succeeded, u->n_succeeded, pod->metadata.uid);
            }
        } else if (job_pod_failed(p, pod)) {
            p->failed += !noted && (!p->indexed || index >= 0) &&
                         job_failure_of(p->job, pod, NULL, NULL) != JOB_FAILURE_IGNORED;
            if (p->per_index && index >= 0 && job_index_has_failed(p->job, pod)) {
                p->lost.in[index] = 1;
            }
        }
    }
}

static int64_t failures_of(const struct core_v1_pod *pod)
{
    struct job_index_failures f = job_failures_before(pod);
    return (int64_t)f.counted + f.ignored;
}

/* The count of an index's failures lives in its pods: the last failed one stays until an active one has it. */
static void find_kept(struct job_pass *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    struct job_indexes active = job_indexes_new(act_arena(p->a), p->done.n);
    p->kept = arena_new_n(act_arena(p->a), const struct core_v1_pod *, (size_t)MAX(p->done.n, 1));
    if (!p->kept) {
        abort();
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        int32_t index = job_index_of(p->pods.items[i], p->done.n);
        if (index >= 0 && pod_is_active(p->pods.items[i])) {
            active.in[index] = 1;
        }
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int32_t index = job_index_of(pod, p->done.n);
        if (index >= 0 && job_pod_failed(p, pod) && job_has_finalizer(pod) &&
            !has_uid(u->failed, u->n_failed, pod->metadata.uid) && !active.in[index] &&
            !p->done.in[index] && !p->lost.in[index] &&
            (!p->kept[index] || failures_of(pod) >= failures_of(p->kept[index]))) {
            p->kept[index] = pod;
        }
    }
}

void job_count(struct job_pass *p)
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
    if (p->indexed) { /* what cannot be read is counted anew from the pods */
        p->done = job_indexes_new(arena, p->job->spec.completions);
        (void)job_indexes_parse(p->st.completed_indexes, &p->done);
    }
    if (p->per_index) {
        p->lost = job_indexes_new(arena, p->done.n);
        (void)job_indexes_parse(p->st.failed_indexes, &p->lost);
    }
    settle(p, &u->succeeded, &u->n_succeeded, &p->st.succeeded);
    settle(p, &u->failed, &u->n_failed, &p->st.failed);
    p->succeeded = p->st.succeeded + (int32_t)u->n_succeeded;
    p->failed = p->st.failed + (int32_t)u->n_failed;
    count_pods(p);
    if (p->indexed) {
        p->st.completed_indexes = job_indexes_str(arena, &p->done);
        p->succeeded = p->st.succeeded = job_indexes_count(&p->done);
    }
    if (p->per_index) {
        struct str text = job_indexes_str(arena, &p->lost);
        p->st.failed_indexes = text.ptr ? text : STR_EMPTY;
        find_kept(p);
    }
    count_failures_in_row(p);
}

/* Adds the pod to the list once. False: there is no room at this time. */
static bool note(struct job_pass *p, struct str *list, size_t *n, const struct core_v1_pod *pod)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    if (has_uid(list, *n, pod->metadata.uid)) {
        return true;
    }
    if (u->n_succeeded + u->n_failed >= UNCOUNTED_MOST) {
        return false;
    }
    list[(*n)++] = pod->metadata.uid;
    return true;
}

void job_note_ended(struct job_pass *p)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    bool ends = job_is(&p->st, "FailureTarget") || job_is(&p->st, "SuccessCriteriaMet"),
         deleting = p->job->metadata.deletion_timestamp.set;
    p->counted = arena_new_n(act_arena(p->a), const struct core_v1_pod *, p->pods.n + 1);
    if (!p->counted) {
        abort();
    }
    p->all_counted = true;
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        if (!job_has_finalizer(pod)) {
            continue;
        }
        int32_t index = p->indexed ? job_index_of(pod, p->done.n) : -1;
        bool counts = !p->indexed || index >= 0, room = true,
             succeeded = str_eq_c(pod->status.phase, "Succeeded") &&
                         !has_uid(u->failed, u->n_failed, pod->metadata.uid),
             /* Of a Job that ends, every pod that has not succeeded has failed, however far its end is. */
             failed = !succeeded && (job_pod_failed(p, pod) || (ends && !pod_is_active(pod)));
        if (p->kept && index >= 0 && p->kept[index] == pod && !ends && !deleting) {
            continue;
        }
        if (succeeded && !p->indexed) {
            room = note(p, u->succeeded, &u->n_succeeded, pod);
        } else if (failed && counts &&
                   job_failure_of(p->job, pod, NULL, NULL) != JOB_FAILURE_IGNORED) {
            room = note(p, u->failed, &u->n_failed, pod);
        }
        if (room && (succeeded || failed || deleting)) {
            p->counted[p->n_counted++] = pod;
        }
        p->all_counted = p->all_counted && room;
    }
}

void job_write_status(struct job_pass *p)
{
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
    for (size_t i = 0; i < p->n_counted; i++) {
        job_release_pod(p->s, p->a, p->counted[i]);
    }
}
