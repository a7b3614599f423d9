/*
 * garbage-collector: deletes what only absent owners own, and carries out foreground and orphaning
 * deletion ("Garbage Collection"). It looks at the metadata of all resources; an owner that no
 * informer knows is asked for once more at the server before its dependents go, because informers
 * of several resources are not equally far.
 *
 * Keys are "<index of the resource>|namespace/name".
 */
#include <stdlib.h>

#include "api/json-writer.h"
#include "base/map.h"
#include "controllers/all-resources.h"
#include "controllers/controllers.h"

#define FOREGROUND STR("foregroundDeletion")
#define ORPHAN STR("orphan")

struct listener {
    struct state *state;
    size_t index;
};

struct state {
    struct controller *controller;
    struct all_resources all;
    struct listener *listeners;
    struct informer_index **by_owner; /* by the uid of every owner, controller or not */
};

static void index_owners(const struct api_type *type, const void *obj,
                         void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    for (size_t i = 0; i < m->n_owner_references; i++) {
        emit(ctx, m->owner_references[i].uid);
    }
}

static void enqueue(struct state *s, size_t index, const struct meta_v1_object_meta *m)
{
    char key[640];
    snprintf(key, sizeof(key), "%zu|%.*s/%.*s", index, STR_ARG(m->namespace), STR_ARG(m->name));
    controller_enqueue(s->controller, str_c(key));
}

/* Steps through the dependents of a uid over all resources. */
static void each_dependent(struct state *s, struct str uid,
                           void (*fn)(struct state *s, size_t index,
                                      const struct meta_v1_object_meta *m, void *ctx),
                           void *ctx)
{
    for (size_t i = 0; i < s->all.n; i++) {
        const void *obj;
        for (size_t pos = 0; (obj = informer_index_next(s->by_owner[i], uid, &pos));) {
            fn(s, i, meta_of(s->all.items[i].resource->type, obj), ctx);
        }
    }
}

static void enqueue_dependent(struct state *s, size_t index, const struct meta_v1_object_meta *m,
                              void *ctx UNUSED)
{
    enqueue(s, index, m);
}

/* Owners that wait for their dependents in the foreground are looked at when one goes. */
static void enqueue_waiting_owners(struct state *s, const struct meta_v1_object_meta *m)
{
    for (size_t k = 0; k < m->n_owner_references; k++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[k];
        for (size_t i = 0; i < s->all.n; i++) {
            const struct api_resource *r = s->all.items[i].resource;
            if (!str_eq(r->kind, o->kind)) {
                continue;
            }
            const void *obj = informer_get(s->all.items[i].informer,
                                           r->namespaced ? m->namespace : STR_NULL, o->name);
            if (obj && meta_of(r->type, obj)->deletion_timestamp.set) {
                enqueue(s, i, meta_of(r->type, obj));
            }
        }
    }
}

static bool same_owners(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
    bool same = a->n_owner_references == b->n_owner_references;
    for (size_t i = 0; same && i < a->n_owner_references; i++) {
        same = str_eq(a->owner_references[i].uid, b->owner_references[i].uid) &&
               a->owner_references[i].block_owner_deletion ==
                   b->owner_references[i].block_owner_deletion;
    }
    return same;
}

static bool same_finalizers(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
    bool same = a->n_finalizers == b->n_finalizers;
    for (size_t i = 0; same && i < a->n_finalizers; i++) {
        same = str_eq(a->finalizers[i], b->finalizers[i]);
    }
    return same;
}

static void on_event(void *data, const void *old, const void *obj)
{
    struct listener *l = data;
    struct state *s = l->state;
    const struct api_type *type = s->all.items[l->index].resource->type;
    if (!obj) {
        const struct meta_v1_object_meta *m = meta_of(type, old);
        each_dependent(s, m->uid, enqueue_dependent, NULL);
        enqueue_waiting_owners(s, m);
        return;
    }
    const struct meta_v1_object_meta *m = meta_of(type, obj), *was = old ? meta_of(type, old) : NULL;
    if (was && !same_owners(was, m)) {
        enqueue_waiting_owners(s, was);
    }
    /* Most changes are none of ours. */
    if ((m->n_owner_references || (m->deletion_timestamp.set && m->n_finalizers)) &&
        (!was || !same_owners(was, m) || !same_finalizers(was, m) ||
         was->deletion_timestamp.set != m->deletion_timestamp.set)) {
        enqueue(s, l->index, m);
    }
}

