#include "nft/batch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

/* A whole ruleset of 30,000 services is about 20 MB. */
#define BATCH_MAX (256u << 20)
/* Attributes have 16-bit lengths; a list of elements is closed before it gets there. */
#define LIST_MOST 60000

void nft_message_begin(struct nft_batch *x, uint16_t type, uint16_t flags)
{
    struct nlmsghdr h = { .nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
                          .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
                          .nlmsg_seq = x->seq++ };
    struct nfgenmsg g = { .nfgen_family = x->family, .version = NFNETLINK_V0 };
    x->message = x->b.len;
    x->depth = 0;
    x->n_messages++;
    buf_append_bytes(&x->b, &h, sizeof(h));
    buf_append_bytes(&x->b, &g, sizeof(g));
}

void nft_message_end(struct nft_batch *x)
{
    assert(x->depth == 0);
    if (!x->b.failed) {
        uint32_t len = (uint32_t)(x->b.len - x->message);
        memcpy(x->b.ptr + x->message, &len, sizeof(len));
    }
}

static void pad(struct nft_batch *x)
{
    static const char zero[4];
    buf_append_bytes(&x->b, zero, (4 - x->b.len % 4) % 4);
}

void nft_attr(struct nft_batch *x, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = { .nla_len = (uint16_t)(sizeof(a) + n), .nla_type = type };
    if (n > UINT16_MAX - sizeof(a)) {
        x->b.failed = true;
        return;
    }
    buf_append_bytes(&x->b, &a, sizeof(a));
    buf_append_bytes(&x->b, p, n);
    pad(x);
}

void nft_attr_str(struct nft_batch *x, uint16_t type, const char *s)
{
    nft_attr(x, type, s, strlen(s) + 1);
}

void nft_attr_be32(struct nft_batch *x, uint16_t type, uint32_t v)
{
    uint32_t be = htonl(v);
    nft_attr(x, type, &be, sizeof(be));
}

void nft_attr_be64(struct nft_batch *x, uint16_t type, uint64_t v)
{
    uint64_t be = htobe64(v);
    nft_attr(x, type, &be, sizeof(be));
}

void nft_attr_u8(struct nft_batch *x, uint16_t type, uint8_t v)
{
    nft_attr(x, type, &v, sizeof(v));
}

void nft_nest_begin(struct nft_batch *x, uint16_t type)
{
    struct nlattr a = { .nla_type = (uint16_t)(type | NLA_F_NESTED) };
    assert(x->depth < sizeof(x->nest) / sizeof(x->nest[0]));
    x->nest[x->depth++] = x->b.len;
    buf_append_bytes(&x->b, &a, sizeof(a));
}

void nft_nest_end(struct nft_batch *x)
{
    size_t at = x->nest[--x->depth], len = x->b.len - at;
    if (len > UINT16_MAX) {
        x->b.failed = true;
    }
    if (!x->b.failed) {
        uint16_t n = (uint16_t)len;
        memcpy(x->b.ptr + at, &n, sizeof(n));
    }
}

static void boundary(struct nft_batch *x, uint16_t type, uint32_t generation)
{
    struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = x->seq++ };
    struct nfgenmsg g = { .nfgen_family = AF_UNSPEC,
                          .version = NFNETLINK_V0,
                          .res_id = htons(NFNL_SUBSYS_NFTABLES) };
    x->message = x->b.len;
    x->depth = 0;
    buf_append_bytes(&x->b, &h, sizeof(h));
    buf_append_bytes(&x->b, &g, sizeof(g));
    if (generation) {
        nft_attr_be32(x, NFNL_BATCH_GENID, generation);
    }
    nft_message_end(x);
}

void nft_batch_init(struct nft_batch *x, uint8_t family, const char *table, uint32_t generation,
                    uint32_t first_seq)
{
    *x = (struct nft_batch){ .family = family, .table = table, .seq = first_seq };
    buf_init(&x->b, BATCH_MAX);
    boundary(x, NFNL_MSG_BATCH_BEGIN, generation);
}

void nft_batch_end(struct nft_batch *x)
{
    boundary(x, NFNL_MSG_BATCH_END, 0);
}

void nft_batch_deinit(struct nft_batch *x)
{
    buf_deinit(&x->b);
}

bool nft_batch_failed(const struct nft_batch *x)
{
    return buf_failed(&x->b);
}

