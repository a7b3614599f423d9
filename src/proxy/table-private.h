/* What the parts of table.h share: keys in registers, and rules that several chains have. */
#ifndef PROXY_TABLE_PRIVATE_H
#define PROXY_TABLE_PRIVATE_H

#include <linux/netfilter/nf_tables.h>

#include "nft/rule.h"
#include "proxy/table.h"

#define R(n) (NFT_REG32_00 + (n))
#define MARK_CHAIN "mark-for-masquerade"

/* How many registers an address takes. */
static inline uint32_t table_n_regs(const struct nft_batch *x)
{
    return proxy_addr_len(x->family) / 4u;
}

/* ---- table.c ---- */
enum nft_type table_addr_type(uint8_t family);
/* A set (or map) whose key is these types. */
void table_add_set(struct nft_batch *x, const char *name, uint32_t id, const enum nft_type *types, size_t n,
                   uint32_t data_type, uint32_t data_len);
void table_load_saddr(struct nft_batch *x, uint32_t reg);
/* Protocol and destination port, in two registers. */
void table_load_port(struct nft_batch *x, uint32_t reg);
/* Destination address, protocol and port. */
void table_load_service(struct nft_batch *x, uint32_t reg);
void table_match_saddr(struct nft_batch *x, const struct proxy_cidr *c, uint32_t op);
void table_jump(struct nft_batch *x, const char *from, const char *to);
void table_goto(struct nft_batch *x, const char *from, const char *to);
void table_drop(struct nft_batch *x, const char *from);
/* externalTrafficPolicy: Local is about those outside: pods and the node itself use all endpoints ('everywhere'). */
void table_add_insider_rules(struct nft_batch *x, const struct proxy_table_config *c, const char *name, const char *everywhere);

/* ---- table-lists.c ---- */
/* A name of a list or of what belongs to it. */
const char *table_list_name(uint8_t family, char dst[PROXY_NAME_SIZE], const char *what, uint32_t id, const struct proxy_endpoint *e);

#endif
