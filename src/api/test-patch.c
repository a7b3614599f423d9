#include "api/gen/apps_v1.h"
#include "api/gen/core_v1.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "base/test.h"

enum engine { JSON, MERGE, STRATEGIC };

static bool apply(struct arena *a, enum engine engine, const struct api_type *t, const char *doc, const char *patch,
                  struct val *ret, struct err *err)
{
    struct val v, p;
    CHECK_OK(val_parse_json(a, str_c(doc), JSON_DEPTH, NULL, &v, err), err);
    bool ok = false;
    switch (engine) {
    case JSON: ok = patch_json_apply(a, &v, str_c(patch), err); break;
    case MERGE: ok = patch_merge_apply(a, &v, str_c(patch), NULL, err); break;
    case STRATEGIC:
        CHECK_OK(val_parse_json(a, str_c(patch), JSON_DEPTH, NULL, &p, err), err);
        ok = patch_strategic_apply(a, &v, &p, t, err);
        break;
    }
    *ret = v;
    return ok;
}

static void check(enum engine engine, const struct api_type *t, const char *doc, const char *patch, const char *want)
{
    struct arena a;
    struct val v;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(apply(&a, engine, t, doc, patch, &v, &err), &err);
    CHECK_STR_C(val_to_json(&a, &v), want);
    arena_deinit(&a);
}

static void check_error(enum engine engine, const struct api_type *t, const char *doc, const char *patch, enum err_code code,
                        const char *message)
{
    struct arena a;
    struct val v;
    struct err err;
    arena_init(&a, 256 << 20);
    CHECK(!apply(&a, engine, t, doc, patch, &v, &err));
    CHECK_STR_C(str_c(err.msg), message);
    CHECK_INT(err.code, code);
    arena_deinit(&a);
}

