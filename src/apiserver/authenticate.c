#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/clock.h"
#include "base/time-floor.h"
#include "base/log.h"

static enum stage_result finish(struct request *r, enum authn_result result)
{
    if (result == AUTHN_OK) {
        r->user = r->authn.user;
        r->real_user = r->authn.user;
        return STAGE_DONE;
    }
    if (result == AUTHN_FAILED) {
        log_info("apiserver: cannot authenticate a request for %.*s: %s", STR_ARG(r->info.path), r->authn.err.msg);
    }
    r->status = (struct status){ .code = 401, .reason = STR("Unauthorized"), .message = STR("Unauthorized") };
    return STAGE_ERROR;
}

static void on_done(struct authn_request *a, enum authn_result result)
{
    struct request *r = a->owner;
    request_resume(r, finish(r, result));
}

enum stage_result stage_authenticate(struct request *r)
{
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
