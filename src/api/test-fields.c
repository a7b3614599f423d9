#include "api/apply.h"
#include "api/gen/apps_v1.h"
#include "api/gen/core_v1.h"
#include "api/gen/meta_v1.h"
#include "base/test.h"

static struct fields parse_set(struct arena *a, const char *text)
{
    struct fields f = { 0 };
    struct err err;
    CHECK_OK(fields_parse(a, str_c(text), &f, &err), &err);
    return f;
}

static struct val parse(struct arena *a, const char *text)
{
    struct val v = val_null();
    struct err err;
    CHECK_OK(val_parse_json(a, str_c(text), JSON_DEPTH, NULL, &v, &err), &err);
    return v;
}

static void check_set(const struct fields *f, const char *want)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    fields_write(&b, f);
    CHECK_STR_C(buf_str(&b), want);
    buf_deinit(&b);
}

TEST(fields_json_round_trip)
{
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    const char *text = "{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{\"k:{\\\"name\\\":\\\"x\\\",\\\"port\\\":80}\":{\".\":{},\"f:y\":{}},"
                       "\"v:\\\"e.com/f\\\"\":{},\"v:3\":{},\"i:2\":{}}}";
    struct fields f = parse_set(&a, text);
    check_set(&f, "{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{\"k:{\\\"name\\\":\\\"x\\\",\\\"port\\\":80}\":{\".\":{},\"f:y\":{}},"
                  "\"v:3\":{},\"v:\\\"e.com/f\\\"\":{},\"i:2\":{}}}");
    CHECK_INT(fields_count(&f), 7);
    struct fields unsorted = parse_set(&a, "{\"f:b\":{},\"f:a\":{},\"f:b\":{\"f:c\":{}}}");
    check_set(&unsorted, "{\"f:a\":{},\"f:b\":{\".\":{},\"f:c\":{}}}");
    struct err err;
    CHECK(!fields_parse(&a, STR("{\"x:a\":{}}"), &f, &err));
    CHECK(!fields_parse(&a, STR("{\"f:a\":1}"), &f, &err));
    CHECK(!fields_parse(&a, STR("{\"k:[]\":{}}"), &f, &err));
    CHECK(!fields_parse(&a, STR("{\"i:x\":{}}"), &f, &err));
    arena_deinit(&a);
}

TEST(fields_operations)
{
    struct arena a;
    struct fields r;
    arena_init(&a, ARENA_NO_BUDGET);
    struct fields x = parse_set(&a, "{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{}}");
    struct fields y = parse_set(&a, "{\"f:a\":{},\"f:d\":{\"f:e\":{}}}");
    CHECK(fields_union(&a, &x, &y, &r));
    check_set(&r, "{\"f:a\":{\".\":{},\"f:b\":{}},\"f:c\":{},\"f:d\":{\"f:e\":{}}}");
    CHECK(fields_difference(&a, &x, &y, &r));
    check_set(&r, "{\"f:a\":{\"f:b\":{}},\"f:c\":{}}");
    CHECK(fields_intersection(&a, &x, &y, &r));
    check_set(&r, "{\"f:a\":{}}");
    CHECK(fields_exclude(&a, &x, &y, &r));
    check_set(&r, "{\"f:c\":{}}");
    CHECK(fields_equal(&x, &x) && !fields_equal(&x, &y));
    arena_deinit(&a);
}

TEST(fields_sharing_operands_stay_as_they_were)
{
    struct arena a;
    struct fields r;
    arena_init(&a, ARENA_NO_BUDGET);
    struct fields x = parse_set(&a, "{\"f:a\":{}}"), none = { 0 }, kid = { .pe = { .kind = FIELDS_NAME, .name = STR("b") }, .member = true };
    CHECK(fields_union(&a, &x, &none, &r));
    CHECK(fields_add(&a, &r, &kid));
    check_set(&r, "{\"f:a\":{},\"f:b\":{}}");
    check_set(&x, "{\"f:a\":{}}");
    arena_deinit(&a);
}

