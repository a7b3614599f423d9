/*
 * The control socket of a running cluster (<run>/control.sock, root only): one line in, text out, end.
 *
 *   status   one line for each component: name, node, pid, state, restarts, seconds since its start, health URL, last status,
 *            log file; separated by tabs
 *   nodes    one line for each node: name, address, pid of its first process
 *   stop     ends the cluster; the connection closes when all is gone
 */
#ifndef CLUSTER_CONTROL_H
#define CLUSTER_CONTROL_H

#include "base/buf.h"
#include "cluster/place.h"
#include "net/loop.h"

/* ---- in the supervisor ---- */
struct control_client;
struct control_ops {
    void (*status)(void *arg, struct buf *reply);
    void (*nodes)(void *arg, struct buf *reply);
    void (*stop)(void *arg); /* begins the end; who asked is told by the process's end */
};
struct control {
    struct loop *loop;
    struct loop_io io;
    int fd;
    unsigned n_clients;
    const struct control_ops *ops;
    void *arg;
};
MUST_CHECK bool control_start(struct control *c, struct loop *l, const struct place *place, const struct control_ops *ops, void *arg,
                              struct err *err);
void control_stop(struct control *c);

/* ---- in commands ---- */
/* Asks, and appends the answer. ERR_NOT_FOUND when no such cluster runs. Waits at most 'timeout_ms'. */
MUST_CHECK bool control_ask(const struct place *place, const char *request, unsigned timeout_ms, struct buf *reply,
                            struct err *err);

#endif
