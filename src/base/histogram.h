/*
 * Latencies in buckets whose width is at most 1/64 of their value: percentiles within 1.6 % in 30 KB, however many values there
 * are and however far apart. Values are nanoseconds up to about 4 hours.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS (64 * 40)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t n, max;
};

void histogram_add(struct histogram *h, uint64_t value);
/* The value that 'percent' of the values do not pass, 0 when there are none. The largest value is exact. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
