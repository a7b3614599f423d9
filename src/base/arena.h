/*
 * An arena: memory that is handed out piece by piece and freed at once.
 *
 * One arena per request, gRPC call, reconcile pass or watch event; what is decoded on the way lives and dies there. An arena
 * has a budget in bytes: past it arena_alloc() returns NULL, which is the answer to a peer that makes us copy too much.
 * Pieces are zeroed, aligned to 16 bytes, and separated by a poisoned gap under AddressSanitizer, so that overflows show.
 * Not safe for use by two threads at once.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>

#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *pos, *end;            /* free part of the newest chunk */
    size_t used;                /* bytes of all chunks */
    size_t budget;              /* most bytes of all chunks together */
    size_t next_chunk;          /* size of the next chunk, doubles up to 64 KiB */
};

#define ARENA_NO_BUDGET SIZE_MAX

/* Prepares an arena in memory of the caller; nothing is allocated before the first piece. 'budget' in bytes. */
void arena_init(struct arena *a, size_t budget);
/* The same with the size of the first chunk, for many arenas that hold little each. */
void arena_init_chunk(struct arena *a, size_t budget, size_t first_chunk);
/* Frees everything. The arena can be used again. NULL-safe, and safe twice. */
void arena_deinit(struct arena *a);
/* Forgets every piece but keeps one chunk for reuse. */
void arena_clear(struct arena *a);
/* A budget and first chunk that hold what 'a' holds, and nothing more: for a copy that lives long. */
size_t arena_exact_chunk(const struct arena *a);

/* Zeroed memory of 'size' bytes, or NULL past the budget or out of memory. Size 0 gives a valid, unique pointer. */
MUST_CHECK void *arena_alloc(struct arena *a, size_t size);
/* Zeroed array of 'n' pieces of 'size'; NULL when the product overflows or passes the budget. */
MUST_CHECK void *arena_alloc_n(struct arena *a, size_t n, size_t size);
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_new_n(a, type, n) ((type *)arena_alloc_n((a), (n), sizeof(type)))
/* A larger copy of an array: 'old_n' elements kept, the rest zero. The old piece stays until the arena ends. */
MUST_CHECK void *arena_grow_n(struct arena *a, const void *old, size_t old_n, size_t new_n, size_t size);
/* A copy of 's', with a NUL behind it (not counted). Absent stays absent. NULL ptr with a non-zero len never happens:
 * past the budget it returns STR_NULL, which callers that copy peers' bytes check. */
struct str arena_str(struct arena *a, struct str s);
/* A NUL-terminated copy, or NULL past the budget. */
MUST_CHECK char *arena_cstr(struct arena *a, struct str s);
/* Formatted text; STR_NULL past the budget. */
PRINTF_LIKE(2, 3) struct str arena_printf(struct arena *a, const char *fmt, ...);
PRINTF_LIKE(2, 0) struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap);

#endif
