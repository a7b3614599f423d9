/* Steps as a person watches them: one line each, with the time since the step before. */
#ifndef CLUSTER_PROGRESS_H
#define CLUSTER_PROGRESS_H

#include "base/err.h"

struct progress {
    uint64_t begin_ms, last_ms;
    bool colour;
};

void progress_begin(struct progress *p);
/* " ✓ text (12 ms)" */
PRINTF_LIKE(2, 3) void progress_step(struct progress *p, const char *fmt, ...);
/* " ✗ text", on stderr. */
PRINTF_LIKE(2, 3) void progress_fail(struct progress *p, const char *fmt, ...);
/* Milliseconds since progress_begin(). */
uint64_t progress_total_ms(const struct progress *p);

#endif
