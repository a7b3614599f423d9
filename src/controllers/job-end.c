/*
 * When a Job is over ("Jobs": "Job termination and cleanup", "Terminal Job conditions"). The decision
 * is written first (FailureTarget, SuccessCriteriaMet); the last word (Failed, Complete) comes once no
 * pod runs and all are counted.
 */
#include <stdlib.h>

#include "controllers/job-private.h"

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

bool job_is(const struct batch_v1_job_status *st, const char *type)
{
    const struct batch_v1_job_condition *c = job_condition(st, type);
    return c && str_eq_c(c->status, "True");
}

bool job_is_finished(const job_t *job)
{
    return job_is(&job->status, "Complete") || job_is(&job->status, "Failed");
}

bool job_set_condition(struct job_pass *p, const char *type, const char *status, struct str reason,
                       struct str message)
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
    if (at < n && str_eq_c(all[at].status, status) && str_eq(all[at].reason, reason)) {
        return false;
    }
    all[at] = (struct batch_v1_job_condition){ .type = str_c(type),
                                               .status = str_c(status),
                                               .reason = reason,
                                               .message = message,
                                               .last_probe_time = now,
                                               .last_transition_time = now };
    p->st.conditions = all;
    p->st.n_conditions = MAX(n, at + 1);
    return true;
}

static int32_t backoff_limit(const job_t *job)
{
    return job->spec.has_backoff_limit             ? job->spec.backoff_limit
           : job->spec.has_backoff_limit_per_index ? INT32_MAX
                                                   : 6;
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
    /* A work queue: one success says that there is no more work. */
    int32_t wanted = p->job->spec.has_completions ? p->job->spec.completions : 1;
    return p->succeeded >= wanted && p->active == 0;
}

/* A failed pod by which the policy ends the whole Job. */
static bool policy_fails_job(struct job_pass *p, struct str *ret_message)
{
    for (size_t i = 0; p->job->spec.pod_failure_policy && i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        if (job_pod_failed(p, pod) &&
            job_failure_of(p->job, pod, act_arena(p->a), ret_message) == JOB_FAILURE_OF_JOB) {
            return true;
        }
    }
    return false;
}

static void fail(struct job_pass *p, const char *reason, struct str message)
{
    (void)job_set_condition(p, "FailureTarget", "True", str_c(reason), message);
}

static void decide(struct job_pass *p)
{
    const struct batch_v1_job_spec *spec = &p->job->spec;
    int32_t lost = p->per_index ? job_indexes_count(&p->lost) : 0;
    struct str message = STR_EMPTY;
    size_t rule;
    if (policy_fails_job(p, &message)) {
        fail(p, "PodFailurePolicy", message);
    } else if (p->failed > backoff_limit(p->job) || restarts_exceed(p)) {
        fail(p, "BackoffLimitExceeded", STR("Job has reached the specified backoff limit"));
    } else if (deadline_is_over(p)) {
        fail(p, "DeadlineExceeded", STR("Job was active longer than specified deadline"));
    } else if (spec->has_max_failed_indexes && lost > spec->max_failed_indexes) {
        fail(p, "MaxFailedIndexesExceeded",
             STR("Job has exceeded the specified maximal number of failed indexes"));
    } else if (lost > 0 && lost + p->succeeded >= spec->completions) {
        fail(p, "FailedIndexes", STR("Job has failed indexes"));
    } else if (p->indexed && job_successes_suffice(act_arena(p->a), p->job, &p->done, &rule)) {
        (void)job_set_condition(p, "SuccessCriteriaMet", "True", STR("SuccessPolicy"),
                                arena_printf(act_arena(p->a), "Matched rules at index %zu", rule));
    } else if (has_completed(p)) {
        (void)job_set_condition(p, "SuccessCriteriaMet", "True", STR("CompletionsReached"),
                                STR("Reached expected number of succeeded pods"));
    }
}

static bool is_decided(const struct job_pass *p)
{
    return job_is(&p->st, "FailureTarget") || job_is(&p->st, "SuccessCriteriaMet");
}

bool job_goes_on(struct job_pass *p)
{
    if (!is_decided(p)) {
        decide(p);
    }
    return !is_decided(p);
}

void job_conclude(struct job_pass *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st.uncounted_terminated_pods;
    bool failed = job_is(&p->st, "FailureTarget");
    if (!is_decided(p) || p->active || p->terminating || u->n_succeeded || u->n_failed ||
        !p->all_counted) {
        return;
    }
    struct batch_v1_job_condition why = *job_condition(&p->st, failed ? "FailureTarget" : "SuccessCriteriaMet");
    (void)job_set_condition(p, failed ? "Failed" : "Complete", "True", why.reason, why.message);
    if (failed) {
        const char *reason = arena_cstr(act_arena(p->a), why.reason);
        act_event(p->a, p->s->jobs_resource, p->job, "Warning", reason ? reason : "Failed", "%.*s",
                  STR_ARG(why.message));
    } else {
        p->st.completion_time = (struct api_time){ .sec = act_now(p->a), .set = true };
        act_event(p->a, p->s->jobs_resource, p->job, "Normal", "Completed", "Job completed");
    }
}
