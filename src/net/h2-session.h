/*
 * What the HTTP/2 sessions of server, client and gRPC have in common: how nghttp2 is set up, where its memory comes from, and header
 * lines. Filling records is h2-pull.h.
 */
#ifndef NET_H2_SESSION_H
#define NET_H2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "net/http.h"

/* Header lines of one message that are sent, besides those of the protocol. */
enum { H2_MAX_SENT_HEADERS = 64 };

/* The buffer that nghttp2 builds frames in. It is as large as the largest frame, and only ever holds small ones (DATA goes past it:
 * h2-pull.h), so it has pages of its own, of which those that are never touched cost nothing. */
struct h2_frames {
    void *at;
    size_t size;
};

struct h2_session_spec {
    bool server;
    void (*callbacks)(nghttp2_session_callbacks *cb); /* sets those of this side */
    void (*options)(nghttp2_option *o);               /* the same; may be NULL */
    struct h2_frames *frames;                         /* zeroed; outlives the session */
    void *arg;                                        /* for every callback */
};

/* A session without priorities of its own making, closed streams or automatic windows. Never NULL. */
nghttp2_session *h2_session_new(const struct h2_session_spec *spec);

/* A line whose name is in lower case; 'name' and 'value' are only borrowed until the call that submits them. */
nghttp2_nv h2_line(const char *name, struct str value);
/* The same, and the value is of this message alone: no table keeps it (RFC 7541 7.1.3). */
nghttp2_nv h2_line_once(const char *name, struct str value);
/* A caller's header; its name is written to 'at' in lower case (name.len bytes). */
nghttp2_nv h2_header(char *at, const struct http_header *h);

#endif
