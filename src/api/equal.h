/*
 * Semantic equality of typed structs, as API machinery defines it: an absent list or map equals an empty one, an absent string an
 * empty one unless the field tells them apart, quantities and times compare by value; a pointer that is unset differs from zero.
 */
#ifndef API_EQUAL_H
#define API_EQUAL_H

#include "api/type.h"

bool api_equal(const struct api_type *t, const void *a, const void *b);
/* Equality of the one field with this JSON name (of the top level): "spec", "status". Asserts that it exists. */
bool api_equal_field(const struct api_type *t, const char *json_name, const void *a, const void *b);
/* Is everything below unset? */
bool api_is_zero(const struct api_type *t, const void *obj);

#endif
