#include "api/json-reader.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/bytes.h"

void json_reader_init(struct json_reader *r, struct str text, struct arena *arena, uint32_t max_depth,
                      struct err *err)
{
    const char *p = text.ptr ? text.ptr : "";
    *r = (struct json_reader){ .begin = p, .pos = p, .end = p + text.len, .arena = arena, .err = err,
                               .max_depth = MIN(max_depth, (uint32_t)JSON_DEPTH_MAX) };
}

bool json_fail(struct json_reader *r, enum err_code code, const char *fmt, ...)
{
    if (!r->failed) {
        r->failed = true;
        if (r->err) {
            char msg[sizeof(r->err->msg)];
            va_list ap;
            va_start(ap, fmt);
            vsnprintf(msg, sizeof(msg), fmt, ap);
            va_end(ap);
            err_set(r->err, code, "%s", msg);
        }
    }
    return false;
}

const char *json_kind_name(enum json_kind k)
{
    static const char *const names[] = { "nothing", "null", "bool", "number", "string", "array", "object" };
    return names[k];
}

/* How Go writes the byte in "invalid character ..." (it takes the byte as a code point). */
static void quote_byte(unsigned char c, char dst[12])
{
    static const char *const short_escapes[] = { [7] = "\\a", [8] = "\\b", [9] = "\\t", [10] = "\\n", [11] = "\\v",
                                                 [12] = "\\f", [13] = "\\r" };
    if (c == '\'') {
        snprintf(dst, 12, "'\\''");
    } else if (c == '\\') {
        snprintf(dst, 12, "'\\\\'");
    } else if (c >= 7 && c <= 13) {
        snprintf(dst, 12, "'%s'", short_escapes[c]);
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(dst, 12, "'\\x%02x'", c);
    } else if (c < 0x80) {
        snprintf(dst, 12, "'%c'", c);
    } else if (c < 0xa1 || c == 0xad) {
        snprintf(dst, 12, "'\\u%04x'", c);
    } else {
        snprintf(dst, 12, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    }
}

/* Fails at 'pos': the byte there cannot stand where it stands, or the text is over. */
static bool syntax_error(struct json_reader *r, const char *context)
{
    char quoted[12];
    if (r->pos >= r->end) {
        return json_fail(r, ERR_BAD_REQUEST, "unexpected end of JSON input");
    }
    quote_byte((unsigned char)*r->pos, quoted);
    return json_fail(r, ERR_BAD_REQUEST, "invalid character %s %s", quoted, context);
}

static inline void skip_space(struct json_reader *r)
{
    while (r->pos < r->end && *r->pos <= ' ' && (*r->pos == ' ' || *r->pos == '\n' || *r->pos == '\t' || *r->pos == '\r')) {
        r->pos++;
    }
}

const uint8_t json_kind_of_byte[256] = {
    ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,  ['"'] = JSON_STRING, ['t'] = JSON_BOOL,   ['f'] = JSON_BOOL,
    ['n'] = JSON_NULL,   ['-'] = JSON_NUMBER, ['0'] = JSON_NUMBER, ['1'] = JSON_NUMBER, ['2'] = JSON_NUMBER,
    ['3'] = JSON_NUMBER, ['4'] = JSON_NUMBER, ['5'] = JSON_NUMBER, ['6'] = JSON_NUMBER, ['7'] = JSON_NUMBER,
    ['8'] = JSON_NUMBER, ['9'] = JSON_NUMBER,
};

enum json_kind json_peek_behind_space(struct json_reader *r)
{
    skip_space(r);
    return r->pos < r->end ? (enum json_kind)json_kind_of_byte[(unsigned char)*r->pos] : JSON_NONE;
}

static bool expect(struct json_reader *r, enum json_kind want)
{
    enum json_kind have = json_peek(r);
    if (have == want) {
        return true;
    }
    if (r->failed) {
        return false;
    }
    if (have == JSON_NONE) {
        return syntax_error(r, "looking for beginning of value");
    }
    return json_fail(r, ERR_BAD_REQUEST, "unexpected %s, expected %s", json_kind_name(have), json_kind_name(want));
}

static bool read_literal(struct json_reader *r, const char *word)
{
    for (const char *w = word + 1; *w; w++) {
        r->pos++;
        if (r->pos >= r->end || *r->pos != *w) {
            char context[48];
            snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, *w);
            return syntax_error(r, context);
        }
    }
    r->pos++;
    return true;
}

