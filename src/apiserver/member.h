/* Members of typed structs by path: "spec.replicas". */
#ifndef APISERVER_MEMBER_H
#define APISERVER_MEMBER_H

#include "api/type.h"

/* The member at a dotted path through single messages; NULL when the path leads nowhere in this object. */
const void *member_at(const struct api_type *t, const void *obj, struct str path, const struct api_field **ret_field);
/* An int32 member, also behind a Go pointer; 0 when unset. */
int32_t member_int32(const struct api_type *t, const void *obj, const char *path);
/* Sets an int32 member; false when there is none. */
bool member_set_int32(const struct api_type *t, void *obj, const char *path, int32_t value);

#endif
