#include "proxy/table.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#include "proxy/table-private.h"

const char *proxy_set_name(enum proxy_set s)
{
    static const char *const names[SET_MAX] = {
        [SET_SERVICE_IPS] = "service-ips",
        [SET_NODEPORTS] = "service-nodeports",
        [SET_ENDPOINTS] = "service-endpoints",
        [SET_PORT_ENDPOINTS] = "nodeport-endpoints",
        [SET_REJECTED_IPS] = "rejected-services",
        [SET_REJECTED_PORTS] = "rejected-nodeports",
        [SET_DROPPED_IPS] = "dropped-services",
        [SET_DROPPED_PORTS] = "dropped-nodeports",
        [SET_CLUSTER_IPS] = "cluster-ips",
        [SET_HAIRPIN] = "hairpin-connections",
    };
    return names[s];
}

/* ---- sets ---- */

void table_add_set(struct nft_batch *x, const char *name, uint32_t id, const enum nft_type *types, size_t n,
                   uint32_t data_type, uint32_t data_len)
{
    struct nft_set s = {
        .name = name, .id = id, .key_type = nft_types(types, n), .data_type = data_type, .data_len = data_len
    };
    for (size_t i = 0; i < n; i++) {
        s.fields[i] = types[i] == NFT_TYPE_INET_PROTO     ? 1
                      : types[i] == NFT_TYPE_INET_SERVICE ? 2
                      : types[i] == NFT_TYPE_IP6ADDR      ? 16
                                                          : 4;
    }
    nft_add_set(x, &s);
}

enum nft_type table_addr_type(uint8_t family)
{
    return family == NFPROTO_IPV6 ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR;
}

static void add_set(struct nft_batch *x, enum proxy_set s, const enum nft_type *types, size_t n, uint32_t data_type, uint32_t data_len)
{
    table_add_set(x, proxy_set_name(s), (uint32_t)s + 1, types, n, data_type, data_len);
}

static void add_sets(struct nft_batch *x, uint8_t family)
{
    const enum nft_type addr = table_addr_type(family),
                        service[] = { addr, NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE, NFT_TYPE_MARK },
                        port[] = { NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE, NFT_TYPE_MARK },
                        endpoint[] = { addr, NFT_TYPE_INET_SERVICE }, pair[] = { addr, addr };
    const uint32_t endpoint_type = nft_types(endpoint, 2), endpoint_len = proxy_addr_len(family) + 4u;
    add_set(x, SET_SERVICE_IPS, service, 3, NFT_DATA_VERDICT, 0);
    add_set(x, SET_NODEPORTS, port, 2, NFT_DATA_VERDICT, 0);
    add_set(x, SET_ENDPOINTS, service, 4, endpoint_type, endpoint_len);
    add_set(x, SET_PORT_ENDPOINTS, port, 3, endpoint_type, endpoint_len);
    add_set(x, SET_REJECTED_IPS, service, 3, 0, 0);
    add_set(x, SET_REJECTED_PORTS, port, 2, 0, 0);
    add_set(x, SET_DROPPED_IPS, service, 3, 0, 0);
    add_set(x, SET_DROPPED_PORTS, port, 2, 0, 0);
    add_set(x, SET_CLUSTER_IPS, endpoint, 1, 0, 0);
    add_set(x, SET_HAIRPIN, pair, 2, 0, 0);
}

/* ---- keys in registers ---- */

void table_load_saddr(struct nft_batch *x, uint32_t reg)
{
    nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, x->family == NFPROTO_IPV6 ? 8 : 12, proxy_addr_len(x->family), reg);
}

static void load_daddr(struct nft_batch *x, uint32_t reg)
{
    nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, x->family == NFPROTO_IPV6 ? 24 : 16, proxy_addr_len(x->family), reg);
}

/* protocol and destination port in two registers. TCP, UDP and SCTP have their ports in the same
 * place. */
