#include "proxy/redirects.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "base/map.h"
#include "nft/rule.h"

#define R(n) (NFT_REG32_00 + (n))

/* The look-up key: kind, protocol, port, address. */
struct key {
    uint8_t kind, protocol;
    uint16_t port;
    struct proxy_addr addr;
};

struct claim {
    struct list link; /* the owner's; or among those that are gone */
    struct key key;
    struct redirect_owner *owner; /* NULL: it goes with the next write */
    bool asked;                   /* since redirects_begin() */
    bool applied, queued;
    uint16_t to, has_to;
    struct claim *next;
};

struct redirects {
    struct proxy_table_config table;
    struct proxy_addr bind;
    bool bound;
    struct map claims; /* by struct key */
    struct claim *queue;
    struct list gone; /* UDP redirects that the last write deleted: tracked connections may still follow them */
    bool udp_changed;
};

static const char *const names[REDIRECT_KINDS] = { "service-redirects", "nodeport-redirects", "proxy-ports", "cluster-ips" };

static struct str key_str(const struct key *k)
{
    return str_n((const char *)k, sizeof(*k));
}

struct redirects *redirects_new(const struct proxy_table_config *table, const struct proxy_addr *bind)
{
    static const struct proxy_addr any;
    struct redirects *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->table = *table;
    r->bind = *bind;
    r->bound = memcmp(bind, &any, sizeof(any)) != 0;
    map_init(&r->claims);
    list_init(&r->gone);
    return r;
}

struct redirects *redirects_free(struct redirects *r)
{
    struct str key;
    void *value;
    if (r) {
        for (size_t pos = 0; map_next(&r->claims, &pos, &key, &value);) {
            free(value);
        }
        map_deinit(&r->claims);
        free(r);
    }
    return NULL;
}

void redirects_owner_init(struct redirect_owner *o)
{
    list_init(&o->claims);
}

/* ---- claims ---- */

static void enqueue(struct redirects *r, struct claim *c)
{
    r->udp_changed = r->udp_changed || (c->key.protocol == IPPROTO_UDP && c->key.kind <= REDIRECT_NODEPORT);
    if (!c->queued) {
        c->queued = true;
        c->next = r->queue;
        r->queue = c;
    }
}

void redirects_begin(struct redirects *r UNUSED, struct redirect_owner *o)
{
    LIST_FOREACH (&o->claims, struct claim, link, c) {
        c->asked = false;
    }
}

bool redirects_claim(struct redirects *r, struct redirect_owner *o, const struct redirect *what)
{
    struct key k = { .kind = (uint8_t)what->kind, .protocol = what->protocol, .port = what->port, .addr = what->addr };
    struct claim *c = map_get(&r->claims, key_str(&k));
    if (c && c->owner && c->owner != o) {
        return false;
    }
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c) {
            abort();
        }
        c->key = k;
        list_init(&c->link);
        map_put(&r->claims, key_str(&c->key), c);
    }
    if (c->owner && c->asked) {
        return true; /* one address in two roles: the first counts */
    }
    if (!c->owner || c->to != what->to) {
        c->to = what->to;
        enqueue(r, c);
    }
    if (!c->owner) {
        c->owner = o;
        list_remove(&c->link);
        list_push_back(&o->claims, &c->link);
    }
    c->asked = true;
    return true;
}

bool redirects_end(struct redirects *r, struct redirect_owner *o)
{
    bool released = false;
    LIST_FOREACH (&o->claims, struct claim, link, c) {
        if (!c->asked) {
            c->owner = NULL;
            list_remove(&c->link);
            enqueue(r, c);
            released = true;
        }
    }
    return released;
}

/* ---- the table ---- */

static uint32_t n_regs(const struct nft_batch *x)
{
    return proxy_addr_len(x->family) / 4u;
}

static void load_daddr(struct nft_batch *x, uint32_t reg)
{
    nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, x->family == NFPROTO_IPV6 ? 24 : 16, proxy_addr_len(x->family), reg);
}

static void load_port(struct nft_batch *x, uint32_t reg)
{
    nft_meta(x, NFT_META_L4PROTO, reg);
    nft_payload(x, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + 1);
}

static void match_cidr(struct nft_batch *x, const struct proxy_cidr *c, uint32_t op)
{
    load_daddr(x, R(0));
    nft_mask(x, R(0), c->mask.b, proxy_addr_len(x->family));
    nft_cmp(x, R(0), op, c->addr.b, proxy_addr_len(x->family));
}

