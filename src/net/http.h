/*
 * What HTTP/1.1, HTTP/2, server and client have in common: headers, targets, status texts, dates.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/arena.h"
#include "base/err.h"

struct http_header {
    struct str name; /* any case on the way out, lower case on the way in */
    struct str value;
    bool once; /* on the way out: the value is of this message alone, so HTTP/2 keeps it in no table (RFC 7541 7.1.3) */
};

struct http_headers {
    const struct http_header *items;
    size_t n;
};

/* The first value of the header, or STR_NULL. 'name' in any case. */
struct str http_header_get(const struct http_headers *h, struct str name);
/* Steps through the values of a repeated header: start with '*pos' = 0. */
bool http_header_next(const struct http_headers *h, struct str name, size_t *pos, struct str *ret_value);
/* Does any value of the header hold 'token' in a comma-separated list? Without case ("Connection: Upgrade, close"). */
bool http_header_has_token(const struct http_headers *h, struct str name, struct str token);
/* RFC 9110 5.6.2 and 5.5: may the bytes stand in a header name (token) or a value (no CR, LF, NUL, other controls)? */
bool http_is_token(struct str name);
bool http_is_field_value(struct str value);

/* "OK", "Not Found"; "" for an unknown code. */
const char *http_status_text(int status);
#define HTTP_DATE_SIZE 30
/* RFC 9110 5.6.7: "Tue, 24 Nov 2026 08:02:49 GMT". */
struct str http_date(int64_t unix_s, char dst[HTTP_DATE_SIZE]);

struct http_param {
    struct str name, value;
};

/* A request target taken apart. Everything borrows from the raw target or lives in the arena. */
struct http_target {
    struct str raw;          /* as sent: "/api/v1/pods?watch=1" */
    struct str path;         /* raw path, before '?' */
    struct str query;        /* raw query, after '?'; absent without one */
    struct str *segments;    /* decoded; "/a//b%2Fc/" gives "a", "", "b/c" (the edge slashes make none) */
    size_t n_segments;
    bool trailing_slash;     /* "/a/"; false for "/" */
    struct http_param *params; /* decoded, in order, repeated names kept; "a" without '=' has an empty value */
    size_t n_params;
};

/* Takes an origin-form target ("/path?query") apart. False (ERR_BAD_REQUEST) when it does not start with '/', holds bad
 * escapes, an encoded NUL, a segment "." or ".." (encoded or not: nobody sends these to an API and they confuse every
 * gateway), or more than HTTP_MAX_SEGMENTS or HTTP_MAX_PARAMS parts. As Go's net/url: params with ';' or bad escapes are
 * refused. */
MUST_CHECK bool http_target_parse(struct arena *a, struct str raw, struct http_target *ret, struct err *err);
/* The first value of the parameter, or STR_NULL. */
struct str http_param_get(const struct http_target *t, struct str name);
bool http_param_next(const struct http_target *t, struct str name, size_t *pos, struct str *ret_value);
/* Absent: 'fallback'. Present: as Kubernetes decodes query booleans, anything but "0" and "false" (any case) is true, "" too. */
bool http_param_bool(const struct http_target *t, struct str name, bool fallback);

/* One media type of an Accept or Content-Type header: "application/json;stream=watch;q=0.5". */
struct http_media {
    struct str type;          /* "application/json", lower case not enforced */
    struct http_param *params;
    size_t n_params;
    int q; /* thousandths, 0..1000 */
};
/* Splits an Accept header; order kept. False when it is malformed or holds more than HTTP_MAX_MEDIA. */
MUST_CHECK bool http_accept_parse(struct arena *a, struct str value, struct http_media **ret, size_t *ret_n);
struct str http_media_param(const struct http_media *m, struct str name);

#endif
