/*
 * One document by HTTPS: GET, verified against the given CAs, bounded in bytes and time, redirects are answers like any other (that is,
 * an error). For OpenID Connect's discovery and keys.
 */
#ifndef AUTH_HTTPS_FETCH_H
#define AUTH_HTTPS_FETCH_H

#include "base/arena.h"
#include "base/err.h"

struct loop;
struct https_fetch;

struct https_url {
    char host[256];
    uint16_t port;
    struct str target; /* path and query, "/" when there is none; in the arena */
};
/* "https://host[:port][/path][?query]". False with the reason for any other scheme, user names in it, fragments, bad ports. */
MUST_CHECK bool https_url_parse(struct str url, struct arena *a, struct https_url *ret, struct err *err);

/* Once: the body with 'err' NULL, or an error. Never called inside https_fetch_start(). */
typedef void https_fetch_fn(void *data, struct str body, const struct err *err);

/* 'ca_pem' empty: the system's CAs. NULL with the reason when the URL or the CAs are bad. */
MUST_CHECK struct https_fetch *https_fetch_start(struct loop *l, struct str url, struct str ca_pem, size_t max, uint32_t timeout_ms,
                                                 https_fetch_fn *done, void *data, struct err *err);
/* 'done' is not called any more. NULL-safe. */
void https_fetch_cancel(struct https_fetch *f);

#endif
