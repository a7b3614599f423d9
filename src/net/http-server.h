/*
 * One HTTP server interface over HTTP/1.1 and HTTP/2.
 *
 * on_request() gets an http_stream when the headers are complete. The handler then owns one reference to it and gives it back
 * with http_stream_release() exactly once, when it no longer needs request or stream. In between, in any order and from any
 * later callback of the loop: it reads the body (callbacks with back-pressure, or collected), and answers (headers, then
 * chunks, then end). After http_stream_end(), _reset(), _upgrade() or on_cancel() the stream is dead: further calls on it do
 * nothing, so nobody has to track why. The request (headers, target, peer) stays valid until the release.
 *
 * A handler that releases a stream without having ended it resets it (HTTP/2: INTERNAL_ERROR, HTTP/1.1: close).
 * Everything happens on the loop's thread.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "net/http.h"
#include "net/stream.h"

struct http_server;
struct http_stream;

struct http_request {
    struct str method;    /* "GET" */
    struct str scheme;    /* "https" or "http": what the connection is */
    struct str authority; /* Host or :authority; may be empty in HTTP/1.0 */
    struct str target;    /* raw, origin form */
    struct http_headers headers; /* names in lower case; without pseudo headers; "cookie" joined */
    int64_t content_length; /* -1: unknown (chunked, HTTP/2 without the header) */
    bool has_body;
    int version;          /* 10, 11 or 20 */
    const struct net_addr *local, *remote;
    const struct net_peer *peer; /* NULL without TLS or without certificate; look at state */
    bool encrypted;
    const void *listener;  /* what http_server_listen() was given */
};

struct http_stream_ops {
    /* Bytes of the body, borrowed; all are taken. Not called while paused. */
    void (*on_body)(struct http_stream *s, struct str data, void *arg);
    /* The body is complete; trailers may be empty. */
    void (*on_body_end)(struct http_stream *s, const struct http_headers *trailers, void *arg);
    /* The queue fell below the low watermark after having reached the high one. */
    void (*on_drain)(struct http_stream *s, void *arg);
    /* The peer went away or the server shuts down: the stream is dead. Not called after end, reset or upgrade. */
    void (*on_cancel)(struct http_stream *s, void *arg);
};

struct http_server_config {
    void (*on_request)(struct http_stream *s, void *arg);
    void *arg;
    /* 0 in any of these means the default of limits.h. */
    size_t max_header_bytes;
    unsigned max_connections;
    unsigned max_streams;         /* of one HTTP/2 connection */
    uint32_t idle_ms;             /* keep-alive without a request */
    uint32_t header_ms;           /* from the first byte of a request (or the handshake) to complete headers */
};

MUST_CHECK struct http_server *http_server_new(struct loop *l, const struct http_server_config *config, struct err *err);
/* Takes a listening socket (inherited ones too). 'tls' NULL: plain; HTTP/2 then by prior knowledge (RFC 9113 3.3).
 * 'cookie' is handed out in http_request.listener. */
MUST_CHECK bool http_server_listen(struct http_server *srv, int fd, struct net_tls_server *tls, const void *cookie, struct err *err);
/* What the listener on this descriptor is for and who checks those who come, for `coracle paths` (path.h): literals or NULL. */
void http_server_describe(struct http_server *srv, int fd, const char *purpose, const char *authn, const char *authz);
/* Serves one connected socket (a socketpair, an accepted fd handed over). Takes the fd. */
void http_server_serve_fd(struct http_server *srv, int fd, struct net_tls_server *tls, const void *cookie);
/* Stops accepting, sends GOAWAY or "Connection: close", closes idle connections; 'done' when all requests have ended, or
 * after 'max_ms' when the rest was cut. */
void http_server_drain(struct http_server *srv, uint32_t max_ms, loop_fn *done, void *arg);
/* Cuts everything: streams get on_cancel(). NULL-safe. Not from inside a callback of one of its streams. */
struct http_server *http_server_free(struct http_server *srv);
unsigned http_server_connections(const struct http_server *srv);

