/* Reviews: questions about users and rights that are answered and not stored. */
#include "api/gen/authentication_v1.h"
#include "api/gen/authorization_v1.h"
#include "apiserver/authorize.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "auth/rbac.h"
#include "base/clock.h"
#include "base/time-floor.h"
#include "base/time-floor.h"

static enum stage_result answer(struct request *r)
{
    respond_typed(r, 201, r->ep->res->type, r->body_obj, r->ep->api_version, r->ep->res->kind);
    return STAGE_ANSWERED;
}

/* ---- SubjectAccessReview and its kin ---- */

struct access {
    struct auth_user user;
    const struct authorization_v1_resource_attributes *resource;
    const struct authorization_v1_non_resource_attributes *path;
    struct authorization_v1_subject_access_review_status *status;
};

static void fill_extra(struct request *r, struct auth_user *u, const struct api_str_list_entry *extra, size_t n)
{
    struct auth_extra *out = arena_new_n(&r->arena, struct auth_extra, n);
    for (size_t i = 0; out && i < n; i++) {
        out[i] = (struct auth_extra){ .key = extra[i].key, .values = extra[i].value.items, .n_values = extra[i].value.n };
    }
    u->extra = out;
    u->n_extra = out ? n : 0;
}

static void user_of_spec(struct request *r, const struct authorization_v1_subject_access_review_spec *s, struct access *a)
{
    a->user = (struct auth_user){ .name = s->user, .uid = s->uid, .groups = s->groups, .n_groups = s->n_groups };
    fill_extra(r, &a->user, s->extra, s->n_extra);
    a->resource = s->resource_attributes;
    a->path = s->non_resource_attributes;
    if (str_empty(s->user) && s->n_groups == 0) {
        field_invalid_str(&r->errs, STR("spec.user"), STR_EMPTY, "at least one of user or group must be specified");
    }
}

/* Selectors of the attributes (KEP-4601): requirements, or a selector's text, which is read as that of a request. */
static void take_fields(struct request *r, const struct authorization_v1_field_selector_attributes *f, struct authz_attributes *attr)
{
    if (!str_empty(f->raw_selector)) {
        authorize_field_requirements(r, f->raw_selector, attr);
        return;
    }
    struct authz_requirement *list = arena_new_n(&r->arena, struct authz_requirement, f->n_requirements + 1);
    for (size_t i = 0; list && i < f->n_requirements; i++) {
        list[i] = (struct authz_requirement){ .key = f->requirements[i].key, .op = f->requirements[i].operator,
                                              .values = f->requirements[i].values, .n_values = f->requirements[i].n_values };
    }
    attr->fields = list;
    attr->n_fields = list ? f->n_requirements : 0;
}

static void take_labels(struct request *r, const struct authorization_v1_label_selector_attributes *l, struct authz_attributes *attr)
{
    if (!str_empty(l->raw_selector)) {
        authorize_label_requirements(r, l->raw_selector, attr);
        return;
    }
    struct authz_requirement *list = arena_new_n(&r->arena, struct authz_requirement, l->n_requirements + 1);
    for (size_t i = 0; list && i < l->n_requirements; i++) {
        list[i] = (struct authz_requirement){ .key = l->requirements[i].key, .op = l->requirements[i].operator,
                                              .values = l->requirements[i].values, .n_values = l->requirements[i].n_values };
    }
    attr->labels = list;
    attr->n_labels = list ? l->n_requirements : 0;
}

static void check_selectors(struct request *r, const struct authorization_v1_resource_attributes *a)
{
    if (a->field_selector && !str_empty(a->field_selector->raw_selector) && a->field_selector->n_requirements > 0) {
        field_invalid_str(&r->errs, STR("spec.resourceAttributes.fieldSelector.rawSelector"), a->field_selector->raw_selector,
                          "may not specified at the same time as requirements");
    }
    if (a->label_selector && !str_empty(a->label_selector->raw_selector) && a->label_selector->n_requirements > 0) {
        field_invalid_str(&r->errs, STR("spec.resourceAttributes.labelSelector.rawSelector"), a->label_selector->raw_selector,
                          "may not specified at the same time as requirements");
    }
}

