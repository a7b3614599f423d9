#include "cloud/seat.h"

#include "base/test.h"

#define LEASE 6000

/* A few nodes and one Lease, with answers and news that take their time. */
struct record {
    int holder; /* -1: nobody */
    uint64_t version;
};
struct node {
    struct seat seat;
    uint64_t seen, news_at, answer_at, base;
    enum seat_action action;
    bool dead, pending;
};
#define NODES 4

struct world {
    struct record lease;
    struct node nodes[NODES];
    uint64_t now, seed;
};

static uint64_t chance(struct world *w, uint64_t n)
{
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    return (w->seed >> 33) % n;
}

static void node_step(struct world *w, int i)
{
    struct node *x = &w->nodes[i];
    uint64_t wake;
    if (x->dead) {
        return;
    }
    if (x->seen != w->lease.version && w->now >= x->news_at) {
        seat_saw(&x->seat, w->lease.holder >= 0, w->lease.holder == i, LEASE, w->now);
        x->seen = w->lease.version;
    }
    if (x->pending && w->now >= x->answer_at) {
        bool ok = x->base == w->lease.version; /* compare and put, at the server */
        x->pending = false;
        if (ok) {
            w->lease.holder = x->action == SEAT_RELEASE ? -1 : i;
            w->lease.version++;
            x->seen = w->lease.version;
            for (int k = 0; k < NODES; k++) {
                w->nodes[k].news_at = w->now + chance(w, 300);
            }
        }
        seat_answer(&x->seat, x->action, ok, w->now);
    }
    enum seat_action action = seat_next(&x->seat, w->now, &wake);
    if (action != SEAT_WAIT) {
        seat_ask(&x->seat, w->now);
        x->action = action;
        x->pending = true;
        x->base = x->seen;
        x->answer_at = w->now + chance(w, 200);
    }
}

/* Who stands for the address with certainty; never more than one. */
static int standing(struct world *w)
{
    int n = 0, who = -1;
    uint64_t until;
    for (int i = 0; i < NODES; i++) {
        /* One that is dead to the API still answers on its link. */
        if (seat_stands(&w->nodes[i].seat, w->now, &until) == SEAT_HERE) {
            n++;
            who = i;
        }
    }
    CHECK(n <= 1);
    return who;
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ .lease = { .holder = -1 }, .now = 1000, .seed = seed };
    for (int i = 0; i < NODES; i++) {
        seat_init(&w->nodes[i].seat, LEASE, w->now);
        w->nodes[i].seat.eligible = true;
        w->nodes[i].seat.rank = (unsigned)i;
    }
}

static int run(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now + ms; w->now < end; w->now += 10) {
        for (int i = 0; i < NODES; i++) {
            node_step(w, i);
        }
        standing(w);
    }
    return standing(w);
}

TEST(the_first_in_rank_stands_and_the_next_follows_when_it_dies)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct world w;
        world_init(&w, seed);
        int first = run(&w, 3000);
        CHECK(first >= 0);
        CHECK_INT(run(&w, 30000), first); /* it stays */
        w.nodes[first].dead = true;
        int next = run(&w, LEASE + 3000);
        CHECK(next >= 0 && next != first);
        w.nodes[first].dead = false; /* back: it does not take it away */
        CHECK_INT(run(&w, 20000), next);
    }
}

TEST(a_node_that_may_no_longer_gives_it_back_at_once)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct world w;
        world_init(&w, seed);
        int first = run(&w, 5000);
        w.nodes[first].seat.eligible = false;
        int next = run(&w, 2000);
        CHECK(next >= 0 && next != first);
    }
}

TEST(nodes_that_come_and_go_never_stand_together)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct world w;
        world_init(&w, seed);
        for (int i = 0; i < 60; i++) {
            run(&w, 500 + chance(&w, 4000));
            struct node *x = &w.nodes[chance(&w, NODES)];
            if (chance(&w, 2)) {
                x->dead = !x->dead;
            } else {
                x->seat.eligible = !x->seat.eligible;
            }
        }
        for (int i = 0; i < NODES; i++) {
            w.nodes[i].dead = false;
            w.nodes[i].seat.eligible = true;
        }
        CHECK(run(&w, 2 * LEASE) >= 0);
    }
}

TEST(a_holder_that_is_cut_off_is_in_doubt_until_it_sees_another_or_renews)
{
    struct seat s;
    uint64_t wake, until;
    seat_init(&s, LEASE, 1000);
    s.eligible = true;
    CHECK_INT(seat_next(&s, 1000, &wake), SEAT_TAKE);
    seat_ask(&s, 1000);
    seat_answer(&s, SEAT_TAKE, true, 1100);
    CHECK_INT(seat_stands(&s, 5999, &until), SEAT_HERE);
    CHECK_INT(until, 6000);
    CHECK_INT(seat_next(&s, 3000, &wake), SEAT_RENEW);
    seat_ask(&s, 3000);
    seat_answer(&s, SEAT_RENEW, false, 5000);
    CHECK_INT(seat_next(&s, 5000, &wake), SEAT_WAIT);
    CHECK_INT(seat_next(&s, wake, &wake), SEAT_RENEW); /* it goes on trying */
    CHECK_INT(seat_stands(&s, 6000, &until), SEAT_IN_DOUBT);
    struct seat renewed = s;
    seat_ask(&renewed, 9000);
    seat_answer(&renewed, SEAT_RENEW, true, 9001);
    CHECK_INT(seat_stands(&renewed, 9001, &until), SEAT_HERE);
    seat_yield(&s);
    CHECK_INT(seat_stands(&s, 9000, &until), SEAT_ELSEWHERE);
    CHECK_INT(seat_next(&s, 9000, &wake), SEAT_TAKE); /* the Lease that it saw last was its own */
}

TEST(one_that_was_started_anew_goes_on_at_once)
{
    struct seat s;
    uint64_t wake;
    seat_init(&s, LEASE, 1000);
    s.eligible = true;
    s.rank = 3;
    seat_saw(&s, true, true, LEASE, 1000);
    CHECK_INT(seat_next(&s, 1000, &wake), SEAT_TAKE);
}
