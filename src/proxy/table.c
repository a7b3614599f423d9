#include "proxy/table.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#include "nft/rule.h"

#define R(n) (NFT_REG32_00 + (n))
#define MARK_CHAIN "mark-for-masquerade"

const char *proxy_set_name(enum proxy_set s)
{
    static const char *const names[SET_MAX] = {
        [SET_SERVICE_IPS] = "service-ips",
        [SET_NODEPORTS] = "service-nodeports",
        [SET_ENDPOINTS] = "service-endpoints",
        [SET_PORT_ENDPOINTS] = "nodeport-endpoints",
        [SET_NO_ENDPOINTS] = "no-endpoint-services",
        [SET_NO_ENDPOINT_PORTS] = "no-endpoint-nodeports",
        [SET_CLUSTER_IPS] = "cluster-ips",
        [SET_HAIRPIN] = "hairpin-connections",
    };
    return names[s];
}

bool proxy_set_is_verdict(enum proxy_set s)
{
    return s == SET_SERVICE_IPS || s == SET_NODEPORTS || s == SET_NO_ENDPOINTS ||
           s == SET_NO_ENDPOINT_PORTS;
}

void proxy_chain_name(const struct proxy_chain *c, char dst[PROXY_NAME_SIZE])
{
    static const char *const kinds[] = {
        "ip",         "ip-masq",  "ip-local",      "port-masq",
        "port-local", "affinity", "affinity-masq", "affinity-local",
        "reject",     "",         "firewall"
    };
    const char *kind = kinds[c->kind];
    if (c->kind == CHAIN_REJECT || c->kind == CHAIN_DROP) {
        snprintf(dst, PROXY_NAME_SIZE, "%s", kind);
    } else if (c->kind == CHAIN_IP_LOCAL || c->kind == CHAIN_PORT_LOCAL ||
               c->kind == CHAIN_LIST_LOCAL) {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u-%u-%u", kind, c->n, c->first, c->n_local);
    } else if (c->first) {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u-%u", kind, c->n, c->first);
    } else {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u", kind, c->n);
    }
}

/* ---- sets ---- */

static void add_set(struct nft_batch *x, enum proxy_set which, const enum nft_type *types, size_t n,
                    uint32_t data_type, uint32_t data_len)
{
    struct nft_set s = { .name = proxy_set_name(which),
                         .id = (uint32_t)which + 1,
                         .key_type = nft_types(types, n),
                         .data_type = data_type,
                         .data_len = data_len };
    for (size_t i = 0; i < n; i++) {
        s.fields[i] = types[i] == NFT_TYPE_INET_PROTO     ? 1
                      : types[i] == NFT_TYPE_INET_SERVICE ? 2
                      : types[i] == NFT_TYPE_IP6ADDR      ? 16
                                                          : 4;
    }
    nft_add_set(x, &s);
}

static enum nft_type addr_type(uint8_t family)
{
    return family == NFPROTO_IPV6 ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR;
}

static void add_sets(struct nft_batch *x, uint8_t family)
{
    const enum nft_type addr = addr_type(family),
                        service[] = { addr, NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE, NFT_TYPE_MARK },
                        port[] = { NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE, NFT_TYPE_MARK },
                        endpoint[] = { addr, NFT_TYPE_INET_SERVICE }, pair[] = { addr, addr };
    const uint32_t endpoint_type = nft_types(endpoint, 2), endpoint_len = proxy_addr_len(family) + 4u;
    add_set(x, SET_SERVICE_IPS, service, 3, NFT_DATA_VERDICT, 0);
    add_set(x, SET_NODEPORTS, port, 2, NFT_DATA_VERDICT, 0);
    add_set(x, SET_ENDPOINTS, service, 4, endpoint_type, endpoint_len);
    add_set(x, SET_PORT_ENDPOINTS, port, 3, endpoint_type, endpoint_len);
    add_set(x, SET_NO_ENDPOINTS, service, 3, NFT_DATA_VERDICT, 0);
    add_set(x, SET_NO_ENDPOINT_PORTS, port, 2, NFT_DATA_VERDICT, 0);
    add_set(x, SET_CLUSTER_IPS, endpoint, 1, 0, 0);
    add_set(x, SET_HAIRPIN, pair, 2, 0, 0);
}

/* ---- keys in registers ---- */

/* How many registers an address takes. */
static uint32_t n_regs(const struct nft_batch *x)
{
    return proxy_addr_len(x->family) / 4u;
}

static void load_saddr(struct nft_batch *x, uint32_t reg)
{
    nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, x->family == NFPROTO_IPV6 ? 8 : 12, proxy_addr_len(x->family), reg);
}

