#include "api/gen/core_v1.h"
#include "base/test.h"
#include "client/test-offline.h"

struct fixture {
    struct offline o;
    struct informer *pods;
    struct informer_index *by_node;
    unsigned added, changed, removed;
};

static void on_event(void *data, const void *old, const void *obj)
{
    struct fixture *f = data;
    if (!old) {
        f->added++;
    } else if (!obj) {
        f->removed++;
    } else {
        f->changed++;
    }
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){ .added = 0 };
    offline_init(&f->o, on_event, f);
    f->pods = f->o.pods;
    f->by_node = informer_index(f->pods, "node", informer_by_node_name);
}

static void fixture_deinit(struct fixture *f)
{
    offline_deinit(&f->o);
}

static void put_pod(struct fixture *f, const char *name, const char *uid, const char *rv,
                    const char *node)
{
    struct core_v1_pod pod = { 0 };
    pod.metadata.namespace = STR("default");
    pod.metadata.name = str_c(name);
    pod.metadata.uid = str_c(uid);
    pod.metadata.resource_version = str_c(rv);
    pod.spec.node_name = str_c(node);
    informer_store(f->pods, &pod, false);
}

TEST(an_older_version_never_replaces_a_newer_one)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "a", "u1", "10", "n1");
    put_pod(&f, "a", "u1", "9", "n2");
    const struct core_v1_pod *pod = informer_get(f.pods, STR("default"), STR("a"));
    CHECK_STR_C(pod->spec.node_name, "n1");
    informer_drop(f.pods, STR("default"), STR("a"), 9);
    CHECK(informer_get(f.pods, STR("default"), STR("a")));
    informer_drop(f.pods, STR("default"), STR("a"), 11);
    CHECK(!informer_get(f.pods, STR("default"), STR("a")));
    CHECK_INT(f.added, 1);
    CHECK_INT(f.changed, 0);
    CHECK_INT(f.removed, 1);
    fixture_deinit(&f);
}

TEST(an_object_made_again_under_its_name_is_a_removal_and_an_addition)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "a", "u1", "10", "n1");
    put_pod(&f, "a", "u2", "12", "n1");
    CHECK_INT(f.added, 2);
    CHECK_INT(f.removed, 1);
    CHECK_INT(f.changed, 0);
    fixture_deinit(&f);
}

TEST(what_had_the_name_before_does_not_come_back)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "a", "u2", "12", "n2");
    put_pod(&f, "a", "u1", "10", "n1");
    const struct core_v1_pod *pod = informer_get(f.pods, STR("default"), STR("a"));
    CHECK_STR_C(pod->metadata.uid, "u2");
    CHECK_INT(f.added, 1);
    CHECK_INT(f.removed, 0);
    fixture_deinit(&f);
}

/* Another deletes an object while an answer about it is under way: the watch tells the end first. */
TEST(an_answer_that_comes_after_the_end_of_its_object_is_dropped)
{
    struct fixture f;
    struct core_v1_pod pod = { .metadata = { .namespace = STR("default"), .name = STR("a"), .uid = STR("u1") } };
    fixture_init(&f);
    f.pods->reflector.state = REFLECT_WATCH;
    f.pods->reflector.rv = strdup("12");
    pod.metadata.resource_version = STR("10");
    informer_put(f.pods, &pod);
    CHECK_INT(informer_count(f.pods), 0);
    /* One that the watch has not come to is of an object that it does not know yet. */
    pod.metadata.resource_version = STR("13");
    informer_put(f.pods, &pod);
    CHECK_INT(informer_count(f.pods), 1);
    fixture_deinit(&f);
}

TEST(an_index_follows_changes_of_its_value)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "a", "ua", "1", "n1");
    put_pod(&f, "b", "ub", "2", "n1");
    put_pod(&f, "a", "ua", "3", "n2");
    size_t pos = 0;
    const struct core_v1_pod *pod = informer_index_next(f.by_node, STR("n1"), &pos);
    CHECK_STR_C(pod->metadata.name, "b");
    CHECK(!informer_index_next(f.by_node, STR("n1"), &pos));
    pos = 0;
    pod = informer_index_next(f.by_node, STR("n2"), &pos);
    CHECK_STR_C(pod->metadata.name, "a");
    informer_forget(f.pods, STR("default"), STR("a"), STR("ua"));
    pos = 0;
    CHECK(!informer_index_next(f.by_node, STR("n2"), &pos));
    fixture_deinit(&f);
}

TEST(what_a_new_list_does_not_name_is_gone_unless_it_is_newer_than_the_list)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "a", "ua", "1", "n1");
    put_pod(&f, "b", "ub", "2", "n1");
    put_pod(&f, "c", "uc", "30", "n1");
    f.pods->list_round++;
    struct core_v1_pod pod = { 0 };
    pod.metadata.namespace = STR("default");
    pod.metadata.name = STR("a");
    pod.metadata.uid = STR("ua");
    pod.metadata.resource_version = STR("1");
    informer_store(f.pods, &pod, true);
    informer_list_ends(f.pods, 20);
    CHECK(informer_get(f.pods, STR("default"), STR("a")));
    CHECK(!informer_get(f.pods, STR("default"), STR("b")));
    CHECK(informer_get(f.pods, STR("default"), STR("c")));
    fixture_deinit(&f);
}

