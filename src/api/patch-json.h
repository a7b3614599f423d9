/*
 * JSON patch (RFC 6902) as kube-apiserver applies it. Beyond the RFC: "replace" of a missing object key adds it, negative array
 * indices count from the end, a missing "value" is null, and the whole document cannot be replaced (an empty path fails).
 */
#ifndef API_PATCH_JSON_H
#define API_PATCH_JSON_H

#include "api/val.h"

/* Operations in one patch. */
#define PATCH_JSON_OPS_MAX 10000
/* What all "copy" operations together may add, in bytes of JSON text: twice an object's size is plenty. */
#define PATCH_JSON_COPY_MAX (3 * 1024 * 1024)
/* What a patch that is well-formed but does not apply is answered with (422, without details). */
#define PATCH_JSON_REFUSED "the server rejected our request due to an error in our request"

/* Applies the patch's text to '*doc', a tree of the caller's own, which is changed in place (also when it fails half-way).
 * False: ERR_BAD_REQUEST "error decoding patch: ...", ERR_TOO_LARGE for too many operations or no memory, ERR_INVALID with
 * PATCH_JSON_REFUSED when an operation does not apply. What is added to the document borrows from 'patch' and the arena. */
MUST_CHECK bool patch_json_apply(struct arena *a, struct val *doc, struct str patch, struct err *err);
/* The same for a patch that is parsed already (an array; a webhook's answer). */
MUST_CHECK bool patch_json_apply_val(struct arena *a, struct val *doc, const struct val *patch, struct err *err);

#endif
