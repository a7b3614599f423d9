#include "apiserver/paths.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/clock.h"
#include "base/time-floor.h"
#include "base/log.h"
#include "net/addr.h"

static enum stage_result finish(struct request *r, enum authn_result result)
{
    if (result == AUTHN_OK) {
        r->user = r->authn.user;
        r->real_user = r->authn.user;
        paths_label_request(r);
        return STAGE_DONE;
    }
    if (result == AUTHN_FAILED) {
        /* A webhook's own words may repeat what it was asked about. */
        bool told = r->authn.token.len > 0 && str_find(str_c(r->authn.err.msg), r->authn.token) >= 0;
        log_info("apiserver: cannot authenticate a request for %.*s: %s", STR_ARG(r->info.path),
                 told ? "the reason repeats the token and is left out" : r->authn.err.msg);
    }
    r->status = (struct status){ .code = 401, .reason = STR("Unauthorized"), .message = STR("Unauthorized") };
    return STAGE_ERROR;
}

static void on_done(struct authn_request *a, enum authn_result result)
{
    struct request *r = a->owner;
    request_resume(r, finish(r, result));
}

/*
 * A page in somebody's browser reaches 127.0.0.1 too, and there is no credential here that it lacks: what a browser sends for a page
 * says so in Origin, and a name that was made to point here (DNS rebinding) stands in Host.
 */
static bool is_of_a_browser(const struct request *r)
{
    struct str host = r->in->authority;
    uint16_t port = 0;
    struct net_addr addr;
    return request_header(r, "origin").len > 0 ||
           (host.len > 0 && (!net_split_host_port(r->in->authority, &host, &port) ||
                             (!str_eq_c(host, "localhost") && !net_addr_parse_ip(host, 1, &addr))));
}

/* By --insecure-port: the administrator, whoever it is (documentation of the port: neither authentication nor authorisation). */
static enum stage_result take_insecure(struct request *r)
{
    static const struct str groups[] = { STR_INIT("system:masters"), STR_INIT("system:authenticated") };
    if (is_of_a_browser(r)) {
        r->status = (struct status){ .code = 403, .reason = STR("Forbidden"),
                                     .message = STR("the insecure port serves no web pages: requests with Origin or with a host name are refused") };
        return STAGE_ERROR;
    }
    r->user = (struct auth_user){ .name = STR("system:unsecured"), .groups = groups, .n_groups = ARRAY_SIZE(groups) };
    r->real_user = r->user;
    return STAGE_DONE;
}

enum stage_result stage_authenticate(struct request *r)
{
    if (r->in->listener == apiserver_insecure_listener) {
        return take_insecure(r);
    }
    const struct net_peer *peer = r->in->peer;
    r->authn = (struct authn_request){
        .arena = &r->arena,
        .authorization = request_header(r, "authorization"),
        .ws_protocols = request_header(r, "sec-websocket-protocol"),
        .headers = &r->in->headers,
        .now = time_floor_now_s(),
        .path = r->info.path,
        .done = on_done,
        .owner = r,
    };
    if (peer && peer->state != NET_PEER_NONE) {
        r->authn.peer_chain = peer->chain;
        r->authn.n_peer_chain = peer->n_chain;
        r->authn.peer_digest = peer->digest;
    }
    enum authn_result result = authn_start(r->srv->authn, &r->authn);
    return result == AUTHN_WAIT ? STAGE_WAIT : finish(r, result);
}
