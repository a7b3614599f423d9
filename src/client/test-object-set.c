#include "client/object-set.h"

#include "api/gen/core_v1.h"
#include "base/test.h"
#include "client/meta.h"

enum { N = 2000 };

static struct object_entry *entry_new(unsigned n)
{
    char ns[16], name[16];
    struct core_v1_pod pod = { 0 };
    snprintf(ns, sizeof(ns), "ns-%u", n % 7);
    snprintf(name, sizeof(name), "pod-%05u", n);
    pod.metadata.namespace = str_c(ns);
    pod.metadata.name = str_c(name);
    struct object_entry *e = calloc(1, sizeof(*e));
    e->object = cached_new(NULL, &core_v1_pod_type, &pod);
    return e;
}

static const struct meta_v1_object_meta *meta(const struct object_entry *e)
{
    return meta_of(&core_v1_pod_type, object_of(e->object));
}

static size_t check_order(const struct object_set *s)
{
    const struct object_entry *e, *last = NULL;
    size_t n = 0;
    for (size_t pos = 0; (e = object_set_next(s, &pos)); last = e, n++) {
        if (last) {
            int c = str_cmp(meta(last)->namespace, meta(e)->namespace);
            CHECK(c < 0 || (c == 0 && str_cmp(meta(last)->name, meta(e)->name) < 0));
        }
    }
    CHECK_INT(n, s->n);
    return n;
}

TEST(entries_stand_in_order_however_they_come_and_go)
{
    struct object_set s;
    struct object_entry *all[N];
    object_set_init(&s, &core_v1_pod_type);
    for (unsigned i = 0; i < N; i++) {
        unsigned n = (i * 977) % N; /* each once, in no order */
        all[n] = entry_new(n);
        CHECK(object_set_add(&s, all[n]));
        CHECK(!object_set_add(&s, all[n]));
    }
    CHECK_INT(check_order(&s), N);
    for (unsigned i = 0; i < N; i++) {
        CHECK(object_set_find(&s, meta(all[i])->namespace, meta(all[i])->name) == all[i]);
    }
    CHECK(!object_set_find(&s, STR("ns-3"), STR("pod")));
    size_t pos = object_set_seek(&s, STR("ns-3"), STR_EMPTY);
    CHECK_STR_C(meta(object_set_next(&s, &pos))->namespace, "ns-3");
    pos = object_set_seek(&s, STR("zz"), STR_EMPTY);
    CHECK(!object_set_next(&s, &pos));
    for (unsigned i = 0; i < N; i++) {
        unsigned n = (i * 1511) % N;
        CHECK(object_set_remove(&s, all[n]));
        CHECK(!object_set_remove(&s, all[n]));
        if (i % 100 == 0) {
            CHECK_INT(check_order(&s), N - 1 - i);
        }
    }
    pos = 0;
    CHECK(!object_set_next(&s, &pos));
    for (unsigned i = 0; i < N; i++) {
        cached_unref(all[i]->object);
        free(all[i]);
    }
    object_set_deinit(&s);
}

TEST(a_list_in_order_fills_chunks_to_the_brim)
{
    struct object_set s;
    struct object_entry *all[N];
    char name[16];
    object_set_init(&s, &core_v1_pod_type);
    for (unsigned i = 0; i < N; i++) {
        struct core_v1_pod pod = { 0 };
        snprintf(name, sizeof(name), "pod-%05u", i);
        pod.metadata.name = str_c(name);
        all[i] = calloc(1, sizeof(struct object_entry));
        all[i]->object = cached_new(NULL, &core_v1_pod_type, &pod);
        CHECK(object_set_add(&s, all[i]));
    }
    CHECK_INT(s.n_chunks, (N + 255) / 256);
    for (unsigned i = 0; i < N; i++) {
        cached_unref(all[i]->object);
        free(all[i]);
    }
    object_set_deinit(&s);
}
