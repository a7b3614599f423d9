/*
 * What the codecs do thousands of times an object with texts of a few bytes: copying one, and finding the first byte in it that
 * JSON treats in a special way. Sixteen bytes a step where the machine has SSE2 (every x86-64 has), eight elsewhere.
 */
#ifndef API_BYTES_H
#define API_BYTES_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/buf.h"

#define BYTES_ONES 0x0101010101010101ULL
#define BYTES_HIGHS 0x8080808080808080ULL

/* memcpy() without a call for what is short: two copies that overlap, never a byte past 'n'. Always inline: as a function of its own
 * it would cost what it saves. */
static inline __attribute__((always_inline)) void bytes_copy(char *dst, const char *src, size_t n)
{
    if (n > 32) {
        memcpy(dst, src, n);
    } else if (n >= 16) {
        char head[16], tail[16];
        memcpy(head, src, 16);
        memcpy(tail, src + n - 16, 16);
        memcpy(dst, head, 16);
        memcpy(dst + n - 16, tail, 16);
    } else if (n >= 8) {
        uint64_t head, tail;
        memcpy(&head, src, 8);
        memcpy(&tail, src + n - 8, 8);
        memcpy(dst, &head, 8);
        memcpy(dst + n - 8, &tail, 8);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, src, 4);
        memcpy(&tail, src + n - 4, 4);
        memcpy(dst, &head, 4);
        memcpy(dst + n - 4, &tail, 4);
    } else if (n > 0) {
        char first = src[0], middle = src[n / 2], last = src[n - 1];
        dst[0] = first;
        dst[n / 2] = middle;
        dst[n - 1] = last;
    }
}

/* str_eq() without a call for what is short. */
static inline bool bytes_same(struct str x, struct str y)
{
    const char *a = x.ptr, *b = y.ptr;
    size_t n = x.len;
    if (n != y.len) {
        return false;
    }
    if (n > 16) {
        return memcmp(a, b, n) == 0;
    }
    if (n >= 8) {
        uint64_t head[2], tail[2];
        memcpy(&head[0], a, 8);
        memcpy(&head[1], b, 8);
        memcpy(&tail[0], a + n - 8, 8);
        memcpy(&tail[1], b + n - 8, 8);
        return ((head[0] ^ head[1]) | (tail[0] ^ tail[1])) == 0;
    }
    if (n >= 4) {
        uint32_t head[2], tail[2];
        memcpy(&head[0], a, 4);
        memcpy(&head[1], b, 4);
        memcpy(&tail[0], a + n - 4, 4);
        memcpy(&tail[1], b + n - 4, 4);
        return ((head[0] ^ head[1]) | (tail[0] ^ tail[1])) == 0;
    }
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

/* Up to eight bytes as one number, in any order, filled up with 'a'. */
static inline uint64_t bytes_load(const char *p, size_t n)
{
    uint64_t v;
    if (n == 8) {
        memcpy(&v, p, 8);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        v = (uint64_t)tail << 32 | head;
    } else if (n > 0) {
        v = (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 | (uint64_t)(unsigned char)p[n - 1] << 16 |
            (BYTES_ONES * 'a') << 24;
    } else {
        v = BYTES_ONES * 'a';
    }
    return v;
}

static inline uint64_t bytes_zero(uint64_t x)
{
    return (x - BYTES_ONES) & ~x & BYTES_HIGHS;
}

/* ---- reading: where does the plain part of a JSON string end? ---- */

/* A high bit set in each byte of 'w' that needs a look: a quote, a backslash, a control character or not ASCII. May flag a
 * byte above a flagged one wrongly, never the lowest; so the first flagged byte is right on little-endian machines, and the
 * caller looks at the bytes one by one in any case. */
static inline uint64_t bytes_special(uint64_t w)
{
    uint64_t quote = w ^ (BYTES_ONES * '"'), slash = w ^ (BYTES_ONES * '\\');
    return ((quote - BYTES_ONES) | (slash - BYTES_ONES) | (w - BYTES_ONES * 0x20) | w) & BYTES_HIGHS;
}

/* Moves over plain bytes; stops at a byte that needs a look, or at the end. */
static inline const char *bytes_plain_run(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Signed: bytes that are not ASCII are below the space as well. */
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)), _mm_cmplt_epi8(v, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
#endif
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        w = bytes_special(w);
        if (w) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + (__builtin_ctzll(w) >> 3);
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* ---- writing: can a text stand in a JSON string as it is? ---- */

/* Nonzero when one of eight bytes cannot (Go escapes <, > and & too), or is not ASCII. */
static inline uint64_t bytes_unsafe(uint64_t v)
{
    return (v & BYTES_HIGHS) | ((v - BYTES_ONES * 0x20) & ~v & BYTES_HIGHS) |
           bytes_zero((v | BYTES_ONES * 0x04) ^ (BYTES_ONES * 0x26)) | /* " & */
           bytes_zero((v | BYTES_ONES * 0x02) ^ (BYTES_ONES * 0x3e)) | /* < > */
           bytes_zero(v ^ (BYTES_ONES * '\\'));
}

#ifdef __SSE2__
static inline bool bytes_unsafe_vec(__m128i v)
{
    __m128i hit = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(0x04)), _mm_set1_epi8(0x26)));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(0x02)), _mm_set1_epi8(0x3e)));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    return _mm_movemask_epi8(hit) != 0;
}

