#include "net/trim.h"

#include "base/test.h"

TEST(only_a_burst_of_work_wakes_a_process_to_give_memory_back)
{
    struct err err;
    struct loop *loop = loop_new(&err);
    CHECK_OK(loop, &err);
    struct net_trim t;
    net_trim_init(&t, loop, 0);
    for (unsigned i = 0; i < 999; i++) {
        net_trim_count(&t);
    }
    CHECK(!loop_timer_runs(&t.timer));
    net_trim_count(&t);
    CHECK(loop_timer_runs(&t.timer));
    net_trim_deinit(&t);
    CHECK(!loop_timer_runs(&t.timer));
    loop_free(loop);
}
