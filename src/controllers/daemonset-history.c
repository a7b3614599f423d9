/* ControllerRevisions of a DaemonSet: each holds a template that it once had, for `kubectl rollout
 * history` and `undo`. */
#include <stdlib.h>

#include "api/equal.h"
#include "controllers/pairs.h"
#include "controllers/daemonset-private.h"
#include "controllers/template-hash.h"
#include "controllers/template-revision.h"

static void create_revision(struct daemon_pass *p, int64_t number)
{
    struct arena *arena = act_arena(p->a);
    const struct meta_v1_object_meta *m = &p->ds->metadata, *t = &p->ds->spec.template.metadata;
    struct apps_v1_controller_revision r = { .revision = number,
                                             .data = template_revision_data(arena, &p->ds->spec.template) };
    struct str hash = template_hash(arena, &p->ds->spec.template, p->ds->status.collision_count);
    r.metadata.namespace = m->namespace;
    r.metadata.name =
        arena_printf(arena, "%.*s-%.*s", STR_ARG(str_sub(m->name, 0, 223)), STR_ARG(hash));
    r.metadata.labels = pairs_with(arena, t->labels, t->n_labels, REVISION_LABEL, hash, &r.metadata.n_labels);
    r.metadata.annotations = m->annotations;
    r.metadata.n_annotations = m->n_annotations;
    r.metadata.owner_references = &p->owner;
    r.metadata.n_owner_references = 1;
    act_create(p->a, p->s->revisions_resource, m->namespace, &r);
}

bool daemonset_find_revision(struct daemon_pass *p)
{
    struct arena *arena = act_arena(p->a);
    const struct apps_v1_controller_revision *r, *current = NULL;
    int64_t newest = 0;
    for (size_t pos = 0;
         (r = claimable_next(&p->s->revisions, p->ds->metadata.uid, &pos));) {
        struct core_v1_pod_template_spec t;
        newest = MAX(newest, r->revision);
        if (template_of_revision(arena, r, &t) &&
            api_equal(&core_v1_pod_template_spec_type, &t, &p->ds->spec.template) &&
            (!current || r->revision > current->revision)) {
            current = r;
        }
    }
    if (!current) {
        create_revision(p, newest + 1);
        return false;
    }
    p->hash = meta_label(&current->metadata, REVISION_LABEL);
    if (current->revision < newest) { /* an old template came back: it is the newest again */
        struct apps_v1_controller_revision again = *current;
        again.revision = newest + 1;
        act_update(p->a, p->s->revisions_resource, &again);
    }
    return true;
}

static int by_revision(const void *va, const void *vb)
{
    const struct apps_v1_controller_revision
        *a = *(const struct apps_v1_controller_revision *const *)va,
        *b = *(const struct apps_v1_controller_revision *const *)vb;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

void daemonset_clean_history(struct daemon_pass *p)
{
    size_t n = 0, capacity = informer_index_count(p->s->revisions.by_owner, p->ds->metadata.uid) + 1;
    size_t limit = p->ds->spec.has_revision_history_limit
                       ? (size_t)MAX(p->ds->spec.revision_history_limit, 0)
                       : 10;
    const struct apps_v1_controller_revision *r,
        **unused =
            arena_new_n(act_arena(p->a), const struct apps_v1_controller_revision *, capacity);
    if (!unused) {
        abort();
    }
    for (size_t pos = 0;
         (r = claimable_next(&p->s->revisions, p->ds->metadata.uid, &pos));) {
        struct str hash = meta_label(&r->metadata, REVISION_LABEL);
        bool live = str_eq(hash, p->hash);
        for (size_t i = 0; i < p->n_pods && !live; i++) {
            live = str_eq(meta_label(&p->pods[i]->metadata, REVISION_LABEL), hash);
        }
        if (!live) {
            unused[n++] = r;
        }
    }
    qsort(unused, n, sizeof(*unused), by_revision);
    for (size_t i = 0; n > limit && i < n - limit; i++) {
        act_delete(p->a, p->s->revisions_resource, unused[i]->metadata.namespace,
                   unused[i]->metadata.name, unused[i]->metadata.uid, NULL);
    }
}
