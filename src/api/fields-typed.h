/*
 * How two structs of one type differ, as field sets: what fields_compare() finds on their trees (fields-walk.h), found without
 * making trees. Fields that are the same bytes are passed over; what the structs cannot tell by themselves (lists that are sets,
 * maps of structs, unions) becomes a tree, alone.
 */
#ifndef API_FIELDS_TYPED_H
#define API_FIELDS_TYPED_H

#include "api/fields-walk.h"

/* 'from' and 'to' are structs of type 't', neither NULL: for an object that is new, 'from' is a zeroed struct. Names are borrowed
 * from both. False past the arena's budget. */
MUST_CHECK bool fields_compare_typed(struct arena *a, const struct api_type *t, const void *from, const void *to,
                                     struct fields_diff *ret);

/* What a new object sets, as the text of its set: what fields_compare_typed() finds as added or modified against a zeroed struct,
 * without the members of 'skip' and all below them, written in one walk. '*ret' false: 'skip' goes where one walk cannot (below a
 * field that is new as a whole), and nothing is written. False past the budget. */
MUST_CHECK bool fields_write_new(struct arena *a, const struct api_type *t, const void *object, const struct fields *skip,
                                 struct buf *b, bool *ret);

#endif
