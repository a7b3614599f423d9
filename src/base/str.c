#include "base/str.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/rand.h"

char *str_dup(struct str s)
{
    char *p = malloc(s.len + 1);
    if (!p) {
        abort();
    }
    if (s.len) {
        memcpy(p, s.ptr, s.len);
    }
    p[s.len] = '\0';
    return p;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0) {
        return c;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

int str_cmp_qsort(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static unsigned char ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_n(s.ptr, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

struct str str_sub(struct str s, size_t from, size_t len)
{
    if (from >= s.len) {
        return STR_EMPTY;
    }
    return str_n(s.ptr + from, MIN(len, s.len - from));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

ptrdiff_t str_find_char(struct str s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

ptrdiff_t str_rfind_char(struct str s, char c)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

ptrdiff_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0) {
        return 0;
    }
    const char *p = s.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return p ? p - s.ptr : -1;
}

bool str_cut(struct str s, char sep, struct str *ret_head, struct str *ret_tail)
{
    ptrdiff_t at = str_find_char(s, sep);
    if (at < 0) {
        *ret_head = s;
        *ret_tail = STR_NULL;
        return false;
    }
    *ret_head = str_n(s.ptr, (size_t)at);
    *ret_tail = str_n(s.ptr + at + 1, s.len - (size_t)at - 1);
    return true;
}

bool str_split(struct str *rest, char sep, struct str *ret_piece)
{
    if (!rest->ptr) {
        return false;
    }
    struct str s = *rest;
    str_cut(s, sep, ret_piece, rest);
    return true;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(c - '0'), &v)) {
            return false;
        }
    }
    *ret = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
    bool neg = s.len && s.ptr[0] == '-';
    uint64_t v;
    if (!str_to_u64(neg ? str_n(s.ptr + 1, s.len - 1) : s, &v)) {
        return false;
    }
    if (v > (uint64_t)INT64_MAX + (neg ? 1 : 0)) {
        return false;
    }
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool str_to_i32(struct str s, int32_t *ret)
{
    int64_t v;
    if (!str_to_i64(s, &v) || v < INT32_MIN || v > INT32_MAX) {
        return false;
    }
    *ret = (int32_t)v;
    return true;
}

bool str_to_bool(struct str s, bool *ret)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (str_eq_c(s, yes[i])) {
            *ret = true;
            return true;
        }
        if (str_eq_c(s, no[i])) {
            *ret = false;
            return true;
        }
    }
    return false;
}

bool str_to_cstr(struct str s, char *dst, size_t size)
{
    dst[0] = '\0';
    if (s.len >= size || (s.len && memchr(s.ptr, 0, s.len))) {
        return false;
    }
    if (s.len) {
        memcpy(dst, s.ptr, s.len);
    }
    dst[s.len] = '\0';
    return true;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr, *end = p + s.len;
    if (s.len == 0) {
        return true;
    }
    while (p < end) {
        unsigned char c = *p++;
        if (c < 0x80) {
            continue;
        }
        unsigned n;
        uint32_t cp, least;
        if ((c & 0xe0) == 0xc0) {
            n = 1;
            cp = c & 0x1f;
            least = 0x80;
        } else if ((c & 0xf0) == 0xe0) {
            n = 2;
            cp = c & 0x0f;
            least = 0x800;
        } else if ((c & 0xf8) == 0xf0) {
            n = 3;
            cp = c & 0x07;
            least = 0x10000;
        } else {
            return false;
        }
        if ((size_t)(end - p) < n) {
            return false;
        }
        for (unsigned i = 0; i < n; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
            cp = cp << 6 | (p[i] & 0x3f);
        }
        if (cp < least || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) {
            return false;
        }
        p += n;
    }
    return true;
}

static uint64_t sip_key[2];

static void sip_key_init(void)
{
    rand_bytes(sip_key, sizeof(sip_key));
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13);
    s->v1 ^= s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16);
    s->v3 ^= s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21);
    s->v3 ^= s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17);
    s->v1 ^= s->v2;
    s->v2 = rotl(s->v2, 32);
}

/* SipHash-1-3 (Aumasson, Bernstein). */
uint64_t str_hash(struct str str)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, sip_key_init);
    struct sip s = { 0x736f6d6570736575ULL ^ sip_key[0], 0x646f72616e646f6dULL ^ sip_key[1],
                     0x6c7967656e657261ULL ^ sip_key[0], 0x7465646279746573ULL ^ sip_key[1] };
    size_t i = 0;
    for (; i + 8 <= str.len; i += 8) {
        uint64_t m;
        memcpy(&m, str.ptr + i, 8);
        s.v3 ^= m;
        sip_round(&s);
        s.v0 ^= m;
    }
    uint64_t last = (uint64_t)str.len << 56;
    for (size_t j = 0; i + j < str.len; j++) {
        last |= (uint64_t)(unsigned char)str.ptr[i + j] << (8 * j);
    }
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t str_fnv1a(struct str s)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3ULL;
    }
    return h;
}
