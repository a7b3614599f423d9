#include "base/histogram.h"

/* Values below 64 have a bucket each; above, each power of two is cut into 64. */
static size_t bucket_of(uint64_t value)
{
    if (value < 64) {
        return (size_t)value;
    }
    unsigned shift = 57u - (unsigned)__builtin_clzll(value);
    size_t bucket = ((size_t)shift + 1) * 64 + (size_t)((value >> shift) - 64);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t highest_of(size_t bucket)
{
    if (bucket < 64) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / 64) - 1;
    return ((bucket % 64 + 64 + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->n++;
    if (value > h->max) {
        h->max = value;
    }
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)((double)h->n * percent / 100.0 + 0.5), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= wanted && seen > 0) {
            uint64_t value = highest_of(i);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}
