#include "client/item-filter.h"

#include "api/gen/core_v1.h"
#include "base/test.h"

TEST(a_filter_keeps_the_items_that_somebody_named)
{
    struct arena a;
    struct item_filter *filters = NULL;
    struct str path, key;
    struct core_v1_pod_condition conditions[] = { { .type = STR("PodScheduled") }, { .type = STR("Ready"), .status = STR("True") },
                                                  { .type = STR("Initialized") }, { .type = STR("DisruptionTarget") } };
    struct core_v1_pod pod = { .status = { .conditions = conditions, .n_conditions = 4 } }, bare = { .status = { .n_conditions = 0 } };
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(!item_filter_split(STR("status.conditions"), &path, &key));
    CHECK(item_filter_split(STR("status.conditions[Ready]"), &path, &key));
    CHECK_STR_C(path, "status.conditions");
    CHECK_STR_C(key, "Ready");
    CHECK(item_filter_add(&a, &filters, &core_v1_pod_type, path, key));
    CHECK(item_filter_add(&a, &filters, &core_v1_pod_type, path, STR("DisruptionTarget")));
    CHECK(!filters->next);
    item_filters_apply(filters, &pod);
    CHECK_INT(pod.status.n_conditions, 2);
    CHECK_STR_C(pod.status.conditions[0].type, "Ready");
    CHECK_STR_C(pod.status.conditions[0].status, "True");
    CHECK_STR_C(pod.status.conditions[1].type, "DisruptionTarget");
    item_filters_apply(filters, &bare);
    CHECK_INT(bare.status.n_conditions, 0);
    arena_deinit(&a);
}

TEST(a_filter_may_keep_all_but_some)
{
    struct arena a;
    struct item_filter *filters = NULL;
    struct core_v1_pod_condition conditions[] = {
        { .type = STR("PodScheduled") }, { .type = STR("Ready") }, { .type = STR("example.com/own") }, { .type = STR("Initialized") }
    };
    struct core_v1_pod pod = { .status = { .conditions = conditions, .n_conditions = 4 } };
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(item_filter_add(&a, &filters, &core_v1_pod_type, STR("status.conditions"), STR("!PodScheduled|Initialized|Ready")));
    CHECK(item_filter_add(&a, &filters, &core_v1_pod_type, STR("status.conditions"), STR("Ready")));
    item_filters_apply(filters, &pod);
    CHECK_INT(pod.status.n_conditions, 2);
    CHECK_STR_C(pod.status.conditions[0].type, "Ready");
    CHECK_STR_C(pod.status.conditions[1].type, "example.com/own");
    arena_deinit(&a);
}

TEST(a_filter_needs_a_list_with_a_key)
{
    struct arena a;
    struct item_filter *filters = NULL;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(!item_filter_add(&a, &filters, &core_v1_pod_type, STR("status.phase"), STR("x")));
    CHECK(!item_filter_add(&a, &filters, &core_v1_pod_type, STR("status.nothing"), STR("x")));
    CHECK(!item_filter_add(&a, &filters, &core_v1_pod_type, STR("spec.containers.ports"), STR("x")));
    CHECK(!item_filter_add(&a, &filters, &core_v1_pod_type, STR("spec.affinity.nodeAffinity"), STR("x")));
    CHECK(!filters);
    arena_deinit(&a);
}
