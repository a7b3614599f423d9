/*
 * The walks of server-side apply over an object and its schema: which fields it has, how two versions differ, merging a
 * configuration into an object, taking fields out. All fail past the arena's budget; objects with two list items of one key are
 * tolerated except where said.
 */
#ifndef API_FIELDS_WALK_H
#define API_FIELDS_WALK_H

#include "api/fields-schema.h"

/* Is 'v' an object this schema knows: every field declared, every kind right, every list item told apart? The reason is worded
 * as upstream words it: ".spec.foo: field not declared in schema". 'allow_duplicates' for objects that were stored already. */
MUST_CHECK bool fields_validate(struct arena *a, struct fields_at at, const struct val *v, bool allow_duplicates,
                                struct err *err);

/* The fields that 'v' sets: leaves, list items, and keys of maps. What an applied configuration owns. */
MUST_CHECK bool fields_of(struct arena *a, struct fields_at at, const struct val *v, struct fields *ret);

/* Every place in 'v', itself included: what is added where there was nothing. '*f' has its step already, and no kids. */
MUST_CHECK bool fields_everything(struct arena *a, struct fields_at at, const struct val *v, struct fields *f);

/* How 'to' differs from 'from' (either may be NULL: not there). A field that is null counts as there. */
struct fields_diff {
    struct fields added, modified, removed;
};
MUST_CHECK bool fields_compare(struct arena *a, struct fields_at at, const struct val *from, const struct val *to,
                               struct fields_diff *ret);

/* 'config' laid over 'live': leaves of config win, maps merge, list items are matched by their keys; new items come in config's
 * order. '*ret' shares what did not change with 'live'. */
MUST_CHECK bool fields_merge(struct arena *a, struct fields_at at, const struct val *live, const struct val *config,
                             struct val *ret);

/* 'v' without the fields of 'set' (a member goes with all below it). A map or list that becomes empty becomes null. */
MUST_CHECK bool fields_remove(struct arena *a, struct fields_at at, const struct val *v, const struct fields *set,
                              struct val *ret);

/* The set with every declared struct field that has something below it as a member too. */
MUST_CHECK bool fields_with_parents(struct arena *a, struct fields_at at, const struct fields *set, struct fields *ret);

#endif
