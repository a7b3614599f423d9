/*
 * The policies of a Job: what a pod's failure means ("Pod failure policy", KEP-3329), which index has
 * failed for good (KEP-3850) and which successes are enough ("Success policy", KEP-3998).
 */
#include "base/str.h"
#include "controllers/job-private.h"

/* Annotations of a pod that takes the place of a failed one, where each index has its own limit. */
#define FAILURES_KEY STR("batch.kubernetes.io/job-index-failure-count")
#define IGNORED_KEY STR("batch.kubernetes.io/job-index-ignored-failure-count")

typedef struct batch_v1_pod_failure_policy_on_exit_codes_requirement exit_codes_t;
typedef struct batch_v1_pod_failure_policy_rule rule_t;

static bool code_matches(const exit_codes_t *r, int32_t code)
{
    bool in = false;
    for (size_t i = 0; i < r->n_values; i++) {
        in = in || r->values[i] == code;
    }
    return str_eq_c(r->operator, "In") ? in : str_eq_c(r->operator, "NotIn") && !in;
}

/* Success (0) is never meant. */
static const struct core_v1_container_status *
find_code(const exit_codes_t *r, const struct core_v1_container_status *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_container_state_terminated *t = list[i].state.terminated;
        if (t && t->exit_code != 0 && (!r->container_name.ptr || str_eq(r->container_name, list[i].name)) &&
            code_matches(r, t->exit_code)) {
            return &list[i];
        }
    }
    return NULL;
}

static const struct core_v1_container_status *by_exit_code(const exit_codes_t *r,
                                                           const struct core_v1_pod *pod)
{
    const struct core_v1_container_status *c =
        find_code(r, pod->status.container_statuses, pod->status.n_container_statuses);
    return c ? c
             : find_code(r, pod->status.init_container_statuses,
                         pod->status.n_init_container_statuses);
}

static const struct core_v1_pod_condition *by_condition(const rule_t *rule,
                                                        const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < rule->n_on_pod_conditions; i++) {
        for (size_t k = 0; k < pod->status.n_conditions; k++) {
            const struct core_v1_pod_condition *c = &pod->status.conditions[k];
            if (str_eq(c->type, rule->on_pod_conditions[i].type) &&
                str_eq(c->status, rule->on_pod_conditions[i].status)) {
                return c;
            }
        }
    }
    return NULL;
}

static enum job_failure of_action(struct str action)
{
    return str_eq_c(action, "Ignore")      ? JOB_FAILURE_IGNORED
           : str_eq_c(action, "FailIndex") ? JOB_FAILURE_OF_INDEX
           : str_eq_c(action, "FailJob")   ? JOB_FAILURE_OF_JOB
                                           : JOB_FAILURE_COUNTS;
}

enum job_failure job_failure_of(const job_t *job, const struct core_v1_pod *pod, struct arena *a,
                                struct str *ret_message)
{
    const struct batch_v1_pod_failure_policy *policy = job->spec.pod_failure_policy;
    for (size_t i = 0; policy && i < policy->n_rules; i++) {
        const rule_t *rule = &policy->rules[i];
        const struct core_v1_container_status *c =
            rule->on_exit_codes ? by_exit_code(rule->on_exit_codes, pod) : NULL;
        const struct core_v1_pod_condition *condition =
            rule->on_exit_codes ? NULL : by_condition(rule, pod);
        if (c && ret_message) {
            *ret_message = arena_printf(
                a,
                "Container %.*s for pod %.*s/%.*s failed with exit code %d matching %.*s rule at index %zu",
                STR_ARG(c->name), STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name),
                c->state.terminated->exit_code, STR_ARG(rule->action), i);
        } else if (condition && ret_message) {
            *ret_message = arena_printf(
                a, "Pod %.*s/%.*s has condition %.*s matching %.*s rule at index %zu",
                STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name),
                STR_ARG(condition->type), STR_ARG(rule->action), i);
        }
        if (c || condition) {
            return of_action(rule->action);
        }
    }
    return JOB_FAILURE_COUNTS;
}

/* ---- a limit of each index ---- */

static int32_t count_in(const struct core_v1_pod *pod, struct str key)
{
    int32_t n;
    struct str text = meta_annotation(&pod->metadata, key);
    return text.len && str_to_i32(text, &n) && n > 0 ? n : 0;
}

struct job_index_failures job_failures_before(const struct core_v1_pod *pod)
{
    return (struct job_index_failures){ .counted = count_in(pod, FAILURES_KEY),
                                        .ignored = count_in(pod, IGNORED_KEY) };
}

struct job_index_failures job_failures_with(const job_t *job, const struct core_v1_pod *failed)
{
    struct job_index_failures f = { 0 };
    if (failed) {
        f = job_failures_before(failed);
        if (job_failure_of(job, failed, NULL, NULL) == JOB_FAILURE_IGNORED) {
            f.ignored += f.ignored < INT32_MAX;
        } else {
            f.counted += f.counted < INT32_MAX;
        }
    }
    return f;
}

void job_note_failures(struct arena *a, struct meta_v1_object_meta *m, struct job_index_failures f)
{
    m->annotations = pairs_with(a, m->annotations, m->n_annotations, FAILURES_KEY,
                                arena_printf(a, "%d", f.counted), &m->n_annotations);
    if (f.ignored > 0) {
        m->annotations = pairs_with(a, m->annotations, m->n_annotations, IGNORED_KEY,
                                    arena_printf(a, "%d", f.ignored), &m->n_annotations);
    }
}

bool job_index_has_failed(const job_t *job, const struct core_v1_pod *failed)
{
    enum job_failure what = job_failure_of(job, failed, NULL, NULL);
    return what == JOB_FAILURE_OF_INDEX ||
           (what != JOB_FAILURE_IGNORED &&
            job_failures_before(failed).counted >= job->spec.backoff_limit_per_index);
}

/* ---- enough successes ---- */

bool job_successes_suffice(struct arena *a, const job_t *job, const struct job_indexes *done,
                           size_t *ret_rule)
{
    const struct batch_v1_success_policy *policy = job->spec.success_policy;
    int32_t total = job_indexes_count(done);
    for (size_t i = 0; policy && total > 0 && i < policy->n_rules; i++) {
        const struct batch_v1_success_policy_rule *r = &policy->rules[i];
        int32_t wanted = r->succeeded_count, has = total;
        if (r->succeeded_indexes.ptr) {
            struct job_indexes named = job_indexes_new(a, done->n);
            (void)job_indexes_parse(r->succeeded_indexes, &named); /* validated; larger ones are cut off */
            wanted = r->has_succeeded_count ? wanted : job_indexes_count(&named);
            has = 0;
            for (int32_t k = 0; k < done->n; k++) {
                has += named.in[k] && done->in[k];
            }
        }
        if (has >= wanted) {
            *ret_rule = i;
            return true;
        }
    }
    return false;
}
