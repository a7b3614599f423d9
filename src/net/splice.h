/*
 * Joins two byte streams: what comes from one goes to the other, until both ended. For upgraded connections that are passed
 * through (kubectl, apiserver, kubelet, runtime) and for tunnels.
 *
 * Bounded: while more than SPLICE_HIGH bytes wait for a slow side, the other one is not read. The end of one direction is
 * passed on alone (half close). When one side breaks, what is on the way to the other is still sent.
 */
#ifndef NET_SPLICE_H
#define NET_SPLICE_H

#include "net/stream.h"

struct net_splice;

struct net_splice_result {
    uint64_t a_to_b, b_to_a; /* bytes */
    enum net_close why;      /* NET_CLOSE_EOF: both ended in order; NET_CLOSE_TIMEOUT: idle too long */
    char reason[160];
};

/* The splice is over and gone. */
typedef void net_splice_done_fn(void *arg, const struct net_splice_result *result);

/* Takes both streams (callbacks and pause state included) and starts. 'idle_ms': longest time without a byte in either
 * direction, 0 for ever. 'done' may be NULL. */
struct net_splice *net_splice_new(struct net_stream *a, struct net_stream *b, uint64_t idle_ms, net_splice_done_fn *done,
                                  void *arg);
/* Cuts both streams, without 'done'. NULL-safe; returns NULL. */
struct net_splice *net_splice_free(struct net_splice *s);

#endif
