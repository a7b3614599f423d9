/* How many pods each ReplicaSet of a Deployment should have: RollingUpdate, Recreate, and scaling
 * in proportion. */
#include <stdlib.h>

#include "controllers/deployment-private.h"

static bool is_recreate(const struct rollout *r)
{
    return str_eq(r->d->spec.strategy.type, STR("Recreate"));
}

/* ---- rolling update ---- */

int32_t rollout_new_replicas(const struct rollout *r)
{
    if (is_recreate(r)) {
        return r->pods_left ? 0 : r->replicas;
    }
    int32_t have = r->new_set ? replicas_of(r->new_set) : 0;
    int32_t room = r->replicas + r->max_surge - rollout_total(r);
    if (room <= 0) {
        return have;
    }
    return have + MIN(room, r->replicas - have);
}

/* Scales the new set; true when that is this pass's step. */
static bool scale_new(struct rollout *r)
{
    int32_t have = replicas_of(r->new_set);
    if (have == r->replicas) {
        return false;
    }
    int32_t want = have > r->replicas ? r->replicas : rollout_new_replicas(r);
    if (want == have) {
        return false;
    }
    rollout_scale(r, r->new_set, want);
    return true;
}

/* Takes pods off the old sets: those that are not available first, then as many as availability
 * allows. */
static void scale_old(struct rollout *r)
{
    int32_t old_total = 0, least = r->replicas - r->max_unavailable;
    for (size_t i = 0; i < r->n_old; i++) {
        old_total += replicas_of(r->old[i]);
    }
    if (!old_total) {
        return;
    }
    int32_t new_unavailable = replicas_of(r->new_set) - r->new_set->status.available_replicas;
    int32_t may_go = rollout_total(r) - least - new_unavailable;
    if (may_go <= 0) {
        return;
    }
    int32_t *to = arena_new_n(act_arena(r->a), int32_t, r->n_old);
    if (!to) {
        abort();
    }
    int32_t gone = 0;
    for (size_t i = 0; i < r->n_old; i++) {
        to[i] = replicas_of(r->old[i]);
        int32_t unhealthy = MAX(to[i] - r->old[i]->status.available_replicas, 0);
        int32_t n = MIN(unhealthy, may_go - gone);
        to[i] -= n;
        gone += n;
    }
    int32_t spare = rollout_available(r) - least;
    for (size_t i = 0; i < r->n_old && spare > 0; i++) {
        int32_t n = MIN(to[i], spare);
        to[i] -= n;
        spare -= n;
    }
    for (size_t i = 0; i < r->n_old; i++) {
        if (to[i] != replicas_of(r->old[i])) {
            rollout_scale(r, r->old[i], to[i]);
        }
    }
}

static void step_rolling(struct rollout *r)
{
    rollout_ensure_new_set(r);
    if (!r->wrote && !scale_new(r)) {
        scale_old(r);
    }
}

/* ---- recreate ---- */

static void step_recreate(struct rollout *r)
{
    bool old_left = false;
    for (size_t i = 0; i < r->n_old; i++) {
        if (replicas_of(r->old[i]) > 0) {
            rollout_scale(r, r->old[i], 0);
            old_left = true;
        }
    }
    if (old_left || r->pods_left) {
        return;
    }
    rollout_ensure_new_set(r);
    if (!r->wrote && replicas_of(r->new_set) != r->replicas) {
        rollout_scale(r, r->new_set, r->replicas);
    }
}

void rollout_step(struct rollout *r)
{
    if (is_recreate(r)) {
        step_recreate(r);
    } else {
        step_rolling(r);
    }
}

/* ---- scaling ---- */

static bool wants_other_total(const struct rollout *r, const struct apps_v1_replica_set *rs)
{
    int32_t desired;
    return replicas_of(rs) > 0 &&
           str_to_i32(meta_annotation(&rs->metadata, DEPLOYMENT_DESIRED), &desired) &&
           desired != r->replicas;
}