TEST(objects_are_stepped_through_by_namespace_in_order)
{
    struct fixture f;
    fixture_init(&f);
    put_pod(&f, "z", "u1", "1", "n1");
    put_pod(&f, "b", "u2", "2", "n1");
    put_pod(&f, "m", "u3", "3", "n1");
    size_t pos = 0;
    const struct core_v1_pod *pod = informer_next_in(f.pods, STR("default"), &pos);
    CHECK_STR_C(pod->metadata.name, "b");
    pod = informer_next_in(f.pods, STR("default"), &pos);
    CHECK_STR_C(pod->metadata.name, "m");
    pod = informer_next_in(f.pods, STR("default"), &pos);
    CHECK_STR_C(pod->metadata.name, "z");
    CHECK(!informer_next_in(f.pods, STR("default"), &pos));
    pos = 0;
    CHECK(!informer_next_in(f.pods, STR("other"), &pos));
    fixture_deinit(&f);
}

/* A pod with an owner, a container and a label. Everything but name, uid, version and node is the
 * same in all of them. */
static void put_sibling(struct fixture *f, unsigned n, const char *rv, const char *node)
{
    char name[32], uid[32];
    struct meta_v1_owner_reference owner = { .uid = STR("set"), .name = STR("web"), .controller = true };
    struct core_v1_resource_requirements none = { 0 };
    struct core_v1_container containers[2] = { { .name = STR("web"), .image = STR("registry.example/web:1"),
                                                 .resources = none },
                                               { .name = STR("side") } };
    struct api_str_pair labels[] = { { STR("app"), STR("web") }, { STR("tier"), STR("front") } };
    struct core_v1_pod pod = { 0 };
    snprintf(name, sizeof(name), "web-%04u", n);
    snprintf(uid, sizeof(uid), "uid-%u", n);
    pod.metadata.namespace = STR("default");
    pod.metadata.name = str_c(name);
    pod.metadata.uid = str_c(uid);
    pod.metadata.resource_version = str_c(rv);
    pod.metadata.owner_references = &owner;
    pod.metadata.n_owner_references = 1;
    pod.metadata.labels = labels;
    pod.metadata.n_labels = 2;
    pod.spec.containers = containers;
    pod.spec.n_containers = n % 7 ? 2 : 1;
    pod.spec.node_name = str_c(node);
    pod.spec.scheduler_name = n % 2 ? STR("") : STR_NULL;
    informer_store(f->pods, &pod, false);
}

static void check_sibling(const struct core_v1_pod *pod, unsigned n, const char *node)
{
    char name[32], uid[32];
    snprintf(name, sizeof(name), "web-%04u", n);
    snprintf(uid, sizeof(uid), "uid-%u", n);
    CHECK(pod);
    CHECK_STR_C(pod->metadata.name, name);
    CHECK_STR_C(pod->metadata.uid, uid);
    CHECK_STR_C(pod->metadata.labels[1].value, "front");
    CHECK_STR_C(pod->metadata.owner_references[0].uid, "set");
    CHECK_INT(pod->spec.n_containers, n % 7 ? 2 : 1);
    CHECK_STR_C(pod->spec.containers[0].image, "registry.example/web:1");
    CHECK_STR_C(pod->spec.node_name, node);
    CHECK(!pod->spec.scheduler_name.ptr == !(n % 2));
}

TEST(objects_that_look_alike_share_what_is_the_same_and_outlive_each_other)
{
    enum { N = 120 };
    struct fixture f;
    fixture_init(&f);
    for (unsigned n = 0; n < N; n++) {
        put_sibling(&f, n, "10", "");
    }
    const struct core_v1_pod *kept = informer_ref(informer_get(f.pods, STR("default"), STR("web-0100")));
    const struct core_v1_pod *other = informer_get(f.pods, STR("default"), STR("web-0101"));
    CHECK(kept->metadata.labels == other->metadata.labels);
    CHECK(kept->metadata.name.ptr != other->metadata.name.ptr);
    for (unsigned n = 0; n < N; n++) {
        put_sibling(&f, n, "11", n % 3 ? "n1" : "n2");
    }
    /* All that came first are gone now, but for what is shared and for the one that is held. */
    loop_turn(f.o.loop, 0);
    for (unsigned n = 0; n < N; n++) {
        char name[32];
        snprintf(name, sizeof(name), "web-%04u", n);
        check_sibling(informer_get(f.pods, STR("default"), str_c(name)), n, n % 3 ? "n1" : "n2");
        if (n != 110) {
            informer_forget(f.pods, STR("default"), str_c(name), STR_NULL);
        }
    }
    loop_turn(f.o.loop, 0);
    check_sibling(informer_get(f.pods, STR("default"), STR("web-0110")), 110, "n1");
    check_sibling(kept, 100, "");
    fixture_deinit(&f);
    check_sibling(kept, 100, "");
    informer_unref(kept);
}