static void *listener_of(void *ctx, size_t index)
{
    struct state *s = ctx;
    s->listeners[index] = (struct listener){ .state = s, .index = index };
    return &s->listeners[index];
}

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = calloc(1, sizeof(*s));
    if (!s || !(s->listeners = calloc(api_n_resources, sizeof(*s->listeners))) ||
        !(s->by_owner = calloc(api_n_resources, sizeof(struct informer_index *)))) {
        abort();
    }
    s->controller = c;
    all_resources_init(&s->all, informers, on_event, listener_of, s);
    for (size_t i = 0; i < s->all.n; i++) {
        s->by_owner[i] = informer_index(s->all.items[i].informer, "owners", index_owners);
    }
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    all_resources_deinit(&s->all);
    free(s->listeners);
    free(s->by_owner);
    free(s);
}

static bool has_finalizer(const struct meta_v1_object_meta *m, struct str name)
{
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (str_eq(m->finalizers[i], name)) {
            return true;
        }
    }
    return false;
}

/* JSON merge patch that sets the finalizers without one, valid for this version only. */
static void remove_finalizer(struct actions *a, const struct api_resource *r,
                             const struct meta_v1_object_meta *m, struct str name)
{
    struct buf b;
    bool first = true;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"metadata\":{\"finalizers\":[");
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (!str_eq(m->finalizers[i], name)) {
            buf_append_c(&b, first ? "" : ",");
            json_write_string(&b, m->finalizers[i]);
            first = false;
        }
    }
    buf_append_c(&b, "],\"resourceVersion\":");
    json_write_string(&b, m->resource_version);
    buf_append_c(&b, ",\"uid\":");
    json_write_string(&b, m->uid);
    buf_append_c(&b, "}}");
    act_patch(a, r, m->namespace, m->name, NULL, CLIENT_PATCH_MERGE, buf_str(&b));
    act_tolerate(a, ERR_NOT_FOUND);
    buf_deinit(&b);
}

/* ---- deletion of an owner in the foreground, or leaving its dependents behind ---- */

struct dependents {
    struct actions *a;
    struct str owner_uid;
    size_t n_blocking, n;
};

static bool blocks(const struct meta_v1_object_meta *m, struct str owner_uid)
{
    for (size_t i = 0; i < m->n_owner_references; i++) {
        if (str_eq(m->owner_references[i].uid, owner_uid)) {
            return m->owner_references[i].block_owner_deletion;
        }
    }
    return false;
}

static void delete_dependent(struct state *s, size_t index, const struct meta_v1_object_meta *m,
                             void *ctx)
{
    struct dependents *d = ctx;
    bool blocking = blocks(m, d->owner_uid);
    d->n_blocking += blocking;
    if (!m->deletion_timestamp.set && m->n_owner_references == 1) {
        struct client_delete_options o = { .grace_seconds = -1,
                                           .propagation = STR_INIT("Foreground") };
        o.propagation = blocking ? o.propagation : STR("Background");
        act_delete(d->a, s->all.items[index].resource, m->namespace, m->name, m->uid, &o);
    } else if (m->n_owner_references > 1) {
        enqueue(s, index, m);
    }
}

static void orphan_dependent(struct state *s, size_t index, const struct meta_v1_object_meta *m,
                             void *ctx)
{
    struct dependents *d = ctx;
    struct buf b;
    d->n++;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":");
    json_write_string(&b, d->owner_uid);
    buf_append_c(&b, "}],\"uid\":");
    json_write_string(&b, m->uid);
    buf_append_c(&b, "}}");
    act_patch(d->a, s->all.items[index].resource, m->namespace, m->name, NULL,
              CLIENT_PATCH_STRATEGIC, buf_str(&b));
    act_tolerate(d->a, ERR_NOT_FOUND);
    buf_deinit(&b);
}

