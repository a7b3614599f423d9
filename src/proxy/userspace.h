/*
 * The userspace mode, as the first kube-proxy was: each service port has a port of the host (inlet.h) that its addresses and node
 * ports are redirected to (redirects.h), and bytes are passed on from there (relay.h). It takes ports and a process' time for what the
 * kernel does in the nftables mode; in return every connection is made by us, so an endpoint that does not answer is followed by
 * another one.
 */
#ifndef PROXY_USERSPACE_H
#define PROXY_USERSPACE_H

#include "net/loop.h"
#include "proxy/engine.h"
#include "proxy/ports.h"

struct userspace_config {
    struct proxy_table_config tables[2]; /* 'family' 0: not this one */
    struct str node;                     /* stays valid */
    struct port_range range;             /* --proxy-port-range */
    struct proxy_addr bind[2];           /* of IPv4 and IPv6; zeros: everywhere */
    uint64_t udp_timeout_ms;
    size_t files; /* descriptors that the process may have */
    /* A Service that could not have a port is to be set again. */
    void (*again)(void *data, struct str key);
    /* Something that its owner should hear of: reason ("ProxyPortsExhausted") and text. */
    void (*tell)(void *data, const struct core_v1_service *service, const char *reason, const char *text);
    void *data;
};

struct engine *engine_userspace_new(struct loop *l, const struct userspace_config *config);

#endif