static bool read_access(struct request *r, struct access *a)
{
    *a = (struct access){ 0 };
    if (str_eq_c(r->ep->res->kind, "SelfSubjectAccessReview")) {
        struct authorization_v1_self_subject_access_review *o = r->body_obj;
        a->user = r->user;
        a->resource = o->spec.resource_attributes;
        a->path = o->spec.non_resource_attributes;
        a->status = &o->status;
    } else if (str_eq_c(r->ep->res->kind, "LocalSubjectAccessReview")) {
        struct authorization_v1_local_subject_access_review *o = r->body_obj;
        user_of_spec(r, &o->spec, a);
        a->status = &o->status;
        o->metadata.namespace = str_empty(o->metadata.namespace) ? r->info.ns : o->metadata.namespace;
        if (a->resource && !str_eq(a->resource->namespace, r->info.ns)) {
            field_invalid_str(&r->errs, STR("spec.resourceAttributes.namespace"), a->resource->namespace, "must match metadata.namespace");
        }
    } else {
        struct authorization_v1_subject_access_review *o = r->body_obj;
        user_of_spec(r, &o->spec, a);
        a->status = &o->status;
    }
    *a->status = (struct authorization_v1_subject_access_review_status){ 0 };
    if (!a->resource == !a->path) {
        struct field_err user = { 0 };
        bool had = r->errs.n > 0;
        if (had) {
            user = r->errs.items[--r->errs.n];
        }
        field_invalid_json(&r->errs, a->path ? STR("spec.nonResourceAttributes") : STR("spec.resourceAttributes"), STR("null"),
                           a->resource ? "cannot be specified in combination with resourceAttributes"
                                       : "exactly one of nonResourceAttributes or resourceAttributes must be specified");
        if (had) {
            field_add(&r->errs, user.reason, user.path, user.body);
        }
    }
    if (a->resource) {
        check_selectors(r, a->resource);
    }
    if (r->errs.n > 0) {
        status_invalid(&r->status, &r->arena, STR("authorization.k8s.io"), STR_EMPTY, STR_EMPTY, &r->errs);
        return false;
    }
    return true;
}

static void decided(struct request *r, enum authz_result result)
{
    struct authorization_v1_subject_access_review_status *s = r->verb_data;
    s->allowed = result == AUTHZ_ALLOW;
    s->denied = result == AUTHZ_DENY;
    s->reason = r->authz.reason.ptr ? r->authz.reason : STR_NULL;
    if (r->authz.err.code != ERR_NONE) {
        s->evaluation_error = arena_str(&r->arena, str_c(r->authz.err.msg));
    }
}

static void on_decided(struct authz_request *a, enum authz_result result)
{
    struct request *r = a->owner;
    decided(r, result);
    request_resume(r, answer(r));
}

static enum stage_result review_access(struct request *r)
{
    struct access *a = arena_new(&r->arena, struct access);
    if (!a || !read_access(r, a)) {
        return STAGE_ERROR;
    }
    r->authz = (struct authz_request){ .arena = &r->arena, .done = on_decided, .owner = r, .want_reason = true };
    if (a->resource) {
        r->authz.attr = (struct authz_attributes){
            .user = &a->user, .verb = a->resource->verb, .resource_request = true, .namespace_ = a->resource->namespace,
            .api_group = a->resource->group, .api_version = a->resource->version, .resource = a->resource->resource,
            .subresource = a->resource->subresource, .name = a->resource->name,
        };
        if (a->resource->field_selector) {
            take_fields(r, a->resource->field_selector, &r->authz.attr);
        }
        if (a->resource->label_selector) {
            take_labels(r, a->resource->label_selector, &r->authz.attr);
        }
    } else {
        r->authz.attr = (struct authz_attributes){ .user = &a->user, .verb = a->path->verb, .path = a->path->path };
    }
    r->verb_data = a->status;
    enum authz_result result = authz_start(r->srv->authz, &r->authz);
    if (result == AUTHZ_WAIT) {
        return STAGE_WAIT;
    }
    decided(r, result);
    return answer(r);
}

/* ---- SelfSubjectRulesReview ---- */

static enum stage_result review_rules(struct request *r)
{
    struct authorization_v1_self_subject_rules_review *o = r->body_obj;
    struct rbac_rule_set set = { 0 };
    struct err err = { 0 };
    bool incomplete = false;
    if (str_empty(o->spec.namespace)) {
        return request_bad(r, "no namespace on request");
    }
    o->status = (struct authorization_v1_subject_rules_review_status){ 0 };
    if (!authz_rules(r->srv->authz, &r->user, o->spec.namespace, &r->arena, &set, &incomplete, &err)) {
        status_from_err(&r->status, &r->arena, &err);
        return STAGE_ERROR;
    }
    o->status.resource_rules = arena_new_n(&r->arena, struct authorization_v1_resource_rule, set.n);
    o->status.non_resource_rules = arena_new_n(&r->arena, struct authorization_v1_non_resource_rule, set.n);
    if (!o->status.resource_rules || !o->status.non_resource_rules) {
        return request_bad(r, "too many rules");
    }
    for (size_t i = 0; i < set.n; i++) {
        const struct rbac_rule *x = &set.rules[i];
#define LIST(p) (struct str *)(uintptr_t)(p)
        if (x->n_non_resource_urls > 0) {
            o->status.non_resource_rules[o->status.n_non_resource_rules++] = (struct authorization_v1_non_resource_rule){
                .verbs = LIST(x->verbs), .n_verbs = x->n_verbs, .non_resource_urls = LIST(x->non_resource_urls),
                .n_non_resource_urls = x->n_non_resource_urls };
        } else {
            o->status.resource_rules[o->status.n_resource_rules++] = (struct authorization_v1_resource_rule){
                .verbs = LIST(x->verbs), .n_verbs = x->n_verbs, .api_groups = LIST(x->api_groups), .n_api_groups = x->n_api_groups,
                .resources = LIST(x->resources), .n_resources = x->n_resources, .resource_names = LIST(x->resource_names),
                .n_resource_names = x->n_resource_names };
        }
#undef LIST
    }
    o->status.incomplete = incomplete;
    if (err.code != ERR_NONE) {
        o->status.evaluation_error = arena_str(&r->arena, str_c(err.msg));
    }
    return answer(r);
}

