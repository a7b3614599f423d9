#include "store/test-support.h"

static struct str json_of(const struct object *o, struct buf *b)
{
    buf_clear(b);
    object_json_append(o, b);
    return buf_str(b);
}

TEST(object_is_served_with_its_revision_and_as_a_list_item)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 4096);
    struct object *o = thing_new(STR("ns"), STR("a"), STR("node=n1;phase=Running;label=web"));
    object_set_revision(o, 812);
    CHECK_STR_C(json_of(o, &b), "{\"kind\":\"Thing\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\","
                                "\"resourceVersion\":\"812\",\"labels\":{\"app\":\"web\"}},"
                                "\"value\":\"node=n1;phase=Running;label=web\"}");
    CHECK_INT(object_json_size(o), b.len);
    buf_clear(&b);
    object_item_append(o, &b);
    CHECK(str_starts(buf_str(&b), STR("{\"metadata\":{\"name\":\"a\"")));
    CHECK_INT(object_item_size(o), b.len);

    struct object *later = object_with_revision(o, 99999);
    CHECK(str_find(json_of(later, &b), STR("\"resourceVersion\":\"99999\"")) > 0);
    CHECK_STR_C(object_name(later), "a");
    CHECK_STR_C(object_field(later, 0), "n1");
    struct object *again = object_with_revision(later, 100000);
    object_unref(o);
    object_unref(later);
    CHECK_STR_C(object_label(again, STR("app")), "web");
    CHECK_STR_C(object_revision_text(again), "100000");
    object_unref(again);
}

TEST(facts_that_do_not_occur_in_the_json_are_kept_beside_it)
{
    struct str fields[] = { STR("\"quoted\""), STR("x") };
    struct str owners[] = { STR("owner-uid-1"), STR("owner-uid-2") };
    struct object_label labels[] = { { STR("a/b"), STR("v\n") }, { STR("c"), STR("") } };
    struct object_init init = {
        .class = &thing_class,
        .json = STR("\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"\",\"labels\":{\"a/b\":\"v\\n\",\"c\":\"\"}},"
                    "\"f\":\"\\\"quoted\\\"\"}"),
        .rv_at = OBJECT_FIND_RV,
        .name = STR("n"),
        .uid = STR("uid"),
        .labels = labels,
        .n_labels = 2,
        .fields = fields,
        .owner_uids = owners,
        .n_owner_uids = 2,
    };
    struct err err;
    struct object *o = object_new(&init, &err);
    CHECK_OK(o, &err);
    CHECK_STR_C(object_field(o, 0), "\"quoted\"");
    CHECK_STR_C(object_field(o, 1), "x");
    CHECK_STR_C(object_field(o, 2), "");
    CHECK_STR_C(object_owner_uid(o, 1), "owner-uid-2");
    CHECK_STR_C(object_label(o, STR("a/b")), "v\n");
    CHECK(object_label(o, STR("c")).ptr && object_label(o, STR("c")).len == 0);
    CHECK(!object_label(o, STR("d")).ptr);
    CHECK_STR_C(object_namespace(o), "");
    CHECK_STR_C(object_uid(o), "uid");
    object_unref(o);
}

TEST(object_without_a_place_for_its_revision_is_refused)
{
    struct object_init init = { .class = &thing_class, .json = STR("\"metadata\":{\"a\":\"\\\"resourceVersion\\\":\\\"\"}}"),
                                .rv_at = OBJECT_FIND_RV, .fields = (struct str[]){ STR_EMPTY, STR_EMPTY } };
    struct err err;
    CHECK(!object_new(&init, &err));
}

TEST(overhead_of_a_pod_sized_object_is_below_300_bytes)
{
    struct object *o = thing_new(STR("default"), STR("web-6f5d8c9b7-abcde"), STR("node=n1;phase=Running;label=web"));
    CHECK(object_memory(o) - object_item_size(o) < 200);
    object_unref(o);
}

static int n_encoded;

static bool encode(void *arg UNUSED, const struct object *o, struct buf *b, struct err *err UNUSED)
{
    n_encoded++;
    buf_append_c(b, "encoded ");
    buf_append(b, object_name(o));
    for (int i = 0; i < 100; i++) {
        buf_append_char(b, '.');
    }
    return true;
}

TEST(encodings_are_made_once_and_pushed_out_by_newer_ones)
{
    struct object_encodings *e = object_encodings_new(4096);
    struct object *o[32];
    struct err err;
    n_encoded = 0;
    for (int i = 0; i < 32; i++) {
        char name[8];
        snprintf(name, sizeof(name), "o%d", i);
        o[i] = thing_new(STR("ns"), str_c(name), STR("x"));
        object_set_revision(o[i], i + 1);
    }
    for (int round = 0; round < 3; round++) {
        struct shared_bytes *b = object_encoding(e, o[0], 1, encode, NULL, &err);
        CHECK(str_starts(shared_bytes_str(b), STR("encoded o0")));
        shared_bytes_unref(b);
    }
    CHECK_INT(n_encoded, 1);
    shared_bytes_unref(object_encoding(e, o[0], 2, encode, NULL, &err));
    CHECK_INT(n_encoded, 2);
    for (int i = 1; i < 32; i++) {
        shared_bytes_unref(object_encoding(e, o[i], 1, encode, NULL, &err));
    }
    n_encoded = 0;
    shared_bytes_unref(object_encoding(e, o[31], 1, encode, NULL, &err));
    CHECK_INT(n_encoded, 0);
    shared_bytes_unref(object_encoding(e, o[0], 1, encode, NULL, &err));
    CHECK_INT(n_encoded, 1);
    object_encodings_free(e);
    for (int i = 0; i < 32; i++) {
        object_unref(o[i]);
    }
}
