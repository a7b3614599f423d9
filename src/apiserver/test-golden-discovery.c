/* Replays the captured discovery documents. */
#include <stdlib.h>

#include "api/golden.h"
#include "apiserver/golden-replay.h"
#include "base/test.h"

/* ---- discovery ---- */

/* The groups that the captures' custom resources made are taken out: they come with the definitions. */
static void drop_custom(struct val *v)
{
    if (v->kind == VAL_ARRAY) {
        for (uint32_t i = 0; i < v->n;) {
            const struct val *it = &v->items[i];
            struct str name = it->kind == VAL_STRING ? it->s : val_get_str(it, STR("name"));
            name = name.ptr ? name : VAL_STR_AT(it, "metadata", "name");
            if (str_find(name, STR("example.com")) >= 0) {
                val_remove_at(v, i);
            } else {
                drop_custom(&v->items[i++]);
            }
        }
    } else if (v->kind == VAL_OBJECT) {
        for (uint32_t i = 0; i < v->n;) {
            if (str_find(v->members[i].key, STR("example.com")) >= 0) {
                (void)val_remove(v, v->members[i].key);
            } else {
                drop_custom(&v->members[i++].value);
            }
        }
    }
}

static bool is_version(struct str s)
{
    return s.len >= 2 && s.ptr[0] == 'v' && s.ptr[1] >= '0' && s.ptr[1] <= '9';
}

/* "apis.apps.v1" -> /apis/apps/v1. Absent: not a document of a path. */
static struct str path_of(struct arena *a, struct str file)
{
    static const struct {
        const char *file, *path;
    } fixed[] = { { "root", "/" }, { "version", "/version" }, { "healthz", "/healthz" }, { "livez.verbose", "/livez?verbose" },
                  { "readyz.verbose", "/readyz?verbose" }, { "openid-configuration", "/.well-known/openid-configuration" },
                  { "openapi.v3", "/openapi/v3" }, { "apis", "/apis" }, { "api", "/api" }, { "api.v1", "/api/v1" },
                  { "aggregated.v2.api", "/api" }, { "aggregated.v2.apis", "/apis" }, { "aggregated.v2beta1.api", "/api" },
                  { "aggregated.v2beta1.apis", "/apis" } };
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (str_eq_c(file, fixed[i].file)) {
            return str_c(fixed[i].path);
        }
    }
    if (!str_starts(file, STR("apis."))) {
        return STR_NULL;
    }
    file = str_sub(file, 5, file.len);
    ptrdiff_t dot = str_rfind_char(file, '.');
    struct str last = dot >= 0 ? str_sub(file, (size_t)dot + 1, file.len) : STR_NULL;
    return is_version(last) ? arena_printf(a, "/apis/%.*s/%.*s", STR_ARG(str_sub(file, 0, (size_t)dot)), STR_ARG(last))
                            : arena_printf(a, "/apis/%.*s", STR_ARG(file));
}

static bool is_document(const char *name)
{
    return str_ends(str_c(name), STR(".json")) && !str_ends(str_c(name), STR(".meta.json")) && !strstr(name, "example.com") &&
           !strstr(name, "headers");
}

static bool discovered_alike(struct test_server *t, const char *name, struct replay_diff *d)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 128u << 20);
    const char *accept = strstr(name, "aggregated.v2beta1") ? "Accept: application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList\r\n"
                       : strstr(name, "aggregated.v2") ? "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\n"
                                                       : "Accept: application/json\r\n";
    struct str path = path_of(&a, str_sub(str_c(name), 0, strlen(name) - 5)), text = test_read(&a, "%s/discovery/%s", golden_dir(), name);
    struct val want = replay_parse(&a, text), meta = replay_parse(&a, test_read(&a, "%s/discovery/%s.meta.json", golden_dir(), name));
    if (!path.ptr) {
        (void)snprintf(d->why, sizeof(d->why), "no path for it");
        return false;
    }
    struct test_answer r = test_request(t, &a, STR("GET"), path, "admin", str_c(accept), STR_NULL);
    if (r.status != 200) {
        (void)snprintf(d->why, sizeof(d->why), "status %d: %.*s", r.status, STR_ARG(str_sub(r.body, 0, 800)));
        return false;
    }
    if (!replay_same_headers(d, &r, &meta)) {
        return false;
    }
    if (want.kind == VAL_NULL) {
        return replay_same_json(&a, d, r.body, text);
    }
    drop_custom(&want);
    return replay_same_json(&a, d, r.body, val_to_json(&a, &want));
}

TEST(captured_discovery_is_answered_alike)
{
    struct test_server t;
    struct replay replay;
    char *names[500];
    size_t n = replay_files("discovery", names, ARRAY_SIZE(names));
    test_server_start(&t);
    replay_begin(&replay, "discovery");
    for (size_t i = 0; i < n; i++) {
        struct replay_diff d = { 0 };
        if (is_document(names[i]) && !replay_skips(names[i])) {
            replay_case(&replay, names[i], discovered_alike(&t, names[i], &d), d.why);
        }
        free(names[i]);
    }
    test_server_stop(&t);
    replay_end(&replay);
}
