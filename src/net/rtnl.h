/*
 * Links, addresses and routes over rtnetlink, in any network namespace (rtnetlink(7)). IPv4 addresses are in host order.
 * Calls wait for the kernel's answer, which is immediate.
 */
#ifndef NET_RTNL_H
#define NET_RTNL_H

#include <stdint.h>

#include "base/err.h"

struct mnl_socket;

struct rtnl {
    struct mnl_socket *nl;
    uint32_t seq;
};

/* A socket inside the network namespace 'netns' (-1: the caller's). The calling thread is back in its own afterwards. */
MUST_CHECK bool rtnl_open(struct rtnl *r, int netns, struct err *err);
/* NULL-safe and safe twice. */
void rtnl_close(struct rtnl *r);

MUST_CHECK bool rtnl_add_bridge(struct rtnl *r, const char *name, struct err *err);
/* A pair: 'name' here, 'peer' in the namespace 'peer_netns'. */
MUST_CHECK bool rtnl_add_veth(struct rtnl *r, const char *name, const char *peer, int peer_netns, struct err *err);
/* Brings the link up, first making it a port of 'bridge' unless that is NULL. */
MUST_CHECK bool rtnl_up(struct rtnl *r, const char *name, const char *bridge, struct err *err);
/* The link and, of a pair, both ends. Absent is fine. */
MUST_CHECK bool rtnl_delete(struct rtnl *r, const char *name, struct err *err);
/* An address that is there already is fine. */
MUST_CHECK bool rtnl_add_address(struct rtnl *r, const char *name, uint32_t addr, unsigned prefix, struct err *err);
/* Sets the route to addr/prefix, replacing what was there. prefix 0 is the default route. */
MUST_CHECK bool rtnl_set_route(struct rtnl *r, uint32_t addr, unsigned prefix, uint32_t via, struct err *err);
/* Drops what goes to addr/prefix and has no better route. */
MUST_CHECK bool rtnl_set_blackhole(struct rtnl *r, uint32_t addr, unsigned prefix, struct err *err);

/* The number that marks routes of Coracle's own among others (RTPROT_*; those from 187 on belong to nobody). */
#define RTNL_PROTO_CORACLE 207
/* The same for what `coracle server` and `coracle join` set on their own host. */
#define RTNL_PROTO_HOST 208

struct rtnl_route {
    int family; /* AF_INET, AF_INET6 */
    uint8_t dst[16], via[16]; /* network order; 'via' is unused of a blackhole */
    unsigned prefix;
    uint8_t protocol;
    bool blackhole;
};

/* Sets the route in the main table, replacing what was there. */
MUST_CHECK bool rtnl_put_route(struct rtnl *r, const struct rtnl_route *x, struct err *err);
/* Of that protocol alone. One that is not there is fine. */
MUST_CHECK bool rtnl_delete_route(struct rtnl *r, const struct rtnl_route *x, struct err *err);
/* Calls 'fn' for each route of that protocol in the main table. */
MUST_CHECK bool rtnl_list_routes(struct rtnl *r, uint8_t protocol, void (*fn)(void *data, const struct rtnl_route *route), void *data,
                                 struct err *err);

/* A new network namespace with lo up; returns its descriptor, or -1. The calling thread stays where it is. */
int rtnl_new_netns(struct err *err);

#endif
