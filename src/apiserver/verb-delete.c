/*
 * DELETE of one object or of a collection. An object goes at once, or is marked (deletionTimestamp) because a finalizer holds
 * it, because its kind ends gracefully (pods), or because it is taken down in steps (namespaces).
 */
#include "api/copy.h"
#include "api/gen/meta_v1.h"
#include "apiserver/list.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/selection.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "base/clock.h"

#define FINALIZER_ORPHAN STR("orphan")
#define FINALIZER_FOREGROUND STR("foregroundDeletion")

static enum stage_result precondition(struct request *r, struct str *asked, struct str have, const char *what, const char *tail)
{
    if (!asked->ptr || str_eq(*asked, have)) {
        return STAGE_DONE;
    }
    status_conflict(&r->status, &r->arena, r->rest->hub->group, r->rest->hub->kind, r->info.name,
                    "the %s in the precondition (%.*s) does not match the %s in record (%.*s). %s", what, STR_ARG(*asked), what,
                    STR_ARG(have), tail);
    return STAGE_ERROR;
}

enum stage_result stage_begin_delete(struct request *r)
{
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, r->old);
    r->obj = NULL;
    r->client_rv = 0;
    enum stage_result result = precondition(r, &r->opt.precondition_uid, m->uid, "UID",
                                            "The object might have been deleted and then recreated");
    if (result == STAGE_DONE) {
        result = precondition(r, &r->opt.precondition_rv, m->resource_version, "ResourceVersion",
                              "The object might have been modified");
    }
    write_begin(r, ADMIT_DELETE);
    const char *why = NULL;
    if (result == STAGE_DONE && r->rest->ops->may_delete && !r->rest->ops->may_delete(r->old, &why)) {
        status_forbidden(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, m->name, "%s", why);
        return STAGE_ERROR;
    }
    return result;
}

static bool has_finalizer(const struct meta_v1_object_meta *m, struct str f)
{
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (str_eq(m->finalizers[i], f)) {
            return true;
        }
    }
    return false;
}

/* Which of the garbage collector's finalizers the object should have: by the request, else by those it has, else by its kind. */
static void wanted_finalizers(const struct request *r, const struct meta_v1_object_meta *m, bool *ret_orphan, bool *ret_foreground)
{
    const struct request_options *o = &r->opt;
    *ret_orphan = *ret_foreground = false;
    if (r->rest->ops->flags & KIND_NO_GC) {
        return;
    }
    if (o->has_orphan) {
        *ret_orphan = o->orphan;
    } else if (!str_empty(o->propagation)) {
        *ret_orphan = str_eq_c(o->propagation, "Orphan");
        *ret_foreground = str_eq_c(o->propagation, "Foreground");
    } else if (has_finalizer(m, FINALIZER_ORPHAN) || has_finalizer(m, FINALIZER_FOREGROUND)) {
        *ret_orphan = has_finalizer(m, FINALIZER_ORPHAN);
        *ret_foreground = !*ret_orphan;
    } else {
        *ret_orphan = (r->rest->ops->flags & KIND_GC_ORPHAN) != 0;
    }
}

static bool set_finalizers(struct request *r, struct meta_v1_object_meta *m)
{
    bool orphan, foreground;
    wanted_finalizers(r, m, &orphan, &foreground);
    struct str *list = arena_new_n(&r->arena, struct str, m->n_finalizers + 2);
    size_t n = 0;
    if (!list) {
        return false;
    }
    for (size_t i = 0; i < m->n_finalizers; i++) {
        if (!str_eq(m->finalizers[i], FINALIZER_ORPHAN) && !str_eq(m->finalizers[i], FINALIZER_FOREGROUND)) {
            list[n++] = m->finalizers[i];
        }
    }
    if (orphan) {
        list[n++] = FINALIZER_ORPHAN;
    }
    if (foreground) {
        list[n++] = FINALIZER_FOREGROUND;
    }
    m->finalizers = n ? list : NULL;
    m->n_finalizers = n;
    return true;
}

static void mark(struct meta_v1_object_meta *m, int64_t at, int64_t grace)
{
    if (m->generation > 0) {
        m->generation++;
    }
    m->deletion_timestamp = (struct api_time){ .sec = at, .set = true };
    m->has_deletion_grace_period_seconds = true;
    m->deletion_grace_period_seconds = grace;
}

/* Kinds that end gracefully. False: nothing is to be written, the deletion is under way already. */
static bool mark_graceful(struct request *r, struct meta_v1_object_meta *m, bool *ret_graceful)
{
    int64_t period = 0, now = r->kctx.now_sec;
    *ret_graceful = false;
    if (!r->rest->ops->grace) {
        return true;
    }
    if (m->deletion_timestamp.set) {
        int64_t have = m->deletion_grace_period_seconds;
        if (!m->has_deletion_grace_period_seconds || have == 0) {
            return false;
        }
        period = r->opt.grace_s < 0 ? 1 : r->opt.grace_s;
        if (!r->opt.has_grace || period >= have) {
            return false;
        }
        m->deletion_timestamp.sec += period - have;
        m->deletion_grace_period_seconds = period;
        *ret_graceful = true;
        return true;
    }
    if (!r->rest->ops->grace(r->obj, r->opt.has_grace, r->opt.grace_s, &period)) {
        return true;
    }
    mark(m, now + period, period);
    *ret_graceful = true;
    return true;
}

