/*
 * A local socket joined to a far end. Bounded: a slow reader on one side stops reading on the other. The end of one direction is
 * passed on alone; when the tunnel breaks, what was on the way to the local side is still sent.
 */
#ifndef TUNNEL_RELAY_H
#define TUNNEL_RELAY_H

#include "net/stream.h"
#include "tunnel/far.h"

struct tunnel_relay;

/* The relay is over and gone. */
typedef void tunnel_relay_done_fn(struct tunnel_relay *r, void *arg);

/* Takes both, the far end (open) with its events, and starts. 'early' are bytes of the local side that were read before. */
struct tunnel_relay *tunnel_relay_new(struct net_stream *local, struct tunnel_far *far, struct str early,
                                      tunnel_relay_done_fn *done, void *arg);
/* Cuts both sides, without 'done'. NULL-safe; returns NULL. */
struct tunnel_relay *tunnel_relay_free(struct tunnel_relay *r);

#endif
