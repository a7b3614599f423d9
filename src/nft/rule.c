#include "nft/rule.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

void nft_rule_begin(struct nft_batch *x, const char *chain)
{
    nft_message_begin(x, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
    nft_attr_str(x, NFTA_RULE_TABLE, x->table);
    nft_attr_str(x, NFTA_RULE_CHAIN, chain);
    nft_nest_begin(x, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_batch *x)
{
    nft_nest_end(x);
    nft_message_end(x);
}

static void expr_begin(struct nft_batch *x, const char *name)
{
    nft_nest_begin(x, NFTA_LIST_ELEM);
    nft_attr_str(x, NFTA_EXPR_NAME, name);
    nft_nest_begin(x, NFTA_EXPR_DATA);
}

static void expr_end(struct nft_batch *x)
{
    nft_nest_end(x);
    nft_nest_end(x);
}

static void attr_data(struct nft_batch *x, uint16_t type, const void *data, size_t len)
{
    nft_nest_begin(x, type);
    nft_attr(x, NFTA_DATA_VALUE, data, len);
    nft_nest_end(x);
}

void nft_payload(struct nft_batch *x, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
    expr_begin(x, "payload");
    nft_attr_be32(x, NFTA_PAYLOAD_DREG, reg);
    nft_attr_be32(x, NFTA_PAYLOAD_BASE, base);
    nft_attr_be32(x, NFTA_PAYLOAD_OFFSET, offset);
    nft_attr_be32(x, NFTA_PAYLOAD_LEN, len);
    expr_end(x);
}

void nft_meta(struct nft_batch *x, uint32_t key, uint32_t reg)
{
    expr_begin(x, "meta");
    nft_attr_be32(x, NFTA_META_DREG, reg);
    nft_attr_be32(x, NFTA_META_KEY, key);
    expr_end(x);
}

void nft_meta_set(struct nft_batch *x, uint32_t key, uint32_t reg)
{
    expr_begin(x, "meta");
    nft_attr_be32(x, NFTA_META_SREG, reg);
    nft_attr_be32(x, NFTA_META_KEY, key);
    expr_end(x);
}

void nft_ct(struct nft_batch *x, uint32_t key, uint32_t reg)
{
    expr_begin(x, "ct");
    nft_attr_be32(x, NFTA_CT_DREG, reg);
    nft_attr_be32(x, NFTA_CT_KEY, key);
    expr_end(x);
}

static void fib_type(struct nft_batch *x, uint32_t flags, uint32_t reg)
{
    expr_begin(x, "fib");
    nft_attr_be32(x, NFTA_FIB_DREG, reg);
    nft_attr_be32(x, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nft_attr_be32(x, NFTA_FIB_FLAGS, flags);
    expr_end(x);
}

void nft_fib_daddr_type(struct nft_batch *x, uint32_t reg)
{
    fib_type(x, NFTA_FIB_F_DADDR, reg);
}

void nft_fib_saddr_type(struct nft_batch *x, uint32_t reg)
{
    fib_type(x, NFTA_FIB_F_SADDR, reg);
}

void nft_cmp(struct nft_batch *x, uint32_t reg, uint32_t op, const void *data, size_t len)
{
    expr_begin(x, "cmp");
    nft_attr_be32(x, NFTA_CMP_SREG, reg);
    nft_attr_be32(x, NFTA_CMP_OP, op);
    attr_data(x, NFTA_CMP_DATA, data, len);
    expr_end(x);
}

void nft_cmp_u32(struct nft_batch *x, uint32_t reg, uint32_t op, uint32_t host_order)
{
    nft_cmp(x, reg, op, &host_order, sizeof(host_order));
}

static void bitwise(struct nft_batch *x, uint32_t reg, const void *mask, const void *xor_,
                    size_t len)
{
    expr_begin(x, "bitwise");
    nft_attr_be32(x, NFTA_BITWISE_SREG, reg);
    nft_attr_be32(x, NFTA_BITWISE_DREG, reg);
    nft_attr_be32(x, NFTA_BITWISE_LEN, (uint32_t)len);
    attr_data(x, NFTA_BITWISE_MASK, mask, len);
    attr_data(x, NFTA_BITWISE_XOR, xor_, len);
    expr_end(x);
}

void nft_bitwise(struct nft_batch *x, uint32_t reg, uint32_t mask, uint32_t xor_)
{
    bitwise(x, reg, &mask, &xor_, sizeof(mask));
}

void nft_mask(struct nft_batch *x, uint32_t reg, const void *mask, size_t len)
{
    static const uint8_t zero[16];
    bitwise(x, reg, mask, zero, len);
}

/* dreg 0: none. */
static void lookup(struct nft_batch *x, const char *set, uint32_t reg, uint32_t dreg, bool has_dreg,
                   uint32_t flags)
{
    expr_begin(x, "lookup");
    nft_attr_str(x, NFTA_LOOKUP_SET, set);
    nft_attr_be32(x, NFTA_LOOKUP_SREG, reg);
    if (has_dreg) {
        nft_attr_be32(x, NFTA_LOOKUP_DREG, dreg);
    }
    if (flags) {
        nft_attr_be32(x, NFTA_LOOKUP_FLAGS, flags);
    }
    expr_end(x);
}

void nft_lookup(struct nft_batch *x, const char *set, uint32_t reg)
{
    lookup(x, set, reg, 0, false, 0);
}

void nft_lookup_not(struct nft_batch *x, const char *set, uint32_t reg)
{
    lookup(x, set, reg, 0, false, NFT_LOOKUP_F_INV);
}

void nft_lookup_map(struct nft_batch *x, const char *map, uint32_t reg, uint32_t dreg)
{
    lookup(x, map, reg, dreg, true, 0);
}

void nft_lookup_verdict(struct nft_batch *x, const char *map, uint32_t reg)
{
    lookup(x, map, reg, NFT_REG_VERDICT, true, 0);
}

void nft_random(struct nft_batch *x, uint32_t modulus, uint32_t first, uint32_t reg)
{
    expr_begin(x, "numgen");
    nft_attr_be32(x, NFTA_NG_DREG, reg);
    nft_attr_be32(x, NFTA_NG_MODULUS, modulus);
    nft_attr_be32(x, NFTA_NG_TYPE, NFT_NG_RANDOM);
    nft_attr_be32(x, NFTA_NG_OFFSET, first);
    expr_end(x);
}

void nft_update_set(struct nft_batch *x, const char *set, uint32_t key_reg, uint64_t timeout_ms)
{
    expr_begin(x, "dynset");
    nft_attr_str(x, NFTA_DYNSET_SET_NAME, set);
    nft_attr_be32(x, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    nft_attr_be32(x, NFTA_DYNSET_SREG_KEY, key_reg);
    nft_attr_be64(x, NFTA_DYNSET_TIMEOUT, timeout_ms);
    expr_end(x);
}

void nft_immediate(struct nft_batch *x, uint32_t reg, const void *data, size_t len)
{
    expr_begin(x, "immediate");
    nft_attr_be32(x, NFTA_IMMEDIATE_DREG, reg);
    attr_data(x, NFTA_IMMEDIATE_DATA, data, len);
    expr_end(x);
}

void nft_dnat(struct nft_batch *x, uint32_t family, uint32_t addr_reg, uint32_t port_reg)
{
    expr_begin(x, "nat");
    nft_attr_be32(x, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    nft_attr_be32(x, NFTA_NAT_FAMILY, family);
    nft_attr_be32(x, NFTA_NAT_REG_ADDR_MIN, addr_reg);
    nft_attr_be32(x, NFTA_NAT_REG_PROTO_MIN, port_reg);
    expr_end(x);
}

void nft_redirect(struct nft_batch *x, uint32_t port_reg)
{
    expr_begin(x, "redir");
    nft_attr_be32(x, NFTA_REDIR_REG_PROTO_MIN, port_reg);
    expr_end(x);
}

void nft_masquerade(struct nft_batch *x, bool fully_random)
{
    expr_begin(x, "masq");
    if (fully_random) {
        nft_attr_be32(x, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    }
    expr_end(x);
}

void nft_reject(struct nft_batch *x, uint32_t type, uint8_t code)
{
    expr_begin(x, "reject");
    nft_attr_be32(x, NFTA_REJECT_TYPE, type);
    if (type != NFT_REJECT_TCP_RST) {
        nft_attr_u8(x, NFTA_REJECT_ICMP_CODE, code);
    }
    expr_end(x);
}

void nft_counter(struct nft_batch *x)
{
    expr_begin(x, "counter");
    expr_end(x);
}

void nft_verdict(struct nft_batch *x, int32_t code, const char *chain)
{
    expr_begin(x, "immediate");
    nft_attr_be32(x, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    nft_nest_begin(x, NFTA_IMMEDIATE_DATA);
    nft_attr_verdict(x, code, chain);
    nft_nest_end(x);
    expr_end(x);
}
