/* Replays the captured patches: before.json and the patch must give after.json, or the refusal that was captured. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/apply.h"
#include "api/default.h"
#include "api/gen/apiextensions_v1.h"
#include "api/gen/autoscaling_v1.h"
#include "api/gen/meta_v1.h"
#include "api/golden.h"
#include "api/managed-scale.h"
#include "api/patch-json.h"
#include "api/patch-merge.h"
#include "api/patch-strategic.h"
#include "api/val-convert.h"
#include "base/fs.h"
#include "api/yaml.h"
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
    return object && api_from_val(a, t, v, NULL, object, err) && api_default(a, t, object, NULL) &&
           api_to_val(a, t, object, v);
}

static unsigned same, refused, elsewhere, tracked;
static bool failed;

/* ---- managed fields of a replayed write ---- */

/* The schema of the custom resource that the cases use, from the definition that was posted. */
static struct fields_at widget_schema(struct arena *a)
{
    char path[600];
    struct buf b;
    struct err err;
    struct val crd;
    snprintf(path, sizeof(path), "%s/objects/apiextensions.k8s.io.v1.CustomResourceDefinition/full.in.json", golden_dir());
    buf_init(&b, 1 << 20);
    CHECK_OK(fs_read(path, 1 << 20, &b, &err), &err);
    struct str text = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    CHECK_OK(val_parse_json(a, text, JSON_DEPTH, NULL, &crd, &err), &err);
    const struct val *schema = VAL_AT(&VAL_AT(&crd, "spec", "versions")->items[0], "schema", "openAPIV3Schema");
    struct apiextensions_v1_json_schema_props *s = arena_new(a, struct apiextensions_v1_json_schema_props);
    CHECK_OK(api_from_val(a, &apiextensions_v1_json_schema_props_type, schema, NULL, s, &err), &err);
    return fields_at_crd(s);
}

static size_t take_entries(struct arena *a, struct val *object, struct meta_v1_managed_fields_entry **ret)
{
    struct val *metadata = val_get(object, STR("metadata"));
    const struct val *list = val_get(metadata, STR("managedFields"));
    struct err err;
    size_t n = val_is(list, VAL_ARRAY) ? list->n : 0;
    *ret = arena_new_n(a, struct meta_v1_managed_fields_entry, n ? n : 1);
    for (size_t i = 0; i < n; i++) {
        CHECK_OK(api_from_val(a, &meta_v1_managed_fields_entry_type, &list->items[i], NULL, &(*ret)[i], &err), &err);
    }
    if (metadata) {
        val_remove(metadata, STR("managedFields"));
    }
    return n;
}

/* The value of a query parameter that needs no unescaping. */
static struct str query(struct str path, const char *name)
{
    struct str head, rest, piece;
    if (!str_cut(path, '?', &head, &rest)) {
        return STR_NULL;
    }
    while (str_split(&rest, '&', &piece)) {
        struct str key, value;
        if (str_cut(piece, '=', &key, &value) && str_eq_c(key, name)) {
            return value;
        }
    }
    return STR_NULL;
}

static struct str subresource_of(struct str path)
{
    static const char *const names[] = { "/status", "/scale", "/ephemeralcontainers", "/resize" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct str head, rest;
        str_cut(path, '?', &head, &rest);
        if (str_ends(head, str_c(names[i]))) {
            return str_sub(str_c(names[i]), 1, 100);
        }
    }
    return STR_NULL;
}

static struct managed_writer writer_of(struct arena *a, const struct golden_patch *g, const struct api_type *t,
                                       const struct val *object)
{
    struct managed_writer w = { .manager = query(g->path, "fieldManager"), .api_version = val_get_str(object, STR("apiVersion")),
                                .subresource = subresource_of(g->path), .now_sec = 1, };
    struct val *empty = arena_new(a, struct val);
    struct fields *ignore = arena_new(a, struct fields);
    *empty = val_object();
    if (!w.manager.ptr) {
        w.manager = STR("golden");
    }
    if (t) {
        void *zero = arena_alloc(a, t->size);
        CHECK(zero && api_to_val(a, t, zero, empty));
        w.schema = fields_at_type(t);
    } else {
        w.schema = widget_schema(a);
    }
    CHECK(managed_reset_fields(a, true, w.subresource, ignore));
    w.empty = empty;
    w.ignore = ignore;
    return w;
}

static void print_entries(const char *what, const struct meta_v1_managed_fields_entry *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("    %s %.*s %.*s %.*s %.*s %.*s\n", what, STR_ARG(e[i].manager), STR_ARG(e[i].operation),
               STR_ARG(e[i].api_version), STR_ARG(e[i].subresource), STR_ARG(e[i].fields_v1));
    }
}

