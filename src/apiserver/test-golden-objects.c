/*
 * Creates the captured objects of objects/ on a server in this process and compares what comes back, field by field, with what
 * kube-apiserver answered; then the same object as a Table, cell by cell.
 */
#include <dirent.h>
#include <stdlib.h>

#include "api/val.h"
#include "apiserver/test-server.h"
#include "base/test.h"

/* Differs from run to run, wherever it stands. */
static bool varies(struct str key)
{
    static const char *const keys[] = { "uid", "resourceVersion", "creationTimestamp", "time", "clusterIP", "clusterIPs", "nodePort",
                                        "healthCheckNodePort", "lastTransitionTime", "lastUpdateTime", "controller-uid",
                                        "batch.kubernetes.io/controller-uid", "timeAdded", "lastPhaseTransitionTime", "name-of-token" };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (str_eq_c(key, keys[i])) {
            return true;
        }
    }
    return false;
}

/* The first difference as a path; absent when there is none. */
static struct str differs(struct arena *a, const struct val *got, const struct val *want, struct str path)
{
    if (!got || !want) {
        return arena_printf(a, "%.*s: %s", STR_ARG(path), got ? "not expected" : "missing");
    }
    if (got->kind != want->kind) {
        return arena_printf(a, "%.*s: another kind of value", STR_ARG(path));
    }
    if (got->kind == VAL_OBJECT) {
        for (uint32_t i = 0; i < want->n; i++) {
            struct str key = want->members[i].key;
            if (varies(key)) {
                continue;
            }
            struct str d = differs(a, val_get(got, key), &want->members[i].value, arena_printf(a, "%.*s.%.*s", STR_ARG(path), STR_ARG(key)));
            if (d.ptr) {
                return d;
            }
        }
        for (uint32_t i = 0; i < got->n; i++) {
            struct str key = got->members[i].key;
            if (!varies(key) && !val_get(want, key)) {
                struct str text = val_to_json(a, &got->members[i].value);
                return arena_printf(a, "%.*s.%.*s: not expected: %.*s", STR_ARG(path), STR_ARG(key), STR_ARG(str_sub(text, 0, 120)));
            }
        }
        return STR_NULL;
    }
    if (got->kind == VAL_ARRAY) {
        if (got->n != want->n) {
            return arena_printf(a, "%.*s: %u items, want %u", STR_ARG(path), got->n, want->n);
        }
        for (uint32_t i = 0; i < want->n; i++) {
            struct str d = differs(a, &got->items[i], &want->items[i], arena_printf(a, "%.*s[%u]", STR_ARG(path), i));
            if (d.ptr) {
                return d;
            }
        }
        return STR_NULL;
    }
    if (val_equal(got, want)) {
        return STR_NULL;
    }
    struct str g = val_to_json(a, got), w = val_to_json(a, want);
    if (str_starts(w, STR("\"kube-api-access-")) && str_starts(g, STR("\"kube-api-access-"))) {
        return STR_NULL;
    }
    return arena_printf(a, "%.*s: %.*s, want %.*s", STR_ARG(path), STR_ARG(str_sub(g, 0, 120)), STR_ARG(str_sub(w, 0, 120)));
}

struct totals {
    size_t objects, objects_alike, tables, tables_alike;
    bool verbose;
};

static const struct api_resource *resource_of(const struct val *obj)
{
    struct str gv = val_get_str(obj, STR("apiVersion")), group, version;
    if (!str_cut(gv, '/', &group, &version)) {
        version = gv;
        group = STR_EMPTY;
    }
    return api_resource_of_kind(group, version, val_get_str(obj, STR("kind")));
}

