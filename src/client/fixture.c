#include "client/fixture.h"

#include "api/decode-json.h"
#include "api/gen/core_v1.h"
#include "client/informer-private.h"
#include "client/meta.h"

void fixture_init(struct fixture *f, const struct controller_ops *ops)
{
    struct err err;
    struct client_config config = { .server = STR_INIT("http://127.0.0.1:1") };
    struct client_options options = { 0 };
    *f = (struct fixture){ .now = 1000000 };
    f->loop = loop_new(&err);
    CHECK_OK(f->loop, &err);
    f->client = client_new(f->loop, &config, &options, &err);
    CHECK_OK(f->client, &err);
    f->informers = informers_new(f->client);
    f->controller = controller_new(ops, f->client, f->informers, NULL);
    buf_init(&f->out, 16u << 20);
}

void fixture_deinit(struct fixture *f)
{
    controller_free(f->controller);
    informers_free(f->informers);
    client_free(f->client);
    loop_free(f->loop);
    buf_deinit(&f->out);
}

/* What is put in again is newer than what is there, whatever version its text says. */
static void make_newer(struct fixture *f, const struct api_resource *r, void *obj,
                       char version_text[24])
{
    struct meta_v1_object_meta *m = meta_of_mut(r->type, obj);
    uint64_t newest = 0;
    LIST_FOREACH(&f->informers->all, struct informer, link, i) {
        const void *old = i->resource == r ? informer_get(i, m->namespace, m->name) : NULL;
        newest = old ? MAX(newest, meta_rv(meta_of(r->type, old))) : newest;
    }
    if (newest && meta_rv(m) <= newest) {
        snprintf(version_text, 24, "%llu", (unsigned long long)newest + 1);
        m->resource_version = str_c(version_text);
    }
}

/* Informers with selectors take what a server would give them: here, what has the name or type of
 * their field selector. */
static void put_selected(struct fixture *f, const struct api_resource *r, const void *obj)
{
    const struct meta_v1_object_meta *m = meta_of(r->type, obj);
    LIST_FOREACH(&f->informers->all, struct informer, link, i) {
        struct str selector = str_c(i->field_selector), key, value;
        if (i->resource != r || !i->field_selector || (i->ns && !str_eq_c(m->namespace, i->ns))) {
            continue;
        }
        CHECK(str_cut(selector, '=', &key, &value));
        struct str have = m->name;
        if (str_eq_c(key, "type")) {
            CHECK(r->type == &core_v1_secret_type);
            have = ((const struct core_v1_secret *)obj)->type;
        } else {
            CHECK(str_eq_c(key, "metadata.name"));
        }
        if (str_eq(have, value)) {
            informer_store(i, obj, false);
        }
    }
}

void fixture_put(struct fixture *f, const char *group, const char *version, const char *resource,
                 const char *json)
{
    const struct api_resource *r = api_resource_find(str_c(group), str_c(version), str_c(resource));
    struct arena a;
    struct err err;
    char version_text[24];
    CHECK(r);
    arena_init(&a, ARENA_NO_BUDGET);
    void *obj = arena_alloc(&a, r->type->size);
    CHECK_OK(api_decode_json(&a, r->type, str_c(json), NULL, obj, &err), &err);
    make_newer(f, r, obj, version_text);
    informers_absorb(f->informers, r, obj);
    put_selected(f, r, obj);
    arena_deinit(&a);
}

void fixture_serve(struct fixture *f, const char *group, const char *version, const char *resource,
                   bool served)
{
    const struct api_resource *r = api_resource_find(str_c(group), str_c(version), str_c(resource));
    LIST_FOREACH(&f->informers->all, struct informer, link, i) {
        if (i->resource == r) {
            i->reflector.not_served = !served;
        }
    }
}

const char *fixture_pass(struct fixture *f, const char *key)
{
    buf_clear(&f->out);
    controller_dry_run(f->controller, str_c(key), f->now, &f->out);
    return f->out.ptr ? f->out.ptr : "";
}

size_t fixture_count(const char *text, const char *needle)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, needle)); p += strlen(needle)) {
        n++;
    }
    return n;
}
