/* The netlink socket: batches to the kernel, and its answers. Blocking; a transaction takes micro-
 * to milliseconds. */
#ifndef NFT_SOCKET_H
#define NFT_SOCKET_H

#include "base/err.h"
#include "nft/batch.h"

struct nft_socket;

/* Needs CAP_NET_ADMIN in the network namespace. */
MUST_CHECK struct nft_socket *nft_socket_open(struct err *err);
struct nft_socket *nft_socket_close(struct nft_socket *s);
/* Sequence number for the next batch. */
uint32_t nft_socket_seq(const struct nft_socket *s);
/* Applies the (ended) batch whole. On failure nothing was changed; the reason names the first
 * message that was refused, and '*ret_errno' (may be NULL) is its error: ERESTART when the
 * generation was another. ENOBUFS: some answers were lost; whether it was applied must be found out
 * by looking. */
MUST_CHECK bool nft_socket_send(struct nft_socket *s, const struct nft_batch *x, int *ret_errno,
                                struct err *err);
/* The ruleset's generation, for nft_batch_init(). 0 when the kernel does not tell. */
uint32_t nft_socket_generation(struct nft_socket *s);
/* Is there such a table? */
bool nft_socket_has_table(struct nft_socket *s, uint8_t family, const char *table);

#endif
