/* Differences of structs are those of their trees, and questions about sets that are text are answered as by the sets read. */
#include "api/copy.h"
#include "api/decode-json.h"
#include "api/fields-text.h"
#include "api/fields-typed.h"
#include "api/gen/core_v1.h"
#include "api/golden.h"
#include "api/val-convert.h"
#include "base/test.h"

static unsigned compared;

static struct str text_of(struct arena *a, const struct fields *f)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    fields_write(&b, f);
    struct str s = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}

static bool same_sets(struct arena *a, const struct fields *x, const struct fields *y)
{
    struct str s = text_of(a, x), t = text_of(a, y);
    if (!str_eq(s, t) || !fields_equal(x, y)) {
        printf("  %.*s\n  %.*s\n", STR_ARG(s), STR_ARG(t));
        return false;
    }
    return true;
}

static void check_text(struct arena *a, const struct fields *x, const struct fields *y)
{
    struct str text = text_of(a, x);
    struct fields both, rest;
    CHECK(fields_intersection(a, x, y, &both) && fields_difference(a, y, x, &rest));
    if (fields_count(y) < 30) {
        CHECK(fields_text_meets(text, y) == !fields_is_empty(&both));
        CHECK(fields_text_has_all(text, y) == fields_is_empty(&rest));
    } else {
        /* Large sets may be answered by "read it". */
        CHECK(fields_text_meets(text, y) || fields_is_empty(&both));
        CHECK(!fields_text_has_all(text, y) || fields_is_empty(&rest));
    }
}

/* A new object's fields, written at once. */
static void check_new(struct arena *a, const struct api_type *t, const void *object, const struct fields_diff *d)
{
    struct buf b;
    struct fields both, skip = { 0 };
    bool written;
    buf_init(&b, BUF_NO_MAX);
    CHECK(fields_union(a, &d->modified, &d->added, &both));
    CHECK(fields_write_new(a, t, object, NULL, &b, &written) && written);
    if (!str_eq(buf_str(&b), text_of(a, &both))) {
        golden_show_difference(t->name.ptr, buf_str(&b), text_of(a, &both));
        CHECK(false);
    }
    buf_clear(&b);
    CHECK(fields_add_names(a, &skip, (const char *const[]){ "status" }, 1) &&
          fields_add_names(a, &skip, (const char *const[]){ "metadata", "labels" }, 2) && fields_exclude(a, &both, &skip, &both));
    CHECK(fields_write_new(a, t, object, &skip, &b, &written) && written && str_eq(buf_str(&b), text_of(a, &both)));
    buf_deinit(&b);
}

static void check_pair(struct arena *a, const struct api_type *t, const void *x, const void *y)
{
    struct val from, to;
    struct fields_diff typed, trees;
    CHECK(api_to_val(a, t, x, &from) && api_to_val(a, t, y, &to));
    CHECK(fields_compare_typed(a, t, x, y, &typed));
    CHECK(fields_compare(a, fields_at_type(t), &from, &to, &trees));
    CHECK(same_sets(a, &typed.added, &trees.added));
    CHECK(same_sets(a, &typed.modified, &trees.modified));
    CHECK(same_sets(a, &typed.removed, &trees.removed));
    const void *zero = arena_alloc(a, t->size);
    if (zero && memcmp(x, zero, t->size) == 0) {
        check_new(a, t, y, &typed);
    }
    struct fields all;
    CHECK(fields_of(a, fields_at_type(t), &from, &all));
    check_text(a, &all, &typed.modified);
    check_text(a, &all, &typed.removed);
    check_text(a, &all, &typed.added);
    check_text(a, &typed.added, &typed.added);
    check_text(a, &typed.modified, &typed.removed);
    compared++;
}

struct earlier {
    struct arena a;
    const struct api_type *t;
    void *object;
};

