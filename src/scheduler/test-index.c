/*
 * The index against counting anew: nodes and pods come, change and go at random, and after each change what the index keeps has to be what
 * a walk over all pods finds, filters have to say what the documentation's rules say pod by pod, and a cycle has to decide as one on a
 * cache that was filled just now.
 */
#include "api/decode-json.h"
#include "api/node-affinity.h"
#include "api/toleration.h"
#include "base/test.h"
#include "scheduler/test-fixture.h"

#define N_NODES 12
#define N_PODS 60
#define N_STEPS 600

struct world {
    struct arena arena;
    struct cache cache;
    const struct core_v1_node *nodes[N_NODES];
    struct pod_info *pods[N_PODS]; /* on nodes */
    int at[N_PODS];
    uint64_t random;
    unsigned serial;
    bool team_is_red; /* a label of namespace "b" */
};

static unsigned below(struct world *w, unsigned n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (unsigned)(w->random >> 11) % n;
}

static const struct api_str_pair *labels_of_namespace(void *data, struct str ns, size_t *ret_n)
{
    static const struct api_str_pair red[] = { { .key = STR_INIT("team"), .value = STR_INIT("red") } };
    const struct world *w = data;
    bool is_red = str_eq(ns, STR("a")) || w->team_is_red;
    *ret_n = is_red;
    return is_red ? red : NULL;
}

static void *decode(struct world *w, const struct api_type *type, struct str json)
{
    struct err err;
    void *obj = arena_alloc(&w->arena, type->size);
    CHECK_OK(api_decode_json(&w->arena, type, json, NULL, obj, &err), &err);
    return obj;
}

static struct str node_json(struct world *w, unsigned i)
{
    static const char *const zones[] = { "", ",\"zone\":\"z1\"", ",\"zone\":\"z2\"", ",\"zone\":\"z3\"" };
    static const char *const disks[] = { "", ",\"disk\":\"ssd\"", ",\"disk\":\"hdd\"" };
    static const char *const taints[] = { "", "", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]",
                                          "\"unschedulable\":true" };
    return arena_printf(&w->arena,
                        "{\"metadata\":{\"name\":\"n%u\",\"labels\":{\"kubernetes.io/hostname\":\"n%u\"%s%s}},\"spec\":{%s},\"status\":{"
                        "\"allocatable\":{\"cpu\":\"8\",\"memory\":\"8Gi\",\"pods\":\"10\"}}}",
                        i, i, zones[below(w, 4)], disks[below(w, 3)], taints[below(w, 4)]);
}

static const char *const keys[] = { "kubernetes.io/hostname", "zone", "disk", "nowhere" };
static const char *const selectors[] = { "{\"matchLabels\":{\"app\":\"x\"}}", "{\"matchLabels\":{\"app\":\"y\"}}", "{}",
                                         "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}",
                                         "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}",
                                         "{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"In\",\"values\":[\"1\",\"2\"]}]}" };

static struct str term_json(struct world *w)
{
    static const char *const namespaces[] = { "", "", ",\"namespaces\":[\"a\",\"b\"]", ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"red\"}}",
                                              ",\"namespaceSelector\":{}" };
    return arena_printf(&w->arena, "{\"topologyKey\":\"%s\",\"labelSelector\":%s%s}", keys[below(w, ARRAY_SIZE(keys))],
                        selectors[below(w, ARRAY_SIZE(selectors))], namespaces[below(w, ARRAY_SIZE(namespaces))]);
}

static struct str terms_json(struct world *w, const char *name)
{
    struct str required = STR(""), preferred = STR("");
    for (unsigned n = below(w, 3); n; n--) {
        struct str term = term_json(w);
        required = arena_printf(&w->arena, "%.*s%s%.*s", STR_ARG(required), required.len ? "," : "", STR_ARG(term));
    }
    for (unsigned n = below(w, 3); n; n--) {
        struct str term = term_json(w);
        preferred = arena_printf(&w->arena, "%.*s%s{\"weight\":%u,\"podAffinityTerm\":%.*s}", STR_ARG(preferred), preferred.len ? "," : "",
                                 1 + below(w, 50), STR_ARG(term));
    }
    return arena_printf(&w->arena,
                        "\"%s\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[%.*s],"
                        "\"preferredDuringSchedulingIgnoredDuringExecution\":[%.*s]}",
                        name, STR_ARG(required), STR_ARG(preferred));
}

