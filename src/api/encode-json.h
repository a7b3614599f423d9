/*
 * Typed struct -> JSON, byte for byte as kube-apiserver writes it (without the newline that ends an answer): fields in the
 * order of the schema, maps sorted, empty fields left out or written by the field's rule, HTML characters escaped.
 */
#ifndef API_ENCODE_JSON_H
#define API_ENCODE_JSON_H

#include "api/type.h"
#include "base/buf.h"

struct api_json_encode {
    /* When present they are written in place of the object's own kind and apiVersion. Absent: the object's own, if not empty. */
    struct str kind, api_version;
    bool no_type_meta; /* kind and apiVersion are left out, as in the items of a list */
    bool rv_gap;       /* metadata.resourceVersion is written as "" whatever it is; 'rv_at' tells where */
};

/* Offsets into what was appended, for published objects (design.md 5): bytes [0, rv_at), a version, bytes [rv_at, end). As an
 * item of a list: '{' and then the bytes from body_at on. */
struct api_json_offsets {
    size_t body_at; /* behind '{"kind":"X","apiVersion":"Y",' or behind '{' */
    size_t rv_at;   /* between the quotes of metadata.resourceVersion; 0 without a gap */
};

/* Appends to 'b'; 'o' and 'ret' may be NULL. False when the buffer is full. */
MUST_CHECK bool api_encode_json(struct buf *b, const struct api_type *t, const void *obj, const struct api_json_encode *o,
                                struct api_json_offsets *ret);

#endif
