/* The ReplicaSets of a Deployment: which is the new one, making it, its annotations, scaling,
 * history. */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "controllers/deployment-private.h"
#include "controllers/template-hash.h"

int32_t replicas_of(const struct apps_v1_replica_set *rs)
{
    return rs->spec.has_replicas ? rs->spec.replicas : 1;
}

int32_t rollout_total(const struct rollout *r)
{
    int32_t sum = r->new_set ? replicas_of(r->new_set) : 0;
    for (size_t i = 0; i < r->n_old; i++) {
        sum += replicas_of(r->old[i]);
    }
    return sum;
}

int32_t rollout_available(const struct rollout *r)
{
    int32_t sum = r->new_set ? r->new_set->status.available_replicas : 0;
    for (size_t i = 0; i < r->n_old; i++) {
        sum += r->old[i]->status.available_replicas;
    }
    return sum;
}

static void must(const void *p)
{
    if (!p) {
        abort(); /* a pass beyond its budget: a bug of the controller */
    }
}

/* Two templates are the same when they differ in the hash label alone. */
static bool same_template(struct arena *a, const struct core_v1_pod_template_spec *x,
                          const struct core_v1_pod_template_spec *y)
{
    const struct core_v1_pod_template_spec *both[] = { x, y };
    struct core_v1_pod_template_spec bare[2];
    for (size_t k = 0; k < 2; k++) {
        bare[k] = *both[k];
        struct meta_v1_object_meta *m = &bare[k].metadata;
        struct api_str_pair *labels = arena_new_n(a, struct api_str_pair, m->n_labels + 1);
        size_t n = 0;
        must(labels);
        for (size_t i = 0; i < m->n_labels; i++) {
            if (!str_eq(m->labels[i].key, TEMPLATE_HASH_LABEL)) {
                labels[n++] = m->labels[i];
            }
        }
        m->labels = labels;
        m->n_labels = n;
    }
    return api_equal(&core_v1_pod_template_spec_type, &bare[0], &bare[1]);
}

static int by_age(const void *va, const void *vb)
{
    const struct apps_v1_replica_set *a = *(const struct apps_v1_replica_set *const *)va;
    const struct apps_v1_replica_set *b = *(const struct apps_v1_replica_set *const *)vb;
    int64_t x = a->metadata.creation_timestamp.sec, y = b->metadata.creation_timestamp.sec;
    return x != y ? (x < y ? -1 : 1) : str_cmp(a->metadata.name, b->metadata.name);
}

static int64_t revision_of(const struct meta_v1_object_meta *m)
{
    int64_t v;
    return str_to_i64(meta_annotation(m, DEPLOYMENT_REVISION), &v) ? v : 0;
}

void rollout_sort_sets(struct rollout *r, const void **sets, size_t n)
{
    struct arena *arena = act_arena(r->a);
    const struct apps_v1_replica_set **all =
        arena_new_n(arena, const struct apps_v1_replica_set *, n + 1);
    int64_t newest = 0;
    must(all);
    for (size_t i = 0; i < n; i++) {
        all[i] = sets[i];
    }
    qsort(all, n, sizeof(all[0]), by_age);
    r->old = arena_new_n(arena, const struct apps_v1_replica_set *, n + 1);
    must(r->old);
    for (size_t i = 0; i < n; i++) {
        /* Of several with the present template the oldest is the one, as upstream decides it. */
        if (!r->new_set && same_template(arena, &all[i]->spec.template, &r->d->spec.template)) {
            r->new_set = all[i];
        } else {
            r->old[r->n_old++] = all[i];
            newest = MAX(newest, revision_of(&all[i]->metadata));
        }
    }
    r->revision = newest + 1;
}

/* ---- annotations ---- */

static void set_pair(struct arena *a, struct api_str_pair **pairs, size_t *n, struct str key,
                     struct str value)
{
    size_t at = 0;
    while (at < *n && str_cmp((*pairs)[at].key, key) < 0) {
        at++;
    }
    if (at < *n && str_eq((*pairs)[at].key, key)) {
        (*pairs)[at].value = value;
        return;
    }
    struct api_str_pair *grown = arena_new_n(a, struct api_str_pair, *n + 1);
    must(grown);
    for (size_t i = 0; i < *n; i++) {
        grown[i < at ? i : i + 1] = (*pairs)[i];
    }
    grown[at] = (struct api_str_pair){ key, value };
    *pairs = grown;
    (*n)++;
}

