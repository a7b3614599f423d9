/* Labels and annotations: maps whose entries are sorted by key. */
#ifndef CONTROLLERS_PAIRS_H
#define CONTROLLERS_PAIRS_H

#include "api/type.h"
#include "base/arena.h"

/* The pairs with one more, or with another value for its key, in the arena; '*ret_n' of them. 'pairs' may be NULL when n is 0. */
struct api_str_pair *pairs_with(struct arena *a, const struct api_str_pair *pairs, size_t n, struct str key, struct str value,
                                size_t *ret_n);
/* The pairs without that key; NULL when none are left. */
struct api_str_pair *pairs_without(struct arena *a, const struct api_str_pair *pairs, size_t n, struct str key, size_t *ret_n);

#endif