static void visit(const struct golden_object *o, void *ctx)
{
    struct earlier *before = ctx;
    struct arena a, pair;
    struct err err;
    const struct api_type *t = o->resource->type;
    struct str text;
    arena_init(&a, ARENA_NO_BUDGET);
    arena_init(&pair, ARENA_NO_BUDGET);
    text = golden_file(&a, o, "out.json");
    void *object = arena_alloc(&a, t->size), *zero = arena_alloc(&a, t->size);
    if (text.ptr && object && zero && api_decode_json(&a, t, text, NULL, object, &err)) {
        check_pair(&pair, t, zero, object);
        check_pair(&pair, t, object, zero);
        check_pair(&pair, t, object, object);
        if (before->t == t) {
            check_pair(&pair, t, before->object, object);
            check_pair(&pair, t, object, before->object);
        }
        arena_deinit(&before->a);
        *before = (struct earlier){ .a = a, .t = t, .object = object };
    } else {
        arena_deinit(&a);
    }
    arena_deinit(&pair);
}

TEST(golden_structs_differ_as_their_trees_do)
{
    struct earlier before = { .t = NULL };
    compared = 0;
    arena_init(&before.a, ARENA_NO_BUDGET);
    golden_objects(visit, &before);
    arena_deinit(&before.a);
    printf("  %u pairs compared\n", compared);
}

static void check_pods(const char *x, const char *y)
{
    struct arena a;
    struct err err;
    struct core_v1_pod p = { 0 }, q = { 0 };
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, str_c(x), NULL, &p, &err), &err);
    CHECK_OK(api_decode_json(&a, &core_v1_pod_type, str_c(y), NULL, &q, &err), &err);
    check_pair(&a, &core_v1_pod_type, &p, &q);
    check_pair(&a, &core_v1_pod_type, &q, &p);
    arena_deinit(&a);
}

TEST(structs_differ_as_their_trees_do)
{
    static const char *const pods[] = {
        "{}",
        "{\"metadata\":{\"labels\":{}},\"spec\":{\"containers\":[]}}",
        "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"finalizers\":[\"x\",\"y\"]},\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"i\"},{\"name\":\"a\"}]}}",
        "{\"metadata\":{\"labels\":{\"b\":\"3\",\"c\":\"2\"},\"finalizers\":[\"y\"]},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}],\"securityContext\":{}}}",
        /* Two items of one key. */
        "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"a\",\"image\":\"j\"}]}}",
        /* A key that has a default, and one that is compared as a whole. */
        "{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":80},{\"containerPort\":80,\"protocol\":\"UDP\"}]}],"
        "\"imagePullSecrets\":[{\"name\":\"s\"}],\"nodeSelector\":{\"k\":\"v\"}}}",
        "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n\",\"uid\":\"u\"}]},"
        "\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":81},{\"containerPort\":80,\"protocol\":\"UDP\",\"name\":\"p\"}],"
        "\"resources\":{\"limits\":{\"cpu\":\"1\"}}}],\"nodeSelector\":{\"k\":\"w\"}}}",
        "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"m\",\"uid\":\"u\"}],\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},"
        "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}}",
        /* Names that JSON escapes. */
        "{\"metadata\":{\"annotations\":{\"a\\\"b\":\"1\",\"\\\\u003c\":\"2\",\"<\":\"3\",\"\\u00fc\":\"4\"}}}",
        "{\"metadata\":{\"annotations\":{\"\\\\u003c\":\"5\"}}}",
        "{\"metadata\":{\"annotations\":{\"<\":\"6\"}}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        for (size_t k = i; k < ARRAY_SIZE(pods); k++) {
            check_pods(pods[i], pods[k]);
        }
    }
}

TEST(text_that_is_no_field_set_is_to_be_read)
{
    static const char *const texts[] = { "", "{", "[]", "{\"f:a\"", "{\"f:a\":}", "{\"f:a\":{}", "{\"f:x\":{\"f:a\":1}}", "{\"f:a\" :{}}", "{\"f:x\":{\"" };
    struct arena a;
    struct fields f;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(fields_parse(&a, STR("{\"f:a\":{},\"f:b\":{\"f:c\":{}}}"), &f, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CHECK(fields_text_meets(str_c(texts[i]), &f));
        CHECK(!fields_text_has_all(str_c(texts[i]), &f));
    }
    arena_deinit(&a);
}
