/*
 * job: pods that run to their end ("Jobs"): spec.completions of them, spec.parallelism at a time,
 * each index once where the mode is Indexed. Failed ones are made anew after a pause that doubles,
 * until spec.backoffLimit.
 *
 * spec.podFailurePolicy, spec.successPolicy and spec.backoffLimitPerIndex are not carried out here:
 * such a Job is left alone, and an Event says so.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/json-writer.h"
#include "base/rand.h"
#include "controllers/job-private.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

/* Pods that one pass creates or deletes. */
#define BURST 500
#define BACKOFF_FIRST_S 10
#define BACKOFF_MOST_S 600
#define MANAGED_BY_US "kubernetes.io/job-controller"

/* ---- events ---- */

static void on_pod(void *data, const void *old, const void *obj)
{
    struct job_state *s = data;
    const struct core_v1_pod *was = old, *pod = obj;
    if (was) {
        owner_enqueue(s->controller, "Job", &was->metadata);
    }
    if (pod) {
        owner_enqueue(s->controller, "Job", &pod->metadata);
    }
}

/* Pods that wait for their Job to count them, by its name. */
static void waiting_by_job(const struct api_type *type UNUSED, const void *obj,
                           void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_pod *pod = obj;
    const struct meta_v1_owner_reference *o = meta_controller_of(&pod->metadata);
    if (o && str_eq_c(o->kind, "Job") && job_has_finalizer(pod)) {
        char key[600];
        snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(pod->metadata.namespace), STR_ARG(o->name));
        emit(ctx, str_c(key));
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = {
        POD_FACT_FIELDS,
        "metadata.labels",
        "metadata.annotations",
        "metadata.ownerReferences",
        "metadata.finalizers",
        "metadata.creationTimestamp",
        "spec.nodeName",
        "status.containerStatuses.restartCount",
        "status.containerStatuses.state.terminated.finishedAt",
        "status.initContainerStatuses.restartCount",
        NULL,
    };
    struct job_state *s = state_new(sizeof(*s));
    s->controller = c;
    s->jobs = informer_of_keys(c, informers, "batch", "jobs", whole_objects);
    claimable_init(&s->pods, informer_of(informers, "", "pods", pod_fields, on_pod, s));
    s->waiting = informer_index(s->pods.informer, "waiting for their job", waiting_by_job);
    s->jobs_resource = informer_resource(s->jobs);
    s->pods_resource = informer_resource(s->pods.informer);
    return s;
}

/* ---- finalizers ---- */

bool job_has_finalizer(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.n_finalizers; i++) {
        if (str_eq(pod->metadata.finalizers[i], JOB_FINALIZER)) {
            return true;
        }
    }
    return false;
}

void job_release_pod(struct job_state *s, struct actions *a, const struct core_v1_pod *pod)
{
    struct str patch = arena_printf(
        act_arena(a),
        "{\"metadata\":{\"uid\":\"%.*s\",\"$deleteFromPrimitiveList/finalizers\":[\"%.*s\"]}}",
        STR_ARG(pod->metadata.uid), STR_ARG(JOB_FINALIZER));
    act_patch(a, s->pods_resource, pod->metadata.namespace, pod->metadata.name, NULL,
              CLIENT_PATCH_STRATEGIC, patch);
    act_tolerate(a, ERR_NOT_FOUND);
}

/* The Job is gone: its pods must not wait for it to count them. */
static void release_orphans(struct job_state *s, struct str key, struct str ns, struct str name,
                            struct actions *a)
{
    const struct core_v1_pod *pod;
    bool asked = false;
    for (size_t pos = 0; (pod = informer_index_next(s->waiting, key, &pos));) {
        if (!asked) {
            act_require_absent(a, s->jobs_resource, ns, name,
                               meta_controller_of(&pod->metadata)->uid);
            asked = true;
        }
        job_release_pod(s, a, pod);
    }
}

/* ---- pods ---- */

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

static struct api_str_pair *with_pair(struct arena *arena, const struct api_str_pair *from,
                                      size_t n, struct str key, struct str value)
{
    struct api_str_pair *to = arena_new_n(arena, struct api_str_pair, n + 1);
    size_t k = 0;
    bool put = false;
    if (!to) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        if (!put && str_cmp(from[i].key, key) > 0) {
            to[k++] = (struct api_str_pair){ key, value };
            put = true;
        }
        to[k++] = from[i];
    }
    if (!put) {
        to[k++] = (struct api_str_pair){ key, value };
    }
    return to;
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
        pod->metadata.labels = with_pair(arena, m->labels, m->n_labels, JOB_INDEX_KEY, text);
        pod->metadata.annotations =
            with_pair(arena, m->annotations, m->n_annotations, JOB_INDEX_KEY, text);
        pod->metadata.n_labels++;
        pod->metadata.n_annotations++;
        pod->spec.hostname =
            pod->spec.hostname.len ? pod->spec.hostname : str_sub(base, 0, base.len - 1);
        add_index_env(arena, pod->spec.containers, pod->spec.n_containers);
        add_index_env(arena, pod->spec.init_containers, pod->spec.n_init_containers);
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

/* Deletes at most 'n' active pods: those first that have come least far. 'uncounted': they have not
 * failed, they are only not wanted any more. */
static void delete_active(struct job_pass *p, int32_t n, bool uncounted)
{
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < p->pods.n && n > 0; i++) {
            const struct core_v1_pod *pod = p->pods.items[i];
            int far = pod_is_ready(pod) ? 2 : pod->spec.node_name.len ? 1 : 0;
            if (pod_is_active(pod) && far == round) {
                if (uncounted && job_has_finalizer(pod)) {
                    job_release_pod(p->s, p->a, pod);
                }
                act_delete(p->a, p->s->pods_resource, pod->metadata.namespace, pod->metadata.name,
                           pod->metadata.uid, NULL);
                act_event_after(p->a, p->s->jobs_resource, p->job, "Normal", "SuccessfulDelete",
                                "Deleted pod: %.*s", STR_ARG(pod->metadata.name));
                n--;
            }
        }
    }
}