bool json_null(struct json_reader *r)
{
    return expect(r, JSON_NULL) && read_literal(r, "null");
}

bool json_bool(struct json_reader *r, bool *ret)
{
    if (!expect(r, JSON_BOOL)) {
        return false;
    }
    bool value = *r->pos == 't';
    if (!read_literal(r, value ? "true" : "false")) {
        return false;
    }
    *ret = value;
    return true;
}

static inline bool is_digit(const struct json_reader *r)
{
    return r->pos < r->end && *r->pos >= '0' && *r->pos <= '9';
}

static bool read_number(struct json_reader *r)
{
    if (*r->pos == '-') {
        r->pos++;
        if (!is_digit(r)) {
            return syntax_error(r, "in numeric literal");
        }
    }
    if (*r->pos == '0') {
        r->pos++;
    } else {
        while (is_digit(r)) {
            r->pos++;
        }
    }
    if (r->pos < r->end && *r->pos == '.') {
        r->pos++;
        if (!is_digit(r)) {
            return syntax_error(r, "after decimal point in numeric literal");
        }
        while (is_digit(r)) {
            r->pos++;
        }
    }
    if (r->pos < r->end && (*r->pos == 'e' || *r->pos == 'E')) {
        r->pos++;
        if (r->pos < r->end && (*r->pos == '+' || *r->pos == '-')) {
            r->pos++;
        }
        if (!is_digit(r)) {
            return syntax_error(r, "in exponent of numeric literal");
        }
        while (is_digit(r)) {
            r->pos++;
        }
    }
    return true;
}

bool json_number(struct json_reader *r, struct str *ret)
{
    if (!expect(r, JSON_NUMBER)) {
        return false;
    }
    const char *start = r->pos;
    if (!read_number(r)) {
        return false;
    }
    *ret = str_n(start, (size_t)(r->pos - start));
    return true;
}

/* ---- strings ---- */

/* Length of the UTF-8 sequence at 'p' (whose first byte is not ASCII), or 0 when it is not one (RFC 3629). */
static unsigned utf8_length(const char *ptr, const char *end)
{
    const unsigned char *p = (const unsigned char *)ptr;
    size_t left = (size_t)(end - ptr);
    unsigned char c = p[0];
    if (c >= 0xc2 && c <= 0xdf) {
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (c >= 0xe0 && c <= 0xef) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) {
            return 0;
        }
        return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) ? 0 : 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80) {
            return 0;
        }
        return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90) ? 0 : 4;
    }
    return 0;
}

static const bool is_escape[256] = { ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true, ['f'] = true,
                                     ['n'] = true, ['r'] = true,  ['t'] = true, ['u'] = true };

/* Checks the string at 'pos' (a quote) and moves behind it. '*ret_body' is what stands between the quotes; '*ret_copy' tells
 * whether it has to be decoded. */
