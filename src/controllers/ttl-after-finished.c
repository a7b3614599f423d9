/* ttl-after-finished: Jobs that have ended and say spec.ttlSecondsAfterFinished are deleted that
 * much later, with their pods. */
#include <stdlib.h>

#include "controllers/job-private.h"

struct state {
    const struct api_resource *jobs_resource;
    struct informer *jobs;
};

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "spec.ttlSecondsAfterFinished", "status.conditions",
                                          "metadata.deletionTimestamp", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->jobs_resource = api_resource_find(STR("batch"), STR("v1"), STR("jobs"));
    struct informer_spec spec = { .resource = s->jobs_resource, .fields = fields };
    s->jobs = controller_watch(c, informers, &spec);
    return s;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const job_t *job = informer_get(s->jobs, ns, name);
    if (!job || !job->spec.has_ttl_seconds_after_finished || job->metadata.deletion_timestamp.set ||
        !job_is_finished(job)) {
        return;
    }
    const struct batch_v1_job_condition *end = job_condition(&job->status, "Complete");
    end = end ? end : job_condition(&job->status, "Failed");
    int64_t left =
        end->last_transition_time.sec + job->spec.ttl_seconds_after_finished - act_now(a);
    if (left > 0) {
        act_requeue_after(a, (uint64_t)left * 1000);
    } else {
        struct client_delete_options foreground = { .grace_seconds = -1,
                                                    .propagation = STR_INIT("Foreground") };
        act_delete(a, s->jobs_resource, ns, name, job->metadata.uid, &foreground);
    }
}

const struct controller_ops controller_ttl_after_finished = {
    .name = "ttl-after-finished-controller",
    .service_account = "ttl-after-finished-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
};
