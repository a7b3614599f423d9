#include "api/json-writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* How one byte of a string is written: 0 as it is, 'u' as \u00XX, 'x' look at the sequence, else behind a backslash. */
#define U4 'u', 'u', 'u', 'u'
#define X16 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'
static const char byte_class[256] = {
    U4, U4, 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u', U4, U4, U4, U4,
    ['"'] = '"', ['\\'] = '\\', ['<'] = 'h', ['>'] = 'h', ['&'] = 'h',
    [0x80] = X16, X16, X16, X16, X16, X16, X16, X16,
};

static unsigned utf8_length(const unsigned char *p, const unsigned char *end)
{
    unsigned n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if ((size_t)(end - p) < n || !str_is_utf8(str_n((const char *)p, n))) {
        return 0;
    }
    return n;
}

static void write_string(struct buf *b, struct str s, bool html)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)(s.ptr ? s.ptr : ""), *end = p + s.len, *run = p;
    buf_append(b, STR("\""));
    while (p < end) {
        char how = byte_class[*p];
        if (how == 0 || (how == 'h' && !html)) {
            p++;
            continue;
        }
        unsigned n = 1;
        if (how == 'x') {
            n = utf8_length(p, end);
            bool line_separator = n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8;
            if (n && !line_separator) {
                p += n;
                continue;
            }
        }
        buf_append_bytes(b, run, (size_t)(p - run));
        if (how == 'x') {
            buf_append(b, n == 0 ? STR("\\ufffd") : p[2] == 0xa8 ? STR("\\u2028") : STR("\\u2029"));
        } else if (how == 'u' || how == 'h') {
            const char text[6] = { '\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15] };
            buf_append_bytes(b, text, sizeof(text));
        } else {
            const char text[2] = { '\\', how };
            buf_append_bytes(b, text, sizeof(text));
        }
        p += n ? n : 1;
        run = p;
    }
    buf_append_bytes(b, run, (size_t)(p - run));
    buf_append(b, STR("\""));
}

void json_write_string(struct buf *b, struct str s)
{
    write_string(b, s, true);
}

void json_write_string_plain(struct buf *b, struct str s)
{
    write_string(b, s, false);
}

void json_write_i64(struct buf *b, int64_t v)
{
    buf_append_i64(b, v);
}

void json_write_u64(struct buf *b, uint64_t v)
{
    char text[24];
    size_t i = sizeof(text);
    do {
        text[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_append_bytes(b, text + i, sizeof(text) - i);
}

size_t json_format_double(double v, char dst[JSON_DOUBLE_SIZE])
{
    char e[40], digits[24];
    dst[0] = '\0';
    if (!isfinite(v)) {
        return 0;
    }
    if (v == 0) {
        return (size_t)snprintf(dst, JSON_DOUBLE_SIZE, "%s", signbit(v) ? "-0" : "0");
    }
    /* 15 digits are always kept; more only when they are needed to read the same number back. Subnormals have fewer. */
    for (int precision = fpclassify(v) == FP_SUBNORMAL ? 0 : 14; precision <= 16; precision++) {
        snprintf(e, sizeof(e), "%.*e", precision, v);
        if (strtod(e, NULL) == v) {
            break;
        }
    }
    /* "-d.ddddde[+-]xx": take it apart. */
    const char *p = e;
    bool negative = *p == '-';
    size_t n = 0;
    for (p += negative; *p && *p != 'e'; p++) {
        if (*p != '.' && n < sizeof(digits)) {
            digits[n++] = *p;
        }
    }
    int exponent = (int)strtol(p + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    const char *sign = negative ? "-" : "";
    int len;
    if (exponent < -6 || exponent >= 21) {
        len = snprintf(dst, JSON_DOUBLE_SIZE, "%s%c%s%.*se%c%02d", sign, digits[0], n > 1 ? "." : "", (int)n - 1,
                       digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
        /* Go's encoder writes e-09 as e-9. */
        if (exponent < 0 && exponent > -10) {
            dst[len - 2] = dst[len - 1];
            dst[--len] = '\0';
        }
    } else if (exponent < 0) {
        len = snprintf(dst, JSON_DOUBLE_SIZE, "%s0.%.*s%.*s", sign, -exponent - 1, "00000", (int)n, digits);
    } else if ((int)n <= exponent + 1) {
        len = snprintf(dst, JSON_DOUBLE_SIZE, "%s%.*s%.*s", sign, (int)n, digits, exponent + 1 - (int)n,
                       "00000000000000000000");
    } else {
        len = snprintf(dst, JSON_DOUBLE_SIZE, "%s%.*s.%.*s", sign, exponent + 1, digits, (int)n - exponent - 1,
                       digits + exponent + 1);
    }
    return (size_t)len;
}

void json_write_double(struct buf *b, double v)
{
    char text[JSON_DOUBLE_SIZE];
    size_t n = json_format_double(v, text);
    if (n) {
        buf_append_bytes(b, text, n);
    } else {
        json_write_null(b);
    }
}

void json_write_compact(struct buf *b, struct str text)
{
    static const char hex[] = "0123456789abcdef";
    const char *p = text.ptr ? text.ptr : "", *end = p + text.len, *run = p;
    bool in_string = false;
    for (; p < end; p++) {
        bool drop = false, escape = false, separator = false;
        if (in_string) {
            if (*p == '"') {
                in_string = false;
            } else if (*p == '\\' && end - p > 1) {
                p++;
                continue;
            }
        } else if (*p == '"') {
            in_string = true;
        } else {
            drop = *p == ' ' || *p == '\n' || *p == '\t' || *p == '\r';
        }
        if (in_string) {
            escape = *p == '<' || *p == '>' || *p == '&';
            separator = end - p >= 3 && p[0] == '\xe2' && p[1] == '\x80' && ((unsigned char)p[2] & 0xfe) == 0xa8;
        }
        if (!drop && !escape && !separator) {
            continue;
        }
        buf_append_bytes(b, run, (size_t)(p - run));
        if (escape) {
            const char code[6] = { '\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15] };
            buf_append_bytes(b, code, sizeof(code));
        } else if (separator) {
            buf_append(b, p[2] == '\xa8' ? STR("\\u2028") : STR("\\u2029"));
            p += 2;
        }
        run = p + 1;
    }
    buf_append_bytes(b, run, (size_t)(end - run));
}
