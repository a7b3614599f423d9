/* The status of a Deployment: counts, Available and Progressing, and its revision. */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "base/clock.h"
#include "controllers/deployment-private.h"

static struct apps_v1_deployment_condition *find_condition(struct apps_v1_deployment_status *s,
                                                           struct str type)
{
    for (size_t i = 0; i < s->n_conditions; i++) {
        if (str_eq(s->conditions[i].type, type)) {
            return &s->conditions[i];
        }
    }
    return NULL;
}

/* Sets a condition. The same status and reason leave it alone; the same status keeps its transition
 * time. */
static void set_condition(struct rollout *r, struct apps_v1_deployment_status *s, const char *type,
                          const char *status, struct str reason, struct str message)
{
    struct api_time now = { .sec = act_now(r->a), .set = true };
    struct apps_v1_deployment_condition *c = find_condition(s, str_c(type));
    if (c && str_eq(c->status, str_c(status)) && str_eq(c->reason, reason)) {
        return;
    }
    struct apps_v1_deployment_condition fresh = {
        .type = str_c(type),
        .status = str_c(status),
        .reason = reason,
        .message = message,
        .last_update_time = now,
        .last_transition_time =
            c && str_eq(c->status, str_c(status)) ? c->last_transition_time : now,
    };
    /* A changed condition goes to the end, as upstream filters and appends. */
    struct apps_v1_deployment_condition *all =
        arena_new_n(act_arena(r->a), struct apps_v1_deployment_condition, s->n_conditions + 1);
    size_t n = 0;
    if (!all) {
        abort();
    }
    for (size_t i = 0; i < s->n_conditions; i++) {
        if (!str_eq(s->conditions[i].type, str_c(type))) {
            all[n++] = s->conditions[i];
        }
    }
    all[n++] = fresh;
    s->conditions = all;
    s->n_conditions = n;
}

static void count(struct rollout *r, struct apps_v1_deployment_status *s)
{
    s->observed_generation = r->d->metadata.generation;
    s->replicas = s->updated_replicas = s->ready_replicas = s->available_replicas =
        s->terminating_replicas = 0;
    for (size_t i = 0; i <= r->n_old; i++) {
        const struct apps_v1_replica_set *rs = i < r->n_old ? r->old[i] : r->new_set;
        if (rs) {
            s->replicas += rs->status.replicas;
            s->ready_replicas += rs->status.ready_replicas;
            s->available_replicas += rs->status.available_replicas;
            s->terminating_replicas += rs->status.terminating_replicas;
        }
    }
    s->updated_replicas = r->new_set ? r->new_set->status.replicas : 0;
    s->has_terminating_replicas = true;
    s->unavailable_replicas = MAX(rollout_total(r) - s->available_replicas, 0);
    s->collision_count = r->collisions;
    s->has_collision_count = r->collided;
}

static bool is_complete(const struct rollout *r, const struct apps_v1_deployment_status *s)
{
    return s->updated_replicas == r->replicas && s->replicas == r->replicas &&
           s->available_replicas == r->replicas &&
           s->observed_generation >= r->d->metadata.generation;
}

/* Did this status move on from the last one that was written? */
static bool is_progressing(const struct rollout *r, const struct apps_v1_deployment_status *s)
{
    const struct apps_v1_deployment_status *old = &r->d->status;
    int32_t old_rest = old->replicas - old->updated_replicas,
            rest = s->replicas - s->updated_replicas;
    return s->updated_replicas > old->updated_replicas || rest < old_rest ||
           s->ready_replicas > old->ready_replicas ||
           s->available_replicas > old->available_replicas;
}

static struct str set_name(const struct rollout *r)
{
    return r->new_set ? r->new_set->metadata.name : STR_NULL;
}

/* How long until progressDeadlineSeconds are over, in seconds; 0: they are; -1: no deadline
 * applies. */
static int64_t deadline_in(const struct rollout *r, struct apps_v1_deployment_status *s)
{
    const struct apps_v1_deployment_condition *c = find_condition(s, STR("Progressing"));
    if (!r->d->spec.has_progress_deadline_seconds ||
        r->d->spec.progress_deadline_seconds == INT32_MAX || !c ||
        str_eq(c->reason, STR("NewReplicaSetAvailable"))) {
        return -1;
    }
    if (str_eq(c->reason, STR("ProgressDeadlineExceeded"))) {
        return 0;
    }
    int64_t left = c->last_update_time.sec + r->d->spec.progress_deadline_seconds - act_now(r->a);
    return MAX(left, (int64_t)0);
}