static void add_sets(struct nft_batch *x)
{
    const enum nft_type addr = x->family == NFPROTO_IPV6 ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR,
                        service[] = { addr, NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE };
    const uint8_t len = proxy_addr_len(x->family);
    struct nft_set sets[REDIRECT_KINDS] = {
        { .fields = { len, 1, 2 }, .key_type = nft_types(service, 3), .data_type = NFT_TYPE_INET_SERVICE, .data_len = 2 },
        { .fields = { 1, 2 }, .key_type = nft_types(service + 1, 2), .data_type = NFT_TYPE_INET_SERVICE, .data_len = 2 },
        { .fields = { 1, 2 }, .key_type = nft_types(service + 1, 2) },
        { .fields = { len }, .key_type = addr },
    };
    for (uint32_t i = 0; i < REDIRECT_KINDS; i++) {
        sets[i].name = names[i];
        sets[i].id = i + 1;
        nft_add_set(x, &sets[i]);
    }
}

/* The port is in register 0. */
static void redirect(struct nft_batch *x, const struct redirects *r)
{
    if (r->bound) {
        nft_immediate(x, R(4), r->bind.b, proxy_addr_len(x->family));
        nft_dnat(x, x->family, R(4), R(0));
    } else {
        nft_redirect(x, R(0));
    }
}

/* 'from_node': what the node itself sends may name loopback addresses, what neighbours send may not. */
static void add_redirecting_chain(struct nft_batch *x, const struct redirects *r, const char *chain, uint32_t hook, bool from_node)
{
    const struct proxy_table_config *t = &r->table;
    nft_add_base_chain(x, chain, "nat", hook, -100);
    nft_rule_begin(x, chain);
    load_daddr(x, R(0));
    load_port(x, R(n_regs(x)));
    nft_lookup_map(x, names[REDIRECT_ADDRESS], R(0), R(0));
    redirect(x, r);
    nft_rule_end(x);
    for (size_t i = 0; i < MAX(t->n_nodeport_addresses, (size_t)1); i++) {
        nft_rule_begin(x, chain);
        nft_fib_daddr_type(x, R(0));
        nft_cmp_u32(x, R(0), NFT_CMP_EQ, RTN_LOCAL);
        if (!from_node) {
            match_cidr(x, proxy_table_loopback(x->family), NFT_CMP_NEQ);
        }
        if (t->n_nodeport_addresses) {
            match_cidr(x, &t->nodeport_addresses[i], NFT_CMP_EQ);
        }
        load_port(x, R(0));
        nft_lookup_map(x, names[REDIRECT_NODEPORT], R(0), R(0));
        redirect(x, r);
        nft_rule_end(x);
    }
}

static void add_table(struct nft_batch *x, const struct redirects *r)
{
    static const char *const filters[] = { "filter-forward", "filter-output" };
    nft_add_table(x);
    add_sets(x);
    proxy_table_add_loopback_guard(x);
    add_redirecting_chain(x, r, "nat-prerouting", NF_INET_PRE_ROUTING, false);
    add_redirecting_chain(x, r, "nat-output", NF_INET_LOCAL_OUT, true);
    nft_add_base_chain(x, "filter-input", "filter", NF_INET_LOCAL_IN, 0);
    nft_rule_begin(x, "filter-input");
    load_port(x, R(0));
    nft_lookup(x, names[REDIRECT_PROXY_PORT], R(0));
    nft_ct(x, NFT_CT_STATUS, R(0));
    nft_bitwise(x, R(0), IPS_DST_NAT, 0);
    nft_cmp_u32(x, R(0), NFT_CMP_EQ, 0);
    nft_verdict(x, NF_DROP, NULL);
    nft_rule_end(x);
    for (uint32_t i = 0; i < ARRAY_SIZE(filters); i++) {
        nft_add_base_chain(x, filters[i], "filter", i ? NF_INET_LOCAL_OUT : NF_INET_FORWARD, 0);
        nft_rule_begin(x, filters[i]);
        nft_ct(x, NFT_CT_STATE, R(0));
        nft_bitwise(x, R(0), NF_CT_STATE_BIT(IP_CT_NEW), 0);
        nft_cmp_u32(x, R(0), NFT_CMP_NEQ, 0);
        load_daddr(x, R(0));
        nft_lookup(x, names[REDIRECT_CLUSTER_IP], R(0));
        nft_reject(x, NFT_REJECT_ICMP_UNREACH, x->family == NFPROTO_IPV6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH);
        nft_rule_end(x);
    }
}

