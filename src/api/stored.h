/* What becomes of an object on its way through the store. */
#ifndef API_STORED_H
#define API_STORED_H

#include "api/type.h"

/* Makes absent what protobuf does not carry: lists and maps that are present but empty. An object that was just written then
 * answers like one that was read back ('null' for an always-written list, not '[]'). Not for kinds that are stored as JSON
 * (CustomResourceDefinition, APIService). */
void api_as_stored(const struct api_type *t, void *obj);

#endif