/* ---- tables and chains ---- */

void nft_add_table(struct nft_batch *x)
{
    nft_message_begin(x, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK);
    nft_attr_str(x, NFTA_TABLE_NAME, x->table);
    nft_message_end(x);
}

void nft_delete_table(struct nft_batch *x, bool must_exist)
{
    if (!must_exist) {
        nft_add_table(x); /* so that there is one to delete, also on kernels without DESTROYTABLE */
    }
    nft_message_begin(x, NFT_MSG_DELTABLE, NLM_F_ACK);
    nft_attr_str(x, NFTA_TABLE_NAME, x->table);
    nft_message_end(x);
}

void nft_add_chain(struct nft_batch *x, const char *name)
{
    nft_message_begin(x, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK);
    nft_attr_str(x, NFTA_CHAIN_TABLE, x->table);
    nft_attr_str(x, NFTA_CHAIN_NAME, name);
    nft_message_end(x);
}

void nft_add_base_chain(struct nft_batch *x, const char *name, const char *type, uint32_t hook,
                        int32_t priority)
{
    nft_message_begin(x, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK);
    nft_attr_str(x, NFTA_CHAIN_TABLE, x->table);
    nft_attr_str(x, NFTA_CHAIN_NAME, name);
    nft_nest_begin(x, NFTA_CHAIN_HOOK);
    nft_attr_be32(x, NFTA_HOOK_HOOKNUM, hook);
    nft_attr_be32(x, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    nft_nest_end(x);
    nft_attr_be32(x, NFTA_CHAIN_POLICY, NF_ACCEPT);
    nft_attr_str(x, NFTA_CHAIN_TYPE, type);
    nft_message_end(x);
}

void nft_flush_chain(struct nft_batch *x, const char *name)
{
    nft_message_begin(x, NFT_MSG_DELRULE, NLM_F_ACK);
    nft_attr_str(x, NFTA_RULE_TABLE, x->table);
    nft_attr_str(x, NFTA_RULE_CHAIN, name);
    nft_message_end(x);
}

void nft_delete_chain(struct nft_batch *x, const char *name)
{
    nft_message_begin(x, NFT_MSG_DELCHAIN, NLM_F_ACK);
    nft_attr_str(x, NFTA_CHAIN_TABLE, x->table);
    nft_attr_str(x, NFTA_CHAIN_NAME, name);
    nft_message_end(x);
}

/* ---- sets ---- */

uint32_t nft_types(const enum nft_type *types, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 6 | (uint32_t)types[i];
    }
    return v;
}

void nft_add_set(struct nft_batch *x, const struct nft_set *s)
{
    uint32_t flags = 0, key_len = 0, n_fields = 0;
    for (; n_fields < NFT_FIELDS_MAX && s->fields[n_fields]; n_fields++) {
        key_len += (s->fields[n_fields] + 3u) & ~3u;
    }
    flags |= s->data_type ? NFT_SET_MAP : 0;
    flags |= n_fields > 1 ? NFT_SET_CONCAT : 0;
    flags |= s->interval ? NFT_SET_INTERVAL : 0;
    flags |= s->dynamic ? NFT_SET_TIMEOUT | NFT_SET_EVAL : 0;
    nft_message_begin(x, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_ACK);
    nft_attr_str(x, NFTA_SET_TABLE, x->table);
    nft_attr_str(x, NFTA_SET_NAME, s->name);
    nft_attr_be32(x, NFTA_SET_FLAGS, flags);
    nft_attr_be32(x, NFTA_SET_KEY_TYPE, s->key_type);
    nft_attr_be32(x, NFTA_SET_KEY_LEN, n_fields > 1 ? key_len : s->fields[0]);
    if (s->data_type) {
        nft_attr_be32(x, NFTA_SET_DATA_TYPE, s->data_type);
        nft_attr_be32(x, NFTA_SET_DATA_LEN, s->data_type == NFT_DATA_VERDICT ? 0 : s->data_len);
    }
    nft_attr_be32(x, NFTA_SET_ID, s->id);
    if (n_fields > 1) {
        nft_nest_begin(x, NFTA_SET_DESC);
        nft_nest_begin(x, NFTA_SET_DESC_CONCAT);
        for (uint32_t i = 0; i < n_fields; i++) {
            nft_nest_begin(x, NFTA_LIST_ELEM);
            nft_attr_be32(x, NFTA_SET_FIELD_LEN, s->fields[i]);
            nft_nest_end(x);
        }
        nft_nest_end(x);
        nft_nest_end(x);
    }
    nft_message_end(x);
}

