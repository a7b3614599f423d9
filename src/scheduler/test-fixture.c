#include "scheduler/test-fixture.h"

#include "api/decode-json.h"
#include "base/test.h"

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){ .n_pods = 0 };
    arena_init(&f->arena, ARENA_NO_BUDGET);
    cache_init(&f->cache);
}

void fixture_deinit(struct fixture *f)
{
    cache_deinit(&f->cache);
    for (size_t i = 0; i < f->n_pods; i++) {
        pod_info_free(f->pods[i]);
    }
    arena_deinit(&f->arena);
}

static void *decode(struct fixture *f, const struct api_type *type, const char *json)
{
    struct err err;
    void *obj = arena_alloc(&f->arena, type->size);
    CHECK_OK(api_decode_json(&f->arena, type, str_c(json), NULL, obj, &err), &err);
    return obj;
}

void fixture_node(struct fixture *f, const char *json)
{
    cache_put_node(&f->cache, decode(f, &core_v1_node_type, json));
}

struct pod_info *fixture_pod(struct fixture *f, const char *json)
{
    const struct core_v1_pod *pod = decode(f, &core_v1_pod_type, json);
    struct pod_info *p = pod_info_new(pod);
    CHECK(f->n_pods < ARRAY_SIZE(f->pods));
    f->pods[f->n_pods++] = p;
    if (pod->spec.node_name.len) {
        cache_add_pod(&f->cache, p, pod->spec.node_name);
    }
    return p;
}

void fixture_schedule(struct fixture *f, struct pod_info *p, struct cycle_result *ret)
{
    struct cycle c = { .cache = &f->cache, .pod = p, .arena = &f->arena, .profile = f->profile };
    struct cycle_options o = { 0 };
    cycle_run(&c, &o, ret);
}
