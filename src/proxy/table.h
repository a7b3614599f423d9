/*
 * The fixed part of the nftables table, its chains by number of endpoints, and the chains of ports
 * with session affinity.
 */
#ifndef PROXY_TABLE_H
#define PROXY_TABLE_H

#include "nft/batch.h"
#include "proxy/addr.h"

#define PROXY_TABLE "coracle-proxy"
/* The mark of packets that leave with the node's address (iptables mode's default bit 14). */
#define PROXY_MASQUERADE_MARK 0x4000u

enum proxy_set {
    SET_SERVICE_IPS,       /* addr . proto . port : verdict */
    SET_NODEPORTS,         /* proto . port : verdict */
    SET_ENDPOINTS,         /* addr . proto . port . number : addr . port */
    SET_PORT_ENDPOINTS,    /* proto . port . number : addr . port */
    SET_NO_ENDPOINTS,      /* addr . proto . port : verdict */
    SET_NO_ENDPOINT_PORTS, /* proto . port : verdict */
    SET_CLUSTER_IPS,       /* addr */
    SET_HAIRPIN,           /* addr . addr of endpoints on this node */
    SET_MAX
};
const char *proxy_set_name(enum proxy_set s);
bool proxy_set_is_verdict(enum proxy_set s);

enum proxy_chain_kind {
    CHAIN_IP,        /* by address */
    CHAIN_IP_MASQ,   /* by address, from outside: leaves with the node's address */
    CHAIN_IP_LOCAL,  /* by address, from outside, externalTrafficPolicy: Local: keeps the source and
                        stays on this node */
    CHAIN_PORT_MASQ, /* by node port */
    CHAIN_PORT_LOCAL, /* by node port, externalTrafficPolicy: Local */
    CHAIN_LIST,       /* with affinity: list 'n' */
    CHAIN_LIST_MASQ,  /* the same, from outside */
    CHAIN_LIST_LOCAL, /* the same with externalTrafficPolicy: Local: list 'n' for us, list 'n_local'
                         for others */
    CHAIN_REJECT,     /* answers port unreachable */
    CHAIN_DROP,       /* no chain: drops */
    CHAIN_FIREWALL,   /* loadBalancerSourceRanges: firewall 'n' */
};

/* Where a packet goes. Endpoints 'first' to 'first + n - 1' are drawn from; those on this node are
 * 0 to 'n_local - 1'. */
struct proxy_chain {
    uint32_t kind, n, first, n_local;
};
#define PROXY_NAME_SIZE 64
void proxy_chain_name(const struct proxy_chain *c, char dst[PROXY_NAME_SIZE]);

struct proxy_table_config {
    uint8_t family; /* NFPROTO_IPV4 or NFPROTO_IPV6; all ranges are of that family */
    bool has_pod_cidr;
    struct proxy_cidr pod_cidr; /* --cluster-cidr; without it nothing is known about sources */
    bool masquerade_all;
    const struct proxy_cidr *nodeport_addresses; /* none: all addresses of the node */
    size_t n_nodeport_addresses;
};

/* 127.0.0.0/8 or ::1. */
const struct proxy_cidr *proxy_table_loopback(uint8_t family);
/* A chain that drops what neighbours send to or from loopback addresses. */
void proxy_table_add_loopback_guard(struct nft_batch *x);

/* Adds table, base chains, sets and fixed rules to the batch. */
void proxy_table_create(struct nft_batch *x, const struct proxy_table_config *c);
/* Adds the chain and its rules. Of kinds that stand by themselves: not CHAIN_LIST, CHAIN_REJECT,
 * CHAIN_DROP and CHAIN_FIREWALL. */
void proxy_table_add_chain(struct nft_batch *x, const struct proxy_table_config *c,
                           const struct proxy_chain *chain);

void proxy_table_delete_chain(struct nft_batch *x, const struct proxy_chain *chain);

/* A list of endpoints with affinity: a chain of its own, and a chain and a set of sources for each
 * endpoint. */
struct proxy_list {
    uint32_t id; /* for life */
    uint32_t seconds;
    const struct proxy_endpoint *endpoints;
    size_t n;
};
/* Makes or changes the list from 'old' (NULL: it is new) to 'list' (NULL: it goes). */
void proxy_table_change_list(struct nft_batch *x, const struct proxy_list *old,
                             const struct proxy_list *list);

/* Sources that may use a load balancer's address: all others are dropped. */
struct proxy_firewall {
    uint32_t id; /* for life */
    const struct proxy_cidr *sources;
    size_t n;
    struct proxy_chain to;
};
void proxy_table_add_firewall(struct nft_batch *x, const struct proxy_firewall *f);
void proxy_table_delete_firewall(struct nft_batch *x, uint32_t id);

#endif
