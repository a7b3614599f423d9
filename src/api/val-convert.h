/* Between typed structs and value trees: patches, managed fields and webhooks work on trees. */
#ifndef API_VAL_CONVERT_H
#define API_VAL_CONVERT_H

#include "api/decode-json.h"
#include "api/val.h"

/* The tree that the object's JSON would parse to, in the order of the fields. Strings are borrowed from 'obj'. False past the
 * budget. */
MUST_CHECK bool api_to_val(struct arena *a, const struct api_type *t, const void *obj, struct val *ret);
/* The same for an object that shares memory with 'twin', whose tree is known: top members that are the same memory share their
 * trees. For reading alone. */
MUST_CHECK bool api_to_val_sharing(struct arena *a, const struct api_type *t, const void *obj, const void *twin,
                                   const struct val *tree, struct val *ret);
/* One present field; 'p' is its member in the struct. */
MUST_CHECK bool api_field_to_val(struct arena *a, const struct api_field *f, const char *p, struct val *ret);
/* As if the tree's JSON were decoded (Go's errors, problems, mask). 'ret' is zeroed by the caller. Strings are borrowed. */
MUST_CHECK bool api_from_val(struct arena *a, const struct api_type *t, const struct val *v, const struct api_json_decode *o,
                             void *ret, struct err *err);

#endif
