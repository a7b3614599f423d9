#include "base/arena.h"
#include "base/test.h"

TEST(arena_returns_null_past_its_budget_and_works_again_after_clear)
{
    struct arena a;
    arena_init(&a, 10000);
    CHECK(arena_alloc(&a, 5000) != NULL);
    CHECK(arena_alloc(&a, 6000) == NULL);
    arena_deinit(&a);
    CHECK(arena_alloc(&a, 6000) != NULL);
    arena_deinit(&a);
}

TEST(arena_array_size_overflow_gives_null)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(arena_alloc_n(&a, SIZE_MAX / 2, 4) == NULL);
    arena_deinit(&a);
}

TEST(arena_pieces_are_zero_also_after_clear)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    for (int round = 0; round < 3; round++) {
        unsigned char *p = arena_alloc(&a, 100);
        for (int i = 0; i < 100; i++) {
            CHECK_INT(p[i], 0);
        }
        memset(p, 0xff, 100);
        arena_clear(&a);
    }
    arena_deinit(&a);
}

TEST(an_exact_chunk_holds_the_same_pieces)
{
    struct arena a, b;
    arena_init(&a, ARENA_NO_BUDGET);
    for (size_t i = 1; i < 40; i++) {
        CHECK(arena_alloc(&a, i) != NULL);
    }
    size_t exact = arena_exact_chunk(&a);
    arena_init_chunk(&b, exact, exact);
    for (size_t i = 1; i < 40; i++) {
        CHECK(arena_alloc(&b, i) != NULL);
    }
    CHECK_INT(b.used, exact);
    CHECK(arena_alloc(&b, 1) == NULL);
    arena_deinit(&a);
    arena_deinit(&b);
}
