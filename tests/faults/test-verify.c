/* The judge sees what it is there to see: each test is a history with one thing wrong, and the same history without it. */
#include "base/test.h"
#include "history.h"

#define MS UINT64_C(1000000)

static struct history fresh(void)
{
    return (struct history){ .n_maps = 4, .n_keys = 8, .lives_end = true };
}

static struct deed *did(struct history *h, enum deed_kind kind, uint32_t key, uint64_t value, int64_t expect, int64_t revision, uint64_t begin_ms)
{
    struct deed *d = history_deed(h);
    *d = (struct deed){ .kind = kind, .outcome = OUTCOME_OK, .key = key, .value = value, .expect = expect, .revision = revision,
                        .begin = begin_ms * MS, .end = (begin_ms + 5) * MS };
    return d;
}

static struct session *listed(struct history *h, bool leases, int64_t revision, uint64_t begin_ms)
{
    struct session *s = history_session(h);
    *s = (struct session){ .leases = leases, .revision = revision, .begin = begin_ms * MS, .end = (begin_ms + 5) * MS };
    return s;
}

static void saw(struct session *s, enum sight_kind kind, uint32_t key, uint64_t value, int64_t revision)
{
    *session_sight(s) = (struct sight){ .kind = kind, .key = key, .value = value, .revision = revision, .at = s->end };
    s->n_items += kind == SIGHT_ITEM;
}

static size_t wrongs(struct history *h)
{
    size_t n = history_verify(h, 0);
    history_deinit(h);
    return n;
}

/* Created at 10, updated at 11, deleted, created at 14. */
static struct history good(void)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 11, 110);
    did(&h, DEED_GET, 0, 2, 0, 11, 120);
    did(&h, DEED_DELETE, 0, 0, 11, 0, 130);
    did(&h, DEED_GET, 0, 0, 0, 0, 140)->outcome = OUTCOME_ABSENT;
    did(&h, DEED_CREATE, 0, 3, 0, 14, 150);
    return h;
}

TEST(what_is_right_passes)
{
    struct history h = good();
    struct session *s = listed(&h, false, 10, 108);
    saw(s, SIGHT_ITEM, 0, 1, 10);
    saw(s, SIGHT_MODIFIED, 0, 2, 11);
    saw(s, SIGHT_DELETED, 0, 2, 13);
    saw(s, SIGHT_ADDED, 0, 3, 14);
    saw(s, SIGHT_BOOKMARK, 0, 0, 20);
    s->to_the_end = true;
    CHECK_INT(wrongs(&h), 0);
}

TEST(lost_update_is_found_by_a_list)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 11, 110);
    saw(listed(&h, false, 20, 200), SIGHT_ITEM, 0, 1, 10);
    CHECK(wrongs(&h) > 0);
}

TEST(lost_create_is_found_by_a_list_and_by_the_next_create)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    listed(&h, false, 20, 200);
    CHECK(wrongs(&h) > 0);
    h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_CREATE, 0, 2, 0, 11, 110);
    CHECK(wrongs(&h) > 0);
}

TEST(deleted_object_that_is_there_again_is_found)
{
    struct history h = good();
    did(&h, DEED_DELETE, 0, 0, 14, 0, 160);
    did(&h, DEED_GET, 0, 3, 0, 14, 170);
    CHECK(wrongs(&h) > 0);
    h = good();
    did(&h, DEED_DELETE, 0, 0, 14, 0, 160);
    saw(listed(&h, false, 20, 200), SIGHT_ITEM, 0, 3, 14);
    CHECK(wrongs(&h) > 0);
}

TEST(two_winners_are_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 11, 110);
    did(&h, DEED_UPDATE, 0, 3, 10, 12, 111);
    CHECK(wrongs(&h) > 0);
}

TEST(stale_read_is_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 11, 110);
    did(&h, DEED_GET, 0, 1, 0, 10, 120);
    CHECK(wrongs(&h) > 0);
    h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 11, 110);
    did(&h, DEED_GET, 0, 1, 0, 10, 112); /* while the update was under way */
    CHECK_INT(wrongs(&h), 0);
}

TEST(revision_that_goes_backwards_is_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_CREATE, 1, 2, 0, 9, 110);
    CHECK(wrongs(&h) > 0);
    h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_CREATE, 1, 2, 0, 10, 101);
    CHECK(wrongs(&h) > 0);
}

TEST(refused_write_that_was_made_is_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 9, 0, 110)->outcome = OUTCOME_CONFLICT;
    saw(listed(&h, false, 20, 200), SIGHT_ITEM, 0, 2, 11);
    CHECK(wrongs(&h) > 0);
}

TEST(refusal_without_a_cause_is_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    did(&h, DEED_UPDATE, 0, 2, 10, 0, 110)->outcome = OUTCOME_CONFLICT;
    did(&h, DEED_UPDATE, 0, 3, 10, 11, 200);
    CHECK(wrongs(&h) > 0);
}

TEST(write_without_an_answer_may_be_there_or_not_but_not_later)
{
    for (int there = 0; there < 3; there++) {
        struct history h = fresh();
        did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
        did(&h, DEED_UPDATE, 0, 2, 10, 0, 110)->outcome = OUTCOME_UNKNOWN;
        struct session *s = listed(&h, false, 20, 200);
        s->is_first = true;
        s->life = 1;
        saw(s, SIGHT_ITEM, 0, there == 1 ? 2 : 1, there == 1 ? 11 : 10);
        if (there == 2) {
            struct deed *d = did(&h, DEED_GET, 0, 2, 0, 30, 300);
            d->life = 1;
        }
        CHECK_INT(wrongs(&h) > 0, there == 2);
    }
}

TEST(missing_and_doubled_and_disordered_events_are_found)
{
    for (int fault = 0; fault < 4; fault++) {
        struct history h = good();
        struct session *s = listed(&h, false, 10, 108);
        saw(s, SIGHT_ITEM, 0, 1, 10);
        if (fault != 1) {
            saw(s, SIGHT_MODIFIED, 0, 2, 11);
        }
        if (fault == 2) {
            saw(s, SIGHT_MODIFIED, 0, 2, 11);
        }
        if (fault != 3) {
            saw(s, SIGHT_DELETED, 0, 2, 13);
        }
        saw(s, SIGHT_ADDED, 0, 3, 14);
        CHECK_INT(wrongs(&h) > 0, fault != 0);
    }
}

TEST(renewals_may_be_lost_with_the_power_and_nothing_else)
{
    for (int fault = 0; fault < 3; fault++) {
        struct history h = fresh();
        did(&h, DEED_CREATE, 5, 1, 0, 10, 100);
        did(&h, DEED_UPDATE, 5, 2, 10, 11, 110)->is_volatile = fault != 1;
        struct session *s = listed(&h, true, 20, 200);
        s->is_first = true;
        s->power_lost = fault != 2;
        s->life = 1;
        saw(s, SIGHT_ITEM, 5, 1, 10);
        did(&h, DEED_UPDATE, 5, 3, 10, 21, 300)->life = 1;
        CHECK_INT(wrongs(&h) > 0, fault != 0);
    }
}

TEST(value_that_nobody_wrote_is_found)
{
    struct history h = fresh();
    did(&h, DEED_CREATE, 0, 1, 0, 10, 100);
    saw(listed(&h, false, 20, 200), SIGHT_ITEM, 0, 77, 10);
    CHECK(wrongs(&h) > 0);
}
