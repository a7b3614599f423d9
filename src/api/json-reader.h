/*
 * A pull tokenizer over JSON text (RFC 8259) that is held in memory.
 *
 * The caller knows what it expects and asks for it; nothing is built. A decoder looks like this:
 *
 *     json_reader_init(&r, text, arena, JSON_DEPTH, err);
 *     if (!json_object_begin(&r)) ...
 *     while ((more = json_object_next(&r, &key)) > 0) {
 *         ... read exactly one value: json_string(), json_number(), json_array_begin(), json_skip() ...
 *     }
 *     if (more < 0 || !json_end(&r)) ...
 *
 * The first error stays: 'failed' is set, 'err' holds the reason in the words of Go's encoding/json (clients match on them),
 * json_offset() is the byte where it happened, and every later call fails as well.
 *
 * Strings are borrowed from the text wherever that is possible; those with escapes, or with bytes that are not UTF-8 (each of
 * which becomes U+FFFD, as in Go), are decoded into the arena. So text and arena must outlive what was read. Numbers are
 * handed out as their text. Depth is bounded, and a skipped value never recurses.
 */
#ifndef API_JSON_READER_H
#define API_JSON_READER_H

#include "base/arena.h"
#include "base/err.h"

/* Nesting of objects and arrays a request may have. Walkers recurse once a level, a few hundred bytes of stack each. */
#define JSON_DEPTH 1000
/* The most json_reader_init() takes: Go's own limit. */
#define JSON_DEPTH_MAX 10000

enum json_kind {
    JSON_NONE, /* at the end, at a closing bracket, or at something that begins no value */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_reader {
    const char *begin, *pos, *end;
    struct arena *arena;
    struct err *err;
    uint32_t depth, max_depth;
    bool fresh;  /* behind an opening bracket, nothing read in it yet */
    bool failed;
};

/* 'max_depth' at most JSON_DEPTH_MAX. 'err' may be NULL. Nothing is read yet. */
void json_reader_init(struct json_reader *r, struct str text, struct arena *arena, uint32_t max_depth,
                      struct err *err);

/* What the next value is, by its first byte; moves behind white space only. */
enum json_kind json_peek_behind_space(struct json_reader *r);
extern const uint8_t json_kind_of_byte[256]; /* enum json_kind */
static inline enum json_kind json_peek(struct json_reader *r)
{
    if (r->failed) {
        return JSON_NONE;
    }
    if (r->pos < r->end && *r->pos > ' ') {
        return (enum json_kind)json_kind_of_byte[(unsigned char)*r->pos];
    }
    return json_peek_behind_space(r);
}

/* Each reads one value of its kind. When the next value is another kind, they fail with the syntax error if it begins no value
 * and with "unexpected <kind>" otherwise; callers that answer with a better message use json_peek() first. */
MUST_CHECK bool json_null(struct json_reader *r);
MUST_CHECK bool json_bool(struct json_reader *r, bool *ret);
MUST_CHECK bool json_string(struct json_reader *r, struct str *ret);
/* The number as it is written, borrowed. */
MUST_CHECK bool json_number(struct json_reader *r, struct str *ret);

MUST_CHECK bool json_object_begin(struct json_reader *r);
/* 1: '*ret_key' is the next key and its value must be read next; 0: the object is over; -1: failed. */
MUST_CHECK int json_object_next(struct json_reader *r, struct str *ret_key);
MUST_CHECK bool json_array_begin(struct json_reader *r);
/* 1: a value follows and must be read next; 0: the array is over; -1: failed. */
MUST_CHECK int json_array_next(struct json_reader *r);

/* Reads over one value of any kind, checking it whole. Needs no arena. */
MUST_CHECK bool json_skip(struct json_reader *r);
/* The same; '*ret' is the value's text, borrowed, without white space around it. */
MUST_CHECK bool json_raw(struct json_reader *r, struct str *ret);

/* The same for text that is known to be JSON, a raw value that was checked before or what a server sent: finds its end by brackets and quotes. */
MUST_CHECK bool json_raw_unchecked(struct json_reader *r, struct str *ret);
/* The same of a value that nobody wants. */
MUST_CHECK bool json_skip_unchecked(struct json_reader *r);

/* True when nothing but white space is left; otherwise fails. */
MUST_CHECK bool json_end(struct json_reader *r);

/* Bytes read so far; after a failure, where it happened. */
static inline size_t json_offset(const struct json_reader *r)
{
    return (size_t)(r->pos - r->begin);
}

/* Fails the reader on behalf of its caller; keeps an earlier reason. Returns false. */
PRINTF_LIKE(3, 4) bool json_fail(struct json_reader *r, enum err_code code, const char *fmt, ...);

/* "null", "bool", "number", "string", "array", "object": as Go names kinds in "cannot unmarshal X into ...". */
const char *json_kind_name(enum json_kind k);

/* Is 'text' one valid JSON value? Fills 'err' as a reader would. Go checks whole inputs before it decodes, so a syntax error
 * anywhere goes before a wrong type. */
MUST_CHECK bool json_check(struct str text, uint32_t max_depth, struct err *err);

/* Number texts. False when it is no whole number in range ("1.0" and "1e3" are none: as strconv.ParseInt). */
MUST_CHECK bool json_number_to_i64(struct str number, int64_t *ret);
MUST_CHECK bool json_number_to_u64(struct str number, uint64_t *ret);
/* False when out of range of a double. */
MUST_CHECK bool json_number_to_double(struct str number, double *ret);

#endif
