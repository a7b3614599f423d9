/*
 * The fixed part of the nftables table (table.c), its chains by number of endpoints (table-chains.c), and the chains of ports
 * with session affinity or source ranges (table-lists.c).
 */
#ifndef PROXY_TABLE_H
#define PROXY_TABLE_H

#include "nft/batch.h"
#include "proxy/addr.h"

#define PROXY_TABLE "coracle-proxy"
/* The mark of packets that leave with the node's address (iptables mode's default bit 14). */
#define PROXY_MASQUERADE_MARK 0x4000u

/* The sets and maps that are always there. A chain that Services share has one more, of those that use it. */
enum proxy_set {
    SET_SERVICE_IPS,    /* addr . proto . port : verdict, of Services whose way is not a shared chain */
    SET_NODEPORTS,      /* proto . port : verdict, likewise */
    SET_ENDPOINTS,      /* addr . proto . port . number : addr . port */
    SET_PORT_ENDPOINTS, /* proto . port . number : addr . port */
    SET_REJECTED_IPS,   /* addr . proto . port without endpoints: answered with port unreachable */
    SET_REJECTED_PORTS, /* proto . port */
    SET_DROPPED_IPS,    /* addr . proto . port whose endpoints are elsewhere: dropped */
    SET_DROPPED_PORTS,  /* proto . port */
    SET_CLUSTER_IPS,    /* addr */
    SET_HAIRPIN,        /* addr . addr of endpoints on this node */
    SET_MAX
};
const char *proxy_set_name(enum proxy_set s);

enum proxy_chain_kind {
    CHAIN_IP,         /* shared: by address */
    CHAIN_IP_MASQ,    /* shared: by address, from outside: leaves with the node's address */
    CHAIN_PORT_MASQ,  /* shared: by node port */
    CHAIN_IP_LOCAL,   /* by address, from outside, externalTrafficPolicy: Local: keeps the source and
                         stays on this node */
    CHAIN_PORT_LOCAL, /* by node port, externalTrafficPolicy: Local */
    CHAIN_LIST,       /* with affinity: list 'n' */
    CHAIN_LIST_MASQ,  /* the same, from outside */
    CHAIN_LIST_LOCAL, /* the same with externalTrafficPolicy: Local: list 'n' for us, list 'n_local'
                         for others */
    CHAIN_REJECT,     /* no chain: answers port unreachable */
    CHAIN_DROP,       /* no chain: drops */
    CHAIN_FIREWALL,   /* loadBalancerSourceRanges: firewall 'n' */
};

/* Where a packet goes. Without affinity 'n' is the class of the number of endpoints, 'n_local' that of those on this node. */
struct proxy_chain {
    uint32_t kind, n, n_local;
};
#define PROXY_NAME_SIZE 64
void proxy_chain_name(const struct proxy_chain *c, char dst[PROXY_NAME_SIZE]);
/* The class of a number of endpoints: the smallest power of two that is not below it; 0 of 0. */
uint32_t proxy_class(size_t n);
/* Does it serve all Services of its class, which its set names? Others stand in a verdict map. */
bool proxy_chain_is_shared(const struct proxy_chain *c);
/* Endpoints have numbers from 0 on; those that Local policy means have them (once more) from here on. */
#define PROXY_LOCAL_FIRST (1u << 24)

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

/* Adds table, base chains, sets and fixed rules to the batch; proxy_table_write_services() is to follow. */
void proxy_table_create(struct nft_batch *x, const struct proxy_table_config *c);
/* Writes anew the rules that find a packet's Service: they name the shared chains that there are. */
void proxy_table_write_services(struct nft_batch *x, const struct proxy_table_config *c, const struct proxy_chain *const *shared,
                                size_t n_shared);
/* Adds the chain with its rules, and the set of a shared one. Of kinds that stand by themselves: not CHAIN_LIST, CHAIN_REJECT,
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