void nft_delete_set(struct nft_batch *x, const char *name)
{
    nft_message_begin(x, NFT_MSG_DELSET, NLM_F_ACK);
    nft_attr_str(x, NFTA_SET_TABLE, x->table);
    nft_attr_str(x, NFTA_SET_NAME, name);
    nft_message_end(x);
}

void nft_flush_set(struct nft_batch *x, const char *name)
{
    nft_message_begin(x, NFT_MSG_DELSETELEM, NLM_F_ACK);
    nft_attr_str(x, NFTA_SET_ELEM_LIST_TABLE, x->table);
    nft_attr_str(x, NFTA_SET_ELEM_LIST_SET, name);
    nft_message_end(x);
}

void nft_attr_verdict(struct nft_batch *x, int32_t code, const char *chain)
{
    nft_nest_begin(x, NFTA_DATA_VERDICT);
    nft_attr_be32(x, NFTA_VERDICT_CODE, (uint32_t)code);
    if (chain) {
        nft_attr_str(x, NFTA_VERDICT_CHAIN, chain);
    }
    nft_nest_end(x);
}

static void put_element(struct nft_batch *x, const struct nft_element *e, bool with_data)
{
    nft_nest_begin(x, NFTA_LIST_ELEM);
    if (e->end_of_range) {
        nft_attr_be32(x, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    }
    nft_nest_begin(x, NFTA_SET_ELEM_KEY);
    nft_attr(x, NFTA_DATA_VALUE, e->key.ptr, e->key.len);
    nft_nest_end(x);
    if (with_data && e->has_verdict) {
        nft_nest_begin(x, NFTA_SET_ELEM_DATA);
        nft_attr_verdict(x, e->verdict, e->chain);
        nft_nest_end(x);
    } else if (with_data && e->data.ptr) {
        nft_nest_begin(x, NFTA_SET_ELEM_DATA);
        nft_attr(x, NFTA_DATA_VALUE, e->data.ptr, e->data.len);
        nft_nest_end(x);
    }
    nft_nest_end(x);
}

void nft_elements_begin(struct nft_elements *l, struct nft_batch *x, const char *set, uint32_t set_id, bool adds)
{
    *l = (struct nft_elements){ .x = x, .set = set, .set_id = set_id, .adds = adds };
}

void nft_elements_put(struct nft_elements *l, const struct nft_element *e)
{
    struct nft_batch *x = l->x;
    if (l->open && x->b.len - l->from >= LIST_MOST) {
        nft_elements_end(l);
    }
    if (!l->open) {
        nft_message_begin(x, l->adds ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, (uint16_t)(NLM_F_ACK | (l->adds ? NLM_F_CREATE : 0)));
        nft_attr_str(x, NFTA_SET_ELEM_LIST_TABLE, x->table);
        nft_attr_str(x, NFTA_SET_ELEM_LIST_SET, l->set);
        if (l->set_id) {
            nft_attr_be32(x, NFTA_SET_ELEM_LIST_SET_ID, l->set_id);
        }
        nft_nest_begin(x, NFTA_SET_ELEM_LIST_ELEMENTS);
        l->from = x->b.len;
        l->open = true;
    }
    put_element(x, e, l->adds);
}

void nft_elements_end(struct nft_elements *l)
{
    if (l->open) {
        nft_nest_end(l->x);
        nft_message_end(l->x);
        l->open = false;
    }
}

static void put_elements(struct nft_batch *x, bool adds, const char *set, uint32_t set_id, const struct nft_element *e, size_t n)
{
    struct nft_elements l;
    nft_elements_begin(&l, x, set, set_id, adds);
    for (size_t i = 0; i < n && !x->b.failed; i++) {
        nft_elements_put(&l, &e[i]);
    }
    nft_elements_end(&l);
}

void nft_add_elements(struct nft_batch *x, const char *set, uint32_t set_id,
                      const struct nft_element *e, size_t n)
{
    put_elements(x, true, set, set_id, e, n);
}

void nft_delete_elements(struct nft_batch *x, const char *set, const struct nft_element *e,
                         size_t n)
{
    put_elements(x, false, set, 0, e, n);
}
