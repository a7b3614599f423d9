/* The kinds and conversions that table.c lists; each is defined in <group>/<kind>.c. */
#ifndef KINDS_TABLE_H
#define KINDS_TABLE_H

#include "kinds/kind.h"

extern const struct kind_ops *const kind_table[];              /* ends with NULL */
extern const struct kind_conversion *const kind_conversions[]; /* ends with NULL */

#endif
