/* metadata of any object by its descriptor: every root type has ObjectMeta as "metadata". */
#ifndef CLIENT_META_H
#define CLIENT_META_H

#include "api/gen/meta_v1.h"
#include "api/type.h"

/* The object's metadata. 'type' is a root type (asserted). */
const struct meta_v1_object_meta *meta_of(const struct api_type *type, const void *obj);
struct meta_v1_object_meta *meta_of_mut(const struct api_type *type, void *obj);
/* Where metadata is in an object of this root type. */
size_t meta_offset(const struct api_type *type);
/* The owner reference with controller: true, or NULL. */
const struct meta_v1_owner_reference *meta_controller_of(const struct meta_v1_object_meta *m);
/* Decimal resourceVersion as a number (KEP-5504: comparable within a resource); 0 when absent or
 * not a number. */
uint64_t meta_rv(const struct meta_v1_object_meta *m);
bool meta_same_labels(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b);
/* A label's or annotation's value, or absent. */
struct str meta_label(const struct meta_v1_object_meta *m, struct str key);
struct str meta_annotation(const struct meta_v1_object_meta *m, struct str key);

#endif
