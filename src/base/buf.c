#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_deinit(struct buf *b)
{
    if (b) {
        free(b->ptr);
        *b = (struct buf){ .max = b->max };
    }
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->ptr) {
        b->ptr[0] = '\0';
    }
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max || b->len > b->max - n) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->capacity) {
        size_t cap = MAX(b->capacity * 2, (size_t)64);
        cap = MAX(MIN(cap, b->max + 1), need);
        char *p = realloc(b->ptr, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->ptr = p;
        b->capacity = cap;
    }
    return b->ptr + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
    b->ptr[b->len] = '\0';
}

void buf_append_slow(struct buf *b, const void *p, size_t n)
{
    char *dst = buf_reserve(b, n);
    if (dst) {
        if (n) {
            memcpy(dst, p, n);
        }
        buf_commit(b, n);
    }
}

void buf_append_c(struct buf *b, const char *s)
{
    buf_append(b, str_c(s));
}

void buf_append_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_append_bytes(b, digits + n, sizeof(digits) - n);
}

void buf_append_i64(struct buf *b, int64_t v)
{
    if (v < 0) {
        buf_append_char(b, '-');
        buf_append_u64(b, (uint64_t)(-(v + 1)) + 1);
    } else {
        buf_append_u64(b, (uint64_t)v);
    }
}

void buf_append_html(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            buf_append(b, STR("&amp;"));
            break;
        case '<':
            buf_append(b, STR("&lt;"));
            break;
        case '>':
            buf_append(b, STR("&gt;"));
            break;
        case '"':
            buf_append(b, STR("&quot;"));
            break;
        case '\'':
            buf_append(b, STR("&#39;"));
            break;
        default:
            buf_append_char(b, s.ptr[i]);
        }
    }
}

void buf_append_amount(struct buf *b, uint64_t bytes)
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
    double v = (double)bytes;
    size_t i = 0;
    while (v >= 1000 && i + 1 < ARRAY_SIZE(units)) {
        v /= 1000;
        i++;
    }
    buf_printf(b, i && v < 10 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *dst = n < 0 ? NULL : buf_reserve(b, (size_t)n);
    if (dst) {
        vsnprintf(dst, (size_t)n + 1, fmt, ap);
        buf_commit(b, (size_t)n);
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    n = MIN(n, b->len);
    if (n) {
        memmove(b->ptr, b->ptr + n, b->len - n);
        b->len -= n;
        b->ptr[b->len] = '\0';
    }
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    *ret_len = b->len;
    char *p = b->ptr;
    *b = (struct buf){ .max = b->max };
    return p;
}
