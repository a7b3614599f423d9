/*
 * Which pods a Job needs ("Jobs": "Parallel execution", "Backoff limit per index", "Pod replacement
 * policy"). Failed ones are made anew after a pause that doubles: of the whole Job, or of each index
 * where each has its own limit.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "base/rand.h"
#include "controllers/job-private.h"
#include "controllers/pod-facts.h"

/* Pods that one pass creates or deletes. */
#define BURST 500
#define BACKOFF_FIRST_S 10
#define BACKOFF_MOST_S 600

/* ---- making one ---- */

static void add_index_env(struct arena *arena, struct core_v1_container *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct core_v1_container *c = &list[i];
        struct core_v1_env_var *all = arena_new_n(arena, struct core_v1_env_var, c->n_env + 1);
        struct core_v1_env_var_source *source = arena_new(arena, struct core_v1_env_var_source);
        struct core_v1_object_field_selector *field =
            arena_new(arena, struct core_v1_object_field_selector);
        bool there = false;
        if (!all || !source || !field) {
            abort();
        }
        for (size_t k = 0; k < c->n_env; k++) {
            all[k] = c->env[k];
            there = there || str_eq_c(c->env[k].name, "JOB_COMPLETION_INDEX");
        }
        if (there) {
            continue;
        }
        field->field_path = STR("metadata.labels['batch.kubernetes.io/job-completion-index']");
        source->field_ref = field;
        all[c->n_env] =
            (struct core_v1_env_var){ .name = STR("JOB_COMPLETION_INDEX"), .value_from = source };
        c->env = all;
        c->n_env++;
    }
}

/* 'index' -1: the mode has none. */
static void create_pod(struct job_pass *p, int32_t index)
{
    struct arena *arena = act_arena(p->a);
    const struct meta_v1_object_meta *m = &p->job->spec.template.metadata;
    struct core_v1_pod *pod = arena_new(arena, struct core_v1_pod);
    struct str *finalizers = arena_new_n(arena, struct str, m->n_finalizers + 1);
    char suffix[6];
    if (!pod || !finalizers ||
        !api_copy_into(arena, &core_v1_pod_spec_type, &p->job->spec.template.spec, &pod->spec,
                       false)) {
        abort();
    }
    rand_suffix(suffix, 5); /* chosen here, so that the event can say it */
    struct str base =
        index < 0 ? arena_printf(arena, "%.*s-", STR_ARG(str_sub(p->job->metadata.name, 0, 57)))
                  : arena_printf(arena, "%.*s-%d-", STR_ARG(str_sub(p->job->metadata.name, 0, 46)),
                                 index);
    pod->metadata.generate_name = base;
    pod->metadata.name = arena_printf(arena, "%.*s%s", STR_ARG(base), suffix);
    pod->metadata.labels = m->labels;
    pod->metadata.n_labels = m->n_labels;
    pod->metadata.annotations = m->annotations;
    pod->metadata.n_annotations = m->n_annotations;
    if (index >= 0) {
        struct str text = arena_printf(arena, "%d", index);
        pod->metadata.labels = pairs_with(arena, m->labels, m->n_labels, JOB_INDEX_KEY, text,
                                          &pod->metadata.n_labels);
        pod->metadata.annotations = pairs_with(arena, m->annotations, m->n_annotations,
                                               JOB_INDEX_KEY, text, &pod->metadata.n_annotations);
        pod->spec.hostname =
            pod->spec.hostname.len ? pod->spec.hostname : str_sub(base, 0, base.len - 1);
        add_index_env(arena, pod->spec.containers, pod->spec.n_containers);
        add_index_env(arena, pod->spec.init_containers, pod->spec.n_init_containers);
    }
    if (p->per_index) {
        job_note_failures(arena, &pod->metadata, job_failures_with(p->job, p->kept[index]));
    }
    for (size_t i = 0; i < m->n_finalizers; i++) {
        finalizers[i] = m->finalizers[i];
    }
    finalizers[m->n_finalizers] = JOB_FINALIZER;
    pod->metadata.finalizers = finalizers;
    pod->metadata.n_finalizers = m->n_finalizers + 1;
    pod->metadata.owner_references = &p->owner;
    pod->metadata.n_owner_references = 1;
    act_create(p->a, p->s->pods_resource, p->job->metadata.namespace, pod);
    act_event_after(p->a, p->s->jobs_resource, p->job, "Normal", "SuccessfulCreate",
                    "Created pod: %.*s", STR_ARG(pod->metadata.name));
    act_event_on_failure(p->a, p->s->jobs_resource, p->job, "Warning", "FailedCreate",
                         "Error creating");
}

/* ---- those that are too many ---- */

static void delete_pod(struct job_pass *p, const struct core_v1_pod *pod, bool uncounted)
{
    if (uncounted && job_has_finalizer(pod)) {
        job_release_pod(p->s, p->a, pod);
    }
    act_delete(p->a, p->s->pods_resource, pod->metadata.namespace, pod->metadata.name,
               pod->metadata.uid, NULL);
    act_event_after(p->a, p->s->jobs_resource, p->job, "Normal", "SuccessfulDelete",
                    "Deleted pod: %.*s", STR_ARG(pod->metadata.name));
}

