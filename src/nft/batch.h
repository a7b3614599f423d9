/*
 * One nf_tables transaction as netlink bytes. Pure: give the bytes to nft_socket_send(). Errors
 * while building (out of memory, an element too large) mark the batch as failed; nft_batch_failed()
 * tells once at the end.
 */
#ifndef NFT_BATCH_H
#define NFT_BATCH_H

#include "base/buf.h"

struct nft_batch {
    struct buf b;
    uint8_t family;    /* NFPROTO_IPV4, NFPROTO_IPV6 */
    const char *table; /* of everything that follows */
    uint32_t seq;      /* of the next message */
    size_t message;    /* offset of the message under way */
    size_t nest[8];    /* offsets of the open nested attributes */
    unsigned depth;
    unsigned n_messages; /* begin and end not counted */
};

/* Begins a transaction. 'generation' 0: whatever it is. 'first_seq' is the sequence number of its
 * first message. 'table' stays valid. */
void nft_batch_init(struct nft_batch *x, uint8_t family, const char *table, uint32_t generation,
                    uint32_t first_seq);
/* Ends it; then 'b' holds the bytes. */
void nft_batch_end(struct nft_batch *x);
void nft_batch_deinit(struct nft_batch *x);
bool nft_batch_failed(const struct nft_batch *x);

void nft_add_table(struct nft_batch *x);
/* The table and everything in it. With 'must_exist' false its absence is no error. */
void nft_delete_table(struct nft_batch *x, bool must_exist);

void nft_add_chain(struct nft_batch *x, const char *name);
/* 'type' "nat", "filter"; 'hook' NF_INET_PRE_ROUTING …; smaller 'priority' runs first; policy
 * accept. */
void nft_add_base_chain(struct nft_batch *x, const char *name, const char *type, uint32_t hook,
                        int32_t priority);
/* Removes the chain's rules. */
void nft_flush_chain(struct nft_batch *x, const char *name);
void nft_delete_chain(struct nft_batch *x, const char *name);

#define NFT_FIELDS_MAX 8

struct nft_set {
    const char *name;
    uint32_t id;                    /* unique among the batch's new sets */
    uint8_t fields[NFT_FIELDS_MAX]; /* bytes of each part of the key, ended by 0 */
    uint32_t
        key_type; /* nftables' number of the key's type, so that nft can list it; see nft_type() */
    uint32_t data_type,
        data_len;  /* of a map: NFT_DATA_VERDICT, or a type and its bytes; 0: a set */
    bool dynamic;  /* rules add elements, which time out */
    bool interval; /* elements are ranges (one field): see nft_element.end_of_range */
};
/* Number of a concatenation of types, at most six bits each, as nftables composes it. */
enum nft_type {
    NFT_TYPE_INTEGER = 4,
    NFT_TYPE_IPADDR = 7,
    NFT_TYPE_IP6ADDR = 8,
    NFT_TYPE_INET_PROTO = 12,
    NFT_TYPE_INET_SERVICE = 13,
    NFT_TYPE_MARK = 19
};
uint32_t nft_types(const enum nft_type *types, size_t n);

void nft_add_set(struct nft_batch *x, const struct nft_set *s);
void nft_delete_set(struct nft_batch *x, const char *name);
void nft_flush_set(struct nft_batch *x, const char *name);

struct nft_element {
    struct str key;    /* parts padded to four bytes each */
    struct str data;   /* of a map with data, padded likewise; absent for verdicts and sets */
    int32_t verdict;   /* of a verdict map: NFT_GOTO, NFT_JUMP, NF_DROP, … */
    const char *chain; /* of NFT_GOTO and NFT_JUMP; NULL: no verdict */
    bool has_verdict;
    bool end_of_range; /* of an interval set: the first value behind the range */
};
/* Elements of one set, one by one, between begin and end; split over as many messages as needed. Deleting counts only keys. */
struct nft_elements {
    struct nft_batch *x;
    const char *set;
    uint32_t set_id;
    bool adds, open;
    size_t from;
};
void nft_elements_begin(struct nft_elements *l, struct nft_batch *x, const char *set, uint32_t set_id, bool adds);
void nft_elements_put(struct nft_elements *l, const struct nft_element *e);
void nft_elements_end(struct nft_elements *l);
/* Adds (or deletes: then only the keys count) the elements, split over as many messages as needed.
 * 'set' is in this table; 'set_id' as when it was made in this batch, or 0. */
void nft_add_elements(struct nft_batch *x, const char *set, uint32_t set_id,
                      const struct nft_element *e, size_t n);
void nft_delete_elements(struct nft_batch *x, const char *set, const struct nft_element *e,
                         size_t n);

/* ---- for rule.c ---- */
void nft_message_begin(struct nft_batch *x, uint16_t type, uint16_t flags);
void nft_message_end(struct nft_batch *x);
void nft_attr(struct nft_batch *x, uint16_t type, const void *p, size_t n);
void nft_attr_str(struct nft_batch *x, uint16_t type, const char *s);
void nft_attr_be32(struct nft_batch *x, uint16_t type, uint32_t v);
void nft_attr_be64(struct nft_batch *x, uint16_t type, uint64_t v);
void nft_attr_u8(struct nft_batch *x, uint16_t type, uint8_t v);
void nft_nest_begin(struct nft_batch *x, uint16_t type);
void nft_nest_end(struct nft_batch *x);
/* A verdict as data: NFTA_DATA_VERDICT with code and chain, inside an open NFTA_…_DATA nest. */
void nft_attr_verdict(struct nft_batch *x, int32_t code, const char *chain);

#endif
