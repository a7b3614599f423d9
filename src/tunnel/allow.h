/* Which targets an agent opens connections to, whatever the hub asks for: its own addresses, its pods', and some ports of loopback. */
#ifndef TUNNEL_ALLOW_H
#define TUNNEL_ALLOW_H

#include "net/addr.h"

enum { ALLOW_MAX_RANGES = 16, ALLOW_MAX_PORTS = 16, ALLOW_MAX_OWN = 64 };

struct tunnel_allow {
    struct { uint8_t at[16]; unsigned bits; } ranges[ALLOW_MAX_RANGES];
    size_t n_ranges;
    uint16_t ports[ALLOW_MAX_PORTS]; /* of 127.0.0.1 and ::1 */
    size_t n_ports;
    uint8_t own[ALLOW_MAX_OWN][16];
    size_t n_own;
};

/* "10250,10255" */
MUST_CHECK bool allow_ports(struct tunnel_allow *a, struct str list, struct err *err);
/* Replaces the ranges; on failure the old ones stay. */
MUST_CHECK bool allow_ranges(struct tunnel_allow *a, const struct str *cidrs, size_t n, struct err *err);
/* Reads the addresses that this host's interfaces have now (getifaddrs), without loopback and link-local ones. */
void allow_own_addresses(struct tunnel_allow *a);
/* False with the reason, for the hub's log. */
MUST_CHECK bool allow_target(const struct tunnel_allow *a, const struct net_addr *target, struct err *err);

#endif