enum stage_result stage_delete(struct request *r)
{
    const struct kind_ops *ops = r->rest->ops;
    r->obj = arena_alloc(&r->arena, r->rest->hub->type->size);
    if (!r->obj || !api_copy_into(&r->arena, r->rest->hub->type, r->old, r->obj, false)) {
        return request_bad(r, "the object is too large");
    }
    struct meta_v1_object_meta *m = rest_meta(r->rest, r->obj);
    bool graceful = false, was_marked = m->deletion_timestamp.set;
    r->removing = false;
    if (ops->begin_delete && !ops->begin_delete(&r->kctx, r->obj)) {
        /* Taken down in steps: marked by the hook, or nothing more to do. */
        if (!set_finalizers(r, m)) {
            return request_bad(r, "the object is too large");
        }
        r->unchanged = was_marked;
        return STAGE_DONE;
    }
    if (!mark_graceful(r, m, &graceful)) {
        r->unchanged = true;
        return STAGE_DONE;
    }
    if (!set_finalizers(r, m)) {
        return request_bad(r, "the object is too large");
    }
    if (m->n_finalizers > 0) {
        if (!graceful) {
            if (!m->has_deletion_grace_period_seconds && m->generation > 0) {
                m->generation++;
            }
            if (!m->deletion_timestamp.set || m->deletion_timestamp.sec > r->kctx.now_sec) {
                m->deletion_timestamp = (struct api_time){ .sec = r->kctx.now_sec, .set = true };
            }
            m->has_deletion_grace_period_seconds = true;
            m->deletion_grace_period_seconds = 0;
        }
        return STAGE_DONE;
    }
    r->removing = !graceful || m->deletion_grace_period_seconds == 0;
    return STAGE_DONE;
}

enum stage_result stage_respond_deleted(struct request *r)
{
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, r->old);
    if (r->removing && !(r->rest->ops->flags & KIND_RETURN_DELETED)) {
        respond_success(r, r->info.name, r->ep->res->group, r->ep->res->resource, m->uid);
        return STAGE_ANSWERED;
    }
    /* Objects that stay for a while are answered with 202 only to clients that asked for a cascade in the old way. */
    int code = !r->removing && r->opt.has_orphan && !r->opt.orphan ? 202 : 200;
    if (r->new_pub) {
        respond_published(r, code, r->new_pub);
    } else if (r->unchanged && !r->opt.dry_run) {
        respond_published(r, code, r->old_pub);
    } else {
        respond_hub(r, code, r->obj);
    }
    return STAGE_ANSWERED;
}

/* ---- collections ---- */

struct collection {
    struct snapshot *snapshot;
    const struct object **objects;
    size_t n, at;
    struct str ns; /* of the request */
};

static void cleanup(struct request *r)
{
    struct collection *c = r->verb_data;
    (void)snapshot_unref(c->snapshot);
}

static bool collect(struct request *r, struct collection *c)
{
    struct selection s;
    struct snapshot_iter it;
    const struct object *o;
    size_t capacity = 0;
    if (!selection_parse(&r->arena, r, &s)) {
        return false;
    }
    c->snapshot = watch_cache_snapshot(r->rest->cache);
    c->ns = r->info.ns;
    r->verb_data = c;
    r->cleanup = cleanup;
    snapshot_iter_init(&it, c->snapshot, r->info.ns, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        if (!selection_matches(&s, o)) {
            continue;
        }
        if (c->n == capacity) {
            size_t more = capacity ? capacity * 2 : 64;
            const struct object **grown = arena_grow_n(&r->arena, c->objects, capacity, more, sizeof(const struct object *));
            if (!grown) {
                (void)request_bad(r, "the collection is too large");
                return false;
            }
            c->objects = grown;
            capacity = more;
        }
        c->objects[c->n++] = o;
    }
    return true;
}

/* The next object that is still there; behind the last one the list of all is answered. The stages that follow delete one
 * object, and the last of them comes back here. */
enum stage_result stage_delete_collection(struct request *r)
{
    struct collection *c = r->verb_data;
    if (!c) {
        c = arena_new(&r->arena, struct collection);
        if (!c || !collect(r, c)) {
            return STAGE_ERROR;
        }
    }
    while (c->at < c->n) {
        const struct object *o = c->objects[c->at++];
        r->info.ns = object_namespace(o);
        r->info.name = object_name(o);
        if (watch_cache_get(r->rest->cache, r->info.ns, r->info.name)) {
            r->conflicts = 0;
            return STAGE_DONE;
        }
    }
    struct snapshot *s = snapshot_ref(c->snapshot);
    const struct object **objects = c->objects ? c->objects : arena_alloc(&r->arena, sizeof(const struct object *));
    cleanup(r);
    r->cleanup = NULL;
    r->info.ns = c->ns;
    return list_answer(r, s, objects, c->n);
}

enum stage_result stage_delete_next(struct request *r)
{
    request_goto(r, stage_delete_collection);
    return STAGE_DONE;
}
