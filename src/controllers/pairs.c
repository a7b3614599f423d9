#include "controllers/pairs.h"

#include <stdlib.h>

struct api_str_pair *pairs_with(struct arena *a, const struct api_str_pair *pairs, size_t n, struct str key, struct str value,
                                 size_t *ret_n)
{
    struct api_str_pair *all = arena_new_n(a, struct api_str_pair, n + 1);
    size_t at = 0;
    if (!all) {
        abort();
    }
    while (at < n && str_cmp(pairs[at].key, key) < 0) {
        all[at] = pairs[at];
        at++;
    }
    all[at] = (struct api_str_pair){ key, value };
    size_t rest = at < n && str_eq(pairs[at].key, key) ? at + 1 : at;
    for (*ret_n = at + 1; rest < n; rest++) {
        all[(*ret_n)++] = pairs[rest];
    }
    return all;
}

struct api_str_pair *pairs_without(struct arena *a, const struct api_str_pair *pairs, size_t n, struct str key, size_t *ret_n)
{
    struct api_str_pair *all = arena_new_n(a, struct api_str_pair, n);
    if (!all) {
        abort();
    }
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(pairs[i].key, key)) {
            all[(*ret_n)++] = pairs[i];
        }
    }
    return *ret_n ? all : NULL;
}
