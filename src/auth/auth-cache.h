/*
 * Credentials that were found good a moment ago: digest -> user. Verifying an ECDSA signature costs 80 us, looking up here less than
 * one. Direct-mapped: a newcomer takes the slot of whoever is there, so memory is bounded without bookkeeping.
 */
#ifndef AUTH_AUTH_CACHE_H
#define AUTH_AUTH_CACHE_H

#include "auth/user.h"

struct auth_cache;

struct auth_cache *auth_cache_new(void);
struct auth_cache *auth_cache_free(struct auth_cache *c);
void auth_cache_clear(struct auth_cache *c);

/* SHA-256 over the pieces, each with its length before it. */
void auth_cache_digest(const struct str *pieces, size_t n, uint8_t ret[32]);
/* What was put under the digest and is still good at 'now' (seconds); NULL otherwise. Good until the next put or clear. 'ret_tag' and
 * 'ret_list' may be NULL. */
const struct auth_user *auth_cache_get(struct auth_cache *c, const uint8_t digest[32], int64_t now, struct str *ret_tag,
                                       const struct str **ret_list, size_t *ret_n_list);
/* Remembers until 'until'. 'tag' is a constant (who found it good), 'list' whatever belongs to it (audiences). Copies the rest. */
void auth_cache_put(struct auth_cache *c, const uint8_t digest[32], int64_t until, const struct auth_user *user, struct str tag,
                    const struct str *list, size_t n_list);

#endif