static struct str path_of(struct arena *a, const struct api_resource *r, struct str ns)
{
    struct str base = str_empty(r->group) ? arena_printf(a, "/api/%.*s", STR_ARG(r->version))
                                          : arena_printf(a, "/apis/%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version));
    return r->namespaced ? arena_printf(a, "%.*s/namespaces/%.*s/%.*s", STR_ARG(base), STR_ARG(ns), STR_ARG(r->resource))
                         : arena_printf(a, "%.*s/%.*s", STR_ARG(base), STR_ARG(r->resource));
}

static void compare_table(struct test_server *t, struct arena *a, struct totals *n, const char *golden, const char *kind, const char *name,
                          struct str path)
{
    struct val got, want;
    struct err err;
    struct str text = test_read(a, "%s/objects/%s/%s.table.json", golden, kind, name);
    if (!text.ptr || !val_parse_json(a, text, 300, NULL, &want, &err)) {
        return;
    }
    n->tables++;
    struct test_answer r = test_request(t, a, STR("GET"), path, "admin", STR("Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"), STR_NULL);
    if (r.status != 200 || !val_parse_json(a, r.body, 300, NULL, &got, &err)) {
        if (n->verbose) {
            printf("  %s/%s table: status %d\n", kind, name, r.status);
        }
        return;
    }
    struct val *gc = val_get(&got, STR("rows")), *wc = val_get(&want, STR("rows"));
    struct val *g = val_is(gc, VAL_ARRAY) && gc->n ? val_get(&gc->items[0], STR("cells")) : NULL;
    struct val *w = val_is(wc, VAL_ARRAY) && wc->n ? val_get(&wc->items[0], STR("cells")) : NULL;
    bool alike = g && w && g->n == w->n;
    for (uint32_t i = 0; alike && i < w->n; i++) {
        struct str x = val_as_str(&g->items[i]), y = val_as_str(&w->items[i]);
        bool age = y.len > 1 && y.len < 8 && y.ptr[0] >= '0' && y.ptr[0] <= '9' && strchr("smhd", y.ptr[y.len - 1]) && x.len > 1;
        bool moment = y.len == 20 && y.ptr[10] == 'T' && x.len == 20;
        bool address = str_starts(y, STR("10.96.")) && str_starts(x, STR("10.96."));
        alike = age || moment || address || val_equal(&g->items[i], &w->items[i]);
    }
    n->tables_alike += alike;
    if (!alike && n->verbose) {
        struct str x = val_to_json(a, g), y = val_to_json(a, w);
        printf("  %s/%s table: %.*s\n      want %.*s\n", kind, name, STR_ARG(str_sub(x, 0, 400)), STR_ARG(str_sub(y, 0, 400)));
    }
}

static void compare(struct test_server *t, struct totals *n, const char *golden, const char *kind, const char *name)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 256u << 20);
    struct val in, want, got;
    struct err err;
    struct str body = test_read(&a, "%s/objects/%s/%s.in.json", golden, kind, name);
    struct str out = test_read(&a, "%s/objects/%s/%s.out.json", golden, kind, name);
    if (!out.ptr || !val_parse_json(&a, body, 300, NULL, &in, &err) || !val_parse_json(&a, out, 300, NULL, &want, &err) ||
        strstr(name, ".status")) {
        return;
    }
    const struct api_resource *r = resource_of(&want);
    if (!r || !r->default_on) {
        return;
    }
    struct str ns = VAL_STR_AT(&want, "metadata", "namespace"), path = path_of(&a, r, ns);
    n->objects++;
    struct test_answer answer = test_request(t, &a, STR("POST"), path, "admin", STR("Content-Type: application/json\r\nAccept: application/json\r\n"), body);
    if (answer.status != 201 || !val_parse_json(&a, answer.body, 300, NULL, &got, &err)) {
        if (n->verbose) {
            printf("  %s/%s: status %d %.*s\n", kind, name, answer.status, STR_ARG(str_sub(answer.body, 0, 500)));
        }
        return;
    }
    struct str d = differs(&a, &got, &want, STR_EMPTY);
    n->objects_alike += !d.ptr;
    if (d.ptr && n->verbose) {
        printf("  %s/%s: %.*s\n", kind, name, STR_ARG(d));
    }
    struct str object = arena_printf(&a, "%.*s/%.*s", STR_ARG(path), STR_ARG(VAL_STR_AT(&got, "metadata", "name")));
    compare_table(t, &a, n, golden, kind, name, object);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list(const char *path, const char *suffix, char **names, size_t max)
{
    size_t n = 0;
    DIR *d = opendir(path);
    CHECK(d != NULL);
    for (struct dirent *e; (e = readdir(d)) && n < max;) {
        size_t len = strlen(e->d_name), tail = strlen(suffix);
        if (e->d_name[0] != '.' && len > tail && strcmp(e->d_name + len - tail, suffix) == 0) {
            names[n++] = strndup(e->d_name, len - tail);
        }
    }
    (void)closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    return n;
}

enum { OBJECTS_AT_LEAST = 70, TABLES_AT_LEAST = 76 };

TEST(captured_objects_come_back_alike)
{
    const char *golden = test_golden();
    static const char *const namespaces[] = { "golden", "golden2", "full", "min" };
    struct test_server t;
    struct totals n = { .verbose = getenv("CORACLE_GOLDEN_VERBOSE") != NULL };
    char path[4200], *kinds[300], *names[300];
    test_server_start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
        CLEANUP(arena_deinit) struct arena a;
        arena_init(&a, 16u << 20);
        struct str json = STR("Content-Type: application/json\r\n");
        (void)test_request(&t, &a, STR("POST"), STR("/api/v1/namespaces"), "admin", json,
                           arena_printf(&a, "{\"metadata\":{\"name\":\"%s\"}}", namespaces[i]));
        (void)test_request(&t, &a, STR("POST"), arena_printf(&a, "/api/v1/namespaces/%s/serviceaccounts", namespaces[i]), "admin", json,
                           STR("{\"metadata\":{\"name\":\"default\"}}"));
    }
    (void)snprintf(path, sizeof(path), "%s/objects", golden);
    size_t n_kinds = list(path, "", kinds, ARRAY_SIZE(kinds));
    for (size_t i = 0; i < n_kinds; i++) {
        (void)snprintf(path, sizeof(path), "%s/objects/%s", golden, kinds[i]);
        size_t n_names = list(path, ".in.json", names, ARRAY_SIZE(names));
        for (size_t j = 0; j < n_names; j++) {
            compare(&t, &n, golden, kinds[i], names[j]);
            free(names[j]);
        }
        free(kinds[i]);
    }
    test_server_stop(&t);
    printf("  %zu of %zu captured objects and %zu of %zu tables are alike\n", n.objects_alike, n.objects, n.tables_alike, n.tables);
    CHECK(n.objects_alike >= OBJECTS_AT_LEAST);
    CHECK(n.tables_alike >= TABLES_AT_LEAST);
}
