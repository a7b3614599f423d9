/*
 * Passing a request on to a backend: an answer streamed through with back-pressure in both directions, or an upgraded connection.
 *
 * Redirects are never followed. What a backend may send is bounded: headers (limits.h of net/), the time until they are there, and
 * what waits of a body for a slow client.
 */
#ifndef APISERVER_BACKEND_H
#define APISERVER_BACKEND_H

#include "apiserver/stage.h"
#include "net/upgrade-proxy.h"

struct api_type;

/* How an answer is treated. */
enum backend_style {
    BACKEND_KUBELET, /* body and Content-Type of a success are passed; all else becomes a Status */
    BACKEND_PROXY,   /* everything is passed: status, headers but those of the hop, body, trailers; Location is rewritten */
};

struct backend_call {
    struct http_client *client;
    enum backend_style style;
    struct str method, target;
    struct str authority;             /* Host that the backend sees; empty: its own */
    struct str prefix;                /* BACKEND_PROXY: path that leads through us to the backend's root, for Location */
    struct str backend;               /* BACKEND_PROXY: "10.0.0.5:80", the host of its own absolute URLs */
    const struct http_header *headers; /* of the request that is sent */
    size_t n_headers;
    bool with_body;                   /* the client's body goes along */
    bool patient;                     /* BACKEND_KUBELET: the answer may begin at any time (a log that is followed) */
};

/* Starts the call; returns STAGE_WAIT, or STAGE_ERROR. */
enum stage_result backend_stream(struct request *r, const struct backend_call *call);
/* Hands the client's connection over to an upgrade. Returns what the stage returns. */
enum stage_result backend_upgrade(struct request *r, const struct backend_call *call, enum upgrade_kind kind, unsigned channels);

/* The headers of the client's request that travel on: nothing of this hop (RFC 9110 7.6.1, also what Connection names), no credentials;
 * X-Forwarded-For and X-Forwarded-Uri added. 'upgrade': those that upgrade_proxy_start() sends are left out. False: too many. */
MUST_CHECK bool backend_request_headers(struct request *r, struct str forwarded_uri, bool upgrade, struct http_header **ret, size_t *ret_n);
/* A backend's Location as the client needs it; what leads elsewhere is unchanged. 'host' is the Host that the client used. */
struct str backend_location(struct arena *a, struct str location, struct str prefix, struct str backend, struct str host);

#endif
