/*
 * Gives memory back to the system after a burst. free() keeps what lies between things that live on, and after ten thousand
 * requests that is a third of a heap. Whoever does work that leaves such holes counts it; once it has been quiet for a while,
 * what is free goes. A process that does nothing is not woken.
 */
#ifndef NET_TRIM_H
#define NET_TRIM_H

#include "net/loop.h"

struct net_trim {
    struct loop_timer timer;
    uint64_t later_ms; /* how much later it is done once more, for what ages meanwhile; 0: once is enough */
    unsigned work;     /* since the last trim */
    unsigned seen;     /* of it when the timer was started */
    bool again;
};

void net_trim_init(struct net_trim *t, struct loop *loop, uint64_t later_ms);
void net_trim_deinit(struct net_trim *t);
/* A piece of work was done: a request, an object that was replaced. */
void net_trim_count(struct net_trim *t);

#endif
