#include "controllers/fixture.h"

#include "api/decode-json.h"
#include "client/informer-private.h"

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

void fixture_put(struct fixture *f, const char *group, const char *version, const char *resource,
                 const char *json)
{
    const struct api_resource *r = api_resource_find(str_c(group), str_c(version), str_c(resource));
    struct arena a;
    struct err err;
    CHECK(r);
    arena_init(&a, ARENA_NO_BUDGET);
    void *obj = arena_alloc(&a, r->type->size);
    CHECK_OK(api_decode_json(&a, r->type, str_c(json), NULL, obj, &err), &err);
    informers_absorb(f->informers, r, obj);
    arena_deinit(&a);
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
