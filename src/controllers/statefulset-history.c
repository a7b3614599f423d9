/*
 * ControllerRevisions of a StatefulSet. Unlike a DaemonSet's, a pod's label has the whole name of its revision, and two revisions
 * are alive at once: pods whose ordinal is below the partition go on being made of the one before.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "controllers/pairs.h"
#include "controllers/statefulset-private.h"
#include "controllers/template-hash.h"
#include "controllers/template-revision.h"

#define HASH_LABEL STR("controller.kubernetes.io/hash")

typedef struct apps_v1_controller_revision revision_t;

/* Annotations of the set are copied: `kubectl rollout history` shows kubernetes.io/change-cause of them. */
static void create_revision(struct stateful_pass *p, int64_t number)
{
    struct arena *arena = act_arena(p->a);
    const struct meta_v1_object_meta *m = &p->set->metadata, *t = &p->set->spec.template.metadata;
    revision_t r = { .revision = number, .data = template_revision_data(arena, &p->set->spec.template) };
    struct str hash = template_hash(arena, &p->set->spec.template, p->set->status.collision_count);
    r.metadata.namespace = m->namespace;
    r.metadata.name = arena_printf(arena, "%.*s-%.*s", STR_ARG(str_sub(m->name, 0, 223)), STR_ARG(hash));
    if (informer_get(p->s->revisions.informer, m->namespace, r.metadata.name)) {
        /* Another template has this name: the count makes another hash. */
        stateful_set_t changed = *p->set;
        changed.status.collision_count++;
        changed.status.has_collision_count = true;
        act_update_sub(p->a, p->s->sets_resource, "status", &changed);
        return;
    }
    r.metadata.labels = pairs_with(arena, t->labels, t->n_labels, HASH_LABEL, hash, &r.metadata.n_labels);
    r.metadata.annotations = m->annotations;
    r.metadata.n_annotations = m->n_annotations;
    r.metadata.owner_references = &p->owner;
    r.metadata.n_owner_references = 1;
    act_create(p->a, p->s->revisions_resource, m->namespace, &r);
}

/* Revisions that an earlier set of the name left behind come to this one. */
static void adopt_orphans(struct stateful_pass *p)
{
    const revision_t *r;
    struct selector selector;
    if (!selector_from_label_selector(act_arena(p->a), p->set->spec.selector, &selector, NULL)) {
        return;
    }
    for (size_t pos = 0; (r = informer_index_next(p->s->revisions.orphans, p->set->metadata.namespace, &pos));) {
        if (!r->metadata.deletion_timestamp.set &&
            selector_matches(&selector, r->metadata.labels, r->metadata.n_labels)) {
            owner_adopt(p->a, p->s->revisions_resource, &r->metadata, &p->owner);
        }
    }
}

bool statefulset_find_revisions(struct stateful_pass *p)
{
    struct arena *arena = act_arena(p->a);
    const revision_t *r, *update = NULL, *current = NULL;
    int64_t newest = 0;
    if (!p->set->metadata.deletion_timestamp.set) {
        adopt_orphans(p);
    }
    for (size_t pos = 0; (r = claimable_next(&p->s->revisions, p->set->metadata.uid, &pos));) {
        struct core_v1_pod_template_spec t;
        newest = MAX(newest, r->revision);
        if (!template_of_revision(arena, r, &t)) {
            continue;
        }
        if (str_eq(r->metadata.name, p->set->status.current_revision)) {
            current = r;
            p->current_template = t;
        }
        if (api_equal(&core_v1_pod_template_spec_type, &t, &p->set->spec.template) && (!update || r->revision > update->revision)) {
            update = r;
        }
    }
    if (!update) {
        create_revision(p, newest + 1);
        return false;
    }
    if (update->revision < newest) { /* an old template came back: it is the newest again */
        revision_t again = *update;
        again.revision = newest + 1;
        act_update(p->a, p->s->revisions_resource, &again);
    }
    p->update_revision = update->metadata.name;
    p->current_revision = current ? current->metadata.name : update->metadata.name;
    if (!current) {
        p->current_template = p->set->spec.template;
    }
    return true;
}

static int by_revision(const void *va, const void *vb)
{
    const revision_t *a = *(const revision_t *const *)va, *b = *(const revision_t *const *)vb;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static bool is_live(const struct stateful_pass *p, struct str revision)
{
    if (str_eq(revision, p->status.update_revision) || str_eq(revision, p->status.current_revision)) {
        return true;
    }
    for (size_t i = 0; i < p->n_pods; i++) {
        if (str_eq(meta_label(&p->pods[i]->metadata, REVISION_LABEL), revision)) {
            return true;
        }
    }
    return false;
}

void statefulset_clean_history(struct stateful_pass *p)
{
    size_t n = 0, capacity = 0;
    size_t limit = p->set->spec.has_revision_history_limit ? (size_t)MAX(p->set->spec.revision_history_limit, 0) : 10;
    const revision_t *r, **unused = NULL;
    for (size_t pos = 0; (r = claimable_next(&p->s->revisions, p->set->metadata.uid, &pos));) {
        if (is_live(p, r->metadata.name)) {
            continue;
        }
        if (n == capacity) {
            capacity = 2 * capacity + 16;
            unused = arena_grow_n(act_arena(p->a), unused, n, capacity, sizeof(*unused));
            if (!unused) {
                abort();
            }
        }
        unused[n++] = r;
    }
    if (n <= limit) {
        return;
    }
    qsort(unused, n, sizeof(*unused), by_revision);
    for (size_t i = 0; i < n - limit; i++) {
        act_delete(p->a, p->s->revisions_resource, unused[i]->metadata.namespace, unused[i]->metadata.name, unused[i]->metadata.uid,
                   NULL);
    }
}
