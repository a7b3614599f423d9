/* What holds for the metadata of every object (apimachinery's ObjectMeta validation). */
#ifndef APISERVER_META_RULES_H
#define APISERVER_META_RULES_H

#include "apiserver/server.h"
#include "kinds/field-error.h"

struct meta_v1_object_meta;

void meta_validate_create(struct field_errs *e, const struct rest *rest, const struct meta_v1_object_meta *m);
/* Also fills in what an update may leave out. */
void meta_validate_update(struct field_errs *e, const struct rest *rest, struct meta_v1_object_meta *m,
                          const struct meta_v1_object_meta *old);

#endif
