/*
 * The proxy of a node: watches Services, EndpointSlices and its own Node, and keeps the tables (one for each family, in one
 * transaction) as they say. What is in them is the mode's (engine.h).
 *
 * A change is in the kernel within milliseconds: what changed in a few of them is one transaction.
 * When the kernel refuses one, or somebody else took the table away, the whole table is made anew,
 * after 1 s doubling to 30 s.
 */
#ifndef PROXY_PROXIER_H
#define PROXY_PROXIER_H

#include "component/component.h"
#include "proxy/ports.h"
#include "proxy/table.h"

struct proxier;

struct proxier_config {
    struct proxy_table_config tables[2]; /* IPv4, IPv6; 'family' 0: not served. Their arrays stay valid */
    struct str node;                     /* this node's name */
    bool userspace;                      /* the mode; otherwise nftables */
    struct port_range range;             /* userspace: ports of the host */
    struct proxy_addr bind[2];           /* userspace: where they are, by family; zeros: everywhere */
    uint64_t udp_timeout_ms;             /* userspace */
    struct str healthz_address, metrics_address; /* empty: not served */
    struct str check_address; /* where health check node ports of Services are served */
    bool soft_bind;           /* a port that is taken is logged, and done without */
    uint64_t check_ms; /* how often it is looked whether the table is still there; 0: never */
};

/* Asks for the informers. NULL with a reason (no rights for nf_tables, an address
 * that is taken). */
MUST_CHECK struct proxier *proxier_new(struct component *c, const struct proxier_config *config,
                                       struct err *err);
/* The table stays, so that Services work on while a new proxy starts. NULL-safe. */
struct proxier *proxier_free(struct proxier *p);
/* All informers have their first lists: the table is made. */
void proxier_synced(struct proxier *p);
/* --cleanup: removes the tables of both families. */
MUST_CHECK bool proxier_cleanup(struct err *err);

#endif
