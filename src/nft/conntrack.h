/* Tracked connections: looks through them and deletes those that are no longer good (nf_conntrack
 * over netlink). */
#ifndef NFT_CONNTRACK_H
#define NFT_CONNTRACK_H

#include "base/err.h"

/* An IPv4 connection: where the first packet went, and who answers. Network order. */
struct conntrack_flow {
    uint8_t protocol;
    uint32_t source, destination, replier;
    uint16_t source_port, destination_port, replier_port;
};

/* Deletes all connections of 'protocol' for which 'is_good' says false; '*ret_deleted' (may be
 * NULL) tells how many. Needs CAP_NET_ADMIN. */
MUST_CHECK bool conntrack_sweep(uint8_t protocol,
                                bool (*is_good)(void *data, const struct conntrack_flow *f),
                                void *data, size_t *ret_deleted, struct err *err);

#endif
