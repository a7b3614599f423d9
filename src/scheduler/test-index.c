/*
 * The index against counting anew: nodes and pods come, change and go at random, and after each change what the index keeps has to be what
 * a walk over all pods finds, filters have to say what the documentation's rules say pod by pod, and a cycle has to decide as one on a
 * cache that was filled just now.
 */
#include "api/node-affinity.h"
#include "base/test.h"
#include "scheduler/test-index-world.h"

#define N_STEPS 600

/* ---- counts ---- */

static void check_podset(struct world *w)
{
    static const char *const specs[] = { "{}", "{\"nodeSelector\":{\"disk\":\"ssd\"}}" };
    const struct core_v1_pod_affinity_term *api = world_decode(w, &core_v1_pod_affinity_term_type, world_term_json(w));
    const struct core_v1_pod_spec *spec = world_decode(w, &core_v1_pod_spec_type, str_c(specs[world_below(w, 2)]));
    struct areas *areas = &w->cache.index.areas;
    bool living = world_below(w, 2);
    struct pod_term term;
    uint32_t domains = 0;
    CHECK(pod_term_make(&w->arena, api, STR("a"), &term));
    struct podset *set = index_podset(&w->cache.index, &term, 1, living);
    const struct view *v = census_view(areas, &set->census, areas_partition(areas, api->topology_key, areas_selection(areas, spec, NULL, 0)));
    for (size_t i = 0; i < N_NODES; i++) {
        const struct node_info *n = w->nodes[i] ? cache_node(&w->cache, w->nodes[i]->metadata.name) : NULL;
        if (!n) {
            continue;
        }
        struct str value = node_label(n->node, api->topology_key);
        uint32_t at = topology_at(v->partition->topology, n->slot);
        CHECK_INT(value.ptr != NULL, at > 0);
        CHECK_INT(selection_has(v->partition->selection, n->slot), node_affinity_matches(spec, n->node));
        if (at) {
            CHECK_INT(counts_get(&v->by_domain, at - 1), count_plainly(w, &term, living, spec, api->topology_key, value));
        }
        bool first = partition_at(v->partition, n->slot) > 0;
        for (size_t k = 0; first && k < i; k++) {
            first = !w->nodes[k] || !node_affinity_matches(spec, w->nodes[k]) || !str_eq(node_label(w->nodes[k], api->topology_key), value);
        }
        domains += first;
    }
    CHECK_INT(v->partition->n_domains, domains);
}

/* ---- filters and scores ---- */

static const struct sched_plugin *plugin_of(const char *name)
{
    for (size_t i = 0; i < sched_n_plugins; i++) {
        if (str_eq_c(str_c(name), sched_plugins[i]->name)) {
            return sched_plugins[i];
        }
    }
    return NULL;
}

static void check_scores(struct world *w, struct cycle *c)
{
    const struct sched_plugin *affinity = plugin_of("InterPodAffinity");
    void *state = NULL;
    bool scores = affinity->pre_score(c, &state, w->cache.nodes, w->cache.n_nodes) == SCHED_OK;
    for (size_t i = 0; i < w->cache.n_nodes; i++) {
        CHECK_INT(scores ? affinity->score(c, state, w->cache.nodes[i]) : 0, score_plainly(w, c->pod->pod, w->cache.nodes[i]->node));
    }
}

static bool filter_says(struct cycle *c, const char *plugin, const struct node_info *n)
{
    struct rejection r = { .n = 0 };
    for (size_t i = 0; i < c->n_filters; i++) {
        const struct sched_plugin *p = sched_plugins[c->filters[i]];
        if (str_eq_c(str_c(p->name), plugin)) {
            return p->filter(c, c->state[c->filters[i]], n, &r) == SCHED_OK;
        }
    }
    return true;
}

static void check_filters(struct world *w)
{
    const struct core_v1_pod *pod = world_decode(w, &core_v1_pod_type, world_pod_json(w));
    struct pod_info *p = pod_info_new(pod);
    struct cycle c = { .cache = &w->cache, .pod = p, .arena = &w->arena };
    struct rejection r = { .n = 0 };
    size_t plugin;
    CHECK(framework_pre_filter(&c, &r, &plugin));
    for (size_t i = 0; i < w->cache.n_nodes; i++) {
        const struct node_info *n = w->cache.nodes[i];
        CHECK_INT(filter_says(&c, "PodTopologySpread", n), spread_plainly(w, pod, n->node));
        CHECK_INT(filter_says(&c, "InterPodAffinity", n), affinity_plainly(w, pod, n->node) && anti_affinity_plainly(w, pod, n->node));
    }
    framework_done(&c);
    check_scores(w, &c);
    pod_info_free(p);
}

