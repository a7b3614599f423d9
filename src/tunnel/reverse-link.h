/* A reverse link as the hub fills it. */
#ifndef TUNNEL_REVERSE_LINK_H
#define TUNNEL_REVERSE_LINK_H

#include "net/stream.h"
#include "tunnel/hub.h"

/* Takes a stream whose peer has shown to be this node. */
void reverse_link_attach(struct tunnel_link *l, struct net_stream *s, const char *subject);

#endif