bool rollout_is_scaling(const struct rollout *r)
{
    for (size_t i = 0; i < r->n_old; i++) {
        if (wants_other_total(r, r->old[i])) {
            return true;
        }
    }
    return r->new_set && wants_other_total(r, r->new_set);
}

/* The one set with pods, or the new one when none has; NULL when several have. */
static const struct apps_v1_replica_set *single_active(const struct rollout *r)
{
    const struct apps_v1_replica_set *found =
        r->new_set && replicas_of(r->new_set) > 0 ? r->new_set : NULL;
    for (size_t i = 0; i < r->n_old; i++) {
        if (replicas_of(r->old[i]) > 0) {
            if (found) {
                return NULL;
            }
            found = r->old[i];
        }
    }
    return found ? found : r->new_set ? r->new_set : r->n_old ? r->old[r->n_old - 1] : NULL;
}

static bool is_saturated(const struct rollout *r)
{
    int32_t desired;
    return r->new_set &&
           str_to_i32(meta_annotation(&r->new_set->metadata, DEPLOYMENT_DESIRED), &desired) &&
           replicas_of(r->new_set) == r->replicas && desired == r->replicas &&
           r->new_set->status.available_replicas == r->replicas;
}

/* What a set gets of 'change' pods: its share of the total that it was made for, rounded. */
static int32_t share(const struct rollout *r, const struct apps_v1_replica_set *rs, int32_t change,
                     int32_t given)
{
    int32_t size = replicas_of(rs), most;
    if (!size || change == given) {
        return 0;
    }
    if (!str_to_i32(meta_annotation(&rs->metadata, DEPLOYMENT_MAX), &most) || most <= 0) {
        most = r->d->status.replicas;
    }
    if (most <= 0) {
        return 0;
    }
    double exact = (double)size * (r->replicas + r->max_surge) / most;
    int32_t want = (int32_t)(exact + 0.5) - size, left = change - given;
    return change > 0 ? MIN(want, left) : MAX(want, left);
}

static int larger_first(const void *va, const void *vb)
{
    const struct apps_v1_replica_set *a = *(const struct apps_v1_replica_set *const *)va;
    const struct apps_v1_replica_set *b = *(const struct apps_v1_replica_set *const *)vb;
    return replicas_of(b) - replicas_of(a);
}

void rollout_scale_in_proportion(struct rollout *r)
{
    const struct apps_v1_replica_set *only = single_active(r);
    if (only) {
        if (replicas_of(only) != r->replicas || rollout_is_scaling(r)) {
            rollout_scale(r, only, r->replicas);
        }
        return;
    }
    if (is_saturated(r)) {
        for (size_t i = 0; i < r->n_old; i++) {
            if (replicas_of(r->old[i]) > 0) {
                rollout_scale(r, r->old[i], 0);
            }
        }
        return;
    }
    if (is_recreate(r)) {
        return;
    }
    const struct apps_v1_replica_set **sets =
        arena_new_n(act_arena(r->a), const struct apps_v1_replica_set *, r->n_old + 2);
    size_t n = 0;
    if (!sets) {
        abort();
    }
    if (r->new_set && replicas_of(r->new_set) > 0) {
        sets[n++] = r->new_set;
    }
    for (size_t i = 0; i < r->n_old; i++) {
        if (replicas_of(r->old[i]) > 0) {
            sets[n++] = r->old[i];
        }
    }
    int32_t allowed = r->replicas > 0 ? r->replicas + r->max_surge : 0;
    int32_t change = allowed - rollout_total(r), given = 0;
    int32_t *add = arena_new_n(act_arena(r->a), int32_t, n + 1);
    if (!add) {
        abort();
    }
    qsort(sets, n, sizeof(sets[0]), larger_first);
    for (size_t i = 0; i < n; i++) {
        add[i] = share(r, sets[i], change, given);
        given += add[i];
    }
    add[0] += change - given; /* what rounding left over goes to the largest */
    for (size_t i = 0; i < n; i++) {
        rollout_scale(r, sets[i], MAX(replicas_of(sets[i]) + add[i], 0));
    }
}