/* Annotations of the Deployment that are not copied to its sets. */
static bool stays_behind(struct str key)
{
    return str_eq(key, STR("kubectl.kubernetes.io/last-applied-configuration")) ||
           str_eq(key, DEPLOYMENT_REVISION) || str_eq(key, DEPLOYMENT_REVISION_HISTORY) ||
           str_eq(key, DEPLOYMENT_DESIRED) || str_eq(key, DEPLOYMENT_MAX) ||
           str_eq(key, STR("deprecated.deployment.rollback.to"));
}

static void set_scale_annotations(struct rollout *r, struct meta_v1_object_meta *m)
{
    struct arena *arena = act_arena(r->a);
    set_pair(arena, &m->annotations, &m->n_annotations, DEPLOYMENT_DESIRED,
             arena_printf(arena, "%d", r->replicas));
    set_pair(arena, &m->annotations, &m->n_annotations, DEPLOYMENT_MAX,
             arena_printf(arena, "%d", r->replicas + r->max_surge));
}

static void set_new_annotations(struct rollout *r, struct meta_v1_object_meta *m)
{
    struct arena *arena = act_arena(r->a);
    const struct meta_v1_object_meta *dm = &r->d->metadata;
    for (size_t i = 0; i < dm->n_annotations; i++) {
        if (!stays_behind(dm->annotations[i].key)) {
            set_pair(arena, &m->annotations, &m->n_annotations, dm->annotations[i].key,
                     dm->annotations[i].value);
        }
    }
    struct str old = meta_annotation(m, DEPLOYMENT_REVISION);
    int64_t had = revision_of(m);
    if (had < r->revision) {
        set_pair(arena, &m->annotations, &m->n_annotations, DEPLOYMENT_REVISION,
                 arena_printf(arena, "%lld", (long long)r->revision));
        if (had > 0) {
            struct str history = meta_annotation(m, DEPLOYMENT_REVISION_HISTORY);
            set_pair(arena, &m->annotations, &m->n_annotations, DEPLOYMENT_REVISION_HISTORY,
                     history.len ? arena_printf(arena, "%.*s,%.*s", STR_ARG(history), STR_ARG(old))
                                 : old);
        }
    } else {
        r->revision = had;
    }
    set_scale_annotations(r, m);
}

void rollout_set_revision(struct rollout *r, struct meta_v1_object_meta *deployment)
{
    struct arena *arena = act_arena(r->a);
    int64_t revision =
        r->new_set ? MAX(revision_of(&r->new_set->metadata), r->revision) : r->revision;
    set_pair(arena, &deployment->annotations, &deployment->n_annotations, DEPLOYMENT_REVISION,
             arena_printf(arena, "%lld", (long long)revision));
}

static struct apps_v1_replica_set *set_copy(struct rollout *r, const struct apps_v1_replica_set *rs)
{
    struct apps_v1_replica_set *copy = arena_new(act_arena(r->a), struct apps_v1_replica_set);
    must(copy);
    if (!api_copy_into(act_arena(r->a), &apps_v1_replica_set_type, rs, copy, false)) {
        abort();
    }
    return copy;
}

/* ---- the new set ---- */

