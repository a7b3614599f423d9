/*
 * Parts of typed structs as trees: what a patch names is turned into a tree, changed, and put back, and the rest of the object is
 * never looked at. A "part" is the patch itself: an object whose members name what is touched.
 */
#ifndef API_VAL_PART_H
#define API_VAL_PART_H

#include "api/type.h"
#include "api/val.h"
#include "base/arena.h"

/* Is every member that 'part' names, at any depth, a field of 't' (or a strategic directive about one)? */
bool api_part_is_known(const struct api_type *t, const struct val *part);
/* api_to_val() of the members that 'part' names alone: messages are entered, everything else is whole. A message below a
 * directive that is about all of it ($patch, $retainKeys) is whole too. False past the budget. */
MUST_CHECK bool api_to_val_part(struct arena *a, const struct api_type *t, const void *obj, const struct val *part, struct val *ret);
/* Puts the same members of 'src' in the place of those of 'dst', a struct of the caller's own; memory is shared with 'src'.
 * Messages behind pointers that are entered are copied first. False past the budget. */
MUST_CHECK bool api_graft(struct arena *a, const struct api_type *t, void *dst, const void *src, const struct val *part);

#endif
