/*
 * job: pods that run to their end ("Jobs"): spec.completions of them, spec.parallelism at a time,
 * each index once where the mode is Indexed. This file is one pass over one Job; job-private.h tells
 * what the others are for.
 */
#include <stdlib.h>

#include "controllers/job-private.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

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
        "metadata.deletionGracePeriodSeconds",
        "spec.nodeName",
        /* What failure policies may name; every pod has those that are left out, whether it fails or not. */
        "status.conditions[!PodScheduled|PodReadyToStartContainers|Initialized|ContainersReady]",
        "status.containerStatuses.name",
        "status.containerStatuses.restartCount",
        "status.containerStatuses.state.terminated.exitCode",
        "status.containerStatuses.state.terminated.finishedAt",
        "status.initContainerStatuses.name",
        "status.initContainerStatuses.restartCount",
        "status.initContainerStatuses.state.terminated.exitCode",
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

static void suspend(struct job_pass *p)
{
    if (job_set_condition(p, "Suspended", "True", STR("JobSuspended"), STR("Job suspended"))) {
        act_event(p->a, p->s->jobs_resource, p->job, "Normal", "Suspended", "Job suspended");
    }
    p->st.start_time = (struct api_time){ 0 };
    job_delete_active(p, true);
}

static void resume(struct job_pass *p)
{
    if (job_is(&p->st, "Suspended")) {
        (void)job_set_condition(p, "Suspended", "False", STR("JobResumed"), STR("Job resumed"));
        act_event(p->a, p->s->jobs_resource, p->job, "Normal", "Resumed", "Job resumed");
        p->st.start_time = (struct api_time){ .sec = act_now(p->a), .set = true };
    }
    job_manage_pods(p);
}

static bool is_ours(struct job_state *s, const job_t *job, struct actions *a)
{
    if (job->spec.managed_by.len && !str_eq_c(job->spec.managed_by, MANAGED_BY_US)) {
        return false;
    }
    if (job->spec.completions > JOB_COMPLETIONS_MOST &&
        str_eq_c(job->spec.completion_mode, "Indexed")) {
        act_event(a, s->jobs_resource, job, "Warning", "TooManyCompletions",
                  "An indexed Job has at most %d completions here: it is left alone",
                  JOB_COMPLETIONS_MOST);
        return false;
    }
    return true;
}

static void release_all(struct job_pass *p)
{
    for (size_t i = 0; i < p->pods.n; i++) {
        if (job_has_finalizer(p->pods.items[i])) {
            job_release_pod(p->s, p->a, p->pods.items[i]);
        }
    }
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
    if (p.pods.adopts) {
        return; /* the next pass counts them */
    }
    p.indexed = str_eq_c(job->spec.completion_mode, "Indexed") && job->spec.has_completions;
    p.per_index = p.indexed && job->spec.has_backoff_limit_per_index;
    p.replaces_failed_only = str_eq_c(job->spec.pod_replacement_policy, "Failed");
    if (job_is_finished(job)) {
        release_all(&p);
        return;
    }
    bool suspended = job->spec.has_suspend && job->spec.suspend;
    if (!p.st.start_time.set && !suspended) {
        p.st.start_time = (struct api_time){ .sec = act_now(a), .set = true };
    }
    job_count(&p);
    bool goes_on = job_goes_on(&p);
    job_note_ended(&p);
    if (!goes_on) {
        job_delete_active(&p, false);
    } else if (suspended && !deleting) {
        suspend(&p);
    } else if (!deleting) {
        resume(&p);
    }
    job_conclude(&p);
    job_write_status(&p);
}

const struct controller_ops controller_job = {
    .name = "job-controller",
    .service_account = "job-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