void table_load_port(struct nft_batch *x, uint32_t reg)
{
    nft_meta(x, NFT_META_L4PROTO, reg);
    nft_payload(x, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + 1);
}

void table_load_service(struct nft_batch *x, uint32_t reg)
{
    load_daddr(x, reg);
    table_load_port(x, reg + table_n_regs(x));
}

const struct proxy_cidr *proxy_table_loopback(uint8_t family)
{
    static const struct proxy_cidr v4 = { NFPROTO_IPV4, { { 127 } }, { { 0xff } } },
                                   v6 = { NFPROTO_IPV6,
                                          { { [15] = 1 } },
                                          { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                              0xff, 0xff } } };
    return family == NFPROTO_IPV6 ? &v6 : &v4;
}

static void match_cidr(struct nft_batch *x, const struct proxy_cidr *c, uint32_t op)
{
    nft_mask(x, R(0), c->mask.b, proxy_addr_len(c->family));
    nft_cmp(x, R(0), op, c->addr.b, proxy_addr_len(c->family));
}

void table_match_saddr(struct nft_batch *x, const struct proxy_cidr *c, uint32_t op)
{
    table_load_saddr(x, R(0));
    match_cidr(x, c, op);
}

/* The destination is an address of this node (in 'c', if not NULL); loopback is left out, for it
 * cannot be routed elsewhere. */
static void match_node_address(struct nft_batch *x, const struct proxy_cidr *c)
{
    nft_fib_daddr_type(x, R(0));
    nft_cmp_u32(x, R(0), NFT_CMP_EQ, RTN_LOCAL);
    load_daddr(x, R(0));
    match_cidr(x, proxy_table_loopback(x->family), NFT_CMP_NEQ);
    if (c) {
        load_daddr(x, R(0));
        match_cidr(x, c, NFT_CMP_EQ);
    }
}

static void match_new(struct nft_batch *x)
{
    nft_ct(x, NFT_CT_STATE, R(0));
    nft_bitwise(x, R(0), NF_CT_STATE_BIT(IP_CT_NEW), 0);
    nft_cmp_u32(x, R(0), NFT_CMP_NEQ, 0);
}

/* ---- fixed chains ---- */

void table_jump(struct nft_batch *x, const char *from, const char *to)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NFT_JUMP, to);
    nft_rule_end(x);
}

void table_goto(struct nft_batch *x, const char *from, const char *to)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NFT_GOTO, to);
    nft_rule_end(x);
}

void table_drop(struct nft_batch *x, const char *from)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NF_DROP, NULL);
    nft_rule_end(x);
}

void table_add_insider_rules(struct nft_batch *x, const struct proxy_table_config *c,
                              const char *name, const char *everywhere)
{
    if (c->has_pod_cidr) {
        nft_rule_begin(x, name);
        table_match_saddr(x, &c->pod_cidr, NFT_CMP_EQ);
        nft_verdict(x, NFT_GOTO, everywhere);
        nft_rule_end(x);
    }
    for (int i = 0; i < 2; i++) {
        nft_rule_begin(x, name);
        nft_fib_saddr_type(x, R(0));
        nft_cmp_u32(x, R(0), NFT_CMP_EQ, RTN_LOCAL);
        nft_verdict(x, i ? NFT_GOTO : NFT_JUMP, i ? everywhere : MARK_CHAIN);
        nft_rule_end(x);
    }
}

static void match_set(struct nft_batch *x, const char *set, bool by_port)
{
    if (by_port) {
        table_load_port(x, R(0));
    } else {
        table_load_service(x, R(0));
    }
    nft_lookup(x, set, R(0));
}

/* Node ports are those of addresses of the node: all, or those in the configured ranges. */
static void add_nodeports_jump(struct nft_batch *x, const struct proxy_table_config *c, const char *from, const char *to)
{
    for (size_t i = 0; i < MAX(c->n_nodeport_addresses, (size_t)1); i++) {
        nft_rule_begin(x, from);
        match_node_address(x, c->n_nodeport_addresses ? &c->nodeport_addresses[i] : NULL);
        nft_verdict(x, NFT_JUMP, to);
        nft_rule_end(x);
    }
}