static void create_new_set(struct rollout *r)
{
    struct arena *arena = act_arena(r->a);
    const struct apps_v1_deployment *d = r->d;
    struct apps_v1_replica_set *rs = arena_new(arena, struct apps_v1_replica_set);
    struct meta_v1_label_selector *selector = arena_new(arena, struct meta_v1_label_selector);
    must(rs);
    must(selector);
    struct str hash = template_hash(arena, &d->spec.template, r->collisions);
    rs->spec.template = d->spec.template;
    struct meta_v1_object_meta *tm = &rs->spec.template.metadata;
    set_pair(arena, &tm->labels, &tm->n_labels, TEMPLATE_HASH_LABEL, hash);
    *selector = *d->spec.selector;
    set_pair(arena, &selector->match_labels, &selector->n_match_labels, TEMPLATE_HASH_LABEL, hash);
    rs->spec.selector = selector;
    rs->spec.min_ready_seconds = d->spec.min_ready_seconds;
    rs->metadata.namespace = d->metadata.namespace;
    rs->metadata.name = arena_printf(arena, "%.*s-%.*s", STR_ARG(d->metadata.name), STR_ARG(hash));
    rs->metadata.labels = tm->labels;
    rs->metadata.n_labels = tm->n_labels;
    rs->metadata.owner_references = arena_new(arena, struct meta_v1_owner_reference);
    must(rs->metadata.owner_references);
    rs->metadata.owner_references[0] = owner_reference(arena, r->deployments, &d->metadata);
    rs->metadata.n_owner_references = 1;
    set_new_annotations(r, &rs->metadata);
    rs->spec.has_replicas = true;
    rs->spec.replicas = rollout_new_replicas(r);
    act_create(r->a, r->replicasets, d->metadata.namespace, rs);
    if (rs->spec.replicas > 0) {
        act_event_after(r->a, r->deployments, d, "Normal", "ScalingReplicaSet",
                        "Scaled up replica set %.*s from 0 to %d", STR_ARG(rs->metadata.name),
                        rs->spec.replicas);
    }
    act_event_on_failure(r->a, r->deployments, d, "Warning", "ReplicaSetCreateError",
                         "Failed to create new replica set \"%.*s\"", STR_ARG(rs->metadata.name));
    r->progress_reason = STR("NewReplicaSetCreated");
    r->progress_message =
        arena_printf(arena, "Created new replica set \"%.*s\"", STR_ARG(rs->metadata.name));
    r->wrote = true;
}

void rollout_ensure_new_set(struct rollout *r)
{
    if (!r->new_set) {
        create_new_set(r);
        return;
    }
    struct apps_v1_replica_set *copy = set_copy(r, r->new_set);
    set_new_annotations(r, &copy->metadata);
    copy->spec.min_ready_seconds = r->d->spec.min_ready_seconds;
    if (!api_equal_field(&apps_v1_replica_set_type, "metadata", r->new_set, copy) ||
        !api_equal_field(&apps_v1_replica_set_type, "spec", r->new_set, copy)) {
        act_update(r->a, r->replicasets, copy);
        r->wrote = true;
    }
}

void rollout_scale(struct rollout *r, const struct apps_v1_replica_set *rs, int32_t to)
{
    int32_t from = replicas_of(rs);
    struct apps_v1_replica_set *copy = set_copy(r, rs);
    set_scale_annotations(r, &copy->metadata);
    copy->spec.has_replicas = true;
    copy->spec.replicas = to;
    if (from == to && api_equal_field(&apps_v1_replica_set_type, "metadata", rs, copy)) {
        return;
    }
    act_update(r->a, r->replicasets, copy);
    r->wrote = true;
    if (from != to) {
        act_event_after(r->a, r->deployments, r->d, "Normal", "ScalingReplicaSet",
                        "Scaled %s replica set %.*s from %d to %d", to > from ? "up" : "down",
                        STR_ARG(rs->metadata.name), from, to);
    }
}

void rollout_clean_up(struct rollout *r)
{
    if (!r->d->spec.has_revision_history_limit) {
        return;
    }
    /* 'old' is oldest first; revisions order them better than ages when a rollback reused one. */
    int64_t most = r->d->spec.revision_history_limit;
    size_t n = 0;
    const struct apps_v1_replica_set **idle =
        arena_new_n(act_arena(r->a), const struct apps_v1_replica_set *, r->n_old + 1);
    must(idle);
    for (size_t i = 0; i < r->n_old; i++) {
        if (!r->old[i]->metadata.deletion_timestamp.set) {
            size_t at = n++;
            for (;
                 at > 0 && revision_of(&idle[at - 1]->metadata) > revision_of(&r->old[i]->metadata);
                 at--) {
                idle[at] = idle[at - 1];
            }
            idle[at] = r->old[i];
        }
    }
    for (size_t i = 0; (int64_t)(n - i) > most; i++) {
        const struct apps_v1_replica_set *rs = idle[i];
        bool in_use = rs->status.replicas || replicas_of(rs) ||
                      rs->metadata.generation > rs->status.observed_generation;
        if (!in_use) {
            act_delete(r->a, r->replicasets, rs->metadata.namespace, rs->metadata.name,
                       rs->metadata.uid, NULL);
        }
    }
}
