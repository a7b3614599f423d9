/* The row of a pod in a table. */
#ifndef KINDS_CORE_POD_CELLS_H
#define KINDS_CORE_POD_CELLS_H

#include "kinds/kind.h"

void pod_cells(struct kind_cells *c, const void *obj);

#endif