/* Ways of their own first, then the shared chains' sets. */
static void add_lookups(struct nft_batch *x, const char *chain, bool by_port, const struct proxy_chain *const *shared, size_t n)
{
    char name[PROXY_NAME_SIZE];
    nft_rule_begin(x, chain);
    if (by_port) {
        table_load_port(x, R(0));
    } else {
        table_load_service(x, R(0));
    }
    nft_lookup_verdict(x, proxy_set_name(by_port ? SET_NODEPORTS : SET_SERVICE_IPS), R(0));
    nft_rule_end(x);
    for (size_t i = 0; i < n; i++) {
        if ((shared[i]->kind == CHAIN_PORT_MASQ) == by_port) {
            proxy_chain_name(shared[i], name);
            nft_rule_begin(x, chain);
            match_set(x, name, by_port);
            nft_verdict(x, NFT_GOTO, name);
            nft_rule_end(x);
        }
    }
}

void proxy_table_write_services(struct nft_batch *x, const struct proxy_table_config *c, const struct proxy_chain *const *shared,
                                size_t n_shared)
{
    nft_flush_chain(x, "services");
    nft_flush_chain(x, "nodeports");
    if (c->masquerade_all || c->has_pod_cidr) {
        nft_rule_begin(x, "services");
        load_daddr(x, R(0));
        nft_lookup(x, proxy_set_name(SET_CLUSTER_IPS), R(0));
        if (!c->masquerade_all) {
            table_match_saddr(x, &c->pod_cidr, NFT_CMP_NEQ);
        }
        nft_verdict(x, NFT_JUMP, MARK_CHAIN);
        nft_rule_end(x);
    }
    add_lookups(x, "services", false, shared, n_shared);
    add_nodeports_jump(x, c, "services", "nodeports");
    add_lookups(x, "nodeports", true, shared, n_shared);
}

static void add_masquerading_chain(struct nft_batch *x)
{
    nft_rule_begin(x, MARK_CHAIN);
    nft_meta(x, NFT_META_MARK, R(0));
    nft_bitwise(x, R(0), ~PROXY_MASQUERADE_MARK, PROXY_MASQUERADE_MARK);
    nft_meta_set(x, NFT_META_MARK, R(0));
    nft_rule_end(x);

    nft_rule_begin(x, "masquerading");
    nft_meta(x, NFT_META_MARK, R(0));
    nft_bitwise(x, R(0), PROXY_MASQUERADE_MARK, 0);
    nft_cmp_u32(x, R(0), NFT_CMP_NEQ, 0);
    nft_meta(x, NFT_META_MARK, R(0));
    nft_bitwise(x, R(0), ~PROXY_MASQUERADE_MARK, 0);
    nft_meta_set(x, NFT_META_MARK, R(0));
    nft_masquerade(x, true);
    nft_rule_end(x);

    /* A pod that reached itself through a Service would answer itself directly: the connection goes
     * by way of the node. */
    nft_rule_begin(x, "masquerading");
    nft_ct(x, NFT_CT_STATUS, R(0));
    nft_bitwise(x, R(0), IPS_DST_NAT, 0);
    nft_cmp_u32(x, R(0), NFT_CMP_NEQ, 0);
    table_load_saddr(x, R(0));
    load_daddr(x, R(table_n_regs(x)));
    nft_lookup(x, proxy_set_name(SET_HAIRPIN), R(0));
    nft_masquerade(x, true);
    nft_rule_end(x);
}

static void refuse_new(struct nft_batch *x, const char *chain, enum proxy_set set, bool by_port)
{
    bool drops = set == SET_DROPPED_IPS || set == SET_DROPPED_PORTS;
    nft_rule_begin(x, chain);
    match_new(x);
    match_set(x, proxy_set_name(set), by_port);
    nft_verdict(x, drops ? NF_DROP : NFT_GOTO, drops ? NULL : "reject");
    nft_rule_end(x);
}