/* ---- TokenReview, SelfSubjectReview ---- */

static void user_info(struct request *r, const struct auth_user *u, struct authentication_v1_user_info *ret)
{
    *ret = (struct authentication_v1_user_info){ .username = u->name, .uid = u->uid };
    ret->groups = arena_new_n(&r->arena, struct str, u->n_groups);
    ret->extra = arena_new_n(&r->arena, struct api_str_list_entry, u->n_extra);
    for (size_t i = 0; ret->groups && i < u->n_groups; i++) {
        ret->groups[ret->n_groups++] = u->groups[i];
    }
    for (size_t i = 0; ret->extra && i < u->n_extra; i++) {
        size_t at = ret->n_extra++;
        while (at > 0 && str_cmp(ret->extra[at - 1].key, u->extra[i].key) > 0) {
            ret->extra[at] = ret->extra[at - 1];
            at--;
        }
        ret->extra[at].key = u->extra[i].key;
        ret->extra[at].value.items = (struct str *)(uintptr_t)u->extra[i].values;
        ret->extra[at].value.n = u->extra[i].n_values;
    }
    if (ret->n_extra == 0) {
        ret->extra = NULL;
    }
}

static enum stage_result token_known(struct request *r, enum authn_result result)
{
    struct authentication_v1_token_review *o = r->body_obj;
    o->status = (struct authentication_v1_token_review_status){ 0 };
    if (result == AUTHN_OK) {
        o->status.authenticated = true;
        user_info(r, &r->authn.user, &o->status.user);
        o->status.audiences = r->authn.ret_audiences;
        o->status.n_audiences = r->authn.n_ret_audiences;
    } else if (result == AUTHN_FAILED) {
        o->status.error = arena_str(&r->arena, str_c(r->authn.err.msg));
    }
    return answer(r);
}

static void on_token(struct authn_request *a, enum authn_result result)
{
    struct request *r = a->owner;
    request_resume(r, token_known(r, result));
}

static enum stage_result review_token(struct request *r)
{
    struct authentication_v1_token_review *o = r->body_obj;
    if (str_empty(o->spec.token)) {
        return request_bad(r, "token is required for TokenReview in authentication");
    }
    const struct apiserver_config *c = &r->srv->cfg;
    const struct flag_strings *own = c->api_audiences.n ? &c->api_audiences : &c->service_account_issuers;
    bool asked = o->spec.n_audiences > 0;
    r->authn = (struct authn_request){ .arena = &r->arena, .now = time_floor_now_s(), .audiences = asked ? o->spec.audiences : own->items,
                                       .n_audiences = asked ? o->spec.n_audiences : own->n, .done = on_token, .owner = r };
    enum authn_result result = authn_start_token(r->srv->authn, &r->authn, o->spec.token);
    return result == AUTHN_WAIT ? STAGE_WAIT : token_known(r, result);
}

static enum stage_result review_self(struct request *r)
{
    struct authentication_v1_self_subject_review *o = r->body_obj;
    o->metadata.creation_timestamp = (struct api_time){ .sec = clock_real_s(), .set = true };
    user_info(r, &r->user, &o->status.user_info);
    return answer(r);
}

enum stage_result stage_review(struct request *r)
{
    static const struct {
        const char *kind;
        enum stage_result (*review)(struct request *r);
    } table[] = {
        { "SubjectAccessReview", review_access },     { "SelfSubjectAccessReview", review_access },
        { "LocalSubjectAccessReview", review_access }, { "SelfSubjectRulesReview", review_rules },
        { "TokenReview", review_token },               { "SelfSubjectReview", review_self },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (str_eq_c(r->ep->res->kind, table[i].kind)) {
            return table[i].review(r);
        }
    }
    status_method_not_allowed(&r->status);
    return STAGE_ERROR;
}
