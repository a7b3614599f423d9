#include "cloud/seat.h"

/* After an error, so that a refusing server is not asked in a circle. */
#define ERROR_MS 500

void seat_init(struct seat *s, uint32_t lease_ms, uint64_t now)
{
    *s = (struct seat){ .lease_ms = lease_ms, .seen_ms = now };
}

void seat_saw(struct seat *s, bool held, bool ours, uint64_t lasts_ms, uint64_t now)
{
    s->held = held;
    s->ours = held && ours;
    s->seen_ms = now;
    s->lasts_ms = held ? lasts_ms : 0;
    if (held && !ours) {
        s->holding = false;
    }
}

static uint64_t rank_ms(const struct seat *s)
{
    return MIN((uint64_t)s->rank * SEAT_RANK_MS, (uint64_t)SEAT_RANK_MOST_MS);
}

enum seat_action seat_next(const struct seat *s, uint64_t now, uint64_t *ret_wake_ms)
{
    enum seat_action action = SEAT_WAIT;
    uint64_t at = UINT64_MAX;
    if (s->asking) {
        *ret_wake_ms = UINT64_MAX;
        return SEAT_WAIT;
    }
    if (s->holding) {
        action = s->eligible ? SEAT_RENEW : SEAT_RELEASE;
        at = s->eligible ? s->renewed_ms + s->lease_ms / 3 : now;
    } else if (s->eligible) {
        /* A Lease that says this node, and a node that knows nothing of it: it was started anew. */
        action = SEAT_TAKE;
        at = s->ours ? now : s->seen_ms + s->lasts_ms + rank_ms(s);
    } else if (s->ours) {
        action = SEAT_RELEASE;
        at = now;
    }
    at = MAX(at, s->not_before_ms);
    *ret_wake_ms = at;
    return at <= now ? action : SEAT_WAIT;
}

void seat_ask(struct seat *s, uint64_t now)
{
    s->asking = true;
    s->asked_ms = now;
}

void seat_answer(struct seat *s, enum seat_action action, bool ok, uint64_t now)
{
    s->asking = false;
    if (!ok) {
        s->not_before_ms = now + ERROR_MS;
        return;
    }
    s->not_before_ms = 0;
    s->holding = action != SEAT_RELEASE;
    s->renewed_ms = s->asked_ms;
    s->held = s->ours = s->holding;
    s->lasts_ms = s->holding ? s->lease_ms : 0;
    s->seen_ms = now;
}

enum seat_standing seat_stands(const struct seat *s, uint64_t now, uint64_t *ret_until_ms)
{
    uint64_t until = s->renewed_ms + s->lease_ms - s->lease_ms / 6;
    *ret_until_ms = until;
    return !s->holding || !s->eligible ? SEAT_ELSEWHERE : now < until ? SEAT_HERE : SEAT_IN_DOUBT;
}

void seat_yield(struct seat *s)
{
    s->holding = false;
}
