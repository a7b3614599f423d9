/* cronjob: makes Jobs by a schedule ("CronJob"), as many beside one another as the concurrency
 * policy lets it, and keeps the last few. */
#include <stdlib.h>

#include "api/equal.h"
#include "api/gen/batch_v1.h"
#include "base/clock.h"
#include "controllers/controllers.h"
#include "controllers/cron-schedule.h"
#include "controllers/job-private.h"
#include "controllers/owner.h"
#include "controllers/setup.h"

#define SCHEDULED_ANNOTATION STR("batch.kubernetes.io/cronjob-scheduled-timestamp")
/* More missed starts than this are told: a clock that was wrong, or a very long absence. */
#define MISSED_MOST 100

typedef struct batch_v1_cron_job cron_job_t;

struct state {
    struct controller *controller;
    const struct api_resource *crons_resource, *jobs_resource;
    struct informer *crons, *jobs;
    struct informer_index *jobs_by_owner;
};

static void on_job(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const job_t *job = obj ? obj : old;
    owner_enqueue(s->controller, "CronJob", &job->metadata);
}

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->crons = informer_of_keys(c, informers, "batch", "cronjobs", whole_objects);
    s->jobs = informer_of(informers, "batch", "jobs", whole_objects, on_job, s);
    controller_needs(c, s->jobs);
    s->jobs_by_owner = informer_index(s->jobs, "controller", informer_by_controller_uid);
    s->crons_resource = informer_resource(s->crons);
    s->jobs_resource = informer_resource(s->jobs);
    return s;
}

struct pass {
    struct state *s;
    struct actions *a;
    const cron_job_t *cron;
    const job_t **jobs;
    size_t n_jobs;
    struct batch_v1_cron_job_status st;
};

/* ---- the Jobs that are there ---- */

static int by_start(const void *va, const void *vb)
{
    const job_t *a = *(const job_t *const *)va, *b = *(const job_t *const *)vb;
    int64_t x = a->metadata.creation_timestamp.sec, y = b->metadata.creation_timestamp.sec;
    return x != y ? (x < y ? -1 : 1) : str_cmp(a->metadata.name, b->metadata.name);
}

static void delete_job(struct pass *p, const job_t *job)
{
    struct client_delete_options background = { .grace_seconds = -1,
                                                .propagation = STR_INIT("Background") };
    act_delete(p->a, p->s->jobs_resource, job->metadata.namespace, job->metadata.name,
               job->metadata.uid, &background);
    act_event_after(p->a, p->s->crons_resource, p->cron, "Normal", "SuccessfulDelete",
                    "Deleted job %.*s", STR_ARG(job->metadata.name));
}

/* Ended ones beyond the limit go, the oldest first. */
static void clean(struct pass *p, bool complete, int32_t limit)
{
    int32_t n = 0;
    for (size_t i = p->n_jobs; i > 0; i--) {
        const job_t *job = p->jobs[i - 1];
        bool is_complete = job_condition(&job->status, "Complete") != NULL;
        if (job_is_finished(job) && is_complete == complete &&
            !job->metadata.deletion_timestamp.set && n++ >= limit) {
            delete_job(p, job);
        }
    }
}

static void look_at_jobs(struct pass *p)
{
    struct core_v1_object_reference *active =
        arena_new_n(act_arena(p->a), struct core_v1_object_reference, p->n_jobs + 1);
    size_t n = 0;
    if (!active) {
        abort();
    }
    for (size_t i = 0; i < p->n_jobs; i++) {
        const job_t *job = p->jobs[i];
        if (!job_is_finished(job)) {
            active[n++] = (struct core_v1_object_reference){ .kind = STR("Job"),
                                                             .api_version = STR("batch/v1"),
                                                             .namespace = job->metadata.namespace,
                                                             .name = job->metadata.name,
                                                             .uid = job->metadata.uid };
        } else if (job->status.completion_time.set &&
                   job->status.completion_time.sec > p->st.last_successful_time.sec) {
            p->st.last_successful_time = job->status.completion_time;
        }
    }
    p->st.active = n ? active : NULL;
    p->st.n_active = n;
    clean(p, true,
          p->cron->spec.has_successful_jobs_history_limit
              ? p->cron->spec.successful_jobs_history_limit
              : 3);
    clean(p, false,
          p->cron->spec.has_failed_jobs_history_limit ? p->cron->spec.failed_jobs_history_limit
                                                      : 1);
}

/* ---- the next one ---- */

