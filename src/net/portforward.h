/*
 * The server's end of port-forward over SPDY ("portforward.k8s.io"), for a node that makes the connections into a pod itself.
 *
 * For every connection the client opens two streams with the same "requestID" and "port" headers: "error", on which the
 * server tells in plain text why a connection failed, and "data". A pair that stays incomplete is reset after
 * PORTFORWARD_PAIR_MS. Back-pressure: the streams share one connection, so one target that does not take its bytes stops
 * them all, as the other implementations do; a client that does not read stops all targets.
 *
 * on_close() is the last callback; portforward_free() may be called at any moment, inside callbacks too.
 */
#ifndef NET_PORTFORWARD_H
#define NET_PORTFORWARD_H

#include "base/err.h"
#include "net/stream.h"

struct portforward;
struct portforward_conn;

struct portforward_ops {
    /* A connection to 'port' is wanted. Answer now or later with portforward_join() or portforward_fail(). */
    void (*on_connect)(struct portforward *p, struct portforward_conn *c, uint16_t port, void *arg);
    /* The client gave up a connection that was not answered yet; 'c' is gone. */
    void (*on_abandon)(struct portforward *p, struct portforward_conn *c, void *arg);
    /* The session is over, and with it all its connections. 'why->code' ERR_NONE: in order. */
    void (*on_close)(struct portforward *p, const struct err *why, void *arg);
};

/* Takes the upgraded connection. 'idle_ms' 0: for ever. Never NULL. */
struct portforward *portforward_new(struct net_stream *stream, uint64_t idle_ms, const struct portforward_ops *ops, void *arg);
/* Cuts everything. NULL-safe; returns NULL. */
struct portforward *portforward_free(struct portforward *p);

/* Joins the connection to its target, which is taken. */
void portforward_join(struct portforward_conn *c, struct net_stream *target);
/* Tells the client why there is no connection. 'c' is gone. */
void portforward_fail(struct portforward_conn *c, const char *why);

#endif
