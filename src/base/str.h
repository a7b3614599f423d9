/*
 * struct str: a borrowed view of text or bytes, not NUL-terminated.
 *
 * 'ptr' == NULL means absent, where that differs from empty (optional API fields); STR_EMPTY is present and empty. Every
 * function takes absent as empty. A str never owns its bytes: who does is said where the str comes from (usually an arena).
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

struct arena;

struct str {
    const char *ptr;
    size_t len; /* bytes */
};

/* A str of a string literal, at compile time. */
#define STR(lit) ((struct str){ .ptr = "" lit, .len = sizeof(lit) - 1 })
#define STR_INIT(lit) { .ptr = "" lit, .len = sizeof(lit) - 1 }
#define STR_NULL ((struct str){ .ptr = NULL, .len = 0 })
#define STR_EMPTY STR("")
/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct str str_n(const char *ptr, size_t len)
{
    return (struct str){ .ptr = ptr, .len = len };
}

/* A str of a NUL-terminated string; NULL gives STR_NULL. */
static inline struct str str_c(const char *s)
{
    return (struct str){ .ptr = s, .len = s ? strlen(s) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_eq_c(struct str a, const char *b)
{
    return str_eq(a, str_c(b));
}

static inline bool str_empty(struct str s)
{
    return s.len == 0;
}

/* A copy on the heap with a NUL behind it, to be freed with free(); the end of memory ends the process. */
char *str_dup(struct str s);

/* Bytewise order, as Go orders strings: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
/* str_cmp() for qsort() of an array of struct str. */
int str_cmp_qsort(const void *a, const void *b);
/* ASCII letters compare without case (header names). */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* The part of 's' from byte 'from' on, at most 'len' bytes; out of range gives what there is. */
struct str str_sub(struct str s, size_t from, size_t len);
/* 's' without leading and trailing spaces, tabs, CR and LF. */
struct str str_trim(struct str s);
/* The offset of the first 'c' or of 'needle', or -1. */
ptrdiff_t str_find_char(struct str s, char c);
ptrdiff_t str_rfind_char(struct str s, char c);
ptrdiff_t str_find(struct str s, struct str needle);
/* Cuts at the first 'sep': '*ret_head' before it, '*ret_tail' after it. Without 'sep' returns false, head = s, tail absent. */
bool str_cut(struct str s, char sep, struct str *ret_head, struct str *ret_tail);
/* The next piece of '*rest' up to 'sep'; moves '*rest' behind it. False at the end. "a,,b" gives "a", "", "b"; "" gives one "". */
bool str_split(struct str *rest, char sep, struct str *ret_piece);
/* Whole decimal numbers without blanks; '-' where signed. False on anything else or overflow. */
MUST_CHECK bool str_to_u64(struct str s, uint64_t *ret);
MUST_CHECK bool str_to_i64(struct str s, int64_t *ret);
MUST_CHECK bool str_to_i32(struct str s, int32_t *ret);
/* "true"/"1"/"t"/"false"/"0"/"f" and their capitals, as Go's strconv.ParseBool. */
MUST_CHECK bool str_to_bool(struct str s, bool *ret);
/* Copies into 'dst' of 'size' bytes and terminates. False when it does not fit or 's' holds a NUL byte; then dst is "". */
MUST_CHECK bool str_to_cstr(struct str s, char *dst, size_t size);
/* Is every byte valid UTF-8 (no surrogates, no overlong forms, RFC 3629)? */
bool str_is_utf8(struct str s);
/* 64-bit keyed hash (SipHash-1-3 with a per-process random key): safe against chosen keys. */
uint64_t str_hash(struct str s);
/* 64-bit FNV-1a: the same in every process. For generated tables, never for hostile keys in a map. */
uint64_t str_fnv1a(struct str s);

#endif