TEST(fields_of_an_applied_object)
{
    struct arena a;
    struct fields f;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val v = parse(&a, "{\"metadata\":{\"labels\":{\"a\":\"1\"},\"finalizers\":[\"x\"]},\"spec\":{\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}]}}");
    CHECK(fields_of(&a, fields_at_type(&core_v1_service_type), &v, &f));
    check_set(&f, "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"x\\\"\":{}},\"f:labels\":{\"f:a\":{}}},"
                  "\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}},\"f:selector\":{}}}");
    CHECK(fields_of(&a, fields_at_deduced(), &v, &f));
    check_set(&f, "{\"f:metadata\":{\".\":{},\"f:finalizers\":{},\"f:labels\":{\".\":{},\"f:a\":{}}},"
                  "\"f:spec\":{\".\":{},\"f:ports\":{},\"f:selector\":{\".\":{},\"f:a\":{}}}}");
    arena_deinit(&a);
}

TEST(fields_merge_keeps_the_order_of_lists)
{
    static const char *const cases[][3] = {
        { "[\"a\",\"b\"]", "[\"b\",\"c\"]", "[\"a\",\"b\",\"c\"]" },
        { "[\"a\",\"b\"]", "[\"b\",\"a\"]", "[\"b\",\"a\"]" },
        { "[\"a\",\"x\",\"b\"]", "[\"b\",\"a\"]", "[\"x\",\"b\",\"a\"]" },
        { "[]", "[\"b\"]", "[\"b\"]" },
        { "[\"a\"]", "[]", "[\"a\"]" },
        { "[\"a\",\"b\",\"c\"]", "[\"n\",\"b\"]", "[\"a\",\"n\",\"b\",\"c\"]" },
    };
    struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val live = val_object(), config = val_object(), out;
        CHECK(val_set(&a, &live, STR("finalizers"), parse(&a, cases[i][0])) != NULL);
        CHECK(val_set(&a, &config, STR("finalizers"), parse(&a, cases[i][1])) != NULL);
        CHECK(fields_merge(&a, fields_at_type(&meta_v1_object_meta_type), &live, &config, &out));
        CHECK_STR_C(val_to_json(&a, val_get(&out, STR("finalizers"))), cases[i][2]);
    }
    arena_deinit(&a);
}

static void check_invalid(const struct api_type *t, const char *text, const char *want)
{
    struct arena a;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val v = parse(&a, text);
    CHECK(!fields_validate(&a, fields_at_type(t), &v, false, &err));
    CHECK_STR_C(str_c(err.msg), want);
    arena_deinit(&a);
}

TEST(fields_validation_is_worded_as_upstream_words_it)
{
    check_invalid(&core_v1_config_map_type, "{\"dat\":{}}", ".dat: field not declared in schema");
    check_invalid(&core_v1_pod_type, "{\"spec\":{\"containers\":[{\"name\":\"q\"},{\"name\":\"q\"}]}}",
                  ".spec.containers: duplicate entries for key [name=\"q\"]");
    check_invalid(&apps_v1_deployment_type, "{\"spec\":{\"replicas\":\"1\",\"paused\":1}}",
                  "errors:\n  .spec.replicas: expected numeric (int or float), got string\n  .spec.paused: expected boolean, got &{1}");
    check_invalid(&core_v1_pod_type, "{\"spec\":{\"containers\":{}}}", ".spec.containers: expected list, got &{map[]}");
}

/* An update by 'manager' at second 'now' that sets data.<key>. */
static void update(struct arena *a, struct managed *m, struct val *live, const char *manager, const char *version, const char *key,
                   int64_t now)
{
    struct err err;
    struct val object, empty = val_object();
    CHECK(val_copy(a, live, false, &object));
    struct val *data = val_object_at(a, &object, STR("data"));
    CHECK(data && val_set(a, data, str_c(key), val_int(now)) != NULL);
    struct managed_writer w = { .manager = arena_str(a, str_c(manager)), .api_version = str_c(version), .now_sec = now,
                                .schema = fields_at_deduced(), .empty = &empty };
    CHECK_OK(managed_update(a, m, &w, live->n ? live : NULL, &object, &err), &err);
    *live = object;
}

