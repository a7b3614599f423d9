/* Deep copies of typed structs. */
#ifndef API_COPY_H
#define API_COPY_H

#include "api/type.h"
#include "base/arena.h"

/* A copy of everything below 'src', strings too, in 'a'. NULL past the budget. */
MUST_CHECK void *api_copy(struct arena *a, const struct api_type *t, const void *src);
/* The same into memory of the caller. With 'strings' false the strings are shared: for a change within the life of 'src'. */
MUST_CHECK bool api_copy_into(struct arena *a, const struct api_type *t, const void *src, void *dst, bool strings);
/* The same, with strings, but what equals the part of 'like' in the same place is not copied: it points at that of 'like', which
 * has to outlive the copy. Equal is exactly equal, absent and empty included. NULL: as api_copy_into(). */
MUST_CHECK bool api_copy_like(struct arena *a, const struct api_type *t, const void *src, void *dst, const void *like);

/* Is the field the same to the byte in two messages ('a' and 'b' are where they begin)? Absent and empty differ, and quantities are
 * texts. Memory that both share is not looked at. */
bool api_same_field(const struct api_field *f, const char *a, const char *b);

#endif
