#include "base/rand.h"
#include "base/test.h"
#include "scheduler/counts.h"

TEST(counts_are_what_was_added_and_taken_away)
{
    struct counts c = { 0 };
    uint32_t plain[300] = { 0 }, pos = 0, key, n, keys = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t k = (uint32_t)rand_below(ARRAY_SIZE(plain));
        int by = plain[k] && rand_below(2) ? -1 : (int)rand_below(3);
        counts_add(&c, k, by);
        plain[k] = (uint32_t)((int)plain[k] + by);
        CHECK_INT(counts_get(&c, k), plain[k]);
        if (i % 1000 == 0) { /* down to nothing, so that slots are freed in rows */
            for (uint32_t j = 0; j < ARRAY_SIZE(plain); j += 2) {
                counts_add(&c, j, -(int64_t)plain[j]);
                plain[j] = 0;
            }
        }
    }
    for (uint32_t k = 0; k < ARRAY_SIZE(plain); k++) {
        CHECK_INT(counts_get(&c, k), plain[k]);
        keys += plain[k] > 0;
    }
    CHECK_INT(c.n, keys);
    for (keys = 0; counts_next(&c, &pos, &key, &n); keys++) {
        CHECK_INT(n, plain[key]);
    }
    CHECK_INT(c.n, keys);
    counts_deinit(&c);
}
