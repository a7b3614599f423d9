/*
 * Which endpoints a service port spreads over: readiness, terminating ones where no others are
 * left, topology hints, this node. Pure.
 */
#ifndef PROXY_ENDPOINTS_H
#define PROXY_ENDPOINTS_H

#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "base/arena.h"
#include "proxy/addr.h"

struct endpoints_in {
    uint8_t family; /* NFPROTO_IPV4 or NFPROTO_IPV6: slices of that address type count */
    const struct discovery_v1_endpoint_slice *const *slices;
    size_t n_slices;
    const struct core_v1_service_port *port;
    struct str node, zone; /* of this node; zone absent or empty: not known */
};

/* Sorted by address and port, without doubles. */
struct endpoints {
    struct proxy_endpoint *all; /* for traffic policy Cluster */
    size_t n_all;
    struct proxy_endpoint *local; /* for traffic policy Local: those on this node */
    size_t n_local;
    size_t n_local_ready;        /* terminating ones do not count */
    struct proxy_endpoint *here; /* those of both lists on this node */
    size_t n_here;
    size_t n_refused; /* loopback, link-local and such: a slice may not lead to what only the node can reach */
};
/* The order of those lists, of two struct proxy_endpoint; for qsort and bsearch. */
int endpoints_compare(const void *a, const void *b);
/* False when the arena is exhausted. */
MUST_CHECK bool endpoints_choose(struct arena *a, const struct endpoints_in *in,
                                 struct endpoints *ret);

#endif