static void load_daddr(struct nft_batch *x, uint32_t reg)
{
    nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, x->family == NFPROTO_IPV6 ? 24 : 16, proxy_addr_len(x->family), reg);
}

/* protocol and destination port in two registers. TCP, UDP and SCTP have their ports in the same
 * place. */
static void load_port(struct nft_batch *x, uint32_t reg)
{
    nft_meta(x, NFT_META_L4PROTO, reg);
    nft_payload(x, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + 1);
}

static void load_service(struct nft_batch *x, uint32_t reg)
{
    load_daddr(x, reg);
    load_port(x, reg + n_regs(x));
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

static void match_saddr(struct nft_batch *x, const struct proxy_cidr *c, uint32_t op)
{
    load_saddr(x, R(0));
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

static void jump(struct nft_batch *x, const char *from, const char *to)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NFT_JUMP, to);
    nft_rule_end(x);
}

/* Node ports are looked up for addresses of the node: all, or those in the configured ranges. */
static void add_nodeport_rules(struct nft_batch *x, const struct proxy_table_config *c,
                               const char *chain, enum proxy_set map)
{
    for (size_t i = 0; i < MAX(c->n_nodeport_addresses, (size_t)1); i++) {
        nft_rule_begin(x, chain);
        if (map == SET_NO_ENDPOINT_PORTS) {
            match_new(x);
        }
        match_node_address(x, c->n_nodeport_addresses ? &c->nodeport_addresses[i] : NULL);
        load_port(x, R(0));
        nft_lookup_verdict(x, proxy_set_name(map), R(0));
        nft_rule_end(x);
    }
}

static void add_services_chain(struct nft_batch *x, const struct proxy_table_config *c)
{
    if (c->masquerade_all || c->has_pod_cidr) {
        nft_rule_begin(x, "services");
        load_daddr(x, R(0));
        nft_lookup(x, proxy_set_name(SET_CLUSTER_IPS), R(0));
        if (!c->masquerade_all) {
            match_saddr(x, &c->pod_cidr, NFT_CMP_NEQ);
        }
        nft_verdict(x, NFT_JUMP, MARK_CHAIN);
        nft_rule_end(x);
    }
    nft_rule_begin(x, "services");
    load_service(x, R(0));
    nft_lookup_verdict(x, proxy_set_name(SET_SERVICE_IPS), R(0));
    nft_rule_end(x);
    add_nodeport_rules(x, c, "services", SET_NODEPORTS);
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
    load_saddr(x, R(0));
    load_daddr(x, R(n_regs(x)));
    nft_lookup(x, proxy_set_name(SET_HAIRPIN), R(0));
    nft_masquerade(x, true);
    nft_rule_end(x);
}

/* Services without endpoints are refused at once, rather than letting clients wait. */
static void add_reject_chains(struct nft_batch *x, const struct proxy_table_config *c)
{
    nft_rule_begin(x, "reject");
    nft_reject(x, NFT_REJECT_ICMP_UNREACH, x->family == NFPROTO_IPV6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH);
    nft_rule_end(x);

    nft_rule_begin(x, "no-endpoints");
    match_new(x);
    load_service(x, R(0));
    nft_lookup_verdict(x, proxy_set_name(SET_NO_ENDPOINTS), R(0));
    nft_rule_end(x);
    add_nodeport_rules(x, c, "no-endpoints", SET_NO_ENDPOINT_PORTS);
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
            load_saddr(x, R(0));
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
    nft_add_chain(x, "no-endpoints");
    nft_add_base_chain(x, "nat-prerouting", "nat", NF_INET_PRE_ROUTING, -100);
    nft_add_base_chain(x, "nat-output", "nat", NF_INET_LOCAL_OUT, -100);
    nft_add_base_chain(x, "nat-postrouting", "nat", NF_INET_POST_ROUTING, 100);
    nft_add_base_chain(x, "filter-input", "filter", NF_INET_LOCAL_IN, 0);
    nft_add_base_chain(x, "filter-forward", "filter", NF_INET_FORWARD, 0);
    nft_add_base_chain(x, "filter-output", "filter", NF_INET_LOCAL_OUT, 0);
    proxy_table_add_loopback_guard(x);
    add_sets(x, c->family);
    add_services_chain(x, c);
    add_masquerading_chain(x);
    add_reject_chains(x, c);
    jump(x, "nat-prerouting", "services");
    jump(x, "nat-output", "services");
    jump(x, "nat-postrouting", "masquerading");
    jump(x, "filter-input", "no-endpoints");
    jump(x, "filter-forward", "no-endpoints");
    jump(x, "filter-output", "no-endpoints");
}

/* ---- chains by number of endpoints ---- */