static bool scan_string(struct json_reader *r, struct str *ret_body, bool *ret_copy)
{
    bool copy = false;
    const char *start = ++r->pos;
    for (;;) {
        r->pos = bytes_plain_run(r->pos, r->end);
        if (r->pos >= r->end) {
            return syntax_error(r, "in string literal");
        }
        unsigned char c = (unsigned char)*r->pos;
        if (c == '"') {
            break;
        }
        if (c >= 0x80) {
            unsigned n = utf8_length(r->pos, r->end);
            copy = copy || n == 0;
            r->pos += n ? n : 1;
        } else if (c == '\\') {
            copy = true;
            r->pos++;
            if (r->pos >= r->end || !is_escape[(unsigned char)*r->pos]) {
                return syntax_error(r, "in string escape code");
            }
            if (*r->pos == 'u') {
                for (int i = 0; i < 4; i++) {
                    r->pos++;
                    char h = r->pos < r->end ? *r->pos : '\0';
                    if (!((h >= '0' && h <= '9') || (h >= 'a' && h <= 'f') || (h >= 'A' && h <= 'F'))) {
                        return syntax_error(r, "in \\u hexadecimal character escape");
                    }
                }
            }
            r->pos++;
        } else {
            return syntax_error(r, "in string literal");
        }
    }
    *ret_body = str_n(start, (size_t)(r->pos - start));
    *ret_copy = copy;
    r->pos++;
    return true;
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static char *put_utf8(char *dst, uint32_t c)
{
    if (c < 0x80) {
        *dst++ = (char)c;
    } else if (c < 0x800) {
        *dst++ = (char)(0xc0 | c >> 6);
        *dst++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *dst++ = (char)(0xe0 | c >> 12);
        *dst++ = (char)(0x80 | (c >> 6 & 0x3f));
        *dst++ = (char)(0x80 | (c & 0x3f));
    } else {
        *dst++ = (char)(0xf0 | c >> 18);
        *dst++ = (char)(0x80 | (c >> 12 & 0x3f));
        *dst++ = (char)(0x80 | (c >> 6 & 0x3f));
        *dst++ = (char)(0x80 | (c & 0x3f));
    }
    return dst;
}

/* Decodes one \u escape whose 'u' is at 'p' (its digits are checked), a surrogate pair as one; an unpaired surrogate becomes
 * U+FFFD. Returns behind it. */
static const char *decode_u(const char *p, const char *end, char **dst)
{
    uint32_t c = hex4(p + 1);
    p += 5;
    if (c >= 0xd800 && c < 0xe000) {
        uint32_t low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : 0;
        if (c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        } else {
            c = 0xfffd;
        }
    }
    *dst = put_utf8(*dst, c);
    return p;
}

static bool decode_string(struct json_reader *r, struct str body, struct str *ret)
{
    /* A byte that is not UTF-8 grows to three; anything else stays or shrinks. */
    char *out = r->arena ? arena_alloc(r->arena, body.len * 3 + 1) : NULL;
    if (!out) {
        return json_fail(r, ERR_TOO_LARGE, "the text needs more memory than it may have");
    }
    char *dst = out;
    const char *p = body.ptr, *end = body.ptr + body.len;
    while (p < end) {
        const char *run = bytes_plain_run(p, end);
        memcpy(dst, p, (size_t)(run - p));
        dst += run - p;
        p = run;
        if (p >= end) {
            break;
        }
        if (*p != '\\') {
            unsigned n = utf8_length(p, end);
            if (n) {
                memcpy(dst, p, n);
                dst += n;
                p += n;
            } else {
                dst = put_utf8(dst, 0xfffd);
                p++;
            }
            continue;
        }
        p++;
        switch (*p) {
        case 'u': p = decode_u(p, end, &dst); continue;
        case 'b': *dst++ = '\b'; break;
        case 'f': *dst++ = '\f'; break;
        case 'n': *dst++ = '\n'; break;
        case 'r': *dst++ = '\r'; break;
        case 't': *dst++ = '\t'; break;
        default: *dst++ = *p; break;
        }
        p++;
    }
    *ret = str_n(out, (size_t)(dst - out));
    return true;
}

static bool read_string(struct json_reader *r, struct str *ret)
{
    struct str body;
    bool copy;
    if (!scan_string(r, &body, &copy)) {
        return false;
    }
    if (copy) {
        return decode_string(r, body, ret);
    }
    *ret = body;
    return true;
}

/* A string of plain bytes, which nearly all are; false when it is none, and nothing was read. */
static inline bool plain_string(const char *quote, const char *end, struct str *ret)
{
    if (quote >= end || *quote != '"') {
        return false;
    }
    const char *stop = bytes_plain_run(quote + 1, end);
    *ret = str_n(quote + 1, (size_t)(stop - quote - 1));
    return stop < end && *stop == '"';
}

bool json_string(struct json_reader *r, struct str *ret)
{
    struct str s;
    if (!r->failed && plain_string(r->pos, r->end, &s)) {
        r->pos = s.ptr + s.len + 1;
        *ret = s;
        return true;
    }
    return expect(r, JSON_STRING) && read_string(r, ret);
}

/* ---- containers ---- */

static bool enter(struct json_reader *r)
{
    if (r->depth >= r->max_depth) {
        return json_fail(r, ERR_BAD_REQUEST, "exceeded max depth");
    }
    r->depth++;
    r->pos++;
    r->fresh = true;
    return true;
}

static int leave(struct json_reader *r)
{
    r->depth--;
    r->pos++;
    r->fresh = false;
    return 0;
}

bool json_object_begin(struct json_reader *r)
{
    return expect(r, JSON_OBJECT) && enter(r);
}

bool json_array_begin(struct json_reader *r)
{
    return expect(r, JSON_ARRAY) && enter(r);
}

int json_object_next(struct json_reader *r, struct str *ret_key)
{
    if (r->failed) {
        return -1;
    }
    /* Without white space and escapes, as nearly all text is. */
    struct str plain;
    const char *quote = r->fresh ? r->pos : r->pos < r->end && *r->pos == ',' ? r->pos + 1 : r->end;
    if (plain_string(quote, r->end, &plain) && r->end - plain.ptr > (ptrdiff_t)plain.len + 1 && plain.ptr[plain.len + 1] == ':') {
        r->fresh = false;
        r->pos = plain.ptr + plain.len + 2;
        *ret_key = plain;
        return 1;
    }
    skip_space(r);
    char c = r->pos < r->end ? *r->pos : '\0';
    if (r->fresh) {
        r->fresh = false;
        if (c == '}') {
            return leave(r);
        }
    } else {
        if (c == '}') {
            return leave(r);
        }
        if (c != ',') {
            syntax_error(r, "after object key:value pair");
            return -1;
        }
        r->pos++;
        skip_space(r);
        c = r->pos < r->end ? *r->pos : '\0';
    }
    if (c != '"') {
        syntax_error(r, "looking for beginning of object key string");
        return -1;
    }
    struct str key;
    if (!read_string(r, &key)) {
        return -1;
    }
    skip_space(r);
    if (r->pos >= r->end || *r->pos != ':') {
        syntax_error(r, "after object key");
        return -1;
    }
    r->pos++;
    *ret_key = key;
    return 1;
}

int json_array_next(struct json_reader *r)
{
    if (r->failed) {
        return -1;
    }
    skip_space(r);
    char c = r->pos < r->end ? *r->pos : '\0';
    if (c == ']') {
        return leave(r);
    }
    if (r->fresh) {
        r->fresh = false;
        return 1;
    }
    if (c != ',') {
        syntax_error(r, "after array element");
        return -1;
    }
    r->pos++;
    return 1;
}

/* ---- whole values ---- */

static bool skip_scalar(struct json_reader *r)
{
    struct str body;
    bool copy;
    switch (*r->pos) {
    case '"':
        if (plain_string(r->pos, r->end, &body)) {
            r->pos = body.ptr + body.len + 1;
            return true;
        }
        return scan_string(r, &body, &copy);
    case 't': return read_literal(r, "true");
    case 'f': return read_literal(r, "false");
    case 'n': return read_literal(r, "null");
    default:
        if (json_kind_of_byte[(unsigned char)*r->pos] == JSON_NUMBER) {
            return read_number(r);
        }
        return syntax_error(r, "looking for beginning of value");
    }
}

/* Reads a key and its colon; 'pos' is where the key must begin. */
static bool skip_key(struct json_reader *r)
{
    struct str body;
    bool copy;
    if (plain_string(r->pos, r->end, &body) && r->end - body.ptr > (ptrdiff_t)body.len + 1 && body.ptr[body.len + 1] == ':') {
        r->pos = body.ptr + body.len + 2;
        return true;
    }
    if (r->pos >= r->end || *r->pos != '"') {
        return syntax_error(r, "looking for beginning of object key string");
    }
    if (!scan_string(r, &body, &copy)) {
        return false;
    }
    skip_space(r);
    if (r->pos >= r->end || *r->pos != ':') {
        return syntax_error(r, "after object key");
    }
    r->pos++;
    return true;
}

bool json_skip(struct json_reader *r)
{
    /* One bit a level: is it an object? */
    UNINITIALIZED uint64_t objects[(JSON_DEPTH_MAX + 63) / 64];
    const uint32_t base = r->depth;
    if (r->failed) {
        return false;
    }
    for (;;) {
        /* A value. */
        skip_space(r);
        if (r->pos >= r->end) {
            return syntax_error(r, "looking for beginning of value");
        }
        char c = *r->pos;
        if (c == '{' && r->end - r->pos > 1 && r->pos[1] == '}' && r->depth < r->max_depth) {
            r->pos += 2;
        } else if (c == '{' || c == '[') {
            uint32_t level = r->depth - base;
            if (!enter(r)) {
                return false;
            }
            r->fresh = false;
            uint64_t bit = 1ULL << (level & 63);
            objects[level / 64] = c == '{' ? (level & 63 ? objects[level / 64] | bit : bit)
                                           : (level & 63 ? objects[level / 64] & ~bit : 0);
            skip_space(r);
            char closing = c == '{' ? '}' : ']';
            if (r->pos >= r->end || *r->pos != closing) {
                if (c == '{' && !skip_key(r)) {
                    return false;
                }
                continue;
            }
            leave(r);
        } else if (!skip_scalar(r)) {
            return false;
        }
        /* Behind a value: close what ends here, then go on behind a comma. */
        for (;;) {
            if (r->depth == base) {
                r->fresh = false;
                return true;
            }
            uint32_t level = r->depth - base - 1;
            bool object = objects[level / 64] >> (level & 63) & 1;
            skip_space(r);
            c = r->pos < r->end ? *r->pos : '\0';
            if (c == (object ? '}' : ']')) {
                leave(r);
                continue;
            }
            if (c != ',') {
                return syntax_error(r, object ? "after object key:value pair" : "after array element");
            }
            r->pos++;
            if (object) {
                skip_space(r);
                if (!skip_key(r)) {
                    return false;
                }
            }
            break;
        }
    }
}

bool json_raw(struct json_reader *r, struct str *ret)
{
    if (r->failed) {
        return false;
    }
    skip_space(r);
    const char *start = r->pos;
    if (!json_skip(r)) {
        return false;
    }
    *ret = str_n(start, (size_t)(r->pos - start));
    return true;
}

/* Behind the bracket that closes the one at 'p', or NULL when there is none. Nothing but strings and brackets is looked at: sixteen bytes a step
 * where none of them is a backslash. */
static const char *behind_brackets(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
#ifdef __SSE2__
        /* Here 'p' is outside of strings. A set bit of 'inside' is a byte of a string: the quotes before it are odd. */
        unsigned inside = 0;
        while (end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p), lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
            unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
            unsigned opens = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(lower, _mm_set1_epi8('{')));
            unsigned brackets = opens | (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(lower, _mm_set1_epi8('}')));
            if (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')))) {
                break;
            }
            unsigned in = quotes ^ quotes << 1;
            in ^= in << 2;
            in ^= in << 4;
            in = (in ^ in << 8 ^ inside) & 0xffff;
            for (brackets &= ~in; brackets; brackets &= brackets - 1) {
                if (opens & brackets & (0 - brackets)) {
                    depth++;
                } else if (--depth == 0) {
                    return p + __builtin_ctz(brackets) + 1;
                }
            }
            inside = in >> 15 ? 0xffff : 0;
            p += 16;
        }
        bool in_string = inside != 0;
