/*
 * A growing byte buffer on the heap that is born with its maximum.
 *
 * Appending past the maximum (or out of memory) marks the buffer as failed: it keeps what it had, takes nothing more, and
 * buf_failed() tells. So a writer appends freely and checks once at the end. There is always a NUL behind the bytes.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/str.h"

struct buf {
    char *ptr;
    size_t len;
    size_t capacity;
    size_t max;
    bool failed;
};

#define BUF_NO_MAX (SIZE_MAX / 4)

void buf_init(struct buf *b, size_t max);
/* Frees the bytes. NULL-safe and safe twice. */
void buf_deinit(struct buf *b);
/* Forgets the bytes, keeps the memory, and is no longer failed. */
void buf_clear(struct buf *b);
static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}
static inline struct str buf_str(const struct buf *b)
{
    return str_n(b->ptr ? b->ptr : "", b->len);
}
/* Room for 'n' more bytes at the end, or NULL (and failed). Write, then buf_commit(). */
MUST_CHECK char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
void buf_append_slow(struct buf *b, const void *p, size_t n); /* when there is no room yet */
/* Inline, because writers of JSON call it a thousand times an object. */
static inline void buf_append_bytes(struct buf *b, const void *p, size_t n)
{
    if (b->failed || n >= b->capacity - b->len) {
        buf_append_slow(b, p, n);
    } else if (n) {
        memcpy(b->ptr + b->len, p, n);
        b->len += n;
        b->ptr[b->len] = '\0';
    }
}
static inline void buf_append(struct buf *b, struct str s)
{
    buf_append_bytes(b, s.ptr, s.len);
}
void buf_append_c(struct buf *b, const char *s);
static inline void buf_append_char(struct buf *b, char c)
{
    buf_append_bytes(b, &c, 1);
}
void buf_append_u64(struct buf *b, uint64_t v);
void buf_append_i64(struct buf *b, int64_t v);
/* Text inside an HTML element or a quoted attribute. */
void buf_append_html(struct buf *b, struct str s);
/* Bytes for people: "7 B", "1.5 KB", "12 MB" (powers of 1000). */
void buf_append_amount(struct buf *b, uint64_t bytes);
PRINTF_LIKE(2, 3) void buf_printf(struct buf *b, const char *fmt, ...);
PRINTF_LIKE(2, 0) void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Drops the first 'n' bytes (at most what is there). */
void buf_consume(struct buf *b, size_t n);
/* Hands out the bytes (to be freed with free()) and leaves the buffer empty. */
char *buf_take(struct buf *b, size_t *ret_len);

#endif
