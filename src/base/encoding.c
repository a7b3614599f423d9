#include "base/encoding.h"

#include "base/arena.h"

static const char alphabet_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode64(struct buf *b, struct str s, const char *alphabet, bool pad)
{
    size_t n = (s.len + 2) / 3 * 4;
    char *dst = buf_reserve(b, n);
    if (!dst) {
        return;
    }
    size_t out = 0;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t v = (uint32_t)(unsigned char)s.ptr[i] << 16;
        v |= left > 1 ? (uint32_t)(unsigned char)s.ptr[i + 1] << 8 : 0;
        v |= left > 2 ? (uint32_t)(unsigned char)s.ptr[i + 2] : 0;
        dst[out++] = alphabet[v >> 18];
        dst[out++] = alphabet[v >> 12 & 63];
        if (left > 1) {
            dst[out++] = alphabet[v >> 6 & 63];
        } else if (pad) {
            dst[out++] = '=';
        }
        if (left > 2) {
            dst[out++] = alphabet[v & 63];
        } else if (pad) {
            dst[out++] = '=';
        }
    }
    buf_commit(b, out);
}

void base64_encode(struct buf *b, struct str s)
{
    encode64(b, s, alphabet_std, true);
}

void base64url_encode(struct buf *b, struct str s)
{
    encode64(b, s, alphabet_url, false);
}

static int digit64(char c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    if (c == (url ? '_' : '/')) {
        return 63;
    }
    return -1;
}

static bool decode64(struct arena *a, struct str s, bool url, struct str *ret)
{
    char *dst = arena_alloc(a, s.len / 4 * 3 + 4);
    if (!dst) {
        return false;
    }
    uint32_t v = 0;
    unsigned have = 0, pads = 0;
    size_t out = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!url && (c == '\r' || c == '\n')) {
            continue;
        }
        if (!url && c == '=' && have + pads >= 2 && have + pads < 4) {
            pads++;
            continue;
        }
        int d = digit64(c, url);
        if (d < 0 || pads) {
            return false;
        }
        v = v << 6 | (uint32_t)d;
        if (++have == 4) {
            dst[out++] = (char)(v >> 16);
            dst[out++] = (char)(v >> 8);
            dst[out++] = (char)v;
            v = 0;
            have = 0;
        }
    }
    if (have == 1 || (!url && have + pads != 0 && have + pads != 4)) {
        return false;
    }
    if (have == 2) {
        dst[out++] = (char)(v >> 4);
    } else if (have == 3) {
        dst[out++] = (char)(v >> 10);
        dst[out++] = (char)(v >> 2);
    }
    *ret = str_n(dst, out);
    return true;
}

bool base64_decode(struct arena *a, struct str s, struct str *ret)
{
    return decode64(a, s, false, ret);
}

bool base64url_decode(struct arena *a, struct str s, struct str *ret)
{
    return decode64(a, s, true, ret);
}

void hex_encode(struct buf *b, struct str s)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        buf_append_char(b, digits[c >> 4]);
        buf_append_char(b, digits[c & 15]);
    }
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void percent_encode(struct buf *b, struct str s, const char *keep)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (is_unreserved(c) || (c && strchr(keep, c))) {
            buf_append_char(b, c);
        } else {
            buf_printf(b, "%%%02X", (unsigned char)c);
        }
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decode(struct arena *a, struct str s, bool plus, struct str *ret)
{
    char *dst = arena_alloc(a, s.len + 1);
    size_t out = 0;
    if (!dst) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '%') {
            if (s.len - i < 3) {
                return false;
            }
            int hi = hex_digit(s.ptr[i + 1]);
            int lo = hex_digit(s.ptr[i + 2]);
            if (hi < 0 || lo < 0) {
                return false;
            }
            dst[out++] = (char)(hi << 4 | lo);
            i += 2;
        } else {
            dst[out++] = plus && s.ptr[i] == '+' ? ' ' : s.ptr[i];
        }
    }
    *ret = str_n(dst, out);
    return true;
}

void json_text_append(struct buf *b, struct str text)
{
    buf_append_char(b, '"');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"' || c == '\\') {
            buf_append_char(b, '\\');
        }
        if ((unsigned char)c < 0x20) {
            buf_printf(b, "\\u%04x", (unsigned)c);
        } else {
            buf_append_char(b, c);
        }
    }
    buf_append_char(b, '"');
}
