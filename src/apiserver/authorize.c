#include "apiserver/authorize.h"

#include "api/selector.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/log.h"

/* Selectors narrow what is asked for (KEP-4601): a node may list the pods that run on it. One that cannot be read narrows nothing;
 * the request will be refused for it later. */
void authorize_field_requirements(struct request *r, struct str text, struct authz_attributes *attr)
{
    struct field_selector sel;
    if (str_empty(text) || !field_selector_parse(&r->arena, text, &sel, NULL)) {
        return;
    }
    struct authz_requirement *list = arena_new_n(&r->arena, struct authz_requirement, sel.n + 1);
    for (size_t i = 0; list && i < sel.n; i++) {
        list[i] = (struct authz_requirement){ .key = sel.terms[i].field, .op = sel.terms[i].negate ? STR("NotIn") : STR("In"),
                                              .values = &sel.terms[i].value, .n_values = 1 };
    }
    attr->fields = list;
    attr->n_fields = list ? sel.n : 0;
}

void authorize_label_requirements(struct request *r, struct str text, struct authz_attributes *attr)
{
    static const struct str ops[] = {
        [SELECTOR_IN] = STR_INIT("In"),         [SELECTOR_NOT_IN] = STR_INIT("NotIn"),
        [SELECTOR_EQUALS] = STR_INIT("In"),     [SELECTOR_DOUBLE_EQUALS] = STR_INIT("In"),
        [SELECTOR_NOT_EQUALS] = STR_INIT("NotIn"), [SELECTOR_EXISTS] = STR_INIT("Exists"),
        [SELECTOR_NOT_EXISTS] = STR_INIT("DoesNotExist"),
    };
    struct selector sel;
    if (str_empty(text) || !selector_parse(&r->arena, text, &sel, NULL)) {
        return;
    }
    struct authz_requirement *list = arena_new_n(&r->arena, struct authz_requirement, sel.n + 1);
    size_t n = 0;
    for (size_t i = 0; list && i < sel.n; i++) {
        if ((size_t)sel.reqs[i].op < ARRAY_SIZE(ops)) {
            list[n++] = (struct authz_requirement){ .key = sel.reqs[i].key, .op = ops[sel.reqs[i].op],
                                                    .values = sel.reqs[i].values, .n_values = sel.reqs[i].n_values };
        }
    }
    attr->labels = list;
    attr->n_labels = n;
}

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
        if (str_eq_c(i->verb, "list") || str_eq_c(i->verb, "watch") || str_eq_c(i->verb, "deletecollection")) {
            authorize_field_requirements(r, request_param(r, "fieldSelector"), attr);
            authorize_label_requirements(r, request_param(r, "labelSelector"), attr);
        }
    }
}

static enum stage_result finish(struct request *r, enum authz_result result)
{
    if (result == AUTHZ_ALLOW) {
        return STAGE_DONE;
    }
    if (result == AUTHZ_NO_OPINION && r->authz.err.code == ERR_UNAVAILABLE) {
        log_warning("apiserver: a request for %.*s could not be authorised: %s", STR_ARG(r->info.path), r->authz.err.msg);
        status_internal(&r->status, &r->arena, "%s", r->authz.err.msg);
        return STAGE_ERROR;
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

/* A stream that is asked for by GET (a WebSocket) passed with the right to read so far: it needs "create" as by POST (upstream's gate
 * AuthorizePodWebsocketUpgradeCreatePermission for pods; here also for what the proxy of a node leads to). */
enum stage_result stage_authorize_stream(struct request *r)
{
    bool proxy = str_eq_c(r->info.subresource, "proxy");
    if (str_eq_c(r->info.verb, "create") || (proxy && !proxy_opens_stream(r))) {
        return STAGE_DONE;
    }
    r->authz = (struct authz_request){ .arena = &r->arena, .done = on_done, .owner = r };
    attributes(r, &r->authz.attr);
    r->authz.attr.verb = STR("create");
    enum authz_result result = authz_start(r->srv->authz, &r->authz);
    return result == AUTHZ_WAIT ? STAGE_WAIT : finish(r, result);
}
