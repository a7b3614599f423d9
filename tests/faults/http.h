/*
 * A blocking HTTP/1.1 client for one thread: as little as the checker needs, and nothing of the product's own client, so that the
 * one does not hide what the other does wrong.
 */
#ifndef FAULTS_HTTP_H
#define FAULTS_HTTP_H

#include "base/buf.h"

struct http {
    int fd;       /* -1: not connected */
    uint16_t port;
    struct buf in; /* what came and was not used yet */
    size_t at;
    bool chunked;
    size_t left;  /* of the chunk or the body under way */
    bool ended;
};

void http_init(struct http *c, uint16_t port);
void http_close(struct http *c);
bool http_connect(struct http *c, unsigned timeout_ms);
/* Sends a request and reads the head of the answer. The status, or -1 when the connection broke, or 0 when no answer came in time. */
int http_begin(struct http *c, const char *method, const char *path, struct str body);
/* The whole body behind http_begin(). */
bool http_body(struct http *c, struct buf *body);
/* Both. */
int http_do(struct http *c, const char *method, const char *path, struct str body, struct buf *answer);
/* The next line of a body that goes on: 1, 0 when none came in time, -1 at its end. */
int http_line(struct http *c, struct buf *line);

#endif