/* One of the endpoints: address and port into registers from 0 on, and there. */
static void add_dnat_rule(struct nft_batch *x, const char *name, bool by_port, uint32_t first,
                          uint32_t n)
{
    uint32_t number = by_port ? R(2) : R(n_regs(x) + 2);
    nft_rule_begin(x, name);
    if (by_port) {
        load_port(x, R(0));
    } else {
        load_service(x, R(0));
    }
    nft_random(x, n, first, number);
    nft_lookup_map(x, proxy_set_name(by_port ? SET_PORT_ENDPOINTS : SET_ENDPOINTS), R(0), R(0));
    nft_dnat(x, x->family, R(0), R(n_regs(x)));
    nft_rule_end(x);
}

static void add_goto(struct nft_batch *x, const char *from, const char *to)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NFT_GOTO, to);
    nft_rule_end(x);
}

static void add_drop(struct nft_batch *x, const char *from)
{
    nft_rule_begin(x, from);
    nft_verdict(x, NF_DROP, NULL);
    nft_rule_end(x);
}

/* externalTrafficPolicy: Local is about those outside: pods and the node itself use all endpoints
 * ('everywhere'). */
static void add_insider_rules(struct nft_batch *x, const struct proxy_table_config *c,
                              const char *name, const char *everywhere)
{
    if (c->has_pod_cidr) {
        nft_rule_begin(x, name);
        match_saddr(x, &c->pod_cidr, NFT_CMP_EQ);
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

/* A name of a list or of what belongs to it. */
static const char *list_name(uint8_t family, char dst[PROXY_NAME_SIZE], const char *what, uint32_t id,
                             const struct proxy_endpoint *e)
{
    char ip[PROXY_ADDR_TEXT_SIZE];
    if (e) {
        /* nft takes letters, digits, '/', '\\', '_', '.' and '-' in names. */
        (void)proxy_addr_text(family, &e->addr, ip);
        for (char *c = ip; *c; c++) {
            *c = *c == ':' ? '_' : *c;
        }
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u-%s/%u", what, id, ip, ntohs(e->port));
    } else {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u", what, id);
    }
    return dst;
}

void proxy_table_add_chain(struct nft_batch *x, const struct proxy_table_config *config,
                           const struct proxy_chain *c)
{
    char name[PROXY_NAME_SIZE], other[PROXY_NAME_SIZE + 8];
    bool by_port = c->kind == CHAIN_PORT_MASQ || c->kind == CHAIN_PORT_LOCAL;
    proxy_chain_name(c, name);
    nft_add_chain(x, name);
    switch ((enum proxy_chain_kind)c->kind) {
    case CHAIN_IP_MASQ:
    case CHAIN_PORT_MASQ:
        jump(x, name, MARK_CHAIN);
        add_dnat_rule(x, name, by_port, c->first, c->n);
        break;
    case CHAIN_IP: add_dnat_rule(x, name, by_port, c->first, c->n); break;
    case CHAIN_IP_LOCAL:
    case CHAIN_PORT_LOCAL:
        if (c->n) {
            snprintf(other, sizeof(other), "%s-all", name);
            nft_add_chain(x, other);
            add_dnat_rule(x, other, by_port, c->first, c->n);
            add_insider_rules(x, config, name, other);
        }
        if (c->n_local) {
            add_dnat_rule(x, name, by_port, 0, c->n_local);
        } else {
            add_drop(x, name);
        }
        break;
    case CHAIN_LIST_MASQ:
        jump(x, name, MARK_CHAIN);
        add_goto(x, name, list_name(x->family, other, "affinity", c->n, NULL));
        break;
    case CHAIN_LIST_LOCAL:
        add_insider_rules(x, config, name, list_name(x->family, other, "affinity", c->n, NULL));
        if (c->n_local) {
            add_goto(x, name, list_name(x->family, other, "affinity", c->n_local, NULL));
        } else {
            add_drop(x, name);
        }
        break;
    case CHAIN_LIST:
    case CHAIN_REJECT:
    case CHAIN_DROP:
    case CHAIN_FIREWALL: break;
    }
}

void proxy_table_delete_chain(struct nft_batch *x, const struct proxy_chain *c)
{
    char name[PROXY_NAME_SIZE], other[PROXY_NAME_SIZE + 8];
    proxy_chain_name(c, name);
    nft_flush_chain(x, name);
    nft_delete_chain(x, name);
    if ((c->kind == CHAIN_IP_LOCAL || c->kind == CHAIN_PORT_LOCAL) && c->n) {
        snprintf(other, sizeof(other), "%s-all", name);
        nft_flush_chain(x, other);
        nft_delete_chain(x, other);
    }
}

/* ---- lists with affinity ---- */

static bool list_has(const struct proxy_list *l, const struct proxy_endpoint *e)
{
    for (size_t i = 0; l && i < l->n; i++) {
        if (memcmp(&l->endpoints[i], e, sizeof(*e)) == 0) {
            return true;
        }
    }
    return false;
}

/* The endpoint's chain remembers the source for a while, and rewrites the destination. */
static void add_list_endpoint(struct nft_batch *x, const struct proxy_list *l,
                              const struct proxy_endpoint *e)
{
    char chain[PROXY_NAME_SIZE], set[PROXY_NAME_SIZE];
    list_name(x->family, chain, "endpoint", l->id, e);
    list_name(x->family, set, "sources", l->id, e);
    struct nft_set s = { .name = set,
                         .id = 0x10000 + x->n_messages,
                         .fields = { proxy_addr_len(x->family) },
                         .key_type = addr_type(x->family),
                         .dynamic = true };
    nft_add_set(x, &s);
    nft_add_chain(x, chain);
    nft_rule_begin(x, chain);
    load_saddr(x, R(0));
    nft_update_set(x, set, R(0), (uint64_t)l->seconds * 1000);
    nft_immediate(x, R(0), e->addr.b, proxy_addr_len(x->family));
    nft_immediate(x, R(n_regs(x)), &e->port, 2);
    nft_dnat(x, x->family, R(0), R(n_regs(x)));
    nft_rule_end(x);
}

/* Where a source went before, as long as that is remembered; otherwise one at random. */
static void add_list_rules(struct nft_batch *x, const struct proxy_list *l)
{
    char chain[PROXY_NAME_SIZE], endpoint[PROXY_NAME_SIZE], set[PROXY_NAME_SIZE];
    list_name(x->family, chain, "affinity", l->id, NULL);
    for (size_t i = 0; i < l->n && l->n > 1; i++) {
        nft_rule_begin(x, chain);
        load_saddr(x, R(0));
        nft_lookup(x, list_name(x->family, set, "sources", l->id, &l->endpoints[i]), R(0));
        nft_verdict(x, NFT_GOTO, list_name(x->family, endpoint, "endpoint", l->id, &l->endpoints[i]));
        nft_rule_end(x);
    }
    for (size_t i = 0; i < l->n; i++) {
        nft_rule_begin(x, chain);
        if (i + 1 < l->n) {
            nft_random(x, (uint32_t)(l->n - i), 0, R(0));
            nft_cmp_u32(x, R(0), NFT_CMP_EQ, 0);
        }
        nft_verdict(x, NFT_GOTO, list_name(x->family, endpoint, "endpoint", l->id, &l->endpoints[i]));
        nft_rule_end(x);
    }
}

void proxy_table_change_list(struct nft_batch *x, const struct proxy_list *old,
                             const struct proxy_list *list)
{
    char name[PROXY_NAME_SIZE];
    list_name(x->family, name, "affinity", list ? list->id : old->id, NULL);
    if (old) {
        nft_flush_chain(x, name);
    } else {
        nft_add_chain(x, name);
    }
    bool all_anew = old && list && old->seconds != list->seconds;
    for (size_t i = 0; old && i < old->n; i++) {
        if (all_anew || !list_has(list, &old->endpoints[i])) {
            char part[PROXY_NAME_SIZE];
            nft_flush_chain(x, list_name(x->family, part, "endpoint", old->id, &old->endpoints[i]));
            nft_delete_chain(x, part);
            nft_delete_set(x, list_name(x->family, part, "sources", old->id, &old->endpoints[i]));
        }
    }
    for (size_t i = 0; list && i < list->n; i++) {
        if (all_anew || !list_has(old, &list->endpoints[i])) {
            add_list_endpoint(x, list, &list->endpoints[i]);
        }
    }
    if (list) {
        add_list_rules(x, list);
    } else {
        nft_delete_chain(x, name);
    }
}

/* ---- source ranges ---- */

void proxy_table_add_firewall(struct nft_batch *x, const struct proxy_firewall *f)
{
    char name[PROXY_NAME_SIZE], to[PROXY_NAME_SIZE];
    proxy_chain_name(&(struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = f->id }, name);
    proxy_chain_name(&f->to, to);
    nft_add_chain(x, name);
    for (size_t i = 0; i < f->n; i++) {
        nft_rule_begin(x, name);
        match_saddr(x, &f->sources[i], NFT_CMP_EQ);
        nft_verdict(x, NFT_GOTO, to);
        nft_rule_end(x);
    }
    add_drop(x, name);
}

void proxy_table_delete_firewall(struct nft_batch *x, uint32_t id)
{
    char name[PROXY_NAME_SIZE];
    proxy_chain_name(&(struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = id }, name);
    nft_flush_chain(x, name);
    nft_delete_chain(x, name);
}