#else
        bool in_string = false;
#endif
        /* To the end of a string, or one byte. */
        char c = in_string || p >= end ? '"' : *p++;
        if (c == '"') {
            /* To the quote that ends it; a backslash takes the next byte with it. */
            while ((p = bytes_plain_run(p, end)) < end && *p != '"') {
                p += *p == '\\' && end - p > 1 ? 2 : 1;
            }
            if (p >= end) {
                return NULL;
            }
            p++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return p;
        }
    }
    return NULL;
}

bool json_raw_unchecked(struct json_reader *r, struct str *ret)
{
    const char *start = r->pos, *p;
    if (r->failed || start >= r->end || (*start != '{' && *start != '[') || !(p = behind_brackets(start, r->end))) {
        return json_raw(r, ret);
    }
    r->pos = p;
    r->fresh = false;
    *ret = str_n(start, (size_t)(p - start));
    return true;
}

bool json_skip_unchecked(struct json_reader *r)
{
    struct str raw;
    return json_raw_unchecked(r, &raw);
}

bool json_end(struct json_reader *r)
{
    if (r->failed) {
        return false;
    }
    skip_space(r);
    return r->pos == r->end || syntax_error(r, "after top-level value");
}

bool json_check(struct str text, uint32_t max_depth, struct err *err)
{
    struct json_reader r;
    json_reader_init(&r, text, NULL, max_depth, err);
    return json_skip(&r) && json_end(&r);
}

/* ---- numbers ---- */

bool json_number_to_i64(struct str number, int64_t *ret)
{
    return str_to_i64(number, ret);
}

bool json_number_to_u64(struct str number, uint64_t *ret)
{
    return str_to_u64(number, ret);
}

bool json_number_to_double(struct str number, double *ret)
{
    char small[64], *text = small, *end;
    if (number.len == 0) {
        return false;
    }
    /* strtod() wants a NUL behind; long numbers are rare enough for the heap. */
    if (number.len >= sizeof(small)) {
        text = malloc(number.len + 1);
        if (!text) {
            return false;
        }
    }
    memcpy(text, number.ptr, number.len);
    text[number.len] = '\0';
    double v = strtod(text, &end);
    bool ok = end == text + number.len && isfinite(v);
    if (text != small) {
        free(text);
    }
    if (ok) {
        *ret = v;
    }
    return ok;
}
