/* Impersonate-User, -Group, -Uid and -Extra-*: acting as somebody else, who may be asked for one attribute at a time. */
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/encoding.h"

#define IMPERSONATE_MAX 64 /* attributes of one request, more is refused */

struct wanted {
    struct auth_user user;
    struct authz_attributes checks[IMPERSONATE_MAX];
    size_t n_checks;
};

static bool add_check(struct wanted *w, const struct request *r, const char *group, const char *resource, struct str sub,
                      struct str ns, struct str name)
{
    if (w->n_checks == IMPERSONATE_MAX) {
        return false;
    }
    w->checks[w->n_checks++] = (struct authz_attributes){
        .user = &r->real_user, .verb = STR("impersonate"), .resource_request = true, .api_group = str_c(group),
        .api_version = STR("v1"), .resource = str_c(resource), .subresource = sub, .namespace_ = ns, .name = name,
    };
    return true;
}

static bool want_user(struct request *r, struct wanted *w, struct str name)
{
    struct str ns, sa;
    w->user.name = name;
    if (auth_service_account_split(name, &ns, &sa)) {
        return add_check(w, r, "", "serviceaccounts", STR_EMPTY, ns, sa);
    }
    return add_check(w, r, "", "users", STR_EMPTY, STR_EMPTY, name);
}

static bool want_groups(struct request *r, struct wanted *w, bool *ret_any)
{
    size_t pos = 0;
    struct str g;
    while (http_header_next(&r->in->headers, STR("impersonate-group"), &pos, &g)) {
        *ret_any = true;
        if (!auth_user_add_group(&w->user, &r->arena, g) || !add_check(w, r, "", "groups", STR_EMPTY, STR_EMPTY, g)) {
            return false;
        }
    }
    return true;
}

/* Values of one key belong together, in whatever case and escapes the key was written. */
static bool want_extra(struct request *r, struct wanted *w)
{
    struct str prefix = STR("impersonate-extra-");
    struct auth_extra *extra = arena_new_n(&r->arena, struct auth_extra, IMPERSONATE_MAX);
    if (!extra) {
        return false;
    }
    for (size_t i = 0; i < r->in->headers.n; i++) {
        struct http_header h = r->in->headers.items[i];
        struct str key, rest = str_sub(h.name, prefix.len, h.name.len);
        if (!str_starts(h.name, prefix)) {
            continue;
        }
        if (!percent_decode(&r->arena, rest, false, &key)) {
            key = rest;
        }
        if (!add_check(w, r, "authentication.k8s.io", "userextras", key, STR_EMPTY, h.value)) {
            return false;
        }
        size_t at = 0;
        while (at < w->user.n_extra && !str_eq(extra[at].key, key)) {
            at++;
        }
        struct str *values = arena_new_n(&r->arena, struct str, extra[at].n_values + 1);
        if (!values) {
            return false;
        }
        for (size_t k = 0; k < extra[at].n_values; k++) {
            values[k] = extra[at].values[k];
        }
        values[extra[at].n_values] = h.value;
        extra[at] = (struct auth_extra){ .key = key, .values = values, .n_values = extra[at].n_values + 1 };
        w->user.n_extra += at == w->user.n_extra;
    }
    w->user.extra = extra;
    return true;
}

/* The groups that come with a name when none were asked for, and the one that says whether one has authenticated. */
static bool complete_groups(struct request *r, struct wanted *w, bool any_group)
{
    struct str ns, sa;
    if (str_eq(w->user.name, AUTH_USER_ANONYMOUS)) {
        return auth_user_add_group(&w->user, &r->arena, AUTH_GROUP_UNAUTHENTICATED);
    }
    if (!any_group && auth_service_account_split(w->user.name, &ns, &sa)) {
        struct auth_user full;
        if (!auth_service_account_user(&r->arena, ns, sa, w->user.uid, &full)) {
            return false;
        }
        w->user.groups = full.groups;
        w->user.n_groups = full.n_groups;
    }
    return auth_user_in_group(&w->user, AUTH_GROUP_UNAUTHENTICATED) || auth_user_add_group(&w->user, &r->arena, AUTH_GROUP_AUTHENTICATED);
}

