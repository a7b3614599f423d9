#include "proxy/table.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>

#include "proxy/table-private.h"

const char *table_list_name(uint8_t family, char dst[PROXY_NAME_SIZE], const char *what, uint32_t id,
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
    table_list_name(x->family, chain, "endpoint", l->id, e);
    table_list_name(x->family, set, "sources", l->id, e);
    struct nft_set s = { .name = set,
                         .id = 0x10000 + x->n_messages,
                         .fields = { proxy_addr_len(x->family) },
                         .key_type = table_addr_type(x->family),
                         .dynamic = true };
    nft_add_set(x, &s);
    nft_add_chain(x, chain);
    nft_rule_begin(x, chain);
    table_load_saddr(x, R(0));
    nft_update_set(x, set, R(0), (uint64_t)l->seconds * 1000);
    nft_immediate(x, R(0), e->addr.b, proxy_addr_len(x->family));
    nft_immediate(x, R(table_n_regs(x)), &e->port, 2);
    nft_dnat(x, x->family, R(0), R(table_n_regs(x)));
    nft_rule_end(x);
}

/* Where a source went before, as long as that is remembered; otherwise one at random. */
static void add_list_rules(struct nft_batch *x, const struct proxy_list *l)
{
    char chain[PROXY_NAME_SIZE], endpoint[PROXY_NAME_SIZE], set[PROXY_NAME_SIZE];
    table_list_name(x->family, chain, "affinity", l->id, NULL);
    for (size_t i = 0; i < l->n && l->n > 1; i++) {
        nft_rule_begin(x, chain);
        table_load_saddr(x, R(0));
        nft_lookup(x, table_list_name(x->family, set, "sources", l->id, &l->endpoints[i]), R(0));
        nft_verdict(x, NFT_GOTO, table_list_name(x->family, endpoint, "endpoint", l->id, &l->endpoints[i]));
        nft_rule_end(x);
    }
    for (size_t i = 0; i < l->n; i++) {
        nft_rule_begin(x, chain);
        if (i + 1 < l->n) {
            nft_random(x, (uint32_t)(l->n - i), 0, R(0));
            nft_cmp_u32(x, R(0), NFT_CMP_EQ, 0);
        }
        nft_verdict(x, NFT_GOTO, table_list_name(x->family, endpoint, "endpoint", l->id, &l->endpoints[i]));
        nft_rule_end(x);
    }
}

void proxy_table_change_list(struct nft_batch *x, const struct proxy_list *old,
                             const struct proxy_list *list)
{
    char name[PROXY_NAME_SIZE];
    table_list_name(x->family, name, "affinity", list ? list->id : old->id, NULL);
    if (old) {
        nft_flush_chain(x, name);
    } else {
        nft_add_chain(x, name);
    }
    bool all_anew = old && list && old->seconds != list->seconds;
    for (size_t i = 0; old && i < old->n; i++) {
        if (all_anew || !list_has(list, &old->endpoints[i])) {
            char part[PROXY_NAME_SIZE];
            nft_flush_chain(x, table_list_name(x->family, part, "endpoint", old->id, &old->endpoints[i]));
            nft_delete_chain(x, part);
            nft_delete_set(x, table_list_name(x->family, part, "sources", old->id, &old->endpoints[i]));
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
        table_match_saddr(x, &f->sources[i], NFT_CMP_EQ);
        nft_verdict(x, NFT_GOTO, to);
        nft_rule_end(x);
    }
    table_drop(x, name);
}

void proxy_table_delete_firewall(struct nft_batch *x, uint32_t id)
{
    char name[PROXY_NAME_SIZE];
    proxy_chain_name(&(struct proxy_chain){ .kind = CHAIN_FIREWALL, .n = id }, name);
    nft_flush_chain(x, name);
    nft_delete_chain(x, name);
}
