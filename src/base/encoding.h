/* base64 (RFC 4648, both alphabets), hex and percent-encoding (RFC 3986). */
#ifndef BASE_ENCODING_H
#define BASE_ENCODING_H

#include "base/buf.h"

struct arena;

/* Appends the standard alphabet with padding. */
void base64_encode(struct buf *b, struct str s);
/* Appends the URL alphabet without padding (JWT, RFC 7515). */
void base64url_encode(struct buf *b, struct str s);
/* Decodes standard base64 with padding; CR and LF inside are skipped, as Go's decoder does. '*ret' lives in the arena.
 * False on anything else or past the arena's budget. */
MUST_CHECK bool base64_decode(struct arena *a, struct str s, struct str *ret);
MUST_CHECK bool base64url_decode(struct arena *a, struct str s, struct str *ret);
/* Appends lower-case hex. */
void hex_encode(struct buf *b, struct str s);
/* Percent-encodes everything but unreserved characters and those in 'keep'. */
void percent_encode(struct buf *b, struct str s, const char *keep);
/* Decodes %XX; with 'plus' also '+' to a space (query strings). False on a bad escape. */
MUST_CHECK bool percent_decode(struct arena *a, struct str s, bool plus, struct str *ret);

/* "text" in double quotes, as a JSON string: quotes, backslashes and control characters escaped, the rest as it is. */
void json_text_append(struct buf *b, struct str text);

#endif
