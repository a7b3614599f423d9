/* How long the codecs take for one captured pod: bench-codecs POD.json [PART OF A NAME]. Best of several rounds, microseconds a call. */
#include <stdio.h>
#include <stdlib.h>

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/default.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "api/val-convert.h"
#include "base/clock.h"

enum { ROUNDS = 7, CALLS = 2000 };

static struct arena arena;
static struct buf out;
static struct str text, pb;
static struct core_v1_pod pod;
static const struct api_mask *mask;

static bool decode_json(void)
{
    struct core_v1_pod p = { 0 };
    return api_decode_json(&arena, &core_v1_pod_type, text, NULL, &p, NULL);
}

static bool decode_json_strict(void)
{
    struct core_v1_pod p = { 0 };
    struct api_problems problems = { 0 };
    return api_decode_json(&arena, &core_v1_pod_type, text, &(struct api_json_decode){ .problems = &problems }, &p, NULL);
}

static bool decode_json_masked(void)
{
    struct core_v1_pod p = { 0 };
    return api_decode_json(&arena, &core_v1_pod_type, text, &(struct api_json_decode){ .mask = mask, .copy = true }, &p, NULL);
}

static bool check_json(void)
{
    return json_check(text, JSON_DEPTH, NULL);
}

static bool encode_json(void)
{
    return api_encode_json(&out, &core_v1_pod_type, &pod, NULL, NULL);
}

static bool decode_pb(void)
{
    struct core_v1_pod p = { 0 };
    return api_decode_pb_object(&arena, &core_v1_pod_type, pb, NULL, &p, NULL);
}

static bool encode_pb(void)
{
    return api_encode_pb_object(&out, &core_v1_pod_type, &pod, &(struct api_pb_encode){ .api_version = STR("v1"), .kind = STR("Pod") });
}

static bool copy(void)
{
    return api_copy(&arena, &core_v1_pod_type, &pod) != NULL;
}

static bool copy_shared(void)
{
    struct core_v1_pod p;
    return api_copy_into(&arena, &core_v1_pod_type, &pod, &p, false);
}

static bool equal(void)
{
    struct core_v1_pod p = pod;
    return api_equal(&core_v1_pod_type, &pod, &p);
}

static bool fill_defaults(void)
{
    return api_default(&arena, &core_v1_pod_type, &pod, NULL);
}

static bool to_val(void)
{
    struct val v;
    return api_to_val(&arena, &core_v1_pod_type, &pod, &v);
}

static const char *only = "";

static void measure(const char *name, bool (*call)(void))
{
    uint64_t best = UINT64_MAX;

    if (!strstr(name, only)) {
        return;
    }

    for (int r = 0; r < ROUNDS; r++) {
        uint64_t start = clock_mono_ns(), took;

        for (int i = 0; i < CALLS; i++) {
            arena_clear(&arena);
            buf_clear(&out);
            if (!call()) {
                fprintf(stderr, "%s failed\n", name);
                exit(1);
            }
        }
        took = clock_mono_ns() - start;
        best = took < best ? took : best;
    }
    printf("%-22s %7.2f us\n", name, (double)best / CALLS / 1000);
}

int main(int argc, char **argv)
{
    static const char *const paths[] = { "metadata.name", "metadata.namespace", "metadata.resourceVersion", "spec.nodeName", "status.phase" };
    static char bytes[1 << 20];
    struct arena keep;
    struct err err;
    struct buf b;
    FILE *f = argc > 1 ? fopen(argv[1], "re") : NULL;

    if (!f) {
        fprintf(stderr, "usage: bench-codecs POD.json [PART OF A NAME]\n");
        return 2;
    }
    only = argc > 2 ? argv[2] : "";
    text = str_trim(str_n(bytes, fread(bytes, 1, sizeof(bytes), f)));
    fclose(f);
    arena_init(&keep, ARENA_NO_BUDGET);
    arena_init(&arena, ARENA_NO_BUDGET);
    buf_init(&out, BUF_NO_MAX);
    buf_init(&b, BUF_NO_MAX);
    mask = api_mask_new(&keep, &core_v1_pod_type, paths, ARRAY_SIZE(paths), &err);
    if (!mask || !api_decode_json(&keep, &core_v1_pod_type, text, NULL, &pod, &err) ||
        !api_encode_pb_object(&b, &core_v1_pod_type, &pod, &(struct api_pb_encode){ .api_version = STR("v1"), .kind = STR("Pod") })) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    pb = buf_str(&b);
    printf("pod of %zu bytes JSON, %zu bytes protobuf\n", text.len, pb.len);
    measure("JSON check", check_json);
    measure("JSON decode", decode_json);
    measure("JSON decode, strict", decode_json_strict);
    measure("JSON decode, 5 fields", decode_json_masked);
    measure("JSON encode", encode_json);
    measure("protobuf decode", decode_pb);
    measure("protobuf encode", encode_pb);
    measure("copy", copy);
    measure("copy, shared strings", copy_shared);
    measure("equal", equal);
    measure("default", fill_defaults);
    measure("to value tree", to_val);
    arena_deinit(&keep);
    arena_deinit(&arena);
    buf_deinit(&out);
    buf_deinit(&b);
    return 0;
}
