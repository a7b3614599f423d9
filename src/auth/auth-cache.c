#include "auth/auth-cache.h"

#include <openssl/sha.h>

#include "auth/limits.h"

struct slot {
    uint8_t digest[32];
    int64_t until; /* 0: empty */
    struct arena arena;
    struct auth_user user;
    struct str tag;
    const struct str *list;
    size_t n_list;
};

struct auth_cache {
    struct slot slots[AUTH_CACHE_SLOTS];
};

/* A slot that was never taken is never written to: most processes see few users, and its pages stay unborn. */
static bool is_taken(const struct slot *s)
{
    return s->arena.budget > 0;
}

struct auth_cache *auth_cache_new(void)
{
    struct auth_cache *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    return c;
}

void auth_cache_clear(struct auth_cache *c)
{
    for (size_t i = 0; i < AUTH_CACHE_SLOTS; i++) {
        if (is_taken(&c->slots[i])) {
            arena_deinit(&c->slots[i].arena);
            c->slots[i] = (struct slot){ 0 };
        }
    }
}

struct auth_cache *auth_cache_free(struct auth_cache *c)
{
    if (c) {
        auth_cache_clear(c);
        free(c);
    }
    return NULL;
}

void auth_cache_digest(const struct str *pieces, size_t n, uint8_t ret[32])
{
    /* One hash over the hashes: no piece can be taken for the end of another. */
    uint8_t parts[32 * 16];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (used == sizeof(parts)) {
            SHA256(parts, used, parts);
            used = 32;
        }
        SHA256((const unsigned char *)(pieces[i].ptr ? pieces[i].ptr : ""), pieces[i].len,
               parts + used);
        used += 32;
    }
    SHA256(parts, used, ret);
}

static struct slot *slot_of(struct auth_cache *c, const uint8_t digest[32])
{
    return &c->slots[((size_t)digest[0] | (size_t)digest[1] << 8) % AUTH_CACHE_SLOTS];
}

const struct auth_user *auth_cache_get(struct auth_cache *c, const uint8_t digest[32], int64_t now,
                                       struct str *ret_tag, const struct str **ret_list,
                                       size_t *ret_n_list)
{
    struct slot *s = slot_of(c, digest);
    if (now >= s->until || memcmp(s->digest, digest, 32) != 0) {
        return NULL;
    }
    if (ret_tag) {
        *ret_tag = s->tag;
    }
    if (ret_list) {
        *ret_list = s->list;
        *ret_n_list = s->n_list;
    }
    return &s->user;
}

void auth_cache_put(struct auth_cache *c, const uint8_t digest[32], int64_t until,
                    const struct auth_user *user, struct str tag, const struct str *list,
                    size_t n_list)
{
    struct slot *s = slot_of(c, digest);
    if (is_taken(s)) {
        arena_clear(&s->arena);
    } else {
        arena_init_chunk(&s->arena, AUTH_CACHE_MAX_USER, 256);
    }
    s->until = 0;
    struct str *copy = arena_new_n(&s->arena, struct str, n_list ? n_list : 1);
    bool ok = copy != NULL && auth_user_copy(&s->user, user, &s->arena);
    for (size_t i = 0; ok && i < n_list; i++) {
        copy[i] = arena_str(&s->arena, list[i]);
        ok = copy[i].ptr != NULL;
    }
    if (ok) {
        memcpy(s->digest, digest, 32);
        s->until = until;
        s->tag = tag;
        s->list = copy;
        s->n_list = n_list;
    }
}
