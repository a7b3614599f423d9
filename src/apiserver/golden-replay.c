#include "apiserver/golden-replay.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/decode-json.h"
#include "api/golden.h"
#include "base/fs.h"
#include "base/test.h"

/* ---- the lists ---- */

static const char *list_path(char *path, size_t size, const char *name)
{
    static const char *const roots[] = { "tests/data", "../tests/data", "../../tests/data" };
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        (void)snprintf(path, size, "%s/%s", roots[i], name);
        if (access(path, R_OK) == 0) {
            return path;
        }
    }
    return NULL;
}

static struct str read_list(struct arena *a, const char *name)
{
    char path[200];
    const char *p = list_path(path, sizeof(path), name);
    return p ? golden_path(a, p) : STR_EMPTY;
}

static bool listed(struct str list, struct str line)
{
    struct str l;
    while (str_split(&list, '\n', &l)) {
        if (str_eq(l, line)) {
            return true;
        }
    }
    return false;
}

/* The reason a case differs, absent when none is known. */
static struct str deviation_of(struct str list, struct str line)
{
    struct str l, name, reason;
    while (str_split(&list, '\n', &l)) {
        if (l.len == 0 || l.ptr[0] == '#' || !str_cut(l, ':', &name, &reason)) {
            continue;
        }
        if (str_eq(name, line) || (str_ends(name, STR("*")) && str_starts(line, str_sub(name, 0, name.len - 1)))) {
            return str_trim(reason);
        }
    }
    return STR_NULL;
}

void replay_begin(struct replay *r, const char *directory)
{
    *r = (struct replay){ .directory = directory };
    arena_init(&r->a, 16u << 20);
    buf_init(&r->agreed, 1u << 20);
    r->ratchet = read_list(&r->a, "golden-agree.txt");
    r->deviations = read_list(&r->a, "golden-deviations.txt");
}

bool replay_skips(const char *name)
{
    const char *only = getenv("CORACLE_GOLDEN_CASE");
    return only && !strstr(name, only);
}

void replay_case(struct replay *r, const char *name, bool same, const char *why)
{
    struct str line = arena_printf(&r->a, "%s/%s", r->directory, name), reason = deviation_of(r->deviations, line);
    bool was = listed(r->ratchet, line), shown = getenv("CORACLE_GOLDEN_VERBOSE") || getenv("CORACLE_GOLDEN_CASE");
    r->n++;
    if (same) {
        r->agree++;
        buf_printf(&r->agreed, "%.*s\n", STR_ARG(line));
        if (!was && shown) {
            printf("  agrees now: %.*s\n", STR_ARG(line));
        }
        return;
    }
    if (was) {
        r->lost++;
        printf("  agreed before: %.*s: %s\n", STR_ARG(line), why);
    } else if (reason.ptr) {
        r->deviate++;
    }
    if (shown && !was && (!reason.ptr || getenv("CORACLE_GOLDEN_CASE"))) {
        printf("  %.*s: %s\n", STR_ARG(line), why);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void accept_ratchet(struct replay *r)
{
    char path[200], *lines[4000];
    const char *p = list_path(path, sizeof(path), "golden-agree.txt");
    size_t n = 0;
    CHECK(p != NULL);
    struct str both = arena_printf(&r->a, "%.*s\n%.*s", STR_ARG(golden_path(&r->a, p)), STR_ARG(buf_str(&r->agreed))), line;
    while (str_split(&both, '\n', &line) && n < ARRAY_SIZE(lines)) {
        if (line.len) {
            lines[n++] = arena_cstr(&r->a, line);
        }
    }
    qsort(lines, n, sizeof(lines[0]), by_name);
    CLEANUP(buf_deinit) struct buf out;
    struct err err;
    buf_init(&out, 1u << 20);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0) {
            buf_printf(&out, "%s\n", lines[i]);
        }
    }
    CHECK_OK(fs_write_atomic(p, buf_str(&out), 0644, &err), &err);
}

