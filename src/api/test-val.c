#include "api/val.h"
#include "base/test.h"

static struct val parse(struct arena *a, const char *text)
{
    struct val v = val_null();
    struct err err;
    CHECK_OK(val_parse_json(a, str_c(text), JSON_DEPTH, NULL, &v, &err), &err);
    return v;
}

TEST(val_json_round_trip_keeps_order_and_presence)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    const char *text = "{\"z\":null,\"a\":[],\"m\":{},\"s\":\"\",\"i\":0,\"d\":1.5,\"big\":9223372036854775807,\"more\":1e+21,\"t\":true}";
    struct val v = parse(&a, text);
    CHECK_STR_C(val_to_json(&a, &v), text);
    CHECK(val_get(&v, STR("nope")) == NULL);
    CHECK(val_is(val_get(&v, STR("z")), VAL_NULL));
    CHECK_INT(VAL_AT(&v, "i")->i, 0);
    arena_deinit(&a);
}

TEST(val_of_duplicate_keys_the_last_value_counts_and_paths_are_reported)
{
    struct arena a;
    struct val_dups dups;
    struct val v;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    val_dups_init(&dups);
    CHECK_OK(val_parse_json(&a, STR("{\"a\":1,\"l\":[{\"x\":1,\"x\":2}],\"a\":3}"), JSON_DEPTH, &dups, &v, &err), &err);
    CHECK_STR_C(val_to_json(&a, &v), "{\"a\":3,\"l\":[{\"x\":2}]}");
    CHECK_INT(dups.n, 2);
    CHECK_STR_C(dups.first->path, "l[0].x");
    CHECK_STR_C(dups.first->next->path, "a");

    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("{"));
    for (int i = 0; i < 200; i++) {
        buf_printf(&b, "%s\"k%d\":%d", i ? "," : "", i % 100, i);
    }
    buf_append(&b, STR("}"));
    CHECK_OK(val_parse_json(&a, buf_str(&b), JSON_DEPTH, &dups, &v, &err), &err);
    CHECK_INT(v.n, 100);
    CHECK_INT(val_get(&v, STR("k7"))->i, 107);
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(val_edits_keep_the_order_of_the_rest)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val v = parse(&a, "{\"a\":1,\"b\":2,\"c\":3}");
    CHECK(val_remove(&v, STR("b")));
    CHECK(!val_remove(&v, STR("b")));
    CHECK(val_set(&a, &v, STR("a"), val_string(STR("x"))) != NULL);
    CHECK(val_set(&a, &v, STR("d"), val_bool(false)) != NULL);
    struct val l = val_array();
    CHECK(val_push(&a, &l, val_int(1)) != NULL);
    CHECK(val_push(&a, &l, val_int(3)) != NULL);
    CHECK(val_insert(&a, &l, 1, val_int(2)) != NULL);
    CHECK(val_insert(&a, &l, 0, val_int(0)) != NULL);
    val_remove_at(&l, 2);
    CHECK(val_set(&a, &v, STR("l"), l) != NULL);
    CHECK_STR_C(val_to_json(&a, &v), "{\"a\":\"x\",\"c\":3,\"d\":false,\"l\":[0,1,3]}");
    arena_deinit(&a);
}

TEST(val_equal_ignores_order_of_keys_and_cmp_is_a_total_order)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val x = parse(&a, "{\"a\":1,\"b\":[1,{\"c\":null}]}"), y = parse(&a, "{\"b\":[1.0,{\"c\":null}],\"a\":1}");
    CHECK(val_equal(&x, &y));
    CHECK_INT(val_cmp(&x, &y), 0);
    struct val z = parse(&a, "{\"b\":[1,{}],\"a\":1}");
    CHECK(!val_equal(&x, &z));
    CHECK(val_cmp(&x, &z) > 0 && val_cmp(&z, &x) < 0);
    struct val order = parse(&a, "[1,1.5,2,\"a\",\"b\",false,true,[],[1],{},{\"a\":1},null]");
    for (uint32_t i = 0; i + 1 < order.n; i++) {
        CHECK(val_cmp(&order.items[i], &order.items[i + 1]) < 0);
    }
    struct val copy;
    CHECK(val_copy(&a, &x, true, &copy));
    CHECK(val_equal(&x, &copy));
    CHECK_INT(val_count(&x), 6);
    arena_deinit(&a);
}

TEST(val_prints_as_go_prints_it)
{
    struct arena a;
    struct buf b;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    struct val v = parse(&a, "{\"spec\":{\"replica\":5,\"a\":[\"x\",null,true,1.5]}}");
    val_write_go(&b, &v);
    CHECK_STR_C(buf_str(&b), "map[spec:map[a:[x <nil> true 1.5] replica:5]]");
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(val_past_the_budget_is_an_error_not_a_crash)
{
    struct arena a;
    struct err err;
    struct val v;
    arena_init(&a, 4096);
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("[0"));
    for (int i = 0; i < 1000; i++) {
        buf_append(&b, STR(",0"));
    }
    buf_append(&b, STR("]"));
    CHECK(!val_parse_json(&a, buf_str(&b), JSON_DEPTH, NULL, &v, &err));
    CHECK_INT(err.code, ERR_TOO_LARGE);
    buf_deinit(&b);
    arena_deinit(&a);
}
