/* Which stages a request goes through: by resource, subresource and verb. */
#include "apiserver/discovery.h"
#include "apiserver/limits.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"

#define STAGE(fn) { #fn, stage_##fn }
#define STAGES_END { NULL, NULL }

const struct stage front_stages[] = { STAGE(authenticate), STAGE(impersonate), STAGE(authorize), STAGE(flow), STAGE(route), STAGES_END };

static const struct stage nonresource_stages[] = { STAGE(nonresource), STAGES_END };

static const struct stage get_stages[] = { STAGE(negotiate_object), STAGE(options_get), STAGE(wait_rv), STAGE(get), STAGES_END };
static const struct stage list_stages[] = { STAGE(negotiate_list), STAGE(options_list), STAGE(wait_rv), STAGE(list), STAGES_END };
static const struct stage watch_stages[] = { STAGE(negotiate_list), STAGE(options_list), STAGE(wait_rv), STAGE(watch), STAGES_END };

static const struct stage create_stages[] = { STAGE(negotiate_object), STAGE(options_create), STAGE(body), STAGE(decode),
    STAGE(fresh), STAGE(begin_create), STAGE(manage), STAGE(admit), STAGE(escalation), STAGE(prepare), STAGE(validate), STAGE(admit_validate), STAGE(allocate), STAGE(claim), STAGE(commit),
    STAGE(respond_written), STAGES_END };
static const struct stage update_stages[] = { STAGE(negotiate_object), STAGE(options_update), STAGE(body), STAGE(decode), STAGE(load),
    STAGE(begin_update), STAGE(manage), STAGE(admit), STAGE(escalation), STAGE(prepare), STAGE(validate), STAGE(admit_validate), STAGE(allocate), STAGE(claim), STAGE(commit),
    STAGE(respond_written), STAGES_END };
static const struct stage patch_stages[] = { STAGE(negotiate_object), STAGE(options_patch), STAGE(body), STAGE(load),
    STAGE(apply_patch), STAGE(manage), STAGE(admit), STAGE(escalation), STAGE(prepare), STAGE(validate), STAGE(admit_validate), STAGE(allocate), STAGE(claim), STAGE(commit),
    STAGE(respond_written), STAGES_END };
static const struct stage delete_stages[] = { STAGE(negotiate_object), STAGE(body), STAGE(options_delete), STAGE(load_found),
    STAGE(begin_delete), STAGE(admit), STAGE(admit_validate), STAGE(delete), STAGE(commit), STAGE(respond_deleted), STAGES_END };
static const struct stage delete_collection_stages[] = { STAGE(negotiate_list), STAGE(body), STAGE(options_delete), STAGE(options_list),
    STAGE(delete_collection), STAGE(load_found), STAGE(begin_delete), STAGE(admit), STAGE(admit_validate), STAGE(delete), STAGE(commit),
    STAGE(delete_next), STAGES_END };

static const struct stage scale_get_stages[] = { STAGE(negotiate_plain), STAGE(options_get), STAGE(wait_rv), STAGE(load_found),
    STAGE(scale_get), STAGES_END };
static const struct stage scale_update_stages[] = { STAGE(negotiate_plain), STAGE(options_update), STAGE(body), STAGE(load_found),
    STAGE(scale_begin), STAGE(manage), STAGE(admit), STAGE(prepare), STAGE(validate), STAGE(admit_validate), STAGE(commit),
    STAGE(respond_scale), STAGES_END };
static const struct stage scale_patch_stages[] = { STAGE(negotiate_plain), STAGE(options_patch), STAGE(body), STAGE(load_found),
    STAGE(scale_begin), STAGE(manage), STAGE(admit), STAGE(prepare), STAGE(validate), STAGE(admit_validate), STAGE(commit),
    STAGE(respond_scale), STAGES_END };
static const struct stage binding_stages[] = { STAGE(negotiate_plain), STAGE(options_create), STAGE(body), STAGE(binding_named),
    STAGE(load_found), STAGE(binding_begin), STAGE(admit), STAGE(admit_validate), STAGE(commit), STAGE(respond_created_status), STAGES_END };
static const struct stage eviction_stages[] = { STAGE(negotiate_plain), STAGE(options_create), STAGE(body), STAGE(eviction_begin),
    STAGE(load_found), STAGE(eviction_budget), STAGE(begin_delete), STAGE(admit), STAGE(admit_validate), STAGE(delete), STAGE(eviction_tell), STAGE(commit),
    STAGE(respond_created_status), STAGES_END };
static const struct stage token_stages[] = { STAGE(negotiate_plain), STAGE(options_create), STAGE(body), STAGE(load_found),
    STAGE(token_begin), STAGE(admit), STAGE(admit_validate), STAGE(token_request), STAGES_END };
