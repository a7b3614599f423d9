/* Loading: the object as it is published now, and waiting for a resourceVersion that is not there yet. */
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"

static void on_fresh(void *arg, enum store_status status)
{
    struct request *r = arg;
    r->rv_waiting = false;
    if (status == STORE_OK) {
        r->fresh = true;
        request_again(r);
        return;
    }
    status_store_failed(&r->status, status);
    request_resume(r, STAGE_ERROR);
}

/* Where others write too, what a write is checked against must not be older than what they had acknowledged before: an object
 * made through another server is there, its namespace is, and a version read there is known. One quorum read, shared by all
 * requests of a turn. */
enum stage_result stage_fresh(struct request *r)
{
    if (r->fresh || r->srv->store->sole_writer || !r->rest) {
        return STAGE_DONE;
    }
    if (watch_cache_wait(r->rest->cache, &r->rv_wait, WATCH_CACHE_LATEST, on_fresh, r)) {
        r->fresh = true;
        return STAGE_DONE;
    }
    r->rv_waiting = true;
    return STAGE_WAIT;
}

enum stage_result stage_load(struct request *r)
{
    enum stage_result fresh = stage_fresh(r);
    if (fresh != STAGE_DONE) {
        return fresh;
    }
    const struct object *o = watch_cache_get(r->rest->cache, r->info.ns, r->info.name);
    request_unload(r);
    r->old_revision = 0;
    if (!o) {
        return STAGE_DONE;
    }
    r->old_pub = object_ref(o);
    r->old_revision = object_revision(o);
    r->old = rest_decode(r->rest, &r->arena, o);
    if (!r->old) {
        status_internal(&r->status, &r->arena, "the stored object cannot be read");
        return STAGE_ERROR;
    }
    return STAGE_DONE;
}

enum stage_result stage_load_found(struct request *r)
{
    enum stage_result result = stage_load(r);
    if (result == STAGE_DONE && !r->old) {
        status_not_found(&r->status, &r->arena, r->ep->res->group, r->ep->res->resource, r->info.name);
        return STAGE_ERROR;
    }
    return result;
}

static void stop_waiting(struct request *r)
{
    loop_timer_stop(&r->rv_timer);
    if (r->rv_waiting) {
        r->rv_waiting = false;
        watch_cache_wait_cancel(&r->rv_wait);
    }
}

static void on_timeout(void *arg)
{
    struct request *r = arg;
    stop_waiting(r);
    status_rv_too_large(&r->status, &r->arena, r->opt.rv, (uint64_t)watch_cache_revision(r->rest->cache));
    request_resume(r, STAGE_ERROR);
}

static void on_reached(void *arg, enum store_status status)
{
    struct request *r = arg;
    r->rv_waiting = false;
    loop_timer_stop(&r->rv_timer);
    if (status == STORE_OK) {
        r->fresh = r->fresh || str_empty(r->opt.resource_version);
        request_resume(r, STAGE_DONE);
        return;
    }
    status_store_failed(&r->status, status);
    request_resume(r, STAGE_ERROR);
}

enum stage_result stage_wait_rv(struct request *r)
{
    bool unset = str_empty(r->opt.resource_version);
    int64_t rv = unset ? WATCH_CACHE_LATEST : (int64_t)r->opt.rv;
    if (r->opt.watch && unset && !r->opt.send_initial) {
        rv = 0;
    }
    if (!str_empty(r->opt.continue_token)) {
        rv = r->srv->store->sole_writer ? 0 : WATCH_CACHE_LATEST; /* another server may have given it, of a newer version */
    }
    if (watch_cache_wait(r->rest->cache, &r->rv_wait, rv, on_reached, r)) {
        return STAGE_DONE;
    }
    r->rv_waiting = true;
    if (!unset && r->opt.rv > 0) {
        loop_timer_init(&r->rv_timer, r->srv->loop, on_timeout, r);
        loop_timer_start(&r->rv_timer, REQUEST_RV_WAIT_MS);
    }
    return STAGE_WAIT;
}
