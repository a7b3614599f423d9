/* Replays the captured patches: before.json and the patch must give after.json, or the refusal that was captured. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/golden.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/val-convert.h"
#include "base/fs.h"
#include "base/test.h"

struct golden_patch {
    char dir[600];
    const char *name;
    struct str before, after, patch, path, content_type, message;
    int64_t status;
};

static struct str read_file(struct arena *a, const char *dir, const char *name)
{
    char path[800];
    struct buf b;
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    buf_init(&b, 16 << 20);
    struct str s = fs_read(path, 16 << 20, &b, &err) ? arena_str(a, buf_str(&b)) : STR_NULL;
    buf_deinit(&b);
    return s;
}

static struct val parse_file(struct arena *a, const char *dir, const char *name)
{
    struct val v = val_null();
    struct err err;
    struct str text = read_file(a, dir, name);
    if (text.ptr && !val_parse_json(a, text, JSON_DEPTH, NULL, &v, &err)) {
        v = val_null();
    }
    return v;
}

static int patch_dirs(const struct dirent *d)
{
    return d->d_name[0] >= '0' && d->d_name[0] <= '9';
}

static void each_patch(void (*each)(struct arena *a, struct golden_patch *g))
{
    char top[512];
    struct dirent **dirs;
    snprintf(top, sizeof(top), "%s/patches", golden_dir());
    int n = scandir(top, &dirs, patch_dirs, alphasort);
    CHECK(n > 0);
    for (int i = 0; i < n; i++) {
        struct arena a;
        struct golden_patch g = { .name = dirs[i]->d_name };
        arena_init(&a, ARENA_NO_BUDGET);
        snprintf(g.dir, sizeof(g.dir), "%s/%s", top, g.name);
        struct val request = parse_file(&a, g.dir, "request.json"), meta = parse_file(&a, g.dir, "response.meta.json");
        struct val response = parse_file(&a, g.dir, "response.json");
        g.path = val_get_str(&request, STR("path"));
        g.content_type = val_get_str(&request, STR("contentType"));
        g.message = val_get_str(&response, STR("message"));
        CHECK(val_as_i64(val_get(&meta, STR("status")), &g.status));
        g.patch = read_file(&a, g.dir, "patch.json");
        if (!g.patch.ptr) {
            g.patch = read_file(&a, g.dir, "patch.yaml");
        }
        g.before = read_file(&a, g.dir, "before.json");
        g.after = read_file(&a, g.dir, "after.json");
        each(&a, &g);
        arena_deinit(&a);
        free(dirs[i]);
    }
    free(dirs);
}

static const struct api_type *type_of(const struct val *object)
{
    struct str api_version = val_get_str(object, STR("apiVersion")), group, version;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = group;
        group = STR_EMPTY;
    }
    const struct api_resource *r = api_resource_of_kind(group, version, val_get_str(object, STR("kind")));
    return r ? r->type : NULL;
}

/* What other verbs of the server change is left out of the comparison. */
static void strip(struct val *v)
{
    struct val *metadata = val_get(v, STR("metadata"));
    if (metadata) {
        val_remove(metadata, STR("managedFields"));
        val_remove(metadata, STR("resourceVersion"));
        val_remove(metadata, STR("generation"));
    }
}

/* As the server goes on: decode, fill in defaults, encode. */
static bool normalize(struct arena *a, const struct api_type *t, struct val *v, struct err *err)
{
    if (!t) {
        return true;
    }
    void *object = arena_alloc(a, t->size);
    return object && api_from_val(a, t, v, NULL, object, err) &&
           api_to_val(a, t, object, v);
}

static unsigned same, refused, elsewhere;
static bool failed;

/* Cases whose result other stages of the server make: validation, immutable fields, allocation, subresource rules. */
static bool is_elsewhere(const struct golden_patch *g)
{
    static const char *const parts[] = { "/scale", "dryRun", "/resize" };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (str_find(g->path, str_c(parts[i])) >= 0) {
            return true;
        }
    }
    static const char *const names[] = { "040-", "042-", "075-", "133-" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strncmp(g->name, names[i], 4) == 0) {
            return true;
        }
    }
    return false;
}

static void replay(struct arena *a, struct golden_patch *g)
{
    struct val v, after;
    struct err err = { 0 };
    bool ok = false;
    if (str_find(g->content_type, STR("apply-patch")) >= 0 || g->status == 415 || g->status == 404) {
        return;
    }
    CHECK_OK(val_parse_json(a, g->before, JSON_DEPTH, NULL, &v, &err), &err);
    const struct api_type *t = type_of(&v);
    if (str_starts(g->content_type, STR("application/json-patch+json"))) {
        ok = patch_json_apply(a, &v, g->patch, &err);
    } else if (str_starts(g->content_type, STR("application/merge-patch+json"))) {
        ok = patch_merge_apply(a, &v, g->patch, NULL, &err);
    } else {
        struct val patch;
        ok = val_parse_json(a, g->patch, JSON_DEPTH, NULL, &patch, &err) && patch_strategic_apply(a, &v, &patch, t, &err);
    }
    if (!ok) {
        if (g->status == 200 || !str_eq_c(g->message, err.msg)) {
            printf("  %s: answered %lld \"%.*s\", we say \"%s\"\n", g->name, (long long)g->status, STR_ARG(g->message), err.msg);
            failed = true;
        }
        refused++;
        return;
    }
    if (g->status != 200 || is_elsewhere(g)) {
        elsewhere++;
        return;
    }
    CHECK_OK(val_parse_json(a, g->after, JSON_DEPTH, NULL, &after, &err), &err);
    if (!normalize(a, t, &v, &err)) {
        printf("  %s: decoding the result: %s\n", g->name, err.msg);
        failed = true;
        return;
    }
    strip(&v);
    strip(&after);
    if (!val_equal(&v, &after)) {
        printf("  %s: differs\n", g->name);
        val_sort(&v);
        val_sort(&after);
        golden_show_difference("after", val_to_json(a, &v), val_to_json(a, &after));
        failed = true;
    }
    same++;
}

TEST(golden_patches_give_what_kubernetes_gave)
{
    same = refused = elsewhere = 0;
    failed = false;
    each_patch(replay);
    printf("  %u patches gave the captured object, %u the captured refusal, %u end in other stages\n", same, refused, elsewhere);
    CHECK(!failed);
}
