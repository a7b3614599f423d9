/* How long tracking, applying and patching take for one captured pod: bench-verbs [FILE.json]. Best of several rounds,
 * microseconds a call. */
#include <stdio.h>

#include "api/apply.h"
#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "api/gen/meta_v1.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/val-convert.h"
#include "base/clock.h"
#include "base/fs.h"

enum { ROUNDS = 7, CALLS = 2000 };

static struct arena arena;
static struct str text;
static struct val tree, empty, changed;
static struct core_v1_pod pod;
static struct meta_v1_managed_fields_entry *entries;
static size_t n_entries;
static struct managed_writer writer;

static bool parse(void)
{
    struct val v;
    return val_parse_json(&arena, text, JSON_DEPTH, NULL, &v, NULL);
}

static bool to_val(void)
{
    struct val v;
    return api_to_val(&arena, &core_v1_pod_type, &pod, &v);
}

/* What a create spends here: the tree of the decoded object, its fields, the entry. */
static bool track_create(void)
{
    struct val v;
    struct managed m = { 0 };
    struct meta_v1_managed_fields_entry *e;
    size_t n;
    return api_to_val(&arena, &core_v1_pod_type, &pod, &v) && managed_update(&arena, &m, &writer, NULL, &v, NULL) &&
           managed_encode(&arena, &m, &e, &n, NULL);
}

static bool track_update(void)
{
    struct managed m;
    struct meta_v1_managed_fields_entry *e;
    size_t n;
    return managed_init(&arena, entries, n_entries, NULL, 0, &m, NULL) &&
           managed_update(&arena, &m, &writer, &tree, &changed, NULL) && managed_encode(&arena, &m, &e, &n, NULL);
}

static bool apply(void)
{
    struct managed m;
    struct apply_result r;
    return managed_init(&arena, entries, n_entries, NULL, 0, &m, NULL) &&
           apply_config(&arena, &m, &writer, &tree, &changed, true, &r, NULL);
}

static bool strategic(void)
{
    struct val v, p;
    struct str patch = STR("{\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"Ready\"}],\"conditions\":[{\"type\":\"Ready\","
                           "\"status\":\"True\"}],\"phase\":\"Running\",\"podIP\":\"10.0.0.1\"}}");
    return val_copy(&arena, &tree, false, &v) && val_parse_json(&arena, patch, JSON_DEPTH, NULL, &p, NULL) &&
           patch_strategic_apply(&arena, &v, &p, &core_v1_pod_type, NULL);
}

static void measure(const char *name, bool (*call)(void))
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < CALLS; i++) {
            arena_clear(&arena);
            if (!call()) {
                printf("%s failed\n", name);
                return;
            }
        }
        best = MIN(best, clock_mono_ns() - start);
    }
    printf("%-14s %7.2f us\n", name, (double)best / CALLS / 1000);
}

int main(int argc, char **argv)
{
    struct arena keep;
    struct buf b;
    struct err err;
    const char *path = argc > 1 ? argv[1] : "../shared/golden/objects/core.v1.Pod/full.out.json";
    arena_init(&arena, ARENA_NO_BUDGET);
    arena_init(&keep, ARENA_NO_BUDGET);
    buf_init(&b, 1 << 24);
    struct core_v1_pod zero = { 0 };
    if (!fs_read(path, 1 << 24, &b, &err) || !val_parse_json(&keep, buf_str(&b), JSON_DEPTH, NULL, &tree, &err) ||
        !api_decode_json(&keep, &core_v1_pod_type, buf_str(&b), NULL, &pod, &err)) {
        printf("%s\n", err.msg);
        return 1;
    }
    text = buf_str(&b);
    entries = pod.metadata.managed_fields;
    n_entries = pod.metadata.n_managed_fields;
    val_remove(val_get(&tree, STR("metadata")), STR("managedFields"));
    pod.metadata.managed_fields = NULL;
    pod.metadata.n_managed_fields = 0;
    struct val *status = NULL;
    if (!api_to_val(&keep, &core_v1_pod_type, &zero, &empty) || !val_copy(&keep, &tree, false, &changed) ||
        !(status = val_object_at(&keep, &changed, STR("status"))) ||
        !val_set(&keep, status, STR("phase"), val_string(STR("Failed")))) {
        return 1;
    }
    writer = (struct managed_writer){ .manager = STR("bench"), .api_version = STR("v1"), .empty = &empty, .now_sec = 1,
                                      .schema = fields_at_type(&core_v1_pod_type) };
    printf("%zu bytes of JSON, %zu nodes\n", text.len, val_count(&tree));
    measure("parse", parse);
    measure("to tree", to_val);
    measure("track create", track_create);
    measure("track update", track_update);
    measure("apply", apply);
    measure("strategic", strategic);
    buf_deinit(&b);
    arena_deinit(&keep);
    arena_deinit(&arena);
    return 0;
}
