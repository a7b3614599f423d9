#include "proxy/table.h"

#include <stdio.h>

#include "proxy/table-private.h"

/*
 * nftables draws below a number that stands in the rule, never below one that a map says. So a chain serves a class: all
 * Services with more than half of n and at most n endpoints. It draws below n; a number that no endpoint has is drawn again,
 * and after as many tries as this it is drawn from the lower half, where every number has one. At most one connection in 2^TRIES
 * gets that far, so that no endpoint's share is off by more than a 256th of itself.
 */
#define TRIES 8

void proxy_chain_name(const struct proxy_chain *c, char dst[PROXY_NAME_SIZE])
{
    static const char *const kinds[] = {
        "ip", "ip-masq", "port-masq", "ip-local", "port-local", "affinity", "affinity-masq", "affinity-local", "", "", "firewall"
    };
    const char *kind = kinds[c->kind];
    if (c->kind == CHAIN_IP_LOCAL || c->kind == CHAIN_PORT_LOCAL || c->kind == CHAIN_LIST_LOCAL) {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u-%u", kind, c->n, c->n_local);
    } else {
        snprintf(dst, PROXY_NAME_SIZE, "%s-%u", kind, c->n);
    }
}

uint32_t proxy_class(size_t n)
{
    uint32_t c = n > 0;
    while (c < n) {
        c *= 2;
    }
    return c;
}

bool proxy_chain_is_shared(const struct proxy_chain *c)
{
    return c->kind == CHAIN_IP || c->kind == CHAIN_IP_MASQ || c->kind == CHAIN_PORT_MASQ;
}

/* One of the endpoints whose numbers are 'first' to 'first + n - 1': its address and port into registers from 0 on, and there. */
static void add_dnat_rule(struct nft_batch *x, const char *name, bool by_port, uint32_t first, uint32_t n)
{
    uint32_t number = by_port ? R(2) : R(table_n_regs(x) + 2);
    nft_rule_begin(x, name);
    if (by_port) {
        table_load_port(x, R(0));
    } else {
        table_load_service(x, R(0));
    }
    nft_random(x, n, first, number);
    nft_lookup_map(x, proxy_set_name(by_port ? SET_PORT_ENDPOINTS : SET_ENDPOINTS), R(0), R(0));
    nft_dnat(x, x->family, R(0), R(table_n_regs(x)));
    nft_rule_end(x);
}

static void add_dnat_rules(struct nft_batch *x, const char *name, bool by_port, uint32_t first, uint32_t n)
{
    /* The classes 1 and 2 have no gaps. */
    for (int i = 0; i < TRIES && n > 2; i++) {
        add_dnat_rule(x, name, by_port, first, n);
    }
    add_dnat_rule(x, name, by_port, first, n > 2 ? n / 2 : n);
}

static void add_shared(struct nft_batch *x, const char *name, bool by_port)
{
    const enum nft_type key[] = { table_addr_type(x->family), NFT_TYPE_INET_PROTO, NFT_TYPE_INET_SERVICE };
    table_add_set(x, name, 0x10000 + x->n_messages, key + by_port, 3u - by_port, 0, 0);
}

static void all_name(char dst[PROXY_NAME_SIZE + 8], const char *name)
{
    snprintf(dst, PROXY_NAME_SIZE + 8, "%s-all", name);
}

void proxy_table_add_chain(struct nft_batch *x, const struct proxy_table_config *config, const struct proxy_chain *c)
{
    char name[PROXY_NAME_SIZE], other[PROXY_NAME_SIZE + 8];
    bool by_port = c->kind == CHAIN_PORT_MASQ || c->kind == CHAIN_PORT_LOCAL;
    proxy_chain_name(c, name);
    nft_add_chain(x, name);
    switch ((enum proxy_chain_kind)c->kind) {
    case CHAIN_IP_MASQ:
    case CHAIN_PORT_MASQ:
        add_shared(x, name, by_port);
        table_jump(x, name, MARK_CHAIN);
        add_dnat_rules(x, name, by_port, 0, c->n);
        break;
    case CHAIN_IP:
        add_shared(x, name, by_port);
        add_dnat_rules(x, name, by_port, 0, c->n);
        break;
    case CHAIN_IP_LOCAL:
    case CHAIN_PORT_LOCAL:
        if (c->n) {
            all_name(other, name);
            nft_add_chain(x, other);
            add_dnat_rules(x, other, by_port, 0, c->n);
            table_add_insider_rules(x, config, name, other);
        }
        if (c->n_local) {
            add_dnat_rules(x, name, by_port, PROXY_LOCAL_FIRST, c->n_local);
        } else {
            table_drop(x, name);
        }
        break;
    case CHAIN_LIST_MASQ:
        table_jump(x, name, MARK_CHAIN);
        table_goto(x, name, table_list_name(x->family, other, "affinity", c->n, NULL));
        break;
    case CHAIN_LIST_LOCAL:
        table_add_insider_rules(x, config, name, table_list_name(x->family, other, "affinity", c->n, NULL));
        if (c->n_local) {
            table_goto(x, name, table_list_name(x->family, other, "affinity", c->n_local, NULL));
        } else {
            table_drop(x, name);
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
    if (proxy_chain_is_shared(c)) {
        nft_delete_set(x, name);
    }
    if ((c->kind == CHAIN_IP_LOCAL || c->kind == CHAIN_PORT_LOCAL) && c->n) {
        all_name(other, name);
        nft_flush_chain(x, other);
        nft_delete_chain(x, other);
    }
}