static void compact_entries(struct arena *a, struct meta_v1_managed_fields_entry *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fields f;
        struct err err;
        struct buf b;
        CHECK_OK(fields_parse(a, e[i].fields_v1, &f, &err), &err);
        buf_init(&b, BUF_NO_MAX);
        fields_write(&b, &f);
        e[i].fields_v1 = arena_str(a, buf_str(&b));
        buf_deinit(&b);
    }
}

/* Entries in the order of their names: times within one second of the capture are not ours to tell. */
static int entry_cmp(const void *a, const void *b)
{
    const struct meta_v1_managed_fields_entry *x = a, *y = b;
    int c = str_cmp(x->operation, y->operation);
    c = c ? c : str_cmp(x->manager, y->manager);
    c = c ? c : str_cmp(x->api_version, y->api_version);
    return c ? c : str_cmp(x->subresource, y->subresource);
}

static void check_entries(struct arena *a, const struct golden_patch *g, struct managed *m,
                          struct meta_v1_managed_fields_entry *want, size_t n_want)
{
    struct meta_v1_managed_fields_entry *got;
    size_t n_got;
    struct err err;
    CHECK_OK(managed_encode(a, m, &got, &n_got, &err), &err);
    compact_entries(a, want, n_want);
    if (n_got) {
        qsort(got, n_got, sizeof(*got), entry_cmp);
    }
    if (n_want) {
        qsort(want, n_want, sizeof(*want), entry_cmp);
    }
    if (!managed_same_but_times(got, n_got, want, n_want)) {
        printf("  %s: other managed fields\n", g->name);
        print_entries("got ", got, n_got);
        print_entries("want", want, n_want);
        failed = true;
    }
    tracked++;
}

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
    struct meta_v1_managed_fields_entry *live_entries, *new_entries, *want_entries;
    struct val live;
    CHECK_OK(val_parse_json(a, g->before, JSON_DEPTH, NULL, &live, &err), &err);
    size_t n_live = take_entries(a, &live, &live_entries), n_new = take_entries(a, &v, &new_entries);
    size_t n_want = take_entries(a, &after, &want_entries);
    struct managed m;
    struct managed_writer w = writer_of(a, g, t, &live);
    if (w.subresource.len) {
        n_new = 0;
    }
    CHECK_OK(managed_init(a, live_entries, n_live, new_entries, n_new, &m, &err), &err);
    CHECK_OK(managed_update(a, &m, &w, &live, &v, &err), &err);
    check_entries(a, g, &m, want_entries, n_want);
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
    same = refused = elsewhere = tracked = 0;
    failed = false;
    each_patch(replay);
    printf("  %u patches gave the captured object, %u of them tracked; %u the captured refusal, %u end in other stages\n", same,
           tracked, refused, elsewhere);
    CHECK(!failed);
}

/* Applies that other stages of the server answer: names, kinds, versions, options, the scale's own object. */
static bool is_apply_elsewhere(const struct golden_patch *g)
{
    static const char *const names[] = { "086-", "089-", "091-", "092-", "094-", "097-", "099-", "113-", "119-", "120-" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strncmp(g->name, names[i], 4) == 0) {
            return true;
        }
    }
    return false;
}

