/* The commit: the object is published and stored by compare-and-put; a lost race goes back to load. */
#include "api/gen/meta_v1.h"
#include "api/stored.h"
#include "apiserver/feeds.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"

static enum stage_result failed(struct request *r, enum store_status status)
{
    status_store_failed(&r->status, status);
    return STAGE_ERROR;
}

static enum stage_result already_exists(struct request *r)
{
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, r->obj);
    const struct object *there = watch_cache_get(r->rest->cache, m->namespace, m->name);
    status_already_exists(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, m->name);
    if (there && (there->flags & OBJECT_DELETING)) {
        r->status.message = arena_printf(&r->arena, "object is being deleted: %.*s", STR_ARG(r->status.message));
    }
    return STAGE_ERROR;
}

static bool has_stage(const struct request *r, stage_fn *run)
{
    for (size_t i = 0; r->stages[i].run; i++) {
        if (r->stages[i].run == run) {
            return true;
        }
    }
    return false;
}

/* Somebody else was faster. */
static enum stage_result conflicted(struct request *r)
{
    if (r->creating && has_stage(r, stage_begin_create)) {
        if (r->name_generated && ++r->conflicts < REQUEST_MAX_CONFLICTS) {
            request_goto(r, stage_begin_create);
            return STAGE_DONE;
        }
        return already_exists(r);
    }
    if (r->client_rv != 0 || ++r->conflicts >= REQUEST_MAX_CONFLICTS) {
        return write_conflict(r);
    }
    request_goto(r, has_stage(r, stage_load) ? stage_load : stage_load_found);
    return STAGE_DONE;
}

static void on_committed(void *arg, const struct store_result *res)
{
    struct request *r = arg;
    r->pending--;
    r->result = *res;
    r->result.value = STR_NULL;
    net_trim_count(&r->srv->trim);
    if (res->status == STORE_OK && !r->removing) {
        feeds_committed(r->srv, r->rest, r->new_pub, r->obj);
    }
    if (r->cancelled) {
        r->waiting = false;
        r->ended = true;
        request_finish(r);
        return;
    }
    if (res->status == STORE_OK) {
        request_resume(r, STAGE_DONE);
    } else if (res->status == STORE_E_CONFLICT) {
        size_t at = r->at;
        enum stage_result result = conflicted(r);
        if (result == STAGE_DONE && r->at != at) {
            request_again(r); /* request_goto() has set the place */
        } else {
            request_resume(r, result);
        }
    } else {
        request_resume(r, failed(r, res->status));
    }
}

static bool is_volatile(const struct request *r)
{
    const struct kind_ops *ops = r->rest->ops;
    return (ops->flags & KIND_VOLATILE) && !r->removing && (!ops->is_volatile || ops->is_volatile(r->obj, r->old));
}

static uint32_t time_to_live(const struct request *r)
{
    return str_eq_c(r->rest->hub->resource, "events") ? (uint32_t)r->srv->cfg.event_ttl_s : 0;
}

/* An object that is being deleted goes away with its last finalizer. */
static bool last_hold_gone(const struct request *r, const struct meta_v1_object_meta *m)
{
    const struct meta_v1_object_meta *old = rest_meta_const(r->rest, r->old);
    return old->deletion_timestamp.set && m->n_finalizers == 0 &&
           (!old->has_deletion_grace_period_seconds || old->deletion_grace_period_seconds == 0) &&
           !(r->rest->ops->holds && r->rest->ops->holds(r->obj));
}

enum stage_result stage_commit(struct request *r)
{
    const struct meta_v1_object_meta *m = rest_meta_const(r->rest, r->obj);
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 64u << 20);
    (void)!buf_reserve(&value, PUBLISH_FIRST_BYTES / 2); /* protobuf is about half as long as JSON */

    if (!r->creating && !r->removing) {
        r->removing = last_hold_gone(r, m);
    }
    if (r->unchanged) {
        return STAGE_DONE;
    }
    if (r->opt.dry_run) {
        return STAGE_DONE;
    }
    if (r->removing && !r->rest->stored_as_json) {
        api_as_stored(r->rest->hub->type, r->obj);
    }
    r->new_pub = object_unref(r->new_pub);
    bool encoded = r->removing || rest_encode_settled(r->rest, r->obj, &value, &err);
    if (encoded && r->rest->ops->read_back) {
        r->rest->ops->read_back(r->obj);
    }
    r->new_pub = encoded ? rest_publish(r->rest, &r->arena, r->obj, &err) : NULL;
    if (!r->new_pub) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    /* A write that would change nothing is none, and the version stays, as upstream has it. */
    if (!r->creating && !r->removing && r->old_pub && object_same_json(r->new_pub, r->old_pub)) {
        r->unchanged = true;
        r->new_pub = object_unref(r->new_pub);
        return STAGE_DONE;
    }
    watch_cache_key(r->rest->cache, m->namespace, m->name, &key);
    struct store_write w = {
        .resource = watch_cache_resource(r->rest->cache), .key = buf_str(&key),
        .value = r->removing ? STR_NULL : buf_str(&value), .expect = r->creating ? STORE_ABSENT : r->old_revision,
        /* A new object has a random uid. */
        .flags = (is_volatile(r) ? STORE_VOLATILE : 0) | (r->creating ? STORE_UNIQUE : 0), .ttl_s = time_to_live(r),
        .object = (struct object *)(uintptr_t)r->new_pub, .done = on_committed, .arg = r,
    };
    r->pending++;
    store_write(r->srv->store, &w);
    return STAGE_WAIT;
}
