#include "base/rand.h"
#include "base/test.h"
#include "store/tree.h"

#include <stdlib.h>

struct number {
    unsigned value, version;
    int refs;
};

static int live;

static int number_cmp(const void *item, const void *key)
{
    unsigned a = ((const struct number *)item)->value, b = *(const unsigned *)key;
    return a < b ? -1 : a > b;
}
static void number_ref(const void *item)
{
    ((struct number *)(uintptr_t)item)->refs++;
}
static void number_unref(const void *item)
{
    struct number *n = (struct number *)(uintptr_t)item;
    if (n && --n->refs == 0) {
        live--;
        free(n);
    }
}
static const struct tree_type number_tree = { .cmp = number_cmp, .ref = number_ref, .unref = number_unref };

static struct number *number_new(unsigned value, unsigned version)
{
    struct number *n = malloc(sizeof(*n));
    *n = (struct number){ .value = value, .version = version, .refs = 1 };
    live++;
    return n;
}

enum { RANGE = 3000 };

static void check_same(const struct tree *t, const unsigned model[RANGE])
{
    struct tree_iter it;
    size_t count = 0;
    for (unsigned i = 0; i < RANGE; i++) {
        count += model[i] != 0;
    }
    CHECK_INT(tree_count(t), count);
    tree_iter_init(&it, t, NULL, false);
    for (unsigned i = 0; i < RANGE; i++) {
        if (model[i]) {
            CHECK_INT(tree_iter_left(&it), count);
            const struct number *n = tree_iter_next(&it);
            CHECK(n && n->value == i && n->version == model[i]);
            count--;
        }
    }
    CHECK(!tree_iter_next(&it));
}

TEST(tree_and_its_pinned_roots_agree_with_a_plain_array)
{
    static unsigned model[RANGE], pinned_model[4][RANGE];
    struct tree t, pinned[4];
    live = 0;
    memset(model, 0, sizeof(model));
    tree_init(&t, &number_tree);
    for (int i = 0; i < 4; i++) {
        tree_init(&pinned[i], &number_tree);
        memset(pinned_model[i], 0, sizeof(model));
    }
    for (unsigned round = 1; round < 60000; round++) {
        unsigned k = (unsigned)rand_below(RANGE);
        bool grow = round % 20000 < 12000;
        if (rand_below(100) < (grow ? 70u : 30u)) {
            const struct number *old = tree_put(&t, &k, number_new(k, round));
            CHECK((old != NULL) == (model[k] != 0));
            number_unref(old);
            model[k] = round;
        } else {
            const struct number *old = tree_remove(&t, &k);
            CHECK((old != NULL) == (model[k] != 0));
            number_unref(old);
            model[k] = 0;
        }
        const struct number *got = tree_get(&t, &k);
        CHECK((got ? got->version : 0) == model[k]);
        if (round % 5000 == 0) {
            int slot = (int)(round / 5000 % 4);
            check_same(&pinned[slot], pinned_model[slot]);
            tree_deinit(&pinned[slot]);
            pinned[slot] = tree_pin(&t);
            memcpy(pinned_model[slot], model, sizeof(model));
            check_same(&t, model);
        }
    }
    for (int i = 0; i < 4; i++) {
        check_same(&pinned[i], pinned_model[i]);
        tree_deinit(&pinned[i]);
    }
    for (unsigned k = 0; k < RANGE; k++) {
        number_unref(tree_remove(&t, &k));
    }
    CHECK_INT(tree_count(&t), 0);
    CHECK(!t.root);
    tree_deinit(&t);
    CHECK_INT(live, 0);
}

TEST(tree_iterator_starts_at_or_behind_a_key)
{
    struct tree t;
    struct tree_iter it;
    tree_init(&t, &number_tree);
    for (unsigned i = 0; i < 1000; i++) {
        unsigned k = i * 2;
        CHECK(!tree_put(&t, &k, number_new(k, 1)));
    }
    for (unsigned k = 0; k < 1998; k++) {
        tree_iter_init(&it, &t, &k, false);
        CHECK_INT(((const struct number *)tree_iter_next(&it))->value, (k + 1) / 2 * 2);
        tree_iter_init(&it, &t, &k, true);
        CHECK_INT(tree_iter_left(&it), 1000 - k / 2 - 1);
        CHECK_INT(((const struct number *)tree_iter_next(&it))->value, k / 2 * 2 + 2);
    }
    unsigned last = 1998;
    tree_iter_init(&it, &t, &last, true);
    CHECK(!tree_iter_next(&it));
    tree_deinit(&t);
}
