#include "api/golden.h"
#include "api/val-convert.h"
#include "api/encode-json.h"
#include "base/test.h"

/* The tree of a captured object writes the captured text, and gives the same object back. */
static void through_val(const struct golden_object *o, void *ctx)
{
    unsigned *bad = ctx;
    struct arena a;
    struct err err;
    struct buf b;
    struct val v;
    const struct api_type *t = o->resource->type;
    struct str text;
    void *obj, *again;

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    text = golden_line(golden_file(&a, o, "out.json"));
    obj = arena_alloc(&a, t->size);
    again = arena_alloc(&a, t->size);
    CHECK_OK(api_decode_json(&a, t, text, NULL, obj, &err), &err);
    CHECK(api_to_val(&a, t, obj, &v));
    val_write_json(&b, &v);
    if (!str_eq(buf_str(&b), text)) {
        golden_show_difference(o->dir, buf_str(&b), text);
        ++*bad;
    }
    CHECK_OK(api_from_val(&a, t, &v, NULL, again, &err), &err);
    buf_clear(&b);
    CHECK(api_encode_json(&b, t, again, NULL, NULL));
    if (!str_eq(buf_str(&b), text)) {
        golden_show_difference(o->dir, buf_str(&b), text);
        ++*bad;
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(golden_objects_survive_a_trip_through_values)
{
    unsigned bad = 0;

    golden_objects(through_val, &bad);
    CHECK_INT(bad, 0);
}
