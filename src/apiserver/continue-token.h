/*
 * Continue tokens of limited lists, as upstream forms them: base64url without padding of
 * {"v":"meta.k8s.io/v1","rv":1522,"start":"/c2\u0000"}. 'start' is where the next page begins: the last key, relative to the
 * list's prefix, and a zero byte. rv -1: what is there now (an inconsistent continuation).
 */
#ifndef APISERVER_CONTINUE_TOKEN_H
#define APISERVER_CONTINUE_TOKEN_H

#include "base/arena.h"
#include "base/err.h"

struct continue_token {
    int64_t rv;
    struct str ns, name; /* begin behind this object; ns "" in the list of one namespace or of cluster-wide objects */
};

struct str continue_encode(struct arena *a, const struct continue_token *t, bool with_ns);
/* 'with_ns': keys are "namespace/name". False with upstream's words: "continue key is not valid: …". */
MUST_CHECK bool continue_decode(struct arena *a, struct str text, bool with_ns, struct continue_token *ret, struct err *err);

#endif
