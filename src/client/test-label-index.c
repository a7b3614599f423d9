#include "client/label-index.h"

#include "api/gen/core_v1.h"
#include "base/test.h"
#include "client/test-offline.h"

struct fixture {
    struct offline o;
    struct informer *pods;
    struct informer_index *labels;
    struct arena arena;
};

static void fixture_init(struct fixture *f)
{
    offline_init(&f->o, NULL, NULL);
    f->pods = f->o.pods;
    f->labels = label_index(f->pods);
    arena_init(&f->arena, ARENA_NO_BUDGET);
}

static void fixture_deinit(struct fixture *f)
{
    arena_deinit(&f->arena);
    offline_deinit(&f->o);
}

static void put(struct fixture *f, const char *ns, unsigned n, const char *app, const char *tier,
                unsigned rv)
{
    char name[32], version[16];
    struct api_str_pair labels[] = { { STR("app"), str_c(app) }, { STR("tier"), str_c(tier) } };
    struct core_v1_pod pod = { 0 };
    snprintf(name, sizeof(name), "p%03u", n);
    snprintf(version, sizeof(version), "%u", rv);
    pod.metadata.namespace = str_c(ns);
    pod.metadata.name = str_c(name);
    pod.metadata.uid = str_c(name);
    pod.metadata.resource_version = str_c(version);
    pod.metadata.labels = labels;
    pod.metadata.n_labels = 2;
    informer_store(f->pods, &pod, false);
}

/* The names that a selector finds in a namespace, and whether the whole namespace was walked. */
static const char *found(struct fixture *f, const char *ns, const char *text, bool *ret_all)
{
    static char names[4096];
    struct selector s;
    struct label_walk w;
    struct err err;
    const struct core_v1_pod *pod;
    size_t n = 0;
    CHECK_OK(selector_parse(&f->arena, str_c(text), &s, &err), &err);
    label_walk_begin(&w, f->pods, f->labels, str_c(ns), &s);
    names[0] = '\0';
    while ((pod = label_walk_next(&w))) {
        n += (size_t)snprintf(names + n, sizeof(names) - n, "%.*s ", STR_ARG(pod->metadata.name));
    }
    *ret_all = w.all;
    return names;
}

TEST(a_selector_finds_its_objects_by_the_rarest_of_its_labels)
{
    struct fixture f;
    bool all;
    fixture_init(&f);
    for (unsigned n = 0; n < 30; n++) {
        put(&f, n % 2 ? "odd" : "even", n, n < 4 ? "rare" : "web", n % 3 ? "back" : "front", 10);
    }
    CHECK_STR_C(str_c(found(&f, "even", "app=rare", &all)), "p000 p002 ");
    CHECK(!all);
    CHECK_STR_C(str_c(found(&f, "odd", "tier=front,app=rare", &all)), "p003 ");
    CHECK_STR_C(str_c(found(&f, "odd", "app in (rare),tier!=front", &all)), "p001 ");
    CHECK(!all);
    CHECK_STR_C(str_c(found(&f, "odd", "app in (rare,none)", &all)), "p001 p003 ");
    CHECK(all);
    CHECK_STR_C(str_c(found(&f, "odd", "app=nobody", &all)), "");
    CHECK_STR_C(str_c(found(&f, "none", "app=web", &all)), "");
    fixture_deinit(&f);
}

TEST(the_label_index_follows_changes)
{
    struct fixture f;
    bool all;
    char key[LABEL_INDEX_KEY_MAX];
    fixture_init(&f);
    put(&f, "a", 1, "web", "front", 10);
    put(&f, "a", 1, "db", "front", 11);
    CHECK_STR_C(str_c(found(&f, "a", "app=web", &all)), "");
    CHECK_STR_C(str_c(found(&f, "a", "app=db", &all)), "p001 ");
    CHECK_INT(informer_index_count(f.labels, label_index_key(key, sizeof(key), STR("a"), STR("tier"), STR("front"))), 1);
    informer_forget(f.pods, STR("a"), STR("p001"), STR_NULL);
    CHECK_INT(informer_index_count(f.labels, label_index_key(key, sizeof(key), STR("a"), STR("tier"), STR("front"))), 0);
    fixture_deinit(&f);
}
