/* Who asks (authentication), and whether he may (authorisation). */
#include "kubelet/core-private.h"

#include "auth/kubelet-attributes.h"
#include "base/log.h"
#include "base/time-floor.h"

static void authorized(struct core_request *r, enum authz_result result);

static void on_authorized(struct authz_request *q, enum authz_result result)
{
    struct core_request *r = q->owner;
    r->authorizing = false;
    authorized(r, result);
}

static void ask_next(struct core_request *r)
{
    r->authz = (struct authz_request){ .attr = r->attributes[r->asked], .arena = &r->a, .done = on_authorized, .owner = r };
    enum authz_result result = authz_start(r->core->authz, &r->authz);
    r->authorizing = result == AUTHZ_WAIT;
    if (result != AUTHZ_WAIT) {
        authorized(r, result);
    }
}

static void authorized(struct core_request *r, enum authz_result result)
{
    if (result == AUTHZ_ALLOW) {
        core_dispatch(r);
        return;
    }
    if (++r->asked < r->n_attributes) {
        ask_next(r);
        return;
    }
    const struct authz_attributes *a = &r->attributes[0];
    core_request_error(r, 403, "Forbidden (user=%.*s, verb=%.*s, resource=%.*s, subresource(s)=[%.*s])\n", STR_ARG(r->authn.user.name), STR_ARG(a->verb),
                  STR_ARG(a->resource), STR_ARG(a->subresource));
}

/*
 * The path as core_dispatch() will see it, decoded: the right that is asked for must be that of what is then done. Of the raw path
 * "/%65xec/…" nobody would say that it runs something.
 */
static struct str dispatched_path(struct core_request *r)
{
    struct str path = STR("/");
    for (size_t i = 0; i < r->target.n_segments; i++) {
        path = arena_printf(&r->a, "%.*s%s%.*s", STR_ARG(path), i ? "/" : "", STR_ARG(r->target.segments[i]));
    }
    return path;
}

static void authenticated(struct core_request *r, enum authn_result result)
{
    if (result != AUTHN_OK) {
        log_info("a request to the kubelet was not authenticated: %s", r->authn.err.msg);
        core_request_error(r, 401, "Unauthorized");
        return;
    }
    r->n_attributes = kubelet_attributes(&r->authn.user, r->method, dispatched_path(r), str_c(r->k->node_name), r->attributes);
    ask_next(r);
}

static void on_authenticated(struct authn_request *q, enum authn_result result)
{
    struct core_request *r = q->owner;
    r->authenticating = false;
    authenticated(r, result);
}

void core_take_request(struct server_core *s, const struct wire_message *m)
{
    struct core_request *r = core_request_new(s, m->id);
    struct err err = { 0 };
    if (m->n_strings < 4 || m->number != m->n_strings - 4) {
        core_request_error(r, 400, "malformed");
        return;
    }
    struct str *chain = arena_new_n(&r->a, struct str, m->number + 1u);
    for (size_t i = 0; chain && i < m->number; i++) {
        chain[i] = arena_str(&r->a, m->strings[4 + i]);
    }
    r->method = arena_str(&r->a, m->strings[0]);
    if (!http_target_parse(&r->a, arena_str(&r->a, m->strings[1]), &r->target, &err)) {
        core_request_error(r, 400, "%s", err.msg);
        return;
    }
    r->authn = (struct authn_request){ .arena = &r->a, .peer_chain = chain, .n_peer_chain = chain ? m->number : 0, .now = time_floor_now_s(),
                                       .path = r->target.path, .done = on_authenticated, .owner = r };
    r->authn.authorization = m->strings[2].len ? arena_str(&r->a, m->strings[2]) : STR_NULL;
    r->authn.ws_protocols = m->strings[3].len ? arena_str(&r->a, m->strings[3]) : STR_NULL;
    enum authn_result result = authn_start(s->authn, &r->authn);
    r->authenticating = result == AUTHN_WAIT;
    if (result != AUTHN_WAIT) {
        authenticated(r, result);
    }
}
