#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define ARENA_GAP 32
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define ARENA_GAP 0
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ARENA_ALIGN 16
#define ARENA_FIRST_CHUNK 2048
#define ARENA_LARGEST_CHUNK 65536

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of the whole allocation, this header included */
};

#define CHUNK_HEADER ((sizeof(struct arena_chunk) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1))

void arena_init(struct arena *a, size_t budget)
{
    *a = (struct arena){ .budget = budget, .next_chunk = ARENA_FIRST_CHUNK };
}

void arena_init_chunk(struct arena *a, size_t budget, size_t first_chunk)
{
    *a = (struct arena){ .budget = budget, .next_chunk = first_chunk };
}

void arena_deinit(struct arena *a)
{
    if (!a) {
        return;
    }
    struct arena_chunk *c = a->chunks;
    while (c) {
        struct arena_chunk *next = c->next;
        UNPOISON(c, c->size);
        free(c);
        c = next;
    }
    a->chunks = NULL;
    a->pos = a->end = NULL;
    a->used = 0;
    a->next_chunk = ARENA_FIRST_CHUNK;
}

void arena_clear(struct arena *a)
{
    struct arena_chunk *keep = a->chunks;
    if (!keep || keep->size > ARENA_LARGEST_CHUNK) {
        arena_deinit(a);
        return;
    }
    struct arena_chunk *c = keep->next;
    while (c) {
        struct arena_chunk *next = c->next;
        UNPOISON(c, c->size);
        free(c);
        c = next;
    }
    keep->next = NULL;
    a->used = keep->size;
    a->pos = (char *)keep + CHUNK_HEADER;
    a->end = (char *)keep + keep->size;
    POISON(a->pos, (size_t)(a->end - a->pos));
}

size_t arena_exact_chunk(const struct arena *a)
{
    size_t taken = CHUNK_HEADER;
    for (const struct arena_chunk *c = a->chunks; c; c = c->next) {
        taken += c->size - CHUNK_HEADER; /* older chunks may have a tail that was not used */
    }
    return taken - (size_t)(a->end - a->pos);
}

static bool arena_add_chunk(struct arena *a, size_t need)
{
    size_t size = MAX(a->next_chunk, need + CHUNK_HEADER);
    if (size > a->budget - MIN(a->budget, a->used)) {
        size = need + CHUNK_HEADER;
        if (size > a->budget - MIN(a->budget, a->used)) {
            return false;
        }
    }
    struct arena_chunk *c = malloc(size);
    if (!c) {
        return false;
    }
    c->next = a->chunks;
    c->size = size;
    a->chunks = c;
    a->used += size;
    a->pos = (char *)c + CHUNK_HEADER;
    a->end = (char *)c + size;
    POISON(a->pos, (size_t)(a->end - a->pos));
    if (a->next_chunk < ARENA_LARGEST_CHUNK) {
        a->next_chunk *= 2;
    }
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > PTRDIFF_MAX - 4096) {
        return NULL;
    }
    size_t need = ((size ? size : 1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    need += ARENA_GAP;
    if ((size_t)(a->end - a->pos) < need && !arena_add_chunk(a, need)) {
        return NULL;
    }
    char *p = a->pos;
    a->pos += need;
    UNPOISON(p, size);
    memset(p, 0, size);
    return p;
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(n, size, &total) ? NULL : arena_alloc(a, total);
}

void *arena_grow_n(struct arena *a, const void *old, size_t old_n, size_t new_n, size_t size)
{
    void *p = arena_alloc_n(a, new_n, size);
    if (p && old_n) {
        memcpy(p, old, MIN(old_n, new_n) * size);
    }
    return p;
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (p && s.len) {
        memcpy(p, s.ptr, s.len);
    }
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    if (!s.ptr) {
        return STR_NULL;
    }
    const char *p = arena_cstr(a, s);
    return p ? str_n(p, s.len) : STR_NULL;
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    char small[256]; /* most texts are short: formatting twice to learn the length would be most of the work */
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, again);
    va_end(again);
    if (n < 0) {
        return STR_NULL;
    }
    char *p = arena_alloc(a, (size_t)n + 1);
    if (!p) {
        return STR_NULL;
    }
    if ((size_t)n < sizeof(small)) {
        memcpy(p, small, (size_t)n + 1);
    } else {
        vsnprintf(p, (size_t)n + 1, fmt, ap);
    }
    return str_n(p, (size_t)n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}
