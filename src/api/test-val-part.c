#include "api/val-part.h"

#include "api/copy.h"
#include "api/encode-json.h"
#include "api/gen/core_v1.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/val-convert.h"
#include "base/test.h"

static const char pod[] =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"finalizers\":[\"x/y\"]},"
    "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"nodeName\":\"node-1\","
    "\"terminationGracePeriodSeconds\":30,\"securityContext\":{\"runAsUser\":7,\"fsGroup\":8}},"
    "\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"lastProbeTime\":null,"
    "\"lastTransitionTime\":null},{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastProbeTime\":null,"
    "\"lastTransitionTime\":null}],\"hostIP\":\"10.0.0.1\"}}";

static struct str shown(struct arena *a, const void *obj)
{
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    CHECK(api_encode_json(&b, &core_v1_pod_type, obj, NULL, NULL));
    struct str s = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return s;
}

static void patch(struct arena *a, struct val *doc, struct str text, bool strategic)
{
    struct err err;
    struct val p;
    CHECK_OK(val_parse_json(a, text, JSON_DEPTH, NULL, &p, &err), &err);
    if (strategic) {
        CHECK_OK(patch_strategic_apply(a, doc, &p, &core_v1_pod_type, &err), &err);
    } else {
        CHECK_OK(patch_merge_apply_val(a, doc, &p, &err), &err);
    }
}

/* The patch by parts gives what the patch of the whole gives. */
static void check(const char *patch_text, bool strategic)
{
    struct arena a;
    struct err err;
    struct val whole, part, names;
    const struct api_type *t = &core_v1_pod_type;

    arena_init(&a, ARENA_NO_BUDGET);
    void *obj = arena_alloc(&a, t->size), *by_whole = arena_alloc(&a, t->size), *by_part = arena_alloc(&a, t->size),
         *named = arena_alloc(&a, t->size);
    CHECK_OK(api_decode_json(&a, t, str_c(pod), NULL, obj, &err), &err);
    struct str before = shown(&a, obj);

    CHECK(api_to_val(&a, t, obj, &whole));
    patch(&a, &whole, str_c(patch_text), strategic);
    CHECK_OK(api_from_val(&a, t, &whole, NULL, by_whole, &err), &err);

    CHECK_OK(val_parse_json(&a, str_c(patch_text), JSON_DEPTH, NULL, &names, &err), &err);
    CHECK(api_part_is_known(t, &names));
    CHECK(api_to_val_part(&a, t, obj, &names, &part));
    patch(&a, &part, str_c(patch_text), strategic);
    CHECK_OK(api_from_val(&a, t, &part, NULL, named, &err), &err);
    CHECK(api_copy_into(&a, t, obj, by_part, false));
    CHECK(api_graft(&a, t, by_part, named, &names));

    CHECK_STR(shown(&a, by_part), shown(&a, by_whole));
    CHECK_STR(shown(&a, obj), before);
    arena_deinit(&a);
}

TEST(a_merge_patch_by_parts_gives_what_the_whole_gives)
{
    check("{}", false);
    check("{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}", false);
    check("{\"metadata\":{\"labels\":null,\"annotations\":{\"k\":\"v\"}}}", false);
    check("{\"metadata\":{\"deletionGracePeriodSeconds\":0,\"finalizers\":null}}", false);
    check("{\"spec\":{\"securityContext\":{\"runAsUser\":null}}}", false);
    check("{\"spec\":{\"securityContext\":null,\"affinity\":{\"nodeAffinity\":{}}}}", false);
    check("{\"spec\":{\"terminationGracePeriodSeconds\":null,\"containers\":[{\"name\":\"d\"}]}}", false);
    check("{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.2\",\"hostIP\":null}}", false);
    check("{\"status\":null}", false);
}

TEST(a_strategic_patch_by_parts_gives_what_the_whole_gives)
{
    check("{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", true);
    check("{\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"PodScheduled\"},{\"type\":\"Ready\"}],"
          "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", true);
    check("{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"$patch\":\"delete\"}]},\"metadata\":{\"uid\":\"u\"}}", true);
    check("{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"x/y\"]}}", true);
    check("{\"spec\":{\"securityContext\":{\"$patch\":\"replace\",\"fsGroup\":9}}}", true);
    check("{\"spec\":{\"securityContext\":{\"$patch\":\"delete\"}}}", true);
    check("{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"},{\"name\":\"d\",\"image\":\"k\"}]}}", true);
}

TEST(what_the_schema_does_not_know_is_left_to_the_whole)
{
    struct arena a;
    struct err err;
    struct val v;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(val_parse_json(&a, STR("{\"status\":{\"fase\":\"Running\"}}"), JSON_DEPTH, NULL, &v, &err), &err);
    CHECK(!api_part_is_known(&core_v1_pod_type, &v));
    CHECK_OK(val_parse_json(&a, STR("{\"spec\":{\"securityContext\":{\"runAsRoot\":1}}}"), JSON_DEPTH, NULL, &v, &err), &err);
    CHECK(!api_part_is_known(&core_v1_pod_type, &v));
    CHECK_OK(val_parse_json(&a, STR("[]"), JSON_DEPTH, NULL, &v, &err), &err);
    CHECK(!api_part_is_known(&core_v1_pod_type, &v));
    arena_deinit(&a);
}