/* How long to wait before pods are made after failures: 10 s, doubled by each, at most ten minutes.
 */
static int64_t pause_left(const struct job_pass *p)
{
    int64_t pause = BACKOFF_FIRST_S;
    if (p->failed == 0 || p->last_failure_s == 0) {
        return 0;
    }
    for (int32_t i = 1; i < p->failed && pause < BACKOFF_MOST_S; i++) {
        pause *= 2;
    }
    return MAX(p->last_failure_s + MIN(pause, (int64_t)BACKOFF_MOST_S) - act_now(p->a), (int64_t)0);
}

static void create_indexed(struct job_pass *p, int32_t n)
{
    uint8_t *taken = arena_alloc(act_arena(p->a), (size_t)MAX(p->done.n, 1));
    if (!taken) {
        abort();
    }
    memcpy(taken, p->done.in, (size_t)p->done.n);
    for (size_t i = 0; i < p->pods.n; i++) {
        const struct core_v1_pod *pod = p->pods.items[i];
        int32_t index = job_index_of(pod, p->done.n);
        bool waits =
            pod_is_terminating(pod) && str_eq_c(p->job->spec.pod_replacement_policy, "Failed");
        if (index >= 0 && (pod_is_active(pod) || waits)) {
            taken[index] = 1;
        }
    }
    for (int32_t i = 0; i < p->done.n && n > 0; i++) {
        if (!taken[i]) {
            create_pod(p, i);
            n--;
        }
    }
}

static void manage(struct job_pass *p)
{
    int32_t parallelism = p->job->spec.has_parallelism ? p->job->spec.parallelism : 1,
            want = parallelism;
    if (!p->job->spec.has_completions) {
        want = p->succeeded > 0 ? MIN(p->active, parallelism) : parallelism;
    } else {
        want = MIN(parallelism, MAX(p->job->spec.completions - p->succeeded, 0));
    }
    int32_t missing = want - p->active;
    if (str_eq_c(p->job->spec.pod_replacement_policy, "Failed")) {
        missing -= p->terminating;
    }
    if (p->active > want) {
        delete_active(p, MIN(p->active - want, BURST), true);
        return;
    }
    if (missing <= 0) {
        return;
    }
    int64_t left = pause_left(p);
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

static void suspend(struct job_pass *p)
{
    if (!job_condition(&p->st, "Suspended") ||
        !str_eq_c(job_condition(&p->st, "Suspended")->status, "True")) {
        act_event(p->a, p->s->jobs_resource, p->job, "Normal", "Suspended", "Job suspended");
    }
    job_set_condition(p, "Suspended", "True", "JobSuspended", "Job suspended");
    p->st.start_time = (struct api_time){ 0 };
    delete_active(p, p->active, true);
}

static bool is_ours(struct job_state *s, const job_t *job, struct actions *a)
{
    const struct batch_v1_job_spec *spec = &job->spec;
    if (spec->managed_by.len && !str_eq_c(spec->managed_by, MANAGED_BY_US)) {
        return false;
    }
    const char *left_out = spec->pod_failure_policy            ? "podFailurePolicy"
                           : spec->success_policy              ? "successPolicy"
                           : spec->has_backoff_limit_per_index ? "backoffLimitPerIndex"
                                                               : NULL;
    if (left_out) {
        act_event(a, s->jobs_resource, job, "Warning", "NotSupported",
                  "spec.%s is not carried out by this controller: the Job is left alone", left_out);
    }
    return !left_out;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct job_state *s = state;
    struct str ns, name;
    struct selector selector;
    str_cut(key, '/', &ns, &name);
    const job_t *job = informer_get(s->jobs, ns, name);
    if (!job) {
        release_orphans(s, key, ns, name, a);
        return;
    }
    if (!selector_from_label_selector(act_arena(a), job->spec.selector, &selector, NULL) ||
        !is_ours(s, job, a)) {
        return;
    }
    struct job_pass p = { .s = s,
                          .a = a,
                          .job = job,
                          .owner = owner_reference(act_arena(a), s->jobs_resource, &job->metadata),
                          .st = job->status };
    bool deleting = job->metadata.deletion_timestamp.set;
    p.pods = owner_claim(a, &s->pods, &p.owner, ns, &selector, deleting);
    p.indexed = str_eq_c(job->spec.completion_mode, "Indexed") && job->spec.has_completions;
    if (job_is_finished(job)) {
        for (size_t i = 0; i < p.pods.n; i++) {
            if (job_has_finalizer(p.pods.items[i])) {
                job_release_pod(s, a, p.pods.items[i]);
            }
        }
        return;
    }
    bool suspended = job->spec.has_suspend && job->spec.suspend;
    if (!p.st.start_time.set && !suspended) {
        p.st.start_time = (struct api_time){ .sec = act_now(a), .set = true };
    }
    bool goes_on = job_count(&p);
    if (!goes_on) {
        delete_active(&p, p.active, false);
    } else if (suspended) {
        suspend(&p);
    } else if (!deleting) {
        if (job_condition(&p.st, "Suspended") &&
            str_eq_c(job_condition(&p.st, "Suspended")->status, "True")) {
            job_set_condition(&p, "Suspended", "False", "JobResumed", "Job resumed");
            act_event(a, s->jobs_resource, job, "Normal", "Resumed", "Job resumed");
        }
        manage(&p);
    }
    job_write_status(&p);
}

const struct controller_ops controller_job = {
    .name = "job-controller",
    .service_account = "job-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