static inline bool bytes_unsafe16(const char *p)
{
    return bytes_unsafe_vec(_mm_loadu_si128((const __m128i *)(const void *)p));
}
#endif

/* The same for two times eight bytes. */
static inline bool bytes_any_unsafe(uint64_t x, uint64_t y)
{
#ifdef __SSE2__
    return bytes_unsafe_vec(_mm_set_epi64x((long long)x, (long long)y));
#else
    return (bytes_unsafe(x) | bytes_unsafe(y)) != 0;
#endif
}

/* Copies like bytes_copy(), and tells whether all of it can stand in a JSON string. If not, what is in 'dst' is of no use. */
static inline bool bytes_copy_safe(char *dst, const char *src, size_t n)
{
    if (n < 8) {
        uint64_t v = bytes_load(src, n);
        bytes_copy(dst, src, n);
        return !bytes_any_unsafe(v, v);
    }
    if (n < 16) {
        uint64_t head = bytes_load(src, 8), tail = bytes_load(src + n - 8, 8);
        memcpy(dst, &head, 8);
        memcpy(dst + n - 8, &tail, 8);
        return !bytes_any_unsafe(head, tail);
    }
#ifdef __SSE2__
    bool unsafe = bytes_unsafe16(src + n - 16);
    for (size_t i = 0; i + 16 <= n; i += 16) {
        unsafe |= bytes_unsafe16(src + i);
    }
    bytes_copy(dst, src, n);
    return !unsafe;
#else
    uint64_t unsafe = bytes_unsafe(bytes_load(src + n - 8, 8));
    for (size_t i = 0; i + 8 <= n; i += 8) {
        unsafe |= bytes_unsafe(bytes_load(src + i, 8));
    }
    bytes_copy(dst, src, n);
    return unsafe == 0;
#endif
}

/* Is JSON text without white space, and without what Go escapes? White space inside strings makes it doubtful: false. */
static inline bool bytes_all_compact(const char *p, size_t n)
{
#ifdef __SSE2__
    for (; n >= 16; p += 16, n -= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x21)), _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(0x02)), _mm_set1_epi8(0x3e)));
        if (_mm_movemask_epi8(hit)) {
            return false;
        }
    }
#endif
    for (; n > 0; p++, n--) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x80 || *p == '&' || *p == '<' || *p == '>') {
            return false;
        }
    }
    return true;
}

/* Room for 'n' bytes at the end of a buffer, without a call where there is room already; NULL as buf_reserve(). */
static inline char *bytes_room(struct buf *b, size_t n)
{
    return !b->failed && b->capacity - b->len > n && n <= b->max - b->len ? b->ptr + b->len : buf_reserve(b, n);
}

static inline void bytes_done(struct buf *b, size_t n)
{
    b->len += n;
    b->ptr[b->len] = '\0';
}

#endif