static void finish_deletion(struct state *s, struct actions *a, const struct api_resource *r,
                            const struct meta_v1_object_meta *m)
{
    struct dependents d = { .a = a, .owner_uid = m->uid };
    if (has_finalizer(m, ORPHAN)) {
        each_dependent(s, m->uid, orphan_dependent, &d);
        act_barrier(a);
        remove_finalizer(a, r, m, ORPHAN);
    } else if (has_finalizer(m, FOREGROUND)) {
        each_dependent(s, m->uid, delete_dependent, &d);
        if (!d.n_blocking) {
            remove_finalizer(a, r, m, FOREGROUND);
        }
    }
}

/* ---- dependents whose owners are gone ---- */

static bool same_group(struct str api_version, struct str group)
{
    struct str head, tail;
    return str_cut(api_version, '/', &head, &tail) ? str_eq(head, group) : str_empty(group);
}

/* The owner's place among all resources, or n when nobody knows its kind. */
static size_t resource_of(const struct state *s, const struct meta_v1_owner_reference *o)
{
    size_t i = 0;
    while (i < s->all.n && !(str_eq(s->all.items[i].resource->kind, o->kind) &&
                             same_group(o->api_version, s->all.items[i].resource->group))) {
        i++;
    }
    return i;
}

enum owner_state { OWNER_SOLID, OWNER_WAITING, OWNER_DANGLING };

static enum owner_state owner_state(const struct state *s, const struct meta_v1_object_meta *m,
                                    const struct meta_v1_owner_reference *o)
{
    size_t i = resource_of(s, o);
    if (i == s->all.n) {
        return OWNER_SOLID; /* a kind that is not known here: nothing is deleted for it */
    }
    if (!informer_served(s->all.items[i].informer)) {
        return OWNER_SOLID; /* it may be there, in a version that is not ours: nobody can tell */
    }
    const struct api_resource *r = s->all.items[i].resource;
    if (r->namespaced && !m->namespace.len) {
        return OWNER_SOLID; /* cluster-scoped objects cannot have namespaced owners: left alone, as
                               upstream does */
    }
    const void *obj =
        informer_get(s->all.items[i].informer, r->namespaced ? m->namespace : STR_NULL, o->name);
    const struct meta_v1_object_meta *om = obj ? meta_of(r->type, obj) : NULL;
    if (!om || !str_eq(om->uid, o->uid)) {
        return OWNER_DANGLING;
    }
    return om->deletion_timestamp.set && has_finalizer(om, FOREGROUND) ? OWNER_WAITING
                                                                       : OWNER_SOLID;
}

static void collect(struct state *s, struct actions *a, const struct api_resource *r,
                    const struct meta_v1_object_meta *m)
{
    size_t n_dangling = 0;
    for (size_t i = 0; i < m->n_owner_references; i++) {
        enum owner_state state = owner_state(s, m, &m->owner_references[i]);
        if (state == OWNER_SOLID) {
            return;
        }
        n_dangling += state == OWNER_DANGLING;
    }
    if (n_dangling != m->n_owner_references) {
        return; /* the owner that waits deletes it itself */
    }
    for (size_t i = 0; i < m->n_owner_references; i++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[i];
        const struct api_resource * or = s->all.items[resource_of(s, o)].resource;
        act_require_absent(a, or, or->namespaced ? m->namespace : STR_NULL, o->name, o->uid);
    }
    struct client_delete_options o = { .grace_seconds = -1,
                                       .resource_version = m->resource_version };
    o.propagation = has_finalizer(m, ORPHAN)       ? STR("Orphan")
                    : has_finalizer(m, FOREGROUND) ? STR("Foreground")
                                                   : STR("Background");
    act_delete(a, r, m->namespace, m->name, m->uid, &o);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str index_text, rest, ns, name;
    uint64_t index;
    if (!str_cut(key, '|', &index_text, &rest) || !str_to_u64(index_text, &index) ||
        index >= s->all.n) {
        return;
    }
    str_cut(rest, '/', &ns, &name);
    const struct api_resource *r = s->all.items[index].resource;
    const void *obj = informer_get(s->all.items[index].informer, ns, name);
    if (!obj) {
        return;
    }
    const struct meta_v1_object_meta *m = meta_of(r->type, obj);
    if (m->deletion_timestamp.set) {
        finish_deletion(s, a, r, m);
    } else if (m->n_owner_references) {
        collect(s, a, r, m);
    }
}

const struct controller_ops controller_garbage_collector = {
    .name = "garbage-collector",
    .service_account = "generic-garbage-collector",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 20,
};
