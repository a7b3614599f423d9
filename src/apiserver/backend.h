/* Passing a request on to a backend: an answer streamed through with back-pressure, or an upgraded connection. */
#ifndef APISERVER_BACKEND_H
#define APISERVER_BACKEND_H

#include "apiserver/stage.h"
#include "net/upgrade-proxy.h"

struct api_type;

struct backend_call {
    struct http_client *client;
    struct str method, target;
    const struct http_header *headers; /* of the request that is sent */
    size_t n_headers;
    bool with_body;     /* the client's body goes along */
    bool pass_headers;  /* the answer's headers reach the client; else only Content-Type */
};

/* Starts the call; returns STAGE_WAIT, or STAGE_ERROR. The answer is the backend's, or 502/503 when there is none. */
enum stage_result backend_stream(struct request *r, const struct backend_call *call);
/* Hands the client's connection over to an upgrade. Returns what the stage returns. */
enum stage_result backend_upgrade(struct request *r, struct http_client *client, struct str target, enum upgrade_kind kind,
                                  unsigned channels);

#endif
