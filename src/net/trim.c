#include "net/trim.h"

#include <malloc.h>

/* So much work is a burst; less leaves little. */
#define TRIM_WORK 1000u
/* Quiet: less than TRIM_BUSY pieces of work in this time. */
#define TRIM_QUIET_MS 5000u
#define TRIM_BUSY 100u

static void trim_wait(struct net_trim *t, uint64_t ms)
{
    t->seen = t->work;
    loop_timer_start(&t->timer, ms);
}

static void on_quiet(void *arg)
{
    struct net_trim *t = arg;
    if (t->work - t->seen > TRIM_BUSY) {
        trim_wait(t, TRIM_QUIET_MS);
        return;
    }
    malloc_trim(0);
    t->work = 0;
    if (t->later_ms && !t->again) {
        t->again = true;
        trim_wait(t, t->later_ms);
    } else {
        t->again = false;
    }
}

void net_trim_init(struct net_trim *t, struct loop *loop, uint64_t later_ms)
{
    *t = (struct net_trim){ .later_ms = later_ms };
    loop_timer_init(&t->timer, loop, on_quiet, t);
}

void net_trim_deinit(struct net_trim *t)
{
    loop_timer_stop(&t->timer);
}

void net_trim_count(struct net_trim *t)
{
    if (++t->work == TRIM_WORK) {
        t->again = false;
        trim_wait(t, TRIM_QUIET_MS);
    }
}