/* ---- writing ---- */

struct text {
    uint8_t key[24], data[4];
};

static void put(uint8_t family, const struct claim *c, struct text *t, struct nft_element *e, bool add)
{
    size_t n = 0;
    *t = (struct text){ 0 };
    if (c->key.kind == REDIRECT_ADDRESS || c->key.kind == REDIRECT_CLUSTER_IP) {
        n = proxy_addr_len(family);
        memcpy(t->key, c->key.addr.b, n);
    }
    if (c->key.kind != REDIRECT_CLUSTER_IP) {
        t->key[n] = c->key.protocol;
        memcpy(t->key + n + 4, &c->key.port, 2);
        n += 8;
    }
    *e = (struct nft_element){ .key = str_n((const char *)t->key, n) };
    if (add && c->key.kind <= REDIRECT_NODEPORT) {
        uint16_t to = htons(c->to);
        memcpy(t->data, &to, 2);
        e->data = str_n((const char *)t->data, 2);
    }
}

bool redirects_write_changes(struct redirects *r, struct nft_batch *x)
{
    unsigned before = x->n_messages;
    size_t n = 0;
    while (!list_empty(&r->gone)) {
        struct claim *c = LIST_ENTRY(r->gone.next, struct claim, link);
        list_remove(&c->link);
        map_remove(&r->claims, key_str(&c->key));
        free(c);
    }
    for (struct claim *c = r->queue; c; c = c->next) {
        n++;
    }
    struct nft_element *e = calloc(MAX(n, (size_t)1), sizeof(*e));
    struct text *t = calloc(MAX(n, (size_t)1), sizeof(*t));
    if (!e || !t) {
        abort();
    }
    /* All that goes before all that comes: an element may change. */
    for (int adds = 0; adds < 2; adds++) {
        for (int kind = 0; kind < REDIRECT_KINDS; kind++) {
            size_t used = 0;
            for (struct claim *c = r->queue; c; c = c->next) {
                bool differs = !c->owner || !c->applied || c->to != c->has_to;
                if (c->key.kind == kind && differs && (adds ? c->owner != NULL : c->applied)) {
                    put(x->family, c, &t[used], &e[used], adds);
                    used++;
                }
            }
            if (adds) {
                nft_add_elements(x, names[kind], 0, e, used);
            } else {
                nft_delete_elements(x, names[kind], e, used);
            }
        }
    }
    free(e);
    free(t);
    for (struct claim *c = r->queue, *next; c; c = next) {
        next = c->next;
        c->queued = false;
        c->applied = c->owner != NULL;
        c->has_to = c->to;
        if (!c->owner && c->key.protocol == IPPROTO_UDP && c->key.kind <= REDIRECT_NODEPORT) {
            list_push_back(&r->gone, &c->link);
        } else if (!c->owner) {
            map_remove(&r->claims, key_str(&c->key));
            free(c);
        }
    }
    r->queue = NULL;
    return x->n_messages != before;
}

void redirects_write_all(struct redirects *r, struct nft_batch *x)
{
    struct str key;
    void *value;
    add_table(x, r);
    for (size_t pos = 0; map_next(&r->claims, &pos, &key, &value);) {
        struct claim *c = value;
        c->applied = false;
        if (c->owner) {
            enqueue(r, c);
        }
    }
    (void)redirects_write_changes(r, x);
    r->udp_changed = true;
}

/* ---- questions ---- */

bool redirects_take_udp_changed(struct redirects *r)
{
    bool changed = r->udp_changed;
    r->udp_changed = false;
    return changed;
}

bool redirects_is_good(const struct redirects *r, uint8_t protocol, const struct proxy_addr *addr, uint16_t port, bool is_local,
                       uint16_t to)
{
    struct key k = { .kind = REDIRECT_ADDRESS, .protocol = protocol, .port = port, .addr = *addr };
    const struct claim *c = map_get(&r->claims, key_str(&k));
    if (!c) {
        k = (struct key){ .kind = REDIRECT_NODEPORT, .protocol = protocol, .port = port };
        c = is_local ? map_get(&r->claims, key_str(&k)) : NULL;
    }
    return !c || (c->owner ? c->to == to : c->has_to != to);
}

size_t redirects_count(const struct redirects *r)
{
    size_t n = r->claims.n;
    LIST_FOREACH (&r->gone, const struct claim, link, c) {
        n -= c != NULL;
    }
    return n;
}
