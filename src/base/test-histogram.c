#include "base/histogram.h"

#include "base/test.h"

TEST(percentiles_are_within_two_percent)
{
    static struct histogram h;
    for (uint64_t i = 1; i <= 100000; i++) {
        histogram_add(&h, i * 1000);
    }
    uint64_t p50 = histogram_percentile(&h, 50), p99 = histogram_percentile(&h, 99);
    CHECK(p50 >= 50000000 && p50 <= 51000000);
    CHECK(p99 >= 99000000 && p99 <= 100000000);
    CHECK_INT(histogram_percentile(&h, 100), 100000000);
}

TEST(few_and_extreme_values_have_percentiles_too)
{
    static struct histogram h;
    CHECK_INT(histogram_percentile(&h, 99), 0);
    histogram_add(&h, 7);
    CHECK_INT(histogram_percentile(&h, 50), 7);
    histogram_add(&h, UINT64_MAX);
    CHECK_INT(histogram_percentile(&h, 50), 7);
    CHECK(histogram_percentile(&h, 100) > 1000000000000);
}