void replay_end(struct replay *r)
{
    unsigned lost = r->lost;
    printf("  %s: %u of %u captured cases agree, %u differ for a known reason, %u wait\n", r->directory, r->agree, r->n,
           r->deviate, r->n - r->agree - r->deviate);
    if (getenv("CORACLE_GOLDEN_ACCEPT")) {
        accept_ratchet(r);
    }
    buf_deinit(&r->agreed);
    arena_deinit(&r->a);
    CHECK(lost == 0);
}

/* ---- what varies ---- */

static bool is_uuid(struct str s)
{
    if (s.len != 36) {
        return false;
    }
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.ptr[i] != '-' : !strchr("0123456789abcdef", s.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool is_time(struct str s)
{
    return s.len >= 20 && s.ptr[4] == '-' && s.ptr[10] == 'T' && s.ptr[s.len - 1] == 'Z';
}

static bool is_number(struct str s)
{
    uint64_t v;
    return str_to_u64(s, &v);
}

/* "12s", "3d4h", "2m3s". */
static bool is_age(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr("0123456789smhdy", s.ptr[i])) {
            return false;
        }
    }
    return s.len >= 2 && s.ptr[0] >= '0' && s.ptr[0] <= '9' && s.ptr[s.len - 1] > '9';
}

static struct str without_uuids(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    CHECK(out != NULL);
    for (size_t i = 0; i < s.len;) {
        if (is_uuid(str_sub(s, i, 36))) {
            out[n++] = 'U';
            i += 36;
        } else {
            out[n++] = s.ptr[i++];
        }
    }
    return str_n(out, n);
}

static struct str without_numbers(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    CHECK(out != NULL);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            out[n++] = s.ptr[i];
        }
    }
    return str_n(out, n);
}

bool replay_same_message(struct arena *a, struct str got, struct str want)
{
    got = without_uuids(a, got);
    want = without_uuids(a, want);
    if (str_eq(got, want)) {
        return true;
    }
    if (str_find(want, STR("esource version")) >= 0 || str_find(want, STR("esourceVersion")) >= 0) {
        return str_eq(without_numbers(a, got), without_numbers(a, want));
    }
    if (str_find(want, STR("metadata.generateName")) >= 0) {
        return str_eq(str_sub(got, 0, 14), str_sub(want, 0, 14)) && got.len == want.len;
    }
    return false;
}

static bool given(const struct replay_diff *d, struct str s)
{
    return d->given.len > 0 && str_find(d->given, s) >= 0;
}

/* Ports of nodes in a cell ("80:30080/TCP,53:31082/UDP"), but for those that were asked for. */
static struct str without_ports(struct arena *a, const struct replay_diff *d, struct str s)
{
    struct str out = STR_EMPTY, piece;
    uint64_t port;
    for (bool first = true; str_split(&s, ':', &piece); first = false) {
        struct str number, rest = STR_EMPTY;
        bool cut = str_cut(piece, '/', &number, &rest);
        bool any = !first && cut && str_to_u64(number, &port) && port >= 30000 && port < 32768 && !given(d, number);
        out = arena_printf(a, "%.*s%s%.*s%s%.*s", STR_ARG(out), first ? "" : ":", STR_ARG(any ? STR("P") : number), cut ? "/" : "",
                           STR_ARG(rest));
    }
    return out;
}

