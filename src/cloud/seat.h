/*
 * One address, and which node stands for it: a Lease whose holder is the node. An engine: what was seen and the clock come in, what is
 * to be done comes out.
 *
 * The holder renews three times in the lease's length. While its last renewal, counted from when it was *sent*, is younger than the
 * length less a sixth, it stands for the address with certainty. Others take over once they have seen no change for the whole length,
 * by their own clocks. So no two are certain at a time, whatever their clocks say, unless one runs a sixth too slow. Of several that
 * may, the one with the lowest rank goes first.
 *
 * A holder that can renew no longer is in doubt: perhaps the API is away for everybody, and then nobody takes over, and Services are
 * to work on as they do everywhere else; perhaps it alone is cut off. So it goes on, asks the link every second whether another has
 * the address, and yields to the first that says so.
 */
#ifndef CLOUD_SEAT_H
#define CLOUD_SEAT_H

#include "base/macros.h"
#include <stdbool.h>

/* Each rank waits so much longer, up to the most. */
#define SEAT_RANK_MS 150
#define SEAT_RANK_MOST_MS 1500

struct seat {
    /* What is wanted. */
    bool eligible; /* may this node stand for it? */
    unsigned rank; /* among the nodes that may */
    uint32_t lease_ms;

    /* The Lease as last seen. */
    bool held, ours;    /* somebody, or this node, is its holder */
    uint64_t seen_ms;   /* when it was last seen to change */
    uint64_t lasts_ms;  /* what the holder said */

    /* What this node does. */
    bool holding;        /* it was the holder at the last answer */
    uint64_t renewed_ms; /* when the renewal was sent that succeeded last */
    bool asking;
    uint64_t asked_ms;
    uint64_t not_before_ms; /* after an error */
};

enum seat_action {
    SEAT_WAIT,    /* until '*ret_wake_ms' (UINT64_MAX: until something is seen) */
    SEAT_TAKE,    /* write the Lease with this node as holder */
    SEAT_RENEW,
    SEAT_RELEASE, /* write it without a holder */
};

/* Nothing is known of the Lease yet. */
void seat_init(struct seat *s, uint32_t lease_ms, uint64_t now);
/* The Lease has changed, or was seen first. 'held' false: it is not there, or has no holder. */
void seat_saw(struct seat *s, bool held, bool ours, uint64_t lasts_ms, uint64_t now);
enum seat_action seat_next(const struct seat *s, uint64_t now, uint64_t *ret_wake_ms);
/* The action is being carried out; its answer. */
void seat_ask(struct seat *s, uint64_t now);
void seat_answer(struct seat *s, enum seat_action action, bool ok, uint64_t now);
enum seat_standing { SEAT_ELSEWHERE, SEAT_HERE, SEAT_IN_DOUBT };
/* Does this node stand for the address now? SEAT_HERE lasts until '*ret_until_ms', if nothing comes in between. */
enum seat_standing seat_stands(const struct seat *s, uint64_t now, uint64_t *ret_until_ms);
/* In doubt, another was seen to have the address. */
void seat_yield(struct seat *s);

#endif
