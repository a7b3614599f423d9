/*
 * Questions about a field set that is still text (FieldsV1 as fields_write() writes it), answered without reading it whole: a write
 * mostly leaves the entries of an object's managers alone, and then their texts stay as they are.
 */
#ifndef API_FIELDS_TEXT_H
#define API_FIELDS_TEXT_H

#include "api/fields.h"

/* Have the two sets a member in common? True also when the text cannot be told: read it with fields_parse() then. */
bool fields_text_meets(struct str text, const struct fields *set);
/* Is every member of 'set' one of the text's? False also when the text cannot be told. */
bool fields_text_has_all(struct str text, const struct fields *set);

#endif
