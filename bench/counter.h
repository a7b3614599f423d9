/* A watch of the bench's pods that counts its ADDED events: how a subject knows that the last pod was bound. */
#ifndef BENCH_COUNTER_H
#define BENCH_COUNTER_H

#include "bench/bench.h"

struct counter {
    unsigned left; /* events still to come */
    size_t column; /* of the next byte, in the line of one event */
    bool open;
    unsigned opening;
    uint64_t last_ns;
    struct err err;
};

/* Opens the watch and waits for its answer; 'query' is encoded. NULL with a reason. While 'open', the call is to be cancelled. */
MUST_CHECK struct http_call *counter_start(struct bench *b, struct counter *n, unsigned events, const char *query, struct err *err);
/* Until every event came. */
MUST_CHECK bool counter_wait(struct bench *b, struct counter *n, uint64_t timeout_ms, struct err *err);

#endif