TEST(json_patch_operations)
{
    check(JSON, NULL, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":[]}},{\"op\":\"add\",\"path\":\"/b/c/-\",\"value\":2},"
          "{\"op\":\"add\",\"path\":\"/b/c/0\",\"value\":1},{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":{\"c\":[1,2]}}");
    check(JSON, NULL, "{\"a/b\":{\"~\":1}}", "[{\"op\":\"replace\",\"path\":\"/a~1b/~0\",\"value\":2}]", "{\"a/b\":{\"~\":2}}");
    check(JSON, NULL, "{\"l\":[1,2,3]}", "[{\"op\":\"move\",\"from\":\"/l/0\",\"path\":\"/l/-\"},{\"op\":\"copy\",\"from\":\"/l/-1\",\"path\":\"/x\"},"
          "{\"op\":\"test\",\"path\":\"/l\",\"value\":[2,3,1]}]", "{\"l\":[2,3,1],\"x\":1}");
    check(JSON, NULL, "{}", "[{\"op\":\"test\",\"path\":\"/none\",\"value\":null},{\"op\":\"replace\",\"path\":\"/n\",\"value\":1}]", "{\"n\":1}");
    check(JSON, NULL, "{}", "[{\"op\":\"add\",\"path\":\"/n\"}]", "{\"n\":null}");
    check_error(JSON, NULL, "{}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{}}]", ERR_INVALID, PATCH_JSON_REFUSED);
    check_error(JSON, NULL, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", ERR_INVALID, PATCH_JSON_REFUSED);
    check_error(JSON, NULL, "{\"l\":[1]}", "[{\"op\":\"remove\",\"path\":\"/l/1\"}]", ERR_INVALID, PATCH_JSON_REFUSED);
    check_error(JSON, NULL, "{\"l\":[1]}", "[{\"op\":\"add\",\"path\":\"/l/3\",\"value\":1}]", ERR_INVALID, PATCH_JSON_REFUSED);
    check_error(JSON, NULL, "{}", "[1]", ERR_BAD_REQUEST,
                "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp");
}

TEST(json_patch_copies_that_double_are_stopped)
{
    struct arena a;
    struct buf b;
    struct val v;
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("[{\"op\":\"add\",\"path\":\"/a\",\"value\":[\"xxxxxxxxxxxxxxxx\"]}"));
    for (int i = 0; i < 40; i++) {
        buf_append(&b, STR(",{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}"));
    }
    buf_append(&b, STR("]"));
    v = val_object();
    CHECK(!patch_json_apply(&a, &v, buf_str(&b), &err));
    CHECK_INT(err.code, ERR_INVALID);
    CHECK(a.used < 200u << 20);
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(json_patch_cannot_nest_deeper_than_a_reader_would_take)
{
    struct arena a;
    struct buf b;
    struct val v = val_object();
    struct err err;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    buf_append(&b, STR("[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}"));
    for (int i = 0; i < 2000; i++) {
        buf_append(&b, STR(",{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/a\",\"value\":{}},"
                           "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a/b\"}"));
    }
    buf_append(&b, STR("]"));
    CHECK(!patch_json_apply(&a, &v, buf_str(&b), &err));
    CHECK_STR_C(str_c(err.msg), PATCH_JSON_REFUSED);
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(merge_patch_removes_nulls_merges_objects_and_replaces_the_rest)
{
    check(MERGE, NULL, "{\"a\":{\"x\":1,\"y\":2},\"l\":[1,2],\"s\":\"t\"}",
          "{\"a\":{\"x\":null,\"z\":{\"n\":null,\"m\":1}},\"l\":[{\"q\":null}],\"s\":{\"k\":null},\"gone\":null}",
          "{\"a\":{\"y\":2,\"z\":{\"m\":1}},\"l\":[{}],\"s\":{}}");
    check_error(MERGE, NULL, "{}", "[]", ERR_BAD_REQUEST,
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
    check_error(MERGE, NULL, "{}", "{bad", ERR_BAD_REQUEST,
                "error decoding patch: invalid character 'b' looking for beginning of object key string");
}

#define SPEC(list) "{\"containers\":" list "}"

TEST(strategic_patch_merges_lists_by_their_keys)
{
    const struct api_type *t = &core_v1_pod_spec_type;
    check(STRATEGIC, t, SPEC("[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"1\"}]"),
          SPEC("[{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"c\",\"image\":\"3\"}]"),
          SPEC("[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"c\",\"image\":\"3\"}]"));
    check(STRATEGIC, t, SPEC("[{\"name\":\"a\"},{\"name\":\"b\"}]"), SPEC("[{\"$patch\":\"delete\",\"name\":\"a\"}]"),
          SPEC("[{\"name\":\"b\"}]"));
    check(STRATEGIC, t, SPEC("[{\"name\":\"a\"},{\"name\":\"b\"}]"), SPEC("[{\"$patch\":\"replace\"},{\"name\":\"z\"}]"),
          SPEC("[{\"name\":\"z\"}]"));
    check(STRATEGIC, t, SPEC("[{\"x\":1,\"name\":\"a\",\"args\":[\"1\"]}]"), SPEC("[{\"name\":\"a\",\"x\":null,\"args\":[\"2\"]}]"),
          SPEC("[{\"name\":\"a\",\"args\":[\"2\"]}]"));
    check_error(STRATEGIC, t, SPEC("[{\"name\":\"a\"}]"), SPEC("[{\"image\":\"b:2\"}]"), ERR_INTERNAL,
                "map: map[image:b:2] does not contain declared merge key: name");
    check(STRATEGIC, t, "{}", SPEC("[{\"name\":\"z\"},{\"$patch\":\"replace\"}]"), SPEC("[{\"name\":\"z\"}]")); /* where there was no list */
    check_error(STRATEGIC, t, SPEC("[]"), "{\"$patch\":\"frob\"}", ERR_INTERNAL, "unknown patch type: frob in map: map[$patch:frob]");
    check_error(STRATEGIC, t, "{\"zz\":{}}", "{\"zz\":{}}", ERR_INTERNAL,
                "unable to find api field in struct PodSpec for the json field \"zz\"");
}

TEST(strategic_patch_orders_lists)
{
    const struct api_type *t = &core_v1_pod_spec_type;
    check(STRATEGIC, t, SPEC("[{\"name\":\"a\"},{\"name\":\"s\"},{\"name\":\"b\"}]"),
          "{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}",
          SPEC("[{\"name\":\"s\"},{\"name\":\"b\"},{\"name\":\"a\"}]"));
    check_error(STRATEGIC, t, SPEC("[{\"name\":\"a\"}]"),
                "{\"$setElementOrder/containers\":[{\"name\":\"b\"}],\"containers\":[{\"name\":\"zz\",\"image\":\"c:1\"}]}", ERR_INTERNAL,
                "The order in patch list:\n[map[image:c:1 name:zz]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n");
}

TEST(strategic_patch_directives_of_maps_and_primitive_lists)
{
    const struct api_type *t = &apps_v1_deployment_spec_type;
    check(STRATEGIC, t, "{\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}}",
          "{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}", "{\"strategy\":{\"type\":\"Recreate\"}}");
    check_error(STRATEGIC, t, "{\"strategy\":{}}", "{\"strategy\":{\"$retainKeys\":[\"x\"],\"type\":\"Recreate\"}}", ERR_INVALID,
                "patch content doesn't match retainKeys list");
    check(STRATEGIC, t, "{\"strategy\":{\"type\":\"x\"}}", "{\"strategy\":{\"$patch\":\"replace\",\"a\":1}}", "{\"strategy\":{\"a\":1}}");
    check(STRATEGIC, t, "{\"strategy\":{\"type\":\"x\"}}", "{\"strategy\":{\"$patch\":\"delete\"}}", "{\"strategy\":{}}");
    t = &core_v1_config_map_type;
    check(STRATEGIC, t, "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
          "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\"],\"finalizers\":[\"d\",\"a\"]}}",
          "{\"metadata\":{\"finalizers\":[\"d\",\"a\",\"c\"]}}");
    check(STRATEGIC, t, "{}", "{\"data\":{\"a\":null,\"b\":\"1\",\"$patch\":\"x\"}}", "{\"data\":{\"b\":\"1\"}}");
}
