/*
 * One rule as a list of expressions, appended to a batch:
 *
 *     nft_rule_begin(x, "services");
 *     nft_payload(x, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, NFT_REG32_00);
 *     nft_lookup(x, "cluster-ips", NFT_REG32_00);
 *     nft_verdict(x, NFT_JUMP, "mark-for-masquerade");
 *     nft_rule_end(x);
 *
 * Registers are NFT_REG32_00 to NFT_REG32_15, four bytes each; offsets and lengths are bytes. Rules
 * are added at the chain's end.
 */
#ifndef NFT_RULE_H
#define NFT_RULE_H

#include "nft/batch.h"

void nft_rule_begin(struct nft_batch *x, const char *chain);
void nft_rule_end(struct nft_batch *x);

/* Loads bytes of a header: base NFT_PAYLOAD_NETWORK_HEADER or _TRANSPORT_HEADER. */
void nft_payload(struct nft_batch *x, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg);
/* Loads NFT_META_L4PROTO, NFT_META_MARK, NFT_META_NFPROTO, … */
void nft_meta(struct nft_batch *x, uint32_t key, uint32_t reg);
void nft_meta_set(struct nft_batch *x, uint32_t key, uint32_t reg);
/* Loads NFT_CT_STATE, NFT_CT_STATUS, … */
void nft_ct(struct nft_batch *x, uint32_t key, uint32_t reg);
/* The type of the destination or source address (RTN_LOCAL, …), by the routing table. */
void nft_fib_daddr_type(struct nft_batch *x, uint32_t reg);
void nft_fib_saddr_type(struct nft_batch *x, uint32_t reg);
/* Goes on if the register compares so: op NFT_CMP_EQ, NFT_CMP_NEQ, … */
void nft_cmp(struct nft_batch *x, uint32_t reg, uint32_t op, const void *data, size_t len);
void nft_cmp_u32(struct nft_batch *x, uint32_t reg, uint32_t op, uint32_t host_order);
/* reg = (reg & mask) ^ xor, four bytes in host order. */
void nft_bitwise(struct nft_batch *x, uint32_t reg, uint32_t mask, uint32_t xor_);
/* The same for 'len' bytes as they are in the packet. */
void nft_mask(struct nft_batch *x, uint32_t reg, const void *mask, size_t len);
/* Goes on if the key at 'reg' is in the set (or is not: lookup_not). */
void nft_lookup(struct nft_batch *x, const char *set, uint32_t reg);
void nft_lookup_not(struct nft_batch *x, const char *set, uint32_t reg);
/* Goes on if the key at 'reg' is in the map; its value goes to 'dreg'. */
void nft_lookup_map(struct nft_batch *x, const char *map, uint32_t reg, uint32_t dreg);
/* Looks the key up in a verdict map and does what it says. */
void nft_lookup_verdict(struct nft_batch *x, const char *map, uint32_t reg);
/* 'first' plus a random number below 'modulus', in host order. */
void nft_random(struct nft_batch *x, uint32_t modulus, uint32_t first, uint32_t reg);
/* Adds or refreshes the key at 'key_reg' in a dynamic set for that long. */
void nft_update_set(struct nft_batch *x, const char *set, uint32_t key_reg, uint64_t timeout_ms);
/* Loads bytes as they are. */
void nft_immediate(struct nft_batch *x, uint32_t reg, const void *data, size_t len);
/* Destination address and port from registers; family NFPROTO_IPV4 or NFPROTO_IPV6. */
void nft_dnat(struct nft_batch *x, uint32_t family, uint32_t addr_reg, uint32_t port_reg);
/* Destination becomes an address of the incoming interface (of what the node sends itself: loopback), the port that of the register. */
void nft_redirect(struct nft_batch *x, uint32_t port_reg);
void nft_masquerade(struct nft_batch *x, bool fully_random);
/* NFT_REJECT_ICMP_UNREACH with an ICMP code, or NFT_REJECT_TCP_RST. */
void nft_reject(struct nft_batch *x, uint32_t type, uint8_t code);
void nft_counter(struct nft_batch *x);
/* NFT_JUMP, NFT_GOTO with a chain; NF_DROP, NF_ACCEPT, NFT_RETURN with NULL. */
void nft_verdict(struct nft_batch *x, int32_t code, const char *chain);

#endif
