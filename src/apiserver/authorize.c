#include "apiserver/request.h"
#include "apiserver/verbs.h"

static void attributes(struct request *r, struct authz_attributes *attr)
{
    const struct request_info *i = &r->info;
    *attr = (struct authz_attributes){ .user = &r->user, .verb = i->verb, .resource_request = i->is_resource, .path = i->path };
    if (i->is_resource) {
        attr->namespace_ = i->ns;
        attr->api_group = i->group;
        attr->api_version = i->version;
        attr->resource = i->resource;
        attr->subresource = i->subresource;
        attr->name = i->name;
    }
}

static enum stage_result finish(struct request *r, enum authz_result result)
{
    if (result == AUTHZ_ALLOW) {
        return STAGE_DONE;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 10);
    authz_forbidden_message(&r->authz.attr, r->authz.reason, &b);
    r->status = (struct status){ .code = 403, .reason = STR("Forbidden"), .message = arena_str(&r->arena, buf_str(&b)),
                                 .has_details = true };
    if (r->info.is_resource) {
        r->status.group = r->info.group;
        r->status.kind = r->info.resource;
        r->status.name = r->info.name;
    }
    return STAGE_ERROR;
}

static void on_done(struct authz_request *a, enum authz_result result)
{
    struct request *r = a->owner;
    request_resume(r, finish(r, result));
}

enum stage_result stage_authorize(struct request *r)
{
    r->authz = (struct authz_request){ .arena = &r->arena, .done = on_done, .owner = r };
    attributes(r, &r->authz.attr);
    enum authz_result result = authz_start(r->srv->authz, &r->authz);
    return result == AUTHZ_WAIT ? STAGE_WAIT : finish(r, result);
}
