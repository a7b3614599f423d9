/*
 * JSON text -> typed struct.
 *
 * What a field means is in its descriptor; names compare with case. Go's rules (encoding/json as Kubernetes uses it) decide the
 * rest: null leaves a field unset, the last of duplicate fields wins and objects of duplicates are merged, kinds of values are
 * checked, and the first mismatch is the error, worded as Go words it ("json: cannot unmarshal string into Go struct field
 * PodSpec.spec.containers of type []v1.Container"); a syntax error anywhere in the text goes before it. Quantities become
 * canonical, times are parsed, base64 is decoded, raw values keep their text as it is.
 *
 * Strings borrow from the text where nothing had to be decoded, so text and arena must outlive the struct; with 'copy' the text
 * may go.
 */
#ifndef API_DECODE_JSON_H
#define API_DECODE_JSON_H

#include "api/json-reader.h"
#include "api/mask.h"

/* The most unknown and duplicate fields that are told; Kubernetes has the same bound. */
#define API_PROBLEMS_MAX 100

/* What fieldValidation=Strict refuses and Warn warns about, in the order of the text:
 * 'unknown field "spec.foo"', 'duplicate field "data.a"'. Zero-initialised by the caller; the texts live in the arena. */
struct api_problems {
    struct str *items;
    size_t n, capacity;
};

struct api_json_decode {
    const struct api_mask *mask;   /* NULL: all fields. Skipped fields are not checked for problems */
    struct api_problems *problems; /* NULL: not collected */
    bool own;                      /* the text is a server's: raw values and masked fields are passed over by their brackets, unchecked */
    bool copy;                     /* strings are copied into the arena */
    bool *ret_syntax;              /* NULL, or set to true when the error is one of JSON's syntax, false when of the types */
};

/* Decodes the whole text into 'ret', which the caller has zeroed (or prefilled: fields that do not occur stay). 'o' may be NULL.
 * ERR_BAD_REQUEST with Go's words, or ERR_TOO_LARGE past the arena's budget or JSON_DEPTH. */
MUST_CHECK bool api_decode_json(struct arena *a, const struct api_type *t, struct str text, const struct api_json_decode *o,
                                void *ret, struct err *err);
/* The same for one value from the middle of a text: the items of a list, one by one. The reason is in the reader's err. */
MUST_CHECK bool api_read_json(struct json_reader *r, const struct api_type *t, const struct api_json_decode *o, void *ret);

/* kind and apiVersion of an object without decoding it; missing ones are absent. Reads no further than it must: the decoder
 * finds a syntax error behind them (ret_syntax), which Kubernetes words the same way: "couldn't get version/kind; json parse
 * error: unexpected end of JSON input". */
struct api_type_meta {
    struct str api_version, kind;
};
MUST_CHECK bool api_peek_type_meta(struct arena *a, struct str text, struct api_type_meta *ret, struct err *err);

/* 'strict decoding error: unknown field "a", duplicate field "b"' in the arena: the message of Strict. */
struct str api_problems_text(struct arena *a, const struct api_problems *p);
/* Appends a problem; past API_PROBLEMS_MAX it is dropped. 'text' must live as long as the arena. */
void api_problems_add(struct arena *a, struct api_problems *p, struct str text);

#endif