static void progress(struct rollout *r, struct apps_v1_deployment_status *s)
{
    struct arena *a = act_arena(r->a);
    const struct apps_v1_deployment_condition *now = find_condition(s, STR("Progressing"));
    bool was_complete = now && s->replicas == s->updated_replicas &&
                        str_eq(now->reason, STR("NewReplicaSetAvailable"));
    if (!r->d->spec.has_progress_deadline_seconds ||
        r->d->spec.progress_deadline_seconds == INT32_MAX) {
        return;
    }
    if (r->progress_reason.ptr) {
        set_condition(r, s, "Progressing", r->progress_failed ? "False" : "True",
                      r->progress_reason, r->progress_message);
    }
    if (r->d->spec.paused) {
        set_condition(r, s, "Progressing", "Unknown", STR("DeploymentPaused"),
                      STR("Deployment is paused"));
        return;
    }
    if (now && str_eq(now->reason, STR("DeploymentPaused"))) {
        set_condition(r, s, "Progressing", "Unknown", STR("DeploymentResumed"),
                      STR("Deployment is resumed"));
    }
    if (was_complete && !r->wrote) {
        return;
    }
    struct str name = set_name(r), dname = r->d->metadata.name;
    if (is_complete(r, s)) {
        set_condition(r, s, "Progressing", "True", STR("NewReplicaSetAvailable"),
                      name.len ? arena_printf(a, "ReplicaSet \"%.*s\" has successfully progressed.",
                                              STR_ARG(name))
                               : arena_printf(a, "Deployment \"%.*s\" has successfully progressed.",
                                              STR_ARG(dname)));
    } else if (is_progressing(r, s)) {
        struct str text =
            name.len ? arena_printf(a, "ReplicaSet \"%.*s\" is progressing.", STR_ARG(name))
                     : arena_printf(a, "Deployment \"%.*s\" is progressing.", STR_ARG(dname));
        struct apps_v1_deployment_condition *c = find_condition(s, STR("Progressing"));
        if (c && str_eq(c->status, STR("True"))) {
            /* Progress moves the deadline: the update time is new, the transition is not. */
            c->reason = STR("ReplicaSetUpdated");
            c->message = text;
            c->last_update_time = (struct api_time){ .sec = act_now(r->a), .set = true };
        } else {
            set_condition(r, s, "Progressing", "True", STR("ReplicaSetUpdated"), text);
        }
    } else if (deadline_in(r, s) == 0) {
        set_condition(r, s, "Progressing", "False", STR("ProgressDeadlineExceeded"),
                      name.len ? arena_printf(a, "ReplicaSet \"%.*s\" has timed out progressing.",
                                              STR_ARG(name))
                               : arena_printf(a, "Deployment \"%.*s\" has timed out progressing.",
                                              STR_ARG(dname)));
    }
}

void rollout_write_status(struct rollout *r)
{
    struct arena *a = act_arena(r->a);
    struct apps_v1_deployment *copy = arena_new(a, struct apps_v1_deployment);
    if (!copy || !api_copy_into(a, &apps_v1_deployment_type, r->d, copy, false)) {
        abort();
    }
    struct apps_v1_deployment_status *s = &copy->status;
    count(r, s);
    if (s->available_replicas >= r->replicas - r->max_unavailable) {
        set_condition(r, s, "Available", "True", STR("MinimumReplicasAvailable"),
                      STR("Deployment has minimum availability."));
    } else {
        set_condition(r, s, "Available", "False", STR("MinimumReplicasUnavailable"),
                      STR("Deployment does not have minimum availability."));
    }
    progress(r, s);
    if (r->new_set || r->progress_reason.ptr) {
        rollout_set_revision(r, &copy->metadata);
    }
    if (!api_equal_field(&apps_v1_deployment_type, "status", r->d, copy) ||
        !api_equal_field(&apps_v1_deployment_type, "metadata", r->d, copy)) {
        act_update_sub(r->a, r->deployments, "status", copy);
    }
    int64_t in_s = r->d->spec.paused ? -1 : deadline_in(r, s);
    if (in_s > 0 && !is_complete(r, s)) {
        act_requeue_after(r->a, (uint64_t)(in_s + 1) * 1000);
    }
}