/* ---- the request ---- */
const struct http_request *http_stream_request(const struct http_stream *s);
/* Lives until the release; bounded by HTTP_STREAM_ARENA. */
struct arena *http_stream_arena(struct http_stream *s);
struct loop *http_stream_loop(const struct http_stream *s);
/* Callbacks before this call are held back: nothing of the body is lost. 'ops' members may be NULL. */
void http_stream_set_ops(struct http_stream *s, const struct http_stream_ops *ops, void *arg);
/* Collects the whole body (at once when there is none), up to 'max' bytes, and calls 'done' once: with the body (borrowed,
 * valid until the release), or with 'err': ERR_TOO_LARGE past 'max', ERR_CANCELLED when the peer went away (the stream is
 * then dead, on_cancel is not called besides). Replaces set_ops() until done. */
typedef void http_body_fn(struct http_stream *s, struct str body, const struct err *err, void *arg);
void http_stream_collect_body(struct http_stream *s, size_t max, http_body_fn *done, void *arg);
void http_stream_pause(struct http_stream *s);
void http_stream_resume(struct http_stream *s);

/* ---- the answer ---- */
/* Status and headers, once. 'content_length' -1: chunked or until end. "date", "content-length", "connection" and
 * "transfer-encoding" are ours: leave them out. Copies everything. */
void http_stream_respond(struct http_stream *s, int status, const struct http_header *headers, size_t n, int64_t content_length);
/* Takes the chunks. Dead stream, HEAD, 204 and 304: releases them. */
void http_stream_write(struct http_stream *s, const struct net_chunk *chunks, size_t n);
/* Ends the answer in order, with trailers (HTTP/2, or chunked HTTP/1.1) if any. */
void http_stream_end(struct http_stream *s);
void http_stream_end_trailers(struct http_stream *s, const struct http_header *trailers, size_t n);
/* The whole answer in one call; takes the chunks. */
void http_stream_reply(struct http_stream *s, int status, const struct http_header *headers, size_t n,
                       const struct net_chunk *chunks, size_t n_chunks);
/* Breaks the stream off: the peer sees that the answer is not whole. */
void http_stream_reset(struct http_stream *s);
/* Bytes queued for this stream and not yet handed to the kernel. */
size_t http_stream_queued(const struct http_stream *s);
/* Defaults: high 256 KiB, low 64 KiB. */
void http_stream_set_watermarks(struct http_stream *s, size_t high, size_t low);
/* Has the answer been begun (http_stream_respond())? Is the stream dead? */
bool http_stream_responded(const struct http_stream *s);
bool http_stream_is_dead(const struct http_stream *s);

/* ---- upgrade (HTTP/1.1 only) ---- */
/* Does the request ask for a protocol switch ("Connection: Upgrade", HTTP/1.1)? The protocol is in the "upgrade" header. */
bool http_stream_wants_upgrade(const struct http_stream *s);
/* Sends 101 with "connection: Upgrade" and the given headers ("upgrade" among them) and hands out the connection's stream,
 * now owned by the caller and paused until net_stream_set_ops() and net_stream_resume(). NULL when the stream is dead or
 * cannot be upgraded (HTTP/2, body not read). */
struct net_stream *http_stream_upgrade(struct http_stream *s, const struct http_header *headers, size_t n);

/* What the connection that carries this stream is for, once it is known who asks (path.h). A connection that carries requests of
 * several takes the first one of the highest rank: 1 for nobody in particular, 2 for somebody. */
void http_stream_set_path(struct http_stream *s, struct net_path *path, unsigned rank);
/* Would it change anything? Cheap. */
bool http_stream_wants_path(const struct http_stream *s, unsigned rank);

void http_stream_release(struct http_stream *s);

#endif