static bool same_string(struct arena *a, const struct replay_diff *d, struct str key, struct str got, struct str want)
{
    static const char *const live[] = { "uid", "creationTimestamp", "deletionTimestamp", "time" };
    static const struct str access = STR_INIT("kube-api-access-");
    if (str_eq(got, want)) {
        return true;
    }
    bool always = false;
    for (size_t i = 0; i < ARRAY_SIZE(live); i++) {
        always |= str_eq_c(key, live[i]);
    }
    if ((is_uuid(want) && is_uuid(got)) || (is_time(want) && is_time(got))) {
        return always || !given(d, want);
    }
    if (str_eq_c(key, "resourceVersion")) {
        return is_number(got) && is_number(want);
    }
    if (str_eq_c(key, "message")) {
        bool generated = str_find(d->given, STR("\"generateName\"")) >= 0;
        return replay_same_message(a, got, want) || (generated && got.len == want.len && str_eq(str_sub(got, 0, 14), str_sub(want, 0, 14)));
    }
    if (str_eq_c(key, "cells") && is_age(got) && is_age(want)) {
        return true;
    }
    if (str_eq_c(key, "continue")) {
        return got.len > 0 && want.len > 0;
    }
    bool named = str_eq_c(key, "name") && str_find(d->given, STR("\"generateName\"")) >= 0 && want.len > 5;
    if ((str_starts(got, access) && str_starts(want, access)) || named) {
        return got.len == want.len && str_eq(str_sub(got, 0, got.len - 5), str_sub(want, 0, got.len - 5));
    }
    if (str_starts(got, STR("10.96.")) && str_starts(want, STR("10.96."))) {
        return !given(d, want);
    }
    got = without_ports(a, d, without_uuids(a, got));
    want = without_ports(a, d, without_uuids(a, want));
    return str_eq(got, want);
}

/* A build of the captures hands every pod a second certificate, which upstream's releases do not. */
static bool foreign_source(const struct val *v)
{
    return str_eq_c(VAL_STR_AT(v, "configMap", "name"), "openshift-service-ca.crt");
}

PRINTF_LIKE(2, 3) static bool differs(struct replay_diff *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(d->why, sizeof(d->why), fmt, ap);
    va_end(ap);
    return false;
}

static struct str shown(struct arena *a, const struct val *v)
{
    return v ? str_sub(val_to_json(a, v), 0, 700) : STR("(nothing)");
}

static bool same_at(struct arena *a, struct replay_diff *d, struct str path, struct str key, const struct val *got,
                    const struct val *want);

/* What columns are for is told in words of our own. */
static bool is_own_words(struct str path)
{
    return str_find(path, STR(".columnDefinitions[")) >= 0 && str_ends(path, STR(".description"));
}

static bool same_array(struct arena *a, struct replay_diff *d, struct str path, struct str key, const struct val *got,
                       const struct val *want)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < want->n; i++) {
        if (foreign_source(&want->items[i])) {
            k += k < got->n && foreign_source(&got->items[k]); /* it was there before a patch */
            continue;
        }
        struct str at = arena_printf(a, "%.*s[%u]", STR_ARG(path), k);
        if (k >= got->n) {
            return differs(d, "%.*s: got nothing, want %.*s", STR_ARG(at), STR_ARG(shown(a, &want->items[i])));
        }
        if (!same_at(a, d, at, key, &got->items[k++], &want->items[i])) {
            return false;
        }
    }
    return k == got->n || differs(d, "%.*s[%u]: got %.*s, want nothing", STR_ARG(path), k, STR_ARG(shown(a, &got->items[k])));
}

static bool same_object(struct arena *a, struct replay_diff *d, struct str path, const struct val *got, const struct val *want)
{
    for (uint32_t i = 0; i < want->n || i < got->n; i++) {
        const struct val_member *g = i < got->n ? &got->members[i] : NULL, *w = i < want->n ? &want->members[i] : NULL;
        if (!g || !w || !str_eq(g->key, w->key)) {
            if (w && !val_get(got, w->key)) {
                return differs(d, "%.*s.%.*s: got nothing, want %.*s", STR_ARG(path), STR_ARG(w->key), STR_ARG(shown(a, &w->value)));
            }
            if (g && !val_get(want, g->key)) {
                return differs(d, "%.*s.%.*s: got %.*s, want nothing", STR_ARG(path), STR_ARG(g->key), STR_ARG(shown(a, &g->value)));
            }
            return differs(d, "%.*s: got %.*s where %.*s is wanted", STR_ARG(path), STR_ARG(g ? g->key : STR("nothing")),
                           STR_ARG(w ? w->key : STR("nothing")));
        }
        struct str at = arena_printf(a, "%.*s.%.*s", STR_ARG(path), STR_ARG(w->key));
        if (!same_at(a, d, at, w->key, &g->value, &w->value)) {
            return false;
        }
    }
    return true;
}

