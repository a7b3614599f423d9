#include "api/toleration.h"
#include "base/test.h"

static const struct core_v1_taint dedicated = { .key = STR_INIT("dedicated"), .value = STR_INIT("gpu"),
                                                .effect = STR_INIT("NoSchedule") };

static bool covers(const char *key, const char *op, const char *value, const char *effect)
{
    struct core_v1_toleration t = { .key = str_c(key), .operator = str_c(op), .value = str_c(value),
                                    .effect = str_c(effect) };
    return toleration_matches(&t, &dedicated);
}

TEST(a_toleration_covers_a_taint_of_its_key_value_and_effect)
{
    CHECK(covers("dedicated", "Equal", "gpu", "NoSchedule"));
    CHECK(covers("dedicated", "", "gpu", "NoSchedule"));
    CHECK(covers("dedicated", "Equal", "gpu", ""));
    CHECK(!covers("dedicated", "Equal", "cpu", "NoSchedule"));
    CHECK(!covers("other", "Equal", "gpu", "NoSchedule"));
    CHECK(!covers("dedicated", "Equal", "gpu", "NoExecute"));
}

TEST(exists_asks_for_no_value_and_with_no_key_covers_every_taint)
{
    CHECK(covers("dedicated", "Exists", "", "NoSchedule"));
    CHECK(covers("", "Exists", "", ""));
    CHECK(!covers("", "Exists", "", "NoExecute"));
    CHECK(!covers("", "Equal", "gpu", ""));
    CHECK(!covers("dedicated", "Perhaps", "gpu", ""));
}

TEST(one_of_several_tolerations_is_enough)
{
    struct core_v1_toleration t[] = { { .key = STR("other"), .operator = STR("Exists") },
                                      { .key = STR("dedicated"), .operator = STR("Exists") } };
    CHECK(!tolerations_match(t, 1, &dedicated));
    CHECK(tolerations_match(t, 2, &dedicated));
    CHECK(!tolerations_match(NULL, 0, &dedicated));
}