/* A header of which only one can be meant. False when it is there twice: a proxy before us may have looked at the other one. */
static bool only_one(const struct request *r, const char *name, struct str *ret)
{
    size_t pos = 0;
    struct str again;
    *ret = STR_NULL;
    if (!http_header_next(&r->in->headers, str_c(name), &pos, ret)) {
        return true;
    }
    return !http_header_next(&r->in->headers, str_c(name), &pos, &again);
}

static bool has_extra(const struct request *r)
{
    for (size_t i = 0; i < r->in->headers.n; i++) {
        if (str_starts(r->in->headers.items[i].name, STR("impersonate-extra-"))) {
            return true;
        }
    }
    return false;
}

static enum stage_result refuse(struct request *r)
{
    const struct request_info *i = &r->info;
    struct str where = str_empty(i->ns) ? STR("at the cluster scope")
                                        : arena_printf(&r->arena, "in the namespace \"%.*s\"", STR_ARG(i->ns));
    if (i->is_resource) {
        status_forbidden(&r->status, &r->arena, i->group, i->resource, i->name,
                         "User \"%.*s\" cannot impersonate-on:user-info:%.*s resource \"%.*s\" in API group \"%.*s\" %.*s",
                         STR_ARG(r->real_user.name), STR_ARG(i->verb), STR_ARG(i->resource), STR_ARG(i->group), STR_ARG(where));
    } else {
        status_forbidden(&r->status, &r->arena, STR_EMPTY, STR_EMPTY, STR_EMPTY,
                         "User \"%.*s\" cannot impersonate-on:user-info:%.*s path \"%.*s\"", STR_ARG(r->real_user.name),
                         STR_ARG(i->verb), STR_ARG(i->path));
    }
    return STAGE_ERROR;
}

static enum stage_result ask(struct request *r, struct wanted *w);

static void on_done(struct authz_request *a, enum authz_result result)
{
    struct request *r = a->owner;
    if (result != AUTHZ_ALLOW) {
        request_resume(r, refuse(r));
        return;
    }
    r->impersonate_step++;
    request_again(r);
}

static enum stage_result ask(struct request *r, struct wanted *w)
{
    for (; r->impersonate_step < w->n_checks; r->impersonate_step++) {
        r->authz = (struct authz_request){ .arena = &r->arena, .done = on_done, .owner = r,
                                           .attr = w->checks[r->impersonate_step] };
        enum authz_result result = authz_start(r->srv->authz, &r->authz);
        if (result == AUTHZ_WAIT) {
            return STAGE_WAIT;
        }
        if (result != AUTHZ_ALLOW) {
            return refuse(r);
        }
    }
    r->user = w->user;
    return STAGE_DONE;
}

enum stage_result stage_impersonate(struct request *r)
{
    struct str name, uid, group = request_header(r, "impersonate-group");
    if (!only_one(r, "impersonate-user", &name) || !only_one(r, "impersonate-uid", &uid)) {
        return request_bad(r, "Impersonate-User and Impersonate-Uid may each be given once");
    }
    if (!name.ptr && !uid.ptr && !group.ptr && !has_extra(r)) {
        return STAGE_DONE;
    }
    struct wanted *w = r->verb_data;
    if (!w) {
        bool any_group = false;
        w = arena_new(&r->arena, struct wanted);
        if (!w) {
            return request_bad(r, "too many impersonation headers");
        }
        if (str_empty(name)) {
            return request_bad(r, "requested &user.DefaultInfo{Name:\"\", UID:\"%.*s\", Groups:[]string%s%s%.*s%s, "
                                  "Extra:map[string][]string(nil)} without impersonating a user name",
                               STR_ARG(uid), group.ptr ? "{" : "(nil)", group.ptr ? "\"" : "", STR_ARG(group),
                               group.ptr ? "\"}" : "");
        }
        if (uid.ptr) {
            w->user.uid = uid;
        }
        bool ok = want_user(r, w, name) && want_groups(r, w, &any_group) && want_extra(r, w) &&
                  (!uid.ptr || add_check(w, r, "authentication.k8s.io", "uids", STR_EMPTY, STR_EMPTY, uid)) &&
                  complete_groups(r, w, any_group);
        if (!ok) {
            return request_bad(r, "too many impersonation headers");
        }
        r->verb_data = w;
    }
    enum stage_result result = ask(r, w);
    if (result == STAGE_DONE) {
        r->verb_data = NULL;
    }
    return result;
}