/* Entries are sorted by time first: a replay has other times than the capture. */
static int by_manager(const void *a, const void *b)
{
    static const char *const keys[] = { "operation", "manager", "subresource", "apiVersion" };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        int c = str_cmp(val_get_str(a, str_c(keys[i])), val_get_str(b, str_c(keys[i])));
        if (c) {
            return c;
        }
    }
    return 0;
}

static bool same_managers(struct arena *a, struct replay_diff *d, struct str path, const struct val *got, const struct val *want)
{
    struct val g, w;
    CHECK(val_copy(a, got, false, &g) && val_copy(a, want, false, &w));
    qsort(g.items, g.n, sizeof(*g.items), by_manager);
    qsort(w.items, w.n, sizeof(*w.items), by_manager);
    return same_array(a, d, path, STR_EMPTY, &g, &w);
}

static bool same_at(struct arena *a, struct replay_diff *d, struct str path, struct str key, const struct val *got,
                    const struct val *want)
{
    bool same;
    if (got->kind != want->kind) {
        same = false;
    } else if (want->kind == VAL_OBJECT) {
        return same_object(a, d, path, got, want);
    } else if (want->kind == VAL_ARRAY && str_eq_c(key, "managedFields") && got->n > 1) {
        return same_managers(a, d, path, got, want);
    } else if (want->kind == VAL_ARRAY) {
        return same_array(a, d, path, key, got, want);
    } else if (want->kind == VAL_STRING) {
        same = is_own_words(path) || same_string(a, d, key, got->s, want->s);
    } else if (want->kind == VAL_INT && (str_eq_c(key, "nodePort") || str_eq_c(key, "healthCheckNodePort"))) {
        same = got->i == want->i || (got->i >= 30000 && got->i < 32768 && !given(d, arena_printf(a, "%lld", (long long)want->i)));
    } else {
        same = val_equal(got, want);
    }
    return same || differs(d, "%.*s:\n      got  %.*s\n      want %.*s", STR_ARG(path), STR_ARG(shown(a, got)), STR_ARG(shown(a, want)));
}

bool replay_same(struct arena *a, struct replay_diff *d, const struct val *got, const struct val *want)
{
    return same_at(a, d, STR_EMPTY, STR_EMPTY, got, want);
}

bool replay_same_json(struct arena *a, struct replay_diff *d, struct str got, struct str want)
{
    struct val g, w;
    struct err err;
    if (!val_parse_json(a, want, 200, NULL, &w, &err)) {
        return str_eq(str_trim(got), str_trim(want)) ||
               differs(d, "\n      got  %.*s\n      want %.*s", STR_ARG(str_sub(got, 0, 700)), STR_ARG(str_sub(want, 0, 700)));
    }
    if (!val_parse_json(a, got, 200, NULL, &g, &err)) {
        return differs(d, "no JSON: %.*s", STR_ARG(str_sub(got, 0, 300)));
    }
    return replay_same(a, d, &g, &w);
}

/* The n-th header of that name in a captured list of pairs. */
static struct str captured(const struct val *meta, const char *name, unsigned nth)
{
    const struct val *headers = val_get(meta, STR("headers"));
    for (uint32_t i = 0; headers && i < headers->n; i++) {
        const struct val *pair = &headers->items[i];
        if (pair->n == 2 && str_eq_nocase(val_as_str(&pair->items[0]), str_c(name)) && nth-- == 0) {
            return val_as_str(&pair->items[1]);
        }
    }
    return STR_NULL;
}

static struct str answered(const struct test_answer *r, const char *name, unsigned nth)
{
    struct str rest = r->headers, line, key, value;
    while (str_split(&rest, '\n', &line)) {
        if (str_cut(str_trim(line), ':', &key, &value) && str_eq_nocase(key, str_c(name)) && nth-- == 0) {
            return str_trim(value);
        }
    }
    return STR_NULL;
}

