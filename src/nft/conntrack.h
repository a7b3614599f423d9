/* Tracked connections: looks through them and deletes those that are no longer good (nf_conntrack
 * over netlink). */
#ifndef NFT_CONNTRACK_H
#define NFT_CONNTRACK_H

#include "base/err.h"

/* A connection: where the first packet went, and who answers. Network order; IPv4 addresses are in the first four bytes, the others
 * are zero. */
struct conntrack_flow {
    uint8_t family, protocol; /* NFPROTO_IPV4 or NFPROTO_IPV6 */
    uint8_t source[16], destination[16], replier[16];
    uint16_t source_port, destination_port, replier_port;
};

/* Deletes all connections of 'family' and 'protocol' for which 'is_good' says false; '*ret_deleted' (may be
 * NULL) tells how many. Needs CAP_NET_ADMIN. */
MUST_CHECK bool conntrack_sweep(uint8_t family, uint8_t protocol,
                                bool (*is_good)(void *data, const struct conntrack_flow *f),
                                void *data, size_t *ret_deleted, struct err *err);

#endif