/* ---- deciding anew ---- */

static void fill(struct world *w, struct cache *c, struct pod_info **pods)
{
    cache_init(c);
    c->index.namespace_labels = world_labels_of_namespace;
    c->index.namespace_data = w;
    for (size_t i = 0; i < w->cache.n_nodes; i++) {
        cache_put_node(c, w->cache.nodes[i]->node);
    }
    for (size_t i = 0; i < N_PODS; i++) {
        pods[i] = w->pods[i] ? pod_info_new(w->pods[i]->pod) : NULL;
        if (pods[i]) {
            cache_add_pod(c, pods[i], w->pods[i]->node->name);
        }
    }
    c->next_start = w->cache.next_start;
    c->next_preemption = w->cache.next_preemption;
}

static void decide(struct world *w, struct cache *cache, const struct core_v1_pod *pod, struct cycle_result *ret)
{
    struct cycle_options o = { 0 };
    struct pod_info *p = pod_info_new(pod);
    struct cycle c = { .cache = cache, .pod = p, .arena = &w->arena };
    cycle_run(&c, &o, ret);
    pod_info_free(p);
}

static void check_decision(struct world *w)
{
    struct cache anew;
    struct pod_info *pods[N_PODS];
    struct cycle_result a, b;
    const struct core_v1_pod *pod = world_decode(w, &core_v1_pod_type, world_pod_json(w));
    fill(w, &anew, pods);
    decide(w, &w->cache, pod, &a);
    decide(w, &anew, pod, &b);
    CHECK_STR(a.node ? a.node->name : STR(""), b.node ? b.node->name : STR(""));
    CHECK_STR(a.message, b.message);
    CHECK_STR(a.nominated ? a.nominated->name : STR(""), b.nominated ? b.nominated->name : STR(""));
    CHECK_INT(a.n_victims, b.n_victims);
    CHECK_INT(a.n_feasible, b.n_feasible);
    cache_deinit(&anew);
    for (size_t i = 0; i < N_PODS; i++) {
        pod_info_free(pods[i]);
    }
}

/* ---- what happens ---- */

static void change_node(struct world *w)
{
    unsigned i = world_below(w, N_NODES);
    if (w->nodes[i] && world_below(w, 3) == 0) {
        cache_remove_node(&w->cache, w->nodes[i]->metadata.name);
        w->nodes[i] = NULL;
    } else {
        const struct core_v1_node *node = world_decode(w, &core_v1_node_type, world_node_json(w, i));
        cache_put_node(&w->cache, node);
        w->nodes[i] = node;
    }
}

static void change_pod(struct world *w)
{
    unsigned i = world_below(w, N_PODS);
    if (w->pods[i]) {
        cache_remove_pod(&w->cache, w->pods[i]);
        w->pods[i] = pod_info_free(w->pods[i]);
        return;
    }
    char name[16];
    snprintf(name, sizeof(name), "n%u", world_below(w, N_NODES)); /* which need not be there */
    w->serial++;
    w->pods[i] = pod_info_new(world_decode(w, &core_v1_pod_type, world_pod_json(w)));
    cache_add_pod(&w->cache, w->pods[i], str_c(name));
}

static void live(uint64_t seed)
{
    struct world w = { .random = seed };
    arena_init(&w.arena, ARENA_NO_BUDGET);
    cache_init(&w.cache);
    w.cache.index.namespace_labels = world_labels_of_namespace;
    w.cache.index.namespace_data = &w;
    for (int step = 0; step < N_STEPS; step++) {
        unsigned what = world_below(&w, 10);
        if (what == 0) {
            w.team_is_red = !w.team_is_red;
            index_namespaces_changed(&w.cache.index);
        } else if (what < 3) {
            change_node(&w);
        } else {
            change_pod(&w);
        }
        check_podset(&w);
        if (step % 4 == 0) {
            check_decision(&w);
        } else if (step % 4 == 2) {
            check_filters(&w);
        }
    }
    for (size_t i = 0; i < N_PODS; i++) {
        if (w.pods[i]) {
            cache_remove_pod(&w.cache, w.pods[i]);
            pod_info_free(w.pods[i]);
        }
    }
    CHECK_INT(w.cache.index.families.n, 0);
    CHECK_INT(w.cache.index.holdings.by_text.n, 0);
    CHECK_INT(w.cache.index.holdings.buckets.n, 0);
    cache_deinit(&w.cache);
    arena_deinit(&w.arena);
}

TEST(what_the_index_keeps_is_what_counting_anew_finds)
{
    live(0x9e3779b97f4a7c15);
}

TEST(and_so_with_another_course_of_events)
{
    live(0x2545f4914f6cdd1d);
}
