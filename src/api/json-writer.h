/*
 * Pieces of JSON text as Go's encoding/json writes them, with its HTML escaping on: what kube-apiserver sends. The callers
 * write brackets, commas and colons themselves. Everything is appended to a struct buf, which remembers when it is full.
 */
#ifndef API_JSON_WRITER_H
#define API_JSON_WRITER_H

#include "base/buf.h"

/* The string in quotes. '"', '\\', control characters, '<', '>', '&', U+2028 and U+2029 are escaped; each byte that is not
 * UTF-8 becomes \ufffd. Absent is written as "". */
void json_write_string(struct buf *b, struct str s);
/* The same without HTML escaping (<, >, & stay): for YAML's JSON subset, logs, and Go's %q-like uses. */
void json_write_string_plain(struct buf *b, struct str s);
/* A whole number. */
void json_write_i64(struct buf *b, int64_t v);
void json_write_u64(struct buf *b, uint64_t v);
static inline void json_write_bool(struct buf *b, bool v)
{
    buf_append(b, v ? STR("true") : STR("false"));
}
static inline void json_write_null(struct buf *b)
{
    buf_append(b, STR("null"));
}

#define JSON_DOUBLE_SIZE 32
/* The shortest text that reads back as 'v', with an exponent only below 1e-6 and from 1e21 on, and a NUL. Returns the length,
 * or 0 for an infinity or not-a-number, which JSON has none of. */
size_t json_format_double(double v, char dst[JSON_DOUBLE_SIZE]);
/* Appends that; "null" for what JSON cannot say. */
void json_write_double(struct buf *b, double v);

/* Appends valid JSON text 'text' without white space between its tokens and with HTML characters in strings escaped: how Go
 * writes a json.RawMessage. Strings are otherwise kept as they are written. */
void json_write_compact(struct buf *b, struct str text);

#endif
