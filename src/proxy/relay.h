/*
 * Bytes between clients that were redirected to a inlet (inlet.h) and endpoints. TCP: bytes are moved by splice(2) and never come
 * into this process; half-close is passed on; an endpoint that does not answer is followed by the next one. UDP: a socket for each
 * client, until neither side has sent for a while.
 *
 * Everything belongs to the loop's thread.
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include "net/loop.h"
#include "proxy/ports.h"

struct relay;

struct relay_config {
    struct port_range range;
    struct proxy_addr bind[2]; /* where inlets listen: IPv4, IPv6; zeros: everywhere */
    uint64_t udp_timeout_ms;
    size_t files; /* descriptors that the process may have; what there may be of connections follows from it */
};

struct relay *relay_new(struct loop *l, const struct relay_config *config);
/* After all inlets. Connections that still run are cut. NULL-safe. */
struct relay *relay_free(struct relay *r);

struct relay_stats {
    size_t inlets, connections, udp_clients, pipes;
};
void relay_stats(const struct relay *r, struct relay_stats *ret);

#endif
