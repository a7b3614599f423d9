/* Preemption and PodDisruptionBudgets: who goes, and where. */
#include "api/decode-json.h"
#include "base/test.h"
#include "scheduler/test-fixture.h"

#define NODE(name) \
    "{\"metadata\":{\"name\":\"" name "\"},\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"8Gi\",\"pods\":\"10\"}}}"
#define POD(name, app, cpu, priority, node) \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"" name "\",\"labels\":{\"app\":\"" app "\"}},\"spec\":{\"priority\":" \
    priority node ",\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]}}"
#define ON(node) ",\"nodeName\":\"" node "\""
#define BUDGET(name, app, allowed, more) \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"" app "\"}}},\"status\":{" \
    "\"disruptionsAllowed\":" allowed more "}}"

static void put_budget(struct fixture *f, const char *json)
{
    struct err err;
    struct policy_v1_pod_disruption_budget *pdb = arena_new(&f->arena, struct policy_v1_pod_disruption_budget);
    CHECK_OK(api_decode_json(&f->arena, &policy_v1_pod_disruption_budget_type, str_c(json), NULL, pdb, &err), &err);
    budgets_put(&f->cache.budgets, pdb);
}

/* A pod that needs 'cpu': where, and whom it takes away. */
static void preempts(struct fixture *f, struct pod_info *p, const char *node, const char *victims)
{
    struct cycle_result r;
    struct str names = STR_EMPTY;
    fixture_schedule(f, p, &r);
    CHECK(!r.node && r.nominated);
    CHECK_STR_C(r.nominated->name, node);
    for (size_t i = 0; i < r.n_victims; i++) {
        names = arena_printf(&f->arena, "%.*s%s%.*s", STR_ARG(names), i ? " " : "", STR_ARG(r.victims[i]->pod->metadata.name));
        CHECK(!r.victims[i]->lifted);
    }
    CHECK_STR_C(names, victims);
}

TEST(the_node_where_fewest_budgets_are_broken_wins_over_lower_priorities)
{
    struct fixture f;
    fixture_init(&f);
    fixture_node(&f, NODE("n1"));
    fixture_node(&f, NODE("n2"));
    fixture_pod(&f, POD("guarded", "a", "2", "1", ON("n1")));
    fixture_pod(&f, POD("free", "b", "2", "50", ON("n2")));
    struct pod_info *p = fixture_pod(&f, POD("p", "c", "2", "100", ""));
    preempts(&f, p, "n1", "guarded");
    put_budget(&f, BUDGET("x", "a", "0", ""));
    preempts(&f, p, "n2", "free");
    put_budget(&f, BUDGET("x", "a", "1", ""));
    preempts(&f, p, "n1", "guarded");
    put_budget(&f, BUDGET("x", "a", "0", ",\"disruptedPods\":{\"guarded\":null}"));
    preempts(&f, p, "n1", "guarded"); /* its eviction was allowed already */
    put_budget(&f, BUDGET("x", "a", "0", ""));
    budgets_remove(&f.cache.budgets, STR("d"), STR("x"));
    preempts(&f, p, "n1", "guarded");
    fixture_deinit(&f);
}

TEST(pods_whose_going_would_break_a_budget_are_put_back_first)
{
    struct fixture f;
    fixture_init(&f);
    fixture_node(&f, NODE("n1"));
    fixture_pod(&f, POD("guarded", "a", "1", "1", ON("n1")));
    fixture_pod(&f, POD("free", "b", "1", "50", ON("n1")));
    struct pod_info *p = fixture_pod(&f, POD("p", "c", "1", "100", ""));
    preempts(&f, p, "n1", "guarded");
    put_budget(&f, BUDGET("x", "a", "0", ""));
    preempts(&f, p, "n1", "free");
    /* Where there is no other way, the budget is broken. */
    preempts(&f, fixture_pod(&f, POD("q", "c", "2", "100", "")), "n1", "free guarded");
    fixture_deinit(&f);
}

TEST(a_budget_is_counted_down_pod_by_pod_and_anew_for_each_node)
{
    struct fixture f;
    fixture_init(&f);
    fixture_node(&f, NODE("n1"));
    fixture_node(&f, NODE("n2"));
    fixture_pod(&f, POD("a1", "a", "1", "1", ON("n1")));
    fixture_pod(&f, POD("a2", "a", "1", "1", ON("n1")));
    fixture_pod(&f, POD("a3", "a", "1", "1", ON("n2")));
    fixture_pod(&f, POD("b1", "b", "1", "90", ON("n2")));
    put_budget(&f, BUDGET("x", "a", "1", ""));
    /* Both of n1 are one too many; n2 has one of each. */
    preempts(&f, fixture_pod(&f, POD("p", "c", "2", "100", "")), "n2", "b1 a3");
    put_budget(&f, BUDGET("x", "a", "2", ""));
    preempts(&f, fixture_pod(&f, POD("q", "c", "2", "100", "")), "n1", "a2 a1");
    /* Two budgets: one broken is enough. */
    put_budget(&f, BUDGET("y", "a", "0", ""));
    preempts(&f, fixture_pod(&f, POD("r", "c", "1", "100", "")), "n2", "b1");
    fixture_deinit(&f);
}