static struct str spread_json(struct world *w)
{
    struct str all = STR("");
    for (unsigned n = below(w, 3); n; n--) {
        all = arena_printf(&w->arena, "%.*s%s{\"maxSkew\":%u,\"topologyKey\":\"%s\",\"whenUnsatisfiable\":\"%s\",\"labelSelector\":%s%s%s%s}",
                           STR_ARG(all), all.len ? "," : "", 1 + below(w, 3), keys[below(w, 3)], below(w, 2) ? "DoNotSchedule" : "ScheduleAnyway",
                           selectors[below(w, ARRAY_SIZE(selectors))], below(w, 3) ? "" : ",\"nodeAffinityPolicy\":\"Ignore\"",
                           below(w, 3) ? "" : ",\"nodeTaintsPolicy\":\"Honor\"", below(w, 3) ? "" : ",\"matchLabelKeys\":[\"tier\"]");
    }
    return all;
}

static struct str pod_json(struct world *w)
{
    static const char *const selector[] = { "", "", "\"nodeSelector\":{\"disk\":\"ssd\"}," };
    static const char *const by_name[] = { "", "", "", "{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\",\"n5\"]}]}" };
    const char *name = by_name[below(w, 4)];
    struct str affinity = below(w, 3) == 0 ? terms_json(w, "podAffinity") : terms_json(w, "podAntiAffinity");
    bool rules = below(w, 2);
    struct str spread = spread_json(w);
    affinity = rules ? affinity : STR("");
    return arena_printf(
        &w->arena,
        "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"p%u\",\"uid\":\"u%u\",\"labels\":{\"app\":\"%s\",\"tier\":\"%u\"}%s%s},\"spec\":{%s"
        "\"priority\":%u,\"affinity\":{%s%s%s%s%.*s},\"topologySpreadConstraints\":[%.*s],\"containers\":[{\"name\":\"c\",\"resources\":{"
        "\"requests\":{\"cpu\":\"%u\"}}}]}}",
        below(w, 2) ? "a" : "b", w->serial, w->serial, below(w, 2) ? "x" : "y", below(w, 3),
        below(w, 2) ? ",\"ownerReferences\":[{\"uid\":\"owner\",\"controller\":true}]" : "",
        below(w, 5) ? "" : ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", selector[below(w, 3)], below(w, 3),
        *name ? "\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[" : "", name, *name ? "]}}" : "",
        *name && rules ? "," : "", STR_ARG(affinity), STR_ARG(spread), below(w, 3));
}

/* ---- counting anew ---- */

static bool matches_plainly(struct world *w, const struct pod_term *t, const struct core_v1_pod *pod)
{
    bool in_ns = false;
    size_t n;
    for (size_t i = 0; i < t->n_ns; i++) {
        in_ns = in_ns || str_eq(t->ns[i], pod->metadata.namespace);
    }
    if (t->by_namespace_selector) {
        const struct api_str_pair *labels = labels_of_namespace(w, pod->metadata.namespace, &n);
        in_ns = in_ns || selector_matches(&t->namespaces, labels, n);
    }
    return in_ns && selector_matches(&t->selector, pod->metadata.labels, pod->metadata.n_labels);
}

/* Pods that the term means in the domain of a node, among the nodes that the spec selects. */
static uint32_t count_plainly(struct world *w, const struct pod_term *t, bool living, const struct core_v1_pod_spec *spec, struct str key,
                              struct str value)
{
    uint32_t n = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct node_info *at = w->pods[i] ? w->pods[i]->node : NULL;
        const struct core_v1_node *node = at ? at->node : NULL;
        if (node && node_affinity_matches(spec, node) && str_eq(node_label(node, key), value) && node_label(node, key).ptr) {
            n += matches_plainly(w, t, w->pods[i]->pod) && !(living && w->pods[i]->pod->metadata.deletion_timestamp.set);
        }
    }
    return n;
}

