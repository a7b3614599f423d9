/* How many of some pods are where: by node, and by domain for those who asked. */
#ifndef SCHEDULER_CENSUS_H
#define SCHEDULER_CENSUS_H

#include "scheduler/areas.h"
#include "scheduler/counts.h"

struct view {
    struct view *next;
    struct partition *partition; /* held */
    struct counts by_domain;     /* pods on nodes of the partition's selection */
};

/* Zero-initialised is empty. */
struct census {
    struct counts by_node; /* by slot; nodes that do not exist included */
    struct view *views;
};

void census_deinit(struct areas *a, struct census *c);
void census_add(struct census *c, uint32_t slot, int64_t by);
/* The view of a partition, made when it is asked for first; it lives as long as the census. Takes over the caller's reference of 'p'. */
const struct view *census_view(struct areas *a, struct census *c, struct partition *p);
/* Before and after the node in a slot changes: takes its pods out of the views (sign -1) and puts them back (1). */
void census_move(struct census *c, uint32_t slot, int sign);

#endif
