/*
 * Passes an upgraded request on: exec, attach, port-forward and proxied WebSockets go from kubectl through kube-apiserver and
 * kubelet to the runtime this way.
 *
 * The backend is asked first. Only after its verified 101 the client gets its own, and the two connections are joined; any
 * refusal of the backend (status 400 and above) becomes the client's, and the backend's connection ends with it: nothing that the
 * client sends afterwards reaches the backend (CVE-2018-1002105). Any other answer, redirects among them, is none: the owner answers in
 * its place, and nothing is followed (CVE-2018-1002102, CVE-2020-8559). Of the client's headers only those of the upgrade itself travel
 * on, and what the owner adds: no credentials, and no token that a browser hides among its WebSocket protocols.
 */
#ifndef NET_UPGRADE_PROXY_H
#define NET_UPGRADE_PROXY_H

#include "net/channels.h"
#include "net/http-client.h"
#include "net/http-server.h"

struct upgrade_proxy;

enum upgrade_kind {
    UPGRADE_PASS,           /* byte by byte, whatever the protocol is */
    UPGRADE_REMOTE_COMMAND, /* WebSocket clients are translated to SPDY (channels_bridge_new()); SPDY passes */
    UPGRADE_PORT_FORWARD,   /* WebSocket tunnels are unpacked (channels_tunnel_new()); SPDY passes */
};

struct upgrade_proxy_config {
    struct str target;                 /* for the backend, origin form; copied */
    enum upgrade_kind kind;
    unsigned channels;                 /* UPGRADE_REMOTE_COMMAND: CHANNEL_BIT()s that the client asked for */
    const struct http_header *headers; /* sent to the backend besides; copied */
    size_t n_headers;
    struct str authority;              /* Host of the request; empty: the backend's */
    uint32_t response_ms;              /* how long the backend may take to answer; 0: 30 s */
    uint64_t idle_ms;                  /* longest silence of the joined connections; 0: for ever */
};

struct upgrade_proxy_result {
    int status; /* that the client got: 101, the backend's, or 0: none */
    uint64_t bytes_in, bytes_out; /* from and to the client */
    struct err err;
    bool tls; /* the backend's certificate or the handshake with it was refused */
};

/* It is over. 's' is NULL when the client has its answer or has left; otherwise it has none yet: give it one, from
 * 'result->err', on 's' (the handler's reference is released after the call). */
typedef void upgrade_proxy_done_fn(void *arg, struct http_stream *s, const struct upgrade_proxy_result *result);

/* Takes the handler's reference to 's'. 'done' is called once, in a later turn. Requests that do not ask for an upgrade fail
 * with ERR_BAD_REQUEST ("Upgrade request required"). */
struct upgrade_proxy *upgrade_proxy_start(struct http_stream *s, struct http_client *backend,
                                          const struct upgrade_proxy_config *config, upgrade_proxy_done_fn *done, void *arg);
/* Cuts everything, without 'done'. NULL-safe; returns NULL. */
struct upgrade_proxy *upgrade_proxy_free(struct upgrade_proxy *u);

#endif
