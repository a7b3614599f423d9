/*
 * The unix socket: CONNECT joins the connection to a stream through a tunnel, GET answers about the tunnels.
 */
#ifndef TUNNEL_FRONT_H
#define TUNNEL_FRONT_H

#include "base/buf.h"
#include "net/loop.h"
#include "tunnel/link.h"

struct front;

struct front_ops {
    /* A stream to host:port through the tunnel of the node that has it. NULL with the reason. */
    struct tunnel_far *(*open)(void *arg, struct str host, uint16_t port, const struct tunnel_far_events *events, void *events_arg,
                               struct err *err);
    /* Appends the answer to GET 'path' and sets its type; returns the status. */
    int (*get)(void *arg, struct str path, struct buf *b, const char **ret_type);
};

/* Listens on the path (a stale socket file is replaced) with these permissions. NULL with a reason. */
MUST_CHECK struct front *front_new(struct loop *l, struct str path, mode_t mode, const struct front_ops *ops, void *arg,
                                   struct err *err);
/* Cuts all connections. Before the links are freed. NULL-safe; returns NULL. */
struct front *front_free(struct front *f);
unsigned front_connections(const struct front *f);

#endif
