/* The catalog of paths (the JSON of GET /paths) as a table for a terminal. Pure. */
#ifndef CLUSTER_PATHS_TABLE_H
#define CLUSTER_PATHS_TABLE_H

#include "api/val.h"

struct paths_table {
    unsigned width;   /* columns of the terminal; 0: no terminal, as wide as it needs */
    bool colour, wide; /* wide: purposes, subjects, who says so */
    bool unsafe_only;
};

/* Appends the table. Control characters of peers (terminal escapes) are shown as '?'. */
void paths_table_write(const struct paths_table *t, const struct val *catalog, struct buf *b);

#endif