static const struct stage finalize_stages[] = { STAGE(negotiate_object), STAGE(options_update), STAGE(body), STAGE(decode),
    STAGE(load_found), STAGE(finalize_begin), STAGE(manage), STAGE(admit), STAGE(admit_validate), STAGE(commit), STAGE(respond_written),
    STAGES_END };
static const struct stage review_stages[] = { STAGE(negotiate_plain), STAGE(options_create), STAGE(body), STAGE(decode), STAGE(review),
    STAGES_END };

static const struct stage log_stages[] = { STAGE(negotiate_plain), STAGE(load_found), STAGE(pod_log), STAGES_END };
static const struct stage pod_stream_stages[] = { STAGE(authorize_stream), STAGE(load_found), STAGE(begin_connect), STAGE(admit), STAGE(admit_validate),
    STAGE(pod_stream), STAGES_END };
static const struct stage proxy_stages[] = { STAGE(authorize_stream), STAGE(begin_connect), STAGE(admit), STAGE(admit_validate), STAGE(proxy), STAGES_END };

/* Upstream's order of rules: the first row that fits. NULL means any. */
static const struct route {
    const char *group, *resource, *sub, *verb;
    const struct stage *stages;
} routes[] = {
    { "", "bindings", "", "create", binding_stages },
    { "", "pods", "binding", "create", binding_stages },
    { "", "pods", "eviction", "create", eviction_stages },
    { "", "serviceaccounts", "token", "create", token_stages },
    { "", "namespaces", "finalize", "update", finalize_stages },
    { "", "pods", "log", "get", log_stages },
    { "", "pods", "exec", NULL, pod_stream_stages },
    { "", "pods", "attach", NULL, pod_stream_stages },
    { "", "pods", "portforward", NULL, pod_stream_stages },
    { "", NULL, "proxy", NULL, proxy_stages },
    { "authentication.k8s.io", NULL, "", "create", review_stages },
    { "authorization.k8s.io", NULL, "", "create", review_stages },
    { NULL, NULL, "scale", "get", scale_get_stages },
    { NULL, NULL, "scale", "update", scale_update_stages },
    { NULL, NULL, "scale", "patch", scale_patch_stages },
    { NULL, NULL, "", "get", get_stages },
    { NULL, NULL, "", "list", list_stages },
    { NULL, NULL, "", "watch", watch_stages },
    { NULL, NULL, "", "create", create_stages },
    { NULL, NULL, "", "update", update_stages },
    { NULL, NULL, "", "patch", patch_stages },
    { NULL, NULL, "", "delete", delete_stages },
    { NULL, NULL, "", "deletecollection", delete_collection_stages },
    { NULL, NULL, "status", "get", get_stages },
    { NULL, NULL, "status", "update", update_stages },
    { NULL, NULL, "status", "patch", patch_stages },
    { NULL, NULL, "approval", "get", get_stages },
    { NULL, NULL, "approval", "update", update_stages },
    { NULL, NULL, "approval", "patch", patch_stages },
    { NULL, NULL, "ephemeralcontainers", "get", get_stages },
    { NULL, NULL, "ephemeralcontainers", "update", update_stages },
    { NULL, NULL, "ephemeralcontainers", "patch", patch_stages },
    { NULL, NULL, "resize", "get", get_stages },
    { NULL, NULL, "resize", "update", update_stages },
    { NULL, NULL, "resize", "patch", patch_stages },
};

static bool has_verb(struct str verbs, struct str verb)
{
    struct str rest = verbs, v;
    while (str_split(&rest, ',', &v)) {
        if (str_eq(v, verb)) {
            return true;
        }
    }
    return false;
}

static bool fits(const char *want, struct str have)
{
    return !want || str_eq_c(have, want);
}

static enum stage_result no_resource(struct request *r)
{
    r->media.pretty = media_wants_pretty(request_param(r, "pretty"), r->user_agent);
    if (!discovery_has_group(r->srv->discovery, r->info.group)) {
        respond_bytes(r, 404, STR("text/plain; charset=utf-8"), STR("404 page not found\n"));
        return STAGE_ANSWERED;
    }
    status_no_resource(&r->status);
    return STAGE_ERROR;
}

static const struct api_subresource *find_sub(const struct api_resource *res, struct str name)
{
    for (size_t i = 0; res->subresources && res->subresources[i].name.ptr; i++) {
        if (str_eq(res->subresources[i].name, name)) {
            return &res->subresources[i];
        }
    }
    return NULL;
}

static enum stage_result not_allowed(struct request *r)
{
    status_method_not_allowed(&r->status);
    return STAGE_ERROR;
}

