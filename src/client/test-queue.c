#include "client/queue.h"

#include "base/test.h"

TEST(a_key_added_twice_is_taken_once)
{
    struct queue *q = queue_new();
    struct str key;
    queue_add(q, STR("a"), 0, 0);
    queue_add(q, STR("a"), 0, 0);
    CHECK_INT(queue_len(q), 1);
    CHECK(queue_take(q, 0, &key));
    CHECK(!queue_take(q, 0, &key));
    queue_done(q, STR("a"), 0);
    CHECK(!queue_take(q, 0, &key));
    queue_free(q);
}

TEST(a_key_added_while_it_is_worked_on_comes_again_afterwards)
{
    struct queue *q = queue_new();
    struct str key;
    queue_add(q, STR("a"), 0, 0);
    CHECK(queue_take(q, 0, &key));
    queue_add(q, STR("a"), 0, 0);
    CHECK(!queue_take(q, 0, &key));
    queue_done(q, STR("a"), 1);
    CHECK(queue_take(q, 1, &key));
    queue_free(q);
}

TEST(the_earlier_of_two_delays_wins)
{
    struct queue *q = queue_new();
    struct str key;
    queue_add(q, STR("a"), 0, 1000);
    queue_add(q, STR("a"), 0, 10);
    queue_add(q, STR("a"), 0, 500);
    CHECK_INT(queue_wait_ms(q, 0), 10);
    CHECK(!queue_take(q, 9, &key));
    CHECK(queue_take(q, 10, &key));
    queue_done(q, STR("a"), 10);
    CHECK_INT(queue_wait_ms(q, 10), UINT64_MAX);
    queue_free(q);
}

TEST(back_off_doubles_until_it_is_forgotten_and_has_a_ceiling)
{
    struct queue *q = queue_new();
    struct str key;
    uint64_t now = 0, want = 5;
    for (int i = 0; i < 40; i++) {
        queue_add_backoff(q, STR("a"), now);
        CHECK_INT(queue_wait_ms(q, now), want);
        now += want;
        CHECK(queue_take(q, now, &key));
        queue_done(q, STR("a"), now);
        want = MIN(want * 2, 1000000u);
    }
    queue_forget(q, STR("a"));
    queue_add_backoff(q, STR("a"), now);
    CHECK_INT(queue_wait_ms(q, now), 5);
    queue_free(q);
}

TEST(many_failing_keys_together_are_slowed_to_ten_a_second)
{
    struct queue *q = queue_new();
    char name[16];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        queue_add_backoff(q, str_c(name), 0);
    }
    struct str key;
    unsigned early = 0;
    while (queue_take(q, 1000, &key)) {
        early++;
        queue_done(q, key, 1000);
    }
    CHECK_INT(early, 110);
    queue_free(q);
}
