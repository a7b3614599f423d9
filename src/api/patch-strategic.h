/*
 * Strategic merge patch: a merge patch that knows the schema. Lists whose field says so merge by a key; others are replaced.
 * Directives in the patch (API conventions, "Strategic Merge Patch"):
 *   $patch: replace | delete              of a map, or of one item of a list that merges
 *   $retainKeys: [..]                     drops every other key of that map
 *   $deleteFromPrimitiveList/x: [..]      takes values out of the list x
 *   $setElementOrder/x: [..]              the order of list x afterwards; items only the server knows keep their neighbours
 * New items of a merged list go before those that only the server has, as upstream does it.
 */
#ifndef API_PATCH_STRATEGIC_H
#define API_PATCH_STRATEGIC_H

#include "api/type.h"
#include "api/val.h"

/* Applies the parsed patch to '*doc', a tree of the caller's own, an object of type 't'. Both are used up: '*doc' is changed in
 * place, takes parts of '*patch', and directives are removed from the patch. Parse the patch with val_parse_json().
 * False: ERR_BAD_REQUEST for a directive of a wrong shape; ERR_INVALID where $retainKeys contradicts the patch; ERR_TOO_LARGE
 * past the budget; ERR_INTERNAL for all that upstream answers with a bare 500 and the message (no reason): a missing merge key,
 * an order that does not fit, an unknown directive, a field that is not in the schema. */
MUST_CHECK bool patch_strategic_apply(struct arena *a, struct val *doc, struct val *patch, const struct api_type *t,
                                      struct err *err);

#endif