static void replay_apply(struct arena *a, struct golden_patch *g)
{
    struct val live, config, after;
    struct err err = { 0 };
    struct apply_result result;
    struct managed m;
    struct meta_v1_managed_fields_entry *live_entries, *want_entries;
    if (str_find(g->content_type, STR("apply-patch")) < 0) {
        return;
    }
    if (is_apply_elsewhere(g)) {
        elsewhere++;
        return;
    }
    CHECK_OK(yaml_parse(a, g->patch, NULL, &config, &err), &err);
    CHECK_OK(val_parse_json(a, g->before, JSON_DEPTH, NULL, &live, &err), &err);
    const struct api_type *t = type_of(&config);
    struct managed_writer w = writer_of(a, g, t, &config);
    bool create = str_eq_c(val_get_str(&live, STR("kind")), "Status");
    if (create) {
        CHECK(val_copy(a, w.empty, false, &live));
    }
    size_t n_live = take_entries(a, &live, &live_entries), n_want;
    CHECK_OK(managed_init(a, live_entries, n_live, NULL, 0, &m, &err), &err);
    bool force = str_eq_c(query(g->path, "force"), "true");
    if (!apply_config(a, &m, &w, &live, &config, force, &result, &err)) {
        if (!str_eq_c(g->message, err.msg)) {
            printf("  %s: answered %lld \"%.*s\", we say \"%s\"\n", g->name, (long long)g->status, STR_ARG(g->message), err.msg);
            failed = true;
        }
        refused++;
        return;
    }
    if (g->status != 200 && g->status != 201) {
        printf("  %s: applied, but the answer was %.*s\n", g->name, STR_ARG(g->message));
        failed = true;
        return;
    }
    if (str_find(g->path, STR("dryRun")) >= 0) {
        elsewhere++;
        return;
    }
    CHECK_OK(val_parse_json(a, g->after, JSON_DEPTH, NULL, &after, &err), &err);
    n_want = take_entries(a, &after, &want_entries);
    check_entries(a, g, &m, want_entries, n_want);
    if (strncmp(g->name, "140-", 4) == 0 || strncmp(g->name, "148-", 4) == 0) {
        elsewhere++; /* the custom resource's defaults come later */
        return;
    }
    CHECK_OK(normalize(a, t, &result.object, &err), &err);
    /* What the server gives a new object. */
    static const char *const given[] = { "uid", "creationTimestamp", "namespace" };
    for (size_t i = 0; create && i < ARRAY_SIZE(given); i++) {
        val_remove(val_get(&after, STR("metadata")), str_c(given[i]));
        val_remove(val_get(&result.object, STR("metadata")), str_c(given[i]));
    }
    strip(&result.object);
    strip(&after);
    if (!val_equal(&result.object, &after)) {
        printf("  %s: differs\n", g->name);
        val_sort(&result.object);
        val_sort(&after);
        golden_show_difference("after", val_to_json(a, &result.object), val_to_json(a, &after));
        failed = true;
    }
    same++;
}

/* The scale subresource: only the managed fields of the parent are ours to tell. */
static void replay_scale(struct arena *a, struct golden_patch *g)
{
    static const char *const path[] = { "spec", "replicas" };
    struct val before, after, live, config;
    struct err err;
    struct managed parent, scale;
    struct meta_v1_managed_fields_entry *live_entries, *want_entries;
    if (!str_eq_c(subresource_of(g->path), "scale")) {
        return;
    }
    CHECK_OK(val_parse_json(a, g->before, JSON_DEPTH, NULL, &before, &err), &err);
    CHECK_OK(val_parse_json(a, g->after, JSON_DEPTH, NULL, &after, &err), &err);
    size_t n_live = take_entries(a, &before, &live_entries), n_want = take_entries(a, &after, &want_entries);
    CHECK_OK(managed_init(a, live_entries, n_live, NULL, 0, &parent, &err), &err);
    CHECK(managed_to_scale(a, &parent, path, ARRAY_SIZE(path), &scale));
    const char *text = "{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"metadata\":{},\"spec\":{}}";
    CHECK_OK(val_parse_json(a, str_c(text), JSON_DEPTH, NULL, &live, &err), &err);
    CHECK(val_set(a, val_get(&live, STR("spec")), STR("replicas"), *VAL_AT(&before, "spec", "replicas")) != NULL);
    struct managed_writer w = writer_of(a, g, &autoscaling_v1_scale_type, &live);
    if (str_find(g->content_type, STR("apply-patch")) >= 0) {
        struct apply_result result;
        CHECK_OK(yaml_or_json_parse(a, g->patch, NULL, &config, &err), &err);
        CHECK_OK(apply_config(a, &scale, &w, &live, &config, str_eq_c(query(g->path, "force"), "true"), &result, &err), &err);
    } else {
        struct val object;
        CHECK(val_copy(a, &live, false, &object));
        CHECK_OK(patch_merge_apply(a, &object, g->patch, NULL, &err), &err);
        CHECK_OK(managed_update(a, &scale, &w, &live, &object, &err), &err);
    }
    w.api_version = val_get_str(&after, STR("apiVersion"));
    CHECK(managed_from_scale(a, &parent, w.api_version, path, ARRAY_SIZE(path), &scale));
    check_entries(a, g, &parent, want_entries, n_want);
}

TEST(golden_scales_are_tracked_as_kubernetes_tracked_them)
{
    tracked = 0;
    failed = false;
    each_patch(replay_scale);
    printf("  %u scales\n", tracked);
    CHECK(!failed && tracked > 0);
}

TEST(golden_applies_give_what_kubernetes_gave)
{
    same = refused = elsewhere = tracked = 0;
    failed = false;
    each_patch(replay_apply);
    printf("  %u applies gave the captured object, %u the captured refusal, %u end in other stages\n", same, refused, elsewhere);
    CHECK(!failed);
}