bool replay_same_headers(struct replay_diff *d, const struct test_answer *got, const struct val *meta)
{
    static const char *const names[] = { "Content-Type", "Warning", "Retry-After", "Allow", "Cache-Control", "Vary" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        for (unsigned nth = 0;; nth++) {
            struct str g = answered(got, names[i], nth), w = captured(meta, names[i], nth);
            if (!g.ptr && !w.ptr) {
                break;
            }
            /* Some captures kept only Content-Type and Warning. */
            if (i > 1 && !w.ptr) {
                break;
            }
            if (!str_eq(g, w)) {
                return differs(d, "header %s:\n      got  %.*s\n      want %.*s", names[i], STR_ARG(g.ptr ? g : STR("(nothing)")),
                               STR_ARG(w.ptr ? w : STR("(nothing)")));
            }
        }
    }
    return true;
}

struct str replay_cleaned(struct arena *a, struct str body)
{
    struct val v;
    struct err err;
    uint64_t rv;
    if (!val_parse_json(a, body, 200, NULL, &v, &err) || v.kind != VAL_OBJECT) {
        return body;
    }
    struct val *m = val_get(&v, STR("metadata"));
    struct str uid = val_get_str(m, STR("uid")), version = val_get_str(m, STR("resourceVersion"));
    if (uid.len != 36 || !str_to_u64(version, &rv) || rv <= 100) {
        return body;
    }
    (void)val_remove(m, STR("uid"));
    (void)val_remove(m, STR("resourceVersion"));
    return val_to_json(a, &v);
}

static size_t names_in(const char *folder, char **names, size_t max, bool numbered)
{
    char path[1000];
    size_t n = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", golden_dir(), folder);
    DIR *d = opendir(path);
    if (!d) {
        test_skip("no captured %s", folder);
    }
    for (struct dirent *e; (e = readdir(d)) && n < max;) {
        if (numbered ? e->d_name[0] >= '0' && e->d_name[0] <= '9' : e->d_name[0] != '.') {
            names[n++] = strdup(e->d_name);
        }
    }
    (void)closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    return n;
}

size_t replay_names(const char *folder, char **names, size_t max)
{
    return names_in(folder, names, max, true);
}

size_t replay_files(const char *folder, char **names, size_t max)
{
    return names_in(folder, names, max, false);
}

/* ---- state ---- */

static void put_done(void *arg, const struct store_result *res)
{
    (void)res;
    *(bool *)arg = true;
}

bool replay_put(struct test_server *t, struct arena *a, const struct endpoint *ep, struct str namespace, struct str name,
                struct str before)
{
    CLEANUP(buf_deinit) struct buf key, value;
    struct err err;
    bool done = false;
    struct val v = replay_parse(a, before);
    buf_init(&key, 4096);
    buf_init(&value, 16u << 20);
    watch_cache_key(ep->rest->cache, namespace, name, &key);
    struct store_write w = { .resource = watch_cache_resource(ep->rest->cache), .key = buf_str(&key), .expect = STORE_ANY,
                             .done = put_done, .arg = &done };
    if (!str_eq_c(val_get_str(&v, STR("kind")), "Status")) {
        void *obj = arena_alloc(a, ep->rest->hub->type->size);
        if (!obj || !api_decode_json(a, ep->rest->hub->type, before, NULL, obj, &err) ||
            !rest_encode_stored(ep->rest, obj, &value, &err)) {
            return false;
        }
        w.value = buf_str(&value);
    }
    store_write(t->server->store, &w);
    for (int i = 0; i < 1000 && !done; i++) {
        loop_turn(t->loop, 1);
    }
    return done;
}

struct val replay_parse(struct arena *a, struct str json)
{
    struct val v;
    struct err err;
    return json.ptr && val_parse_json(a, json, 200, NULL, &v, &err) ? v : val_null();
}
