/* The door: a request begins when its headers are complete, and ends here. */
#include "apiserver/request.h"

#include <stdarg.h>

#include "apiserver/limits.h"
#include "apiserver/respond.h"
#include "apiserver/service-alloc.h"
#include "apiserver/verbs.h"
#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"

static void on_cancel(struct http_stream *s, void *arg)
{
    (void)s;
    struct request *r = arg;
    r->cancelled = true;
    if (r->waiting && r->pending == 0) {
        authn_cancel(&r->authn);
        authz_cancel(&r->authz);
        r->waiting = false;
        r->ended = true;
        request_finish(r);
    }
}

static const struct http_stream_ops front_ops = { .on_cancel = on_cancel };

void front_set_ops(struct request *r)
{
    http_stream_set_ops(r->http, &front_ops, r);
}

static void on_deadline(void *arg)
{
    struct request *r = arg;
    if (r->waiting && !r->cancelled) {
        r->status = (struct status){ .code = 504, .reason = STR("Timeout"), .has_details = true,
                                     .message = STR("Timeout: request did not complete within the allotted timeout") };
        if (!http_stream_responded(r->http)) {
            respond_status(r);
        }
        r->cancelled = true;
        if (r->pending == 0) {
            authn_cancel(&r->authn);
            authz_cancel(&r->authz);
            r->waiting = false;
            r->ended = true;
            request_finish(r);
        }
    }
}

/* ---- memory of requests: sixteen writes that are committed together end together, and as many follow ---- */

static void give_arenas_back(void *arg)
{
    struct apiserver *srv = arg;
    while (srv->n_kept > 0) {
        arena_deinit(&srv->kept[--srv->n_kept]);
    }
}

void front_init(struct apiserver *srv)
{
    loop_timer_init(&srv->kept_timer, srv->loop, give_arenas_back, srv);
}

void front_deinit(struct apiserver *srv)
{
    loop_timer_stop(&srv->kept_timer);
    give_arenas_back(srv);
}

static void arena_take(struct apiserver *srv, struct arena *ret)
{
    if (srv->n_kept > 0) {
        *ret = srv->kept[--srv->n_kept];
    } else {
        arena_init(ret, REQUEST_ARENA);
    }
}

static void arena_keep(struct apiserver *srv, struct arena *a)
{
    arena_clear(a);
    if (!a->chunks || srv->n_kept == REQUEST_ARENAS_KEPT || srv->stopping) {
        arena_deinit(a);
        return;
    }
    if (!loop_timer_runs(&srv->kept_timer)) {
        loop_timer_start(&srv->kept_timer, REQUEST_ARENAS_MS);
    }
    srv->kept[srv->n_kept++] = *a;
}

void front_on_request(struct http_stream *s, void *arg)
{
    struct apiserver *srv = arg;
    struct request *r = calloc(1, sizeof(*r));
    if (!r) {
        http_stream_reset(s);
        http_stream_release(s);
        return;
    }
    r->srv = srv;
    r->http = s;
    r->in = http_stream_request(s);
    r->http_code = 200;
    arena_take(srv, &r->arena);
    field_errs_init(&r->errs, &r->arena);
    list_push_back(&srv->requests, &r->link);
    loop_timer_init(&r->timer, srv->loop, on_deadline, r);
    loop_timer_start(&r->timer, REQUEST_TIMEOUT_MS);
    r->started_ms = loop_now_ms(srv->loop);
    r->stages = front_stages;
    r->user_agent = request_header(r, "user-agent");
    r->is_head = str_eq_c(r->in->method, "HEAD");

    struct str path, decoded;
    struct err err;
    if (!str_cut(r->in->target, '?', &path, &r->query)) {
        path = r->in->target;
        r->query = STR_NULL;
    }
    http_stream_set_ops(s, &front_ops, r);
    http_stream_pause(s); /* what comes of the body while somebody is asked (webhooks) is kept for the stage that reads it */
    if (!percent_decode(&r->arena, path, false, &decoded) || memchr(decoded.ptr, 0, decoded.len)) {
        (void)request_bad(r, "the path of the request is not valid");
        respond_status(r);
        r->ended = true;
        request_finish(r);
        return;
    }
    if (!request_info_parse(&r->arena, r->in->method, decoded, r->query, &r->info, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        respond_status(r);
        r->ended = true;
        request_finish(r);
        return;
    }
    request_run(r);
}

void request_unload(struct request *r)
{
    r->old_pub = object_unref(r->old_pub);
    r->new_pub = object_unref(r->new_pub);
    r->old = NULL;
    r->obj = NULL;
    r->removing = false;
    r->unchanged = false;
    r->creating = false;
    field_errs_init(&r->errs, &r->arena);
}

void request_finish(struct request *r)
{
    if (r->pending > 0) {
        return; /* the commit's callback comes back here */
    }
    if (r->ended || r->cancelled || !r->stages[r->at].run) {
        request_free(r);
    }
}

void request_uncount(struct request *r)
{
    if (r->counted) {
        r->counted = false;
        r->srv->n_in_flight--;
        r->srv->n_of_user[r->user_cell]--;
    }
}

void request_free(struct request *r)
{
    if (r->hold || (r->old && r->srv->services)) {
        service_alloc_settle(r);
    }
    if (r->cleanup) {
        r->cleanup(r);
    }
    loop_timer_stop(&r->timer);
    loop_timer_stop(&r->rv_timer);
    if (r->rv_waiting) {
        watch_cache_wait_cancel(&r->rv_wait);
    }
    request_uncount(r);
    list_remove(&r->link);
    request_unload(r);
    if (!r->handed_over) {
        http_stream_set_ops(r->http, NULL, NULL);
        http_stream_release(r->http);
    }
    arena_keep(r->srv, &r->arena);
    free(r);
}

struct str request_header(const struct request *r, const char *name)
{
    return http_header_get(&r->in->headers, str_c(name));
}

struct str request_param(struct request *r, const char *key)
{
    return query_get(&r->arena, r->query, str_c(key));
}

void request_warn(struct request *r, struct str text)
{
    if (!text.ptr || r->n_warnings >= REQUEST_MAX_WARNINGS) {
        return;
    }
    for (size_t i = 0; i < r->n_warnings; i++) {
        if (str_eq(r->warnings[i], text)) {
            return;
        }
    }
    if (!r->warnings) {
        r->warnings = arena_new_n(&r->arena, struct str, REQUEST_MAX_WARNINGS);
        if (!r->warnings) {
            return;
        }
    }
    r->warnings[r->n_warnings++] = text;
}

enum stage_result request_bad(struct request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&r->arena, fmt, ap);
    va_end(ap);
    status_bad_request(&r->status, &r->arena, "%.*s", STR_ARG(text));
    return STAGE_ERROR;
}

enum stage_result request_invalid(struct request *r, struct str name)
{
    const struct api_resource *res = r->ep ? r->ep->res : NULL;
    status_invalid(&r->status, &r->arena, res ? res->group : STR_EMPTY, res ? res->kind : STR_EMPTY, name, &r->errs);
    return STAGE_ERROR;
}

struct str request_group(const struct request *r)
{
    return r->info.group;
}

struct str request_resource(const struct request *r)
{
    return r->info.resource;
}