/* Services without endpoints are refused at once, rather than letting clients wait. */
static void add_reject_chains(struct nft_batch *x, const struct proxy_table_config *c)
{
    nft_rule_begin(x, "reject");
    nft_reject(x, NFT_REJECT_ICMP_UNREACH, x->family == NFPROTO_IPV6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH);
    nft_rule_end(x);

    refuse_new(x, "no-endpoints", SET_REJECTED_IPS, false);
    refuse_new(x, "no-endpoints", SET_DROPPED_IPS, false);
    refuse_new(x, "no-endpoints-nodeports", SET_REJECTED_PORTS, true);
    refuse_new(x, "no-endpoints-nodeports", SET_DROPPED_PORTS, true);
    add_nodeports_jump(x, c, "no-endpoints", "no-endpoints-nodeports");
    /* A cluster IP that is still the destination here has no such port. */
    nft_rule_begin(x, "no-endpoints");
    match_new(x);
    load_daddr(x, R(0));
    nft_lookup(x, proxy_set_name(SET_CLUSTER_IPS), R(0));
    nft_verdict(x, NFT_GOTO, "reject");
    nft_rule_end(x);
}

/*
 * What comes from a neighbour and says that it is for loopback, or from there, is a lie. The kernel drops it as well, unless somebody
 * set route_localnet: then services on 127.0.0.1 would be open to the whole link (CVE-2020-8558). Before connection tracking, so that
 * answers to what the node itself rewrote to loopback are seen as they were sent.
 */
void proxy_table_add_loopback_guard(struct nft_batch *x)
{
    uint32_t lo = 1; /* the loopback interface of every network namespace */
    nft_add_base_chain(x, "loopback-guard", "filter", NF_INET_PRE_ROUTING, -300);
    for (int i = 0; i < 2; i++) {
        nft_rule_begin(x, "loopback-guard");
        nft_meta(x, NFT_META_IIF, R(0));
        nft_cmp_u32(x, R(0), NFT_CMP_NEQ, lo);
        if (i) {
            table_load_saddr(x, R(0));
        } else {
            load_daddr(x, R(0));
        }
        match_cidr(x, proxy_table_loopback(x->family), NFT_CMP_EQ);
        nft_verdict(x, NF_DROP, NULL);
        nft_rule_end(x);
    }
}

void proxy_table_create(struct nft_batch *x, const struct proxy_table_config *c)
{
    nft_add_table(x);
    nft_add_chain(x, "services");
    nft_add_chain(x, MARK_CHAIN);
    nft_add_chain(x, "masquerading");
    nft_add_chain(x, "reject");
    nft_add_chain(x, "nodeports");
    nft_add_chain(x, "no-endpoints");
    nft_add_chain(x, "no-endpoints-nodeports");
    nft_add_base_chain(x, "nat-prerouting", "nat", NF_INET_PRE_ROUTING, -100);
    nft_add_base_chain(x, "nat-output", "nat", NF_INET_LOCAL_OUT, -100);
    nft_add_base_chain(x, "nat-postrouting", "nat", NF_INET_POST_ROUTING, 100);
    nft_add_base_chain(x, "filter-input", "filter", NF_INET_LOCAL_IN, 0);
    nft_add_base_chain(x, "filter-forward", "filter", NF_INET_FORWARD, 0);
    nft_add_base_chain(x, "filter-output", "filter", NF_INET_LOCAL_OUT, 0);
    proxy_table_add_loopback_guard(x);
    add_sets(x, c->family);
    add_masquerading_chain(x);
    add_reject_chains(x, c);
    table_jump(x, "nat-prerouting", "services");
    table_jump(x, "nat-output", "services");
    table_jump(x, "nat-postrouting", "masquerading");
    table_jump(x, "filter-input", "no-endpoints");
    table_jump(x, "filter-forward", "no-endpoints");
    table_jump(x, "filter-output", "no-endpoints");
}