static void check_podset(struct world *w)
{
    static const char *const specs[] = { "{}", "{\"nodeSelector\":{\"disk\":\"ssd\"}}" };
    const struct core_v1_pod_affinity_term *api = decode(w, &core_v1_pod_affinity_term_type, term_json(w));
    const struct core_v1_pod_spec *spec = decode(w, &core_v1_pod_spec_type, str_c(specs[below(w, 2)]));
    struct areas *areas = &w->cache.index.areas;
    bool living = below(w, 2);
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

/* ---- the rules, pod by pod ---- */

typedef struct core_v1_topology_spread_constraint constraint;

static const struct core_v1_node *node_of(const struct world *w, size_t i)
{
    return w->pods[i] && w->pods[i]->node ? w->pods[i]->node->node : NULL;
}

static bool same_domain(const struct core_v1_node *a, const struct core_v1_node *b, struct str key)
{
    struct str x = node_label(a, key), y = node_label(b, key);
    return x.ptr && y.ptr && str_eq(x, y);
}

static struct str label(const struct core_v1_pod *pod, struct str key)
{
    for (size_t i = 0; i < pod->metadata.n_labels; i++) {
        if (str_eq(pod->metadata.labels[i].key, key)) {
            return pod->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}

static bool is_hard(const constraint *t)
{
    return str_eq(t->when_unsatisfiable, STR("DoNotSchedule"));
}

static bool constraint_counts(struct world *w, const constraint *t, const struct core_v1_pod *pod, const struct core_v1_pod *other)
{
    struct selector s;
    bool counts = selector_from_label_selector(&w->arena, t->label_selector, &s, NULL) && !other->metadata.deletion_timestamp.set &&
                  str_eq(pod->metadata.namespace, other->metadata.namespace) &&
                  selector_matches(&s, other->metadata.labels, other->metadata.n_labels);
    for (size_t i = 0; i < t->n_match_label_keys; i++) {
        counts = counts && str_eq(label(pod, t->match_label_keys[i]), label(other, t->match_label_keys[i]));
    }
    return counts;
}

static bool constraint_minds(const struct core_v1_pod_spec *spec, const constraint *t, const struct core_v1_node *node)
{
    bool minds = str_eq(t->node_affinity_policy, STR("Ignore")) || node_affinity_matches(spec, node);
    for (size_t i = 0; i < spec->n_topology_spread_constraints; i++) {
        const constraint *other = &spec->topology_spread_constraints[i];
        minds = minds && (!is_hard(other) || node_label(node, other->topology_key).ptr);
    }
    for (size_t i = 0; str_eq(t->node_taints_policy, STR("Honor")) && i < node->spec.n_taints; i++) {
        minds = minds && tolerations_match(spec->tolerations, spec->n_tolerations, &node->spec.taints[i]);
    }
    return minds;
}

/* Pods in the node's domain; the node stands for it. */
static int64_t domain_plainly(struct world *w, const constraint *t, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    int64_t n = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        n += at && same_domain(at, node, t->topology_key) && constraint_minds(&pod->spec, t, at) &&
             constraint_counts(w, t, pod, w->pods[i]->pod);
    }
    return n;
}

static bool spread_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    for (size_t k = 0; k < pod->spec.n_topology_spread_constraints; k++) {
        const constraint *t = &pod->spec.topology_spread_constraints[k];
        if (!is_hard(t)) {
            continue;
        }
        int64_t least = INT64_MAX;
        for (size_t i = 0; i < N_NODES; i++) {
            if (w->nodes[i] && node_label(w->nodes[i], t->topology_key).ptr && constraint_minds(&pod->spec, t, w->nodes[i])) {
                least = MIN(least, domain_plainly(w, t, pod, w->nodes[i]));
            }
        }
        least = least == INT64_MAX ? 0 : least;
        struct selector s;
        CHECK(selector_from_label_selector(&w->arena, t->label_selector, &s, NULL));
        int64_t own = selector_matches(&s, pod->metadata.labels, pod->metadata.n_labels);
        if (!node_label(node, t->topology_key).ptr || domain_plainly(w, t, pod, node) + own - least > t->max_skew) {
            return false;
        }
    }
    return true;
}

static bool term_means(struct world *w, const struct core_v1_pod_affinity_term *t, const struct core_v1_pod *owner, const struct core_v1_pod *pod)
{
    struct pod_term term;
    return pod_term_make(&w->arena, t, owner->metadata.namespace, &term) && matches_plainly(w, &term, pod);
}

/* Does a required anti-affinity term of 'owner' at node 'a' mind 'pod' at node 'b'? */
static bool anti_minds(struct world *w, const struct core_v1_pod *owner, const struct core_v1_node *a, const struct core_v1_pod *pod,
                       const struct core_v1_node *b)
{
    const struct core_v1_pod_anti_affinity *anti = owner->spec.affinity ? owner->spec.affinity->pod_anti_affinity : NULL;
    for (size_t i = 0; anti && i < anti->n_required_during_scheduling_ignored_during_execution; i++) {
        const struct core_v1_pod_affinity_term *t = &anti->required_during_scheduling_ignored_during_execution[i];
        if (same_domain(a, b, t->topology_key) && term_means(w, t, owner, pod)) {
            return true;
        }
    }
    return false;
}

static bool all_mean(struct world *w, const struct core_v1_pod_affinity *a, const struct core_v1_pod *owner, const struct core_v1_pod *pod)
{
    bool all = true;
    for (size_t i = 0; i < a->n_required_during_scheduling_ignored_during_execution; i++) {
        all = all && term_means(w, &a->required_during_scheduling_ignored_during_execution[i], owner, pod);
    }
    return all;
}

static bool affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    const struct core_v1_pod_affinity *a = pod->spec.affinity ? pod->spec.affinity->pod_affinity : NULL;
    bool found = true, anywhere = false;
    for (size_t k = 0; a && k < a->n_required_during_scheduling_ignored_during_execution; k++) {
        struct str key = a->required_during_scheduling_ignored_during_execution[k].topology_key;
        bool here = false;
        for (size_t i = 0; i < N_PODS; i++) {
            const struct core_v1_node *at = node_of(w, i);
            if (at && node_label(at, key).ptr && all_mean(w, a, pod, w->pods[i]->pod)) {
                anywhere = true;
                here = here || same_domain(at, node, key);
            }
        }
        if (!node_label(node, key).ptr) {
            return false;
        }
        found = found && here;
    }
    return found || (!anywhere && all_mean(w, a, pod, pod));
}