static void create_job(struct pass *p, int64_t at)
{
    struct arena *arena = act_arena(p->a);
    const struct batch_v1_job_template_spec *t = &p->cron->spec.job_template;
    job_t job = { .spec = t->spec };
    struct api_str_pair *annotations =
        arena_new_n(arena, struct api_str_pair, t->metadata.n_annotations + 1);
    struct meta_v1_owner_reference *owner = arena_new(arena, struct meta_v1_owner_reference);
    char text[CLOCK_RFC3339_SIZE];
    size_t n = 0;
    if (!annotations || !owner) {
        abort();
    }
    clock_format_rfc3339(at, 0, 0, text);
    *owner = owner_reference(arena, p->s->crons_resource, &p->cron->metadata);
    for (size_t i = 0; i < t->metadata.n_annotations; i++) {
        if (!str_eq(t->metadata.annotations[i].key, SCHEDULED_ANNOTATION)) {
            annotations[n++] = t->metadata.annotations[i];
        }
    }
    annotations[n++] = (struct api_str_pair){ SCHEDULED_ANNOTATION, arena_str(arena, str_c(text)) };
    job.metadata.name =
        arena_printf(arena, "%.*s-%lld", STR_ARG(p->cron->metadata.name), (long long)(at / 60));
    job.metadata.namespace = p->cron->metadata.namespace;
    job.metadata.labels = t->metadata.labels;
    job.metadata.n_labels = t->metadata.n_labels;
    job.metadata.annotations = annotations;
    job.metadata.n_annotations = n;
    job.metadata.owner_references = owner;
    job.metadata.n_owner_references = 1;
    /* The name is that of the time: a second try cannot make a second Job. */
    act_create(p->a, p->s->jobs_resource, job.metadata.namespace, &job);
    act_tolerate(p->a, ERR_ALREADY_EXISTS);
    act_event_after(p->a, p->s->crons_resource, p->cron, "Normal", "SuccessfulCreate",
                    "Created job %.*s", STR_ARG(job.metadata.name));
    act_event_on_failure(p->a, p->s->crons_resource, p->cron, "Warning", "FailedCreate",
                         "Error creating job");
    p->st.last_schedule_time = (struct api_time){ .sec = at, .set = true };
    act_barrier(p->a); /* the time is written down when the Job is there */
}

/* The newest time that has come and was not served, or 0; '*ret_next' the one after now. */
static int64_t due(struct pass *p, const struct cron_schedule *schedule, int64_t *ret_next)
{
    const struct batch_v1_cron_job_spec *spec = &p->cron->spec;
    int64_t now = act_now(p->a), from = p->st.last_schedule_time.set
                                            ? p->st.last_schedule_time.sec
                                            : p->cron->metadata.creation_timestamp.sec;
    int64_t found = 0;
    int missed = 0;
    if (spec->has_starting_deadline_seconds) {
        from = MAX(from, now - spec->starting_deadline_seconds);
    }
    int64_t t = cron_next(schedule, from);
    while (t && t <= now) {
        found = t;
        missed++;
        if (missed > MISSED_MOST) { /* not one by one through a year of minutes: from the last
                                       hours, then days, then weeks */
            static const int64_t spans[] = { 2 * 3600, 2 * 86400, 32 * 86400, 366 * 86400 };
            for (size_t i = 0; i < ARRAY_SIZE(spans) && missed > MISSED_MOST; i++) {
                int64_t near = now - spans[i] > found ? cron_next(schedule, now - spans[i]) : 0;
                for (; near && near <= now; near = cron_next(schedule, near)) {
                    found = near;
                    missed = 0;
                }
            }
            act_event(p->a, p->s->crons_resource, p->cron, "Warning", "TooManyMissedTimes",
                      "too many missed start times. Set or decrease .spec.startingDeadlineSeconds "
                      "or check clock skew");
            t = cron_next(schedule, found);
            missed = -1000000; /* said once */
            continue;
        }
        t = cron_next(schedule, t);
    }
    *ret_next = t;
    return found;
}

static void schedule_next(struct pass *p)
{
    const struct batch_v1_cron_job_spec *spec = &p->cron->spec;
    struct cron_schedule schedule;
    struct err err;
    int64_t next;
    if (!cron_parse(spec->schedule, spec->time_zone, &schedule, &err)) {
        act_event(p->a, p->s->crons_resource, p->cron, "Warning",
                  strstr(err.msg, "time zone") ? "UnknownTimeZone" : "UnparseableSchedule", "%s",
                  err.msg);
        return;
    }
    int64_t at = due(p, &schedule, &next);
    if (next) {
        act_requeue_after(p->a, (uint64_t)(next - act_now(p->a)) * 1000);
    }
    if (!at) {
        return;
    }
    if (str_eq_c(spec->concurrency_policy, "Forbid") && p->st.n_active > 0) {
        act_event(
            p->a, p->s->crons_resource, p->cron, "Normal", "JobAlreadyActive",
            "Not starting job because prior execution is running and concurrency policy is Forbid");
        return; /* its end brings the next pass */
    }
    if (str_eq_c(spec->concurrency_policy, "Replace")) {
        for (size_t i = 0; i < p->n_jobs; i++) {
            if (!job_is_finished(p->jobs[i]) && !p->jobs[i]->metadata.deletion_timestamp.set) {
                delete_job(p, p->jobs[i]);
            }
        }
    }
    create_job(p, at);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const cron_job_t *cron = informer_get(s->crons, ns, name);
    const job_t *job;
    if (!cron) {
        return;
    }
    struct pass p = { .s = s,
                      .a = a,
                      .cron = cron,
                      .st = cron->status,
                      .jobs =
                          arena_new_n(act_arena(a), const job_t *, informer_count(s->jobs) + 1) };
    if (!p.jobs) {
        abort();
    }
    for (size_t pos = 0; (job = informer_index_next(s->jobs_by_owner, cron->metadata.uid, &pos));) {
        p.jobs[p.n_jobs++] = job;
    }
    qsort(p.jobs, p.n_jobs, sizeof(*p.jobs), by_start);
    look_at_jobs(&p);
    if (!cron->metadata.deletion_timestamp.set && !(cron->spec.has_suspend && cron->spec.suspend)) {
        schedule_next(&p);
    }
    cron_job_t changed = *cron;
    changed.status = p.st;
    if (!api_equal_field(&batch_v1_cron_job_type, "status", cron, &changed)) {
        act_update_sub(a, s->crons_resource, "status", &changed);
    }
}

const struct controller_ops controller_cronjob = {
    .name = "cronjob-controller",
    .service_account = "cronjob-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