void job_delete_active(struct job_pass *p, bool uncounted)
{
    for (size_t i = 0; i < p->pods.n; i++) {
        if (pod_is_active(p->pods.items[i])) {
            delete_pod(p, p->pods.items[i], uncounted);
        }
    }
}

static int how_far(const struct core_v1_pod *pod)
{
    return pod_is_ready(pod) ? 2 : pod->spec.node_name.len ? 1 : 0;
}

/* Marks the active pods that no index needs: without one, of one that is not wanted any more, and all but the furthest of
 * one index. */
static int32_t mark_superfluous(struct job_pass *p, bool *marks)
{
    int32_t n = 0;
    size_t *of = arena_new_n(act_arena(p->a), size_t, (size_t)MAX(p->done.n, 1));
    if (!of) {
        abort();
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int32_t index = job_index_of(pod, p->done.n);
        if (!pod_is_active(pod)) {
            continue;
        }
        size_t worse = i;
        if (index >= 0 && !of[index]) {
            of[index] = i + 1;
            continue;
        }
        if (index >= 0 && how_far(pod) > how_far(p->pods.items[of[index] - 1])) {
            worse = of[index] - 1;
            of[index] = i + 1;
        }
        marks[worse] = true;
        n++;
    }
    return n;
}

/* Deletes what is too many: those first that have come least far. True when there was something. */
static bool delete_surplus(struct job_pass *p, int32_t want)
{
    bool *marks = arena_new_n(act_arena(p->a), bool, p->pods.n + 1);
    if (!marks) {
        abort();
    }
    int32_t n = p->indexed ? mark_superfluous(p, marks) : 0;
    for (int far = 0; far <= 2; far++) {
        for (size_t i = 0; i < p->pods.n && n < p->active - want; i++) {
            if (!marks[i] && pod_is_active(p->pods.items[i]) &&
                how_far(p->pods.items[i]) == far) {
                marks[i] = true;
                n++;
            }
        }
    }
    int32_t left = MIN(n, BURST);
    for (size_t i = 0; i < p->pods.n && left > 0; i++) {
        if (marks[i]) {
            delete_pod(p, p->pods.items[i], true);
            left--;
        }
    }
    return n > 0;
}

/* ---- those that are missing ---- */

/* Seconds until pods may be made after so many failures: 10 s, doubled by each, at most ten minutes. */
static int64_t pause_left(const struct job_pass *p, int64_t failures, int64_t last_s)
{
    int64_t pause = BACKOFF_FIRST_S;
    if (failures <= 0 || last_s == 0) {
        return 0;
    }
    for (int64_t i = 1; i < failures && pause < BACKOFF_MOST_S; i++) {
        pause *= 2;
    }
    return MAX(last_s + MIN(pause, (int64_t)BACKOFF_MOST_S) - act_now(p->a), (int64_t)0);
}

static int64_t index_pause_left(const struct job_pass *p, int32_t index)
{
    const struct core_v1_pod *failed = p->per_index ? p->kept[index] : NULL;
    struct job_index_failures f = job_failures_with(p->job, failed);
    return failed ? pause_left(p, (int64_t)f.counted + f.ignored, job_pod_ended_s(failed)) : 0;
}

static void create_indexed(struct job_pass *p, int32_t n)
{
    struct job_indexes taken = job_indexes_new(act_arena(p->a), p->done.n);
    int64_t soonest = 0;
    for (int32_t i = 0; i < taken.n; i++) {
        taken.in[i] = p->done.in[i] || (p->per_index && p->lost.in[i]);
    }
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int32_t index = job_index_of(pod, taken.n);
        if (index >= 0 &&
            (pod_is_active(pod) || (p->replaces_failed_only && pod_is_terminating(pod)))) {
            taken.in[index] = 1;
        }
    }
    for (int32_t i = 0; i < taken.n && n > 0; i++) {
        if (taken.in[i]) {
            continue;
        }
        int64_t left = index_pause_left(p, i);
        if (left == 0) {
            create_pod(p, i);
        } else {
            soonest = soonest ? MIN(soonest, left) : left;
        }
        n--;
    }
    if (soonest) {
        act_requeue_after(p->a, (uint64_t)soonest * 1000);
    }
}

void job_manage_pods(struct job_pass *p)
{
    const struct batch_v1_job_spec *spec = &p->job->spec;
    int32_t parallelism = spec->has_parallelism ? spec->parallelism : 1, want = parallelism;
    if (!spec->has_completions) {
        want = p->succeeded > 0 ? MIN(p->active, parallelism) : parallelism;
    } else {
        want = MIN(parallelism, MAX(spec->completions - p->succeeded, 0));
    }
    if (delete_surplus(p, want)) {
        return;
    }
    int32_t missing = want - p->active - (p->replaces_failed_only ? p->terminating : 0);
    if (missing <= 0) {
        return;
    }
    int64_t left = p->per_index ? 0 : pause_left(p, p->failures_in_row, p->last_failure_s);
    if (left > 0) {
        act_requeue_after(p->a, (uint64_t)left * 1000);
        return;
    }
    missing = MIN(missing, BURST);
    if (p->indexed) {
        create_indexed(p, missing);
    } else {
        for (int32_t i = 0; i < missing; i++) {
            create_pod(p, -1);
        }
    }
}