static bool anti_affinity_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        if (at && (anti_minds(w, pod, node, w->pods[i]->pod, at) || anti_minds(w, w->pods[i]->pod, at, pod, node))) {
            return false;
        }
    }
    return true;
}

/* What the preferences of 'owner' at node 'a' give 'pod' at node 'b'. */
static int64_t preferences(struct world *w, const struct core_v1_weighted_pod_affinity_term *t, size_t n, const struct core_v1_pod *owner,
                           const struct core_v1_node *a, const struct core_v1_pod *pod, const struct core_v1_node *b)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        bool counts = same_domain(a, b, t[i].pod_affinity_term.topology_key) && term_means(w, &t[i].pod_affinity_term, owner, pod);
        sum += counts ? t[i].weight : 0;
    }
    return sum;
}

static int64_t likes(struct world *w, const struct core_v1_pod *owner, const struct core_v1_node *a, const struct core_v1_pod *pod,
                     const struct core_v1_node *b)
{
    const struct core_v1_affinity *x = owner->spec.affinity;
    int64_t sum = 0;
    if (x && x->pod_affinity) {
        sum += preferences(w, x->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                           x->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, owner, a, pod, b);
    }
    if (x && x->pod_anti_affinity) {
        sum -= preferences(w, x->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
                           x->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution, owner, a, pod, b);
    }
    return sum;
}

/* Preferences of either towards the other, and one for each required affinity term of a running pod (hardPodAffinityWeight). */
static int64_t score_plainly(struct world *w, const struct core_v1_pod *pod, const struct core_v1_node *node)
{
    int64_t sum = 0;
    for (size_t i = 0; i < N_PODS; i++) {
        const struct core_v1_node *at = node_of(w, i);
        const struct core_v1_pod *other = at ? w->pods[i]->pod : NULL;
        const struct core_v1_pod_affinity *a = at && other->spec.affinity ? other->spec.affinity->pod_affinity : NULL;
        sum += at ? likes(w, pod, node, other, at) + likes(w, other, at, pod, node) : 0;
        for (size_t k = 0; a && k < a->n_required_during_scheduling_ignored_during_execution; k++) {
            const struct core_v1_pod_affinity_term *t = &a->required_during_scheduling_ignored_during_execution[k];
            sum += same_domain(at, node, t->topology_key) && term_means(w, t, other, pod);
        }
    }
    return sum;
}

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
    const struct core_v1_pod *pod = decode(w, &core_v1_pod_type, pod_json(w));
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
    c->index.namespace_labels = labels_of_namespace;
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
    const struct core_v1_pod *pod = decode(w, &core_v1_pod_type, pod_json(w));
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
    unsigned i = below(w, N_NODES);
    if (w->nodes[i] && below(w, 3) == 0) {
        cache_remove_node(&w->cache, w->nodes[i]->metadata.name);
        w->nodes[i] = NULL;
    } else {
        const struct core_v1_node *node = decode(w, &core_v1_node_type, node_json(w, i));
        cache_put_node(&w->cache, node);
        w->nodes[i] = node;
    }
}

static void change_pod(struct world *w)
{
    unsigned i = below(w, N_PODS);
    if (w->pods[i]) {
        cache_remove_pod(&w->cache, w->pods[i]);
        w->pods[i] = pod_info_free(w->pods[i]);
        return;
    }
    char name[16];
    snprintf(name, sizeof(name), "n%u", below(w, N_NODES)); /* which need not be there */
    w->serial++;
    w->pods[i] = pod_info_new(decode(w, &core_v1_pod_type, pod_json(w)));
    cache_add_pod(&w->cache, w->pods[i], str_c(name));
}

static void live(uint64_t seed)
{
    struct world w = { .random = seed };
    arena_init(&w.arena, ARENA_NO_BUDGET);
    cache_init(&w.cache);
    w.cache.index.namespace_labels = labels_of_namespace;
    w.cache.index.namespace_data = &w;
    for (int step = 0; step < N_STEPS; step++) {
        unsigned what = below(&w, 10);
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