/* Does the path have the shape that the verb needs? */
static bool shape_is_right(const struct request *r)
{
    const struct request_info *i = &r->info;
    bool namespaced = r->ep->res->namespaced, named = !str_empty(i->name);
    bool collection = str_eq_c(i->verb, "list") || str_eq_c(i->verb, "watch");
    if (collection) {
        return true;
    }
    if (str_eq_c(i->verb, "create")) {
        return (named == (r->sub != NULL)) && namespaced == !str_empty(i->ns);
    }
    if (str_eq_c(i->verb, "deletecollection")) {
        return namespaced == !str_empty(i->ns);
    }
    return named;
}

static enum stage_result wait_ready(struct request *r);

static void on_ready(void *arg, enum store_status status)
{
    struct request *r = arg;
    r->rv_waiting = false;
    (void)status;
    request_again(r);
}

/* Nothing is answered from a cache that is not loaded. */
static enum stage_result wait_ready(struct request *r)
{
    if (!r->rest || watch_cache_ready(r->rest->cache) || watch_cache_wait(r->rest->cache, &r->rv_wait, 0, on_ready, r)) {
        return STAGE_DONE;
    }
    r->rv_waiting = true;
    return STAGE_WAIT;
}

enum stage_result stage_route(struct request *r)
{
    const struct request_info *i = &r->info;
    if (!i->is_resource) {
        r->stages = nonresource_stages;
        r->at = 0;
        return STAGE_DONE;
    }
    r->ep = registry_endpoint(r->srv, i->group, i->version, i->resource);
    if (!r->ep) {
        return no_resource(r);
    }
    const struct api_resource *res = r->ep->res;
    r->rest = r->ep->rest;
    r->sub = str_empty(i->subresource) ? NULL : find_sub(res, i->subresource);
    if (!str_empty(i->subresource) && !r->sub) {
        return no_resource(r);
    }
    /* A namespace in the path of a cluster-wide resource, or none for one object: there is no such path. */
    bool is_namespaces = str_eq_c(i->resource, "namespaces") && str_empty(i->group);
    if (!res->namespaced && !is_namespaces && !str_empty(i->ns)) {
        return no_resource(r);
    }
    if (res->namespaced && str_empty(i->ns) && !str_empty(i->name) && !str_eq_c(i->verb, "list") && !str_eq_c(i->verb, "watch")) {
        return no_resource(r);
    }
    if (is_namespaces) {
        r->info.ns = STR_EMPTY;
    }
    struct str verbs = r->sub ? r->sub->verbs : res->verbs;
    bool any_method = r->sub && str_eq_c(r->sub->name, "proxy"); /* OPTIONS and others have no verb, and are passed on */
    if ((!any_method && !has_verb(verbs, i->verb)) || !shape_is_right(r)) {
        return not_allowed(r);
    }
    enum stage_result ready = wait_ready(r);
    if (ready != STAGE_DONE) {
        return ready;
    }
    for (size_t n = 0; n < ARRAY_SIZE(routes); n++) {
        const struct route *t = &routes[n];
        if (fits(t->group, i->group) && fits(t->resource, i->resource) && fits(t->sub, r->sub ? r->sub->name : STR_EMPTY) &&
            fits(t->verb, i->verb) && (r->rest || t->group)) {
            r->stages = t->stages;
            r->at = 0;
            return STAGE_DONE;
        }
    }
    return not_allowed(r);
}

enum stage_result stage_flow(struct request *r)
{
    struct str sub = r->info.subresource;
    bool long_running = str_eq_c(r->info.verb, "watch") || str_eq_c(sub, "log") || str_eq_c(sub, "exec") ||
                        str_eq_c(sub, "attach") || str_eq_c(sub, "portforward") || str_eq_c(sub, "proxy");
    if (long_running) {
        loop_timer_stop(&r->timer);
        return STAGE_DONE;
    }
    struct apiserver *s = r->srv;
    r->user_cell = (uint16_t)(str_hash(r->real_user.name) % REQUESTS_USER_CELLS);
    if ((s->n_in_flight >= REQUESTS_IN_FLIGHT || s->n_of_user[r->user_cell] >= REQUESTS_OF_USER) &&
        !auth_user_in_group(&r->real_user, AUTH_GROUP_MASTERS)) {
        r->status = (struct status){ .code = 429, .reason = STR("TooManyRequests"), .has_details = true, .retry_after = 1,
                                     .message = STR("Too many requests, please try again later.") };
        return STAGE_ERROR;
    }
    r->counted = true;
    s->n_in_flight++;
    s->n_of_user[r->user_cell]++;
    return STAGE_DONE;
}
