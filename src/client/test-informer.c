#include "client/informer-private.h"

#include "api/gen/core_v1.h"
#include "base/test.h"

/* A set of informers on a client that never gets to call anything: the tests put objects in by
 * hand. */
struct fixture {
    struct loop *loop;
    struct client *client;
    struct informers *set;
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
    struct err err;
    struct client_config config = { .server = STR_INIT("http://127.0.0.1:1") };
    struct client_options options = { 0 };
    *f = (struct fixture){ 0 };
    f->loop = loop_new(&err);
    f->client = client_new(f->loop, &config, &options, &err);
    CHECK_OK(f->client, &err);
    f->set = informers_new(f->client);
    struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("pods")) };
    f->pods = informers_get(f->set, &spec, on_event, f);
    f->by_node = informer_index(f->pods, "node", informer_by_node_name);
}

static void fixture_deinit(struct fixture *f)
{
    informers_free(f->set);
    client_free(f->client);
    loop_free(f->loop);
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