TEST(managed_fields_move_to_who_writes_them)
{
    struct arena a;
    struct managed m = { 0 };
    struct val live = val_object();
    arena_init(&a, ARENA_NO_BUDGET);
    update(&a, &m, &live, "one", "v1", "x", 1);
    update(&a, &m, &live, "two", "v1", "y", 2);
    update(&a, &m, &live, "two", "v1", "x", 3);
    CHECK_INT(m.n, 2);
    check_set(&managed_find(&m, STR("one"), false, STR("v1"), STR_NULL)->set, "{\"f:data\":{}}");
    check_set(&managed_find(&m, STR("two"), false, STR("v1"), STR_NULL)->set, "{\"f:data\":{\"f:x\":{},\"f:y\":{}}}");
    CHECK_INT(managed_find(&m, STR("one"), false, STR("v1"), STR_NULL)->time.sec, 1);
    arena_deinit(&a);
}

TEST(managed_updates_beyond_ten_fold_into_ancient_changes)
{
    struct arena a;
    struct managed m = { 0 };
    struct val live = val_object();
    struct meta_v1_managed_fields_entry *out;
    size_t n;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    for (int i = 0; i < 15; i++) {
        char manager[16], key[16];
        snprintf(manager, sizeof(manager), "m%02d", i);
        snprintf(key, sizeof(key), "k%02d", i);
        update(&a, &m, &live, manager, "v1", arena_cstr(&a, str_c(key)), i + 1);
    }
    CHECK_OK(managed_encode(&a, &m, &out, &n, &err), &err);
    CHECK_INT(n, 10);
    CHECK_STR_C(out[0].manager, "ancient-changes");
    CHECK_INT(out[0].time.sec, 6);
    CHECK_STR_C(out[0].fields_v1, "{\"f:data\":{\".\":{},\"f:k00\":{},\"f:k01\":{},\"f:k02\":{},\"f:k03\":{},\"f:k04\":{},\"f:k05\":{}}}");
    CHECK_STR_C(out[9].manager, "m14");
    arena_deinit(&a);
}

TEST(apply_owns_gives_up_and_conflicts)
{
    struct arena a;
    struct managed m = { 0 };
    struct apply_result r;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val empty = parse(&a, "{\"metadata\":{}}");
    struct managed_writer w = { .manager = STR("m1"), .api_version = STR("v1"), .now_sec = 5, .empty = &empty,
                                .schema = fields_at_type(&core_v1_config_map_type) };
    struct val config = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
    CHECK_OK(apply_config(&a, &m, &w, &empty, &config, false, &r, &err), &err);
    CHECK(r.changed);
    struct val live = r.object;
    CHECK_OK(apply_config(&a, &m, &w, &live, &config, false, &r, &err), &err);
    CHECK(!r.changed);
    w.manager = STR("m2");
    struct val other = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"9\",\"c\":\"3\"}}");
    CHECK(!apply_config(&a, &m, &w, &live, &other, false, &r, &err));
    CHECK_INT(err.code, ERR_CONFLICT);
    CHECK_STR_C(str_c(err.msg), "Apply failed with 1 conflict: conflict with \"m1\": .data.a");
    CHECK_INT(r.n_conflicts, 1);
    CHECK_STR_C(r.conflicts[0].field, ".data.a");
    CHECK_OK(apply_config(&a, &m, &w, &live, &other, true, &r, &err), &err);
    CHECK_STR_C(val_to_json(&a, VAL_AT(&r.object, "data")), "{\"a\":\"9\",\"b\":\"2\",\"c\":\"3\"}");
    live = r.object;
    /* m1 lists nothing any more: b goes, a and c are m2's. */
    w.manager = STR("m1");
    struct val nothing = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}");
    CHECK_OK(apply_config(&a, &m, &w, &live, &nothing, false, &r, &err), &err);
    CHECK_STR_C(val_to_json(&a, VAL_AT(&r.object, "data")), "{\"a\":\"9\",\"c\":\"3\"}");
    CHECK_INT(m.n, 1);
    arena_deinit(&a);
}

