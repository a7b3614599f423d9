/*
 * Streams over one connection: HTTP/2 (RFC 9113) whose requests are CONNECT (8.5). Who dialled the connection does not matter: one
 * side opens streams, the other one accepts them. Flow control is by stream; the connection's window is given back at once, so
 * that a slow reader never holds up the others. Each side pings and expects an answer.
 */
#ifndef TUNNEL_MUX_H
#define TUNNEL_MUX_H

#include "net/stream.h"
#include "tunnel/far.h"

struct mux;

struct mux_ops {
    /* The other side asks for a stream to host:port. Answer with mux_accept() or mux_refuse(), now or later. */
    void (*on_connect)(struct mux *m, struct tunnel_far *far, struct str host, uint16_t port, void *arg);
    /* The far end, not accepted yet, is gone. */
    void (*on_abandoned)(struct mux *m, struct tunnel_far *far, void *arg);
    /* The connection is over; every stream has ended. The callee calls mux_free() now or later. */
    void (*on_close)(struct mux *m, const char *reason, void *arg);
};

/* Takes the stream (open). 'opener': we open streams; otherwise we accept them. */
struct mux *mux_new(struct net_stream *s, bool opener, const struct mux_ops *ops, void *arg);
/* Ends all streams (on_refused or on_close) and the connection. NULL-safe; returns NULL. */
struct mux *mux_free(struct mux *m, const char *reason);

/* NULL with a reason when there is no room. */
struct tunnel_far *mux_open(struct mux *m, struct str host, uint16_t port, const struct tunnel_far_events *events, void *arg,
                            struct err *err);
/* on_open is not called; the far end can be used at once. */
void mux_accept(struct tunnel_far *far, const struct tunnel_far_events *events, void *arg);
/* The far end is gone after this. 'reason' goes to the other side. */
void mux_refuse(struct tunnel_far *far, int status, const char *reason);

unsigned mux_streams(const struct mux *m);
void mux_bytes(const struct mux *m, uint64_t *ret_in, uint64_t *ret_out);

#endif
