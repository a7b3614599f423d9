/*
 * Gives up a stream whose last bytes matter: what is queued is sent however slowly the other side takes it (the end of
 * "kubectl exec -- cat file | less"), at most NET_RETIRE_MS, then the stream closes and is freed. What still comes in is
 * dropped. Takes the stream; no callback follows.
 */
#ifndef NET_STREAM_RETIRE_H
#define NET_STREAM_RETIRE_H

#include "net/stream.h"

void net_stream_retire(struct net_stream *s);

#endif