TEST(apply_by_kubectl_takes_over_from_client_side_apply)
{
    struct arena a;
    struct managed m = { 0 };
    struct apply_result r;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val empty = parse(&a, "{\"metadata\":{}}");
    struct val live = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\",\"annotations\":{"
                                "\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":"
                                "\\\"ConfigMap\\\",\\\"metadata\\\":{\\\"name\\\":\\\"x\\\"},\\\"data\\\":{\\\"a\\\":\\\"1\\\","
                                "\\\"b\\\":\\\"1\\\"}}\\n\"}},\"data\":{\"a\":\"1\",\"b\":\"changed\"}}");
    struct managed_writer w = { .manager = STR("kubectl-client-side-apply"), .api_version = STR("v1"), .now_sec = 5, .empty = &empty,
                                .schema = fields_at_type(&core_v1_config_map_type) };
    CHECK_OK(managed_update(&a, &m, &w, NULL, &live, &err), &err);
    struct managed before = m;
    before.entries = arena_grow_n(&a, m.entries, m.n, m.n, sizeof(*m.entries));
    before.capacity = m.n;
    w.manager = STR("kubectl");
    struct val config = parse(&a, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"2\",\"b\":\"2\"}}");
    /* b has changed since, so it is somebody else's. */
    CHECK(!apply_config(&a, &m, &w, &live, &config, false, &r, &err));
    CHECK_STR_C(str_c(err.msg), "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.b");
    config = parse(&a, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"2\"}}");
    CHECK_OK(apply_config(&a, &before, &w, &live, &config, false, &r, &err), &err);
    CHECK_STR_C(VAL_STR_AT(&r.object, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
                "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}\n");
    CHECK_STR_C(VAL_STR_AT(&r.object, "data", "a"), "2");
    CHECK_STR_C(VAL_STR_AT(&live, "data", "a"), "1");
    CHECK(str_find(VAL_STR_AT(&live, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"), STR("\"2\"")) < 0);
    arena_deinit(&a);
}

TEST(apply_refuses_duplicates_and_its_own_managed_fields)
{
    struct arena a;
    struct managed m = { 0 };
    struct apply_result r;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    struct val empty = val_object();
    struct managed_writer w = { .manager = STR("m"), .api_version = STR("v1"), .empty = &empty,
                                .schema = fields_at_type(&core_v1_config_map_type) };
    struct val config = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\",\"managedFields\":[]}}");
    CHECK(!apply_config(&a, &m, &w, &empty, &config, false, &r, &err));
    CHECK_STR_C(str_c(err.msg), "metadata.managedFields must be nil");
    config = parse(&a, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\",\"finalizers\":[\"a\",\"a\"]}}");
    CHECK(!apply_config(&a, &m, &w, &empty, &config, false, &r, &err));
    CHECK_STR_C(str_c(err.msg), "failed to create typed patch object (/x; /v1, Kind=ConfigMap): .metadata.finalizers: duplicate "
                                "entries for key [=\"a\"]");
    arena_deinit(&a);
}

TEST(apply_and_tracking_survive_the_deepest_object_a_reader_takes)
{
    enum { DEEP = JSON_DEPTH - 1 };
    struct arena a;
    struct buf b;
    struct managed m = { 0 };
    struct apply_result r;
    struct err err;
    struct val deep, empty = val_object();
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    for (int i = 0; i < DEEP; i++) {
        buf_append(&b, STR("{\"a\":"));
    }
    buf_append(&b, STR("1"));
    for (int i = 0; i < DEEP; i++) {
        buf_append(&b, STR("}"));
    }
    CHECK_OK(val_parse_json(&a, buf_str(&b), JSON_DEPTH, NULL, &deep, &err), &err);
    struct managed_writer w = { .manager = STR("m"), .api_version = STR("v1"), .schema = fields_at_deduced(), .empty = &empty };
    CHECK_OK(managed_update(&a, &m, &w, NULL, &deep, &err), &err);
    w.manager = STR("n");
    CHECK_OK(apply_config(&a, &m, &w, &deep, &deep, false, &r, &err), &err);
    CHECK(!r.changed);
    struct meta_v1_managed_fields_entry *entries;
    size_t n;
    CHECK_OK(managed_encode(&a, &m, &entries, &n, &err), &err);
    CHECK_INT(n, 2);
    /* The object stays readable with its entries, and they with it. */
    CHECK_OK(json_check(entries[0].fields_v1, JSON_DEPTH - 10, &err), &err);
    CHECK_OK(managed_decode(&a, entries, n, &m, &err), &err);
    buf_deinit(&b);
    arena_deinit(&a);
}
