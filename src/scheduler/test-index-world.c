#include "scheduler/test-index-world.h"

#include "api/decode-json.h"
#include "base/test.h"

unsigned world_below(struct world *w, unsigned n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (unsigned)(w->random >> 11) % n;
}

const struct api_str_pair *world_labels_of_namespace(void *data, struct str ns, size_t *ret_n)
{
    static const struct api_str_pair red[] = { { .key = STR_INIT("team"), .value = STR_INIT("red") } };
    const struct world *w = data;
    bool is_red = str_eq(ns, STR("a")) || w->team_is_red;
    *ret_n = is_red;
    return is_red ? red : NULL;
}

void *world_decode(struct world *w, const struct api_type *type, struct str json)
{
    struct err err;
    void *obj = arena_alloc(&w->arena, type->size);
    CHECK_OK(api_decode_json(&w->arena, type, json, NULL, obj, &err), &err);
    return obj;
}

struct str world_node_json(struct world *w, unsigned i)
{
    static const char *const zones[] = { "", ",\"zone\":\"z1\"", ",\"zone\":\"z2\"", ",\"zone\":\"z3\"" };
    static const char *const disks[] = { "", ",\"disk\":\"ssd\"", ",\"disk\":\"hdd\"" };
    static const char *const taints[] = { "", "", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]",
                                          "\"unschedulable\":true" };
    return arena_printf(&w->arena,
                        "{\"metadata\":{\"name\":\"n%u\",\"labels\":{\"kubernetes.io/hostname\":\"n%u\"%s%s}},\"spec\":{%s},\"status\":{"
                        "\"allocatable\":{\"cpu\":\"8\",\"memory\":\"8Gi\",\"pods\":\"10\"}}}",
                        i, i, zones[world_below(w, 4)], disks[world_below(w, 3)], taints[world_below(w, 4)]);
}

static const char *const keys[] = { "kubernetes.io/hostname", "zone", "disk", "nowhere" };
static const char *const selectors[] = { "{\"matchLabels\":{\"app\":\"x\"}}", "{\"matchLabels\":{\"app\":\"y\"}}", "{}",
                                         "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}",
                                         "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}",
                                         "{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"In\",\"values\":[\"1\",\"2\"]}]}" };

struct str world_term_json(struct world *w)
{
    static const char *const namespaces[] = { "", "", ",\"namespaces\":[\"a\",\"b\"]", ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"red\"}}",
                                              ",\"namespaceSelector\":{}" };
    return arena_printf(&w->arena, "{\"topologyKey\":\"%s\",\"labelSelector\":%s%s}", keys[world_below(w, ARRAY_SIZE(keys))],
                        selectors[world_below(w, ARRAY_SIZE(selectors))], namespaces[world_below(w, ARRAY_SIZE(namespaces))]);
}

static struct str terms_json(struct world *w, const char *name)
{
    struct str required = STR(""), preferred = STR("");
    for (unsigned n = world_below(w, 3); n; n--) {
        struct str term = world_term_json(w);
        required = arena_printf(&w->arena, "%.*s%s%.*s", STR_ARG(required), required.len ? "," : "", STR_ARG(term));
    }
    for (unsigned n = world_below(w, 3); n; n--) {
        struct str term = world_term_json(w);
        preferred = arena_printf(&w->arena, "%.*s%s{\"weight\":%u,\"podAffinityTerm\":%.*s}", STR_ARG(preferred), preferred.len ? "," : "",
                                 1 + world_below(w, 50), STR_ARG(term));
    }
    return arena_printf(&w->arena,
                        "\"%s\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[%.*s],"
                        "\"preferredDuringSchedulingIgnoredDuringExecution\":[%.*s]}",
                        name, STR_ARG(required), STR_ARG(preferred));
}

static struct str spread_json(struct world *w)
{
    struct str all = STR("");
    for (unsigned n = world_below(w, 3); n; n--) {
        all = arena_printf(&w->arena, "%.*s%s{\"maxSkew\":%u,\"topologyKey\":\"%s\",\"whenUnsatisfiable\":\"%s\",\"labelSelector\":%s%s%s%s}",
                           STR_ARG(all), all.len ? "," : "", 1 + world_below(w, 3), keys[world_below(w, 3)], world_below(w, 2) ? "DoNotSchedule" : "ScheduleAnyway",
                           selectors[world_below(w, ARRAY_SIZE(selectors))], world_below(w, 3) ? "" : ",\"nodeAffinityPolicy\":\"Ignore\"",
                           world_below(w, 3) ? "" : ",\"nodeTaintsPolicy\":\"Honor\"", world_below(w, 3) ? "" : ",\"matchLabelKeys\":[\"tier\"]");
    }
    return all;
}

struct str world_pod_json(struct world *w)
{
    static const char *const selector[] = { "", "", "\"nodeSelector\":{\"disk\":\"ssd\"}," };
    static const char *const by_name[] = { "", "", "", "{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\",\"n5\"]}]}" };
    const char *name = by_name[world_below(w, 4)];
    struct str affinity = world_below(w, 3) == 0 ? terms_json(w, "podAffinity") : terms_json(w, "podAntiAffinity");
    bool rules = world_below(w, 2);
    struct str spread = spread_json(w);
    affinity = rules ? affinity : STR("");
    return arena_printf(
        &w->arena,
        "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"p%u\",\"uid\":\"u%u\",\"labels\":{\"app\":\"%s\",\"tier\":\"%u\"}%s%s},\"spec\":{%s"
        "\"priority\":%u,\"affinity\":{%s%s%s%s%.*s},\"topologySpreadConstraints\":[%.*s],\"containers\":[{\"name\":\"c\",\"resources\":{"
        "\"requests\":{\"cpu\":\"%u\"}}}]}}",
        world_below(w, 2) ? "a" : "b", w->serial, w->serial, world_below(w, 2) ? "x" : "y", world_below(w, 3),
        world_below(w, 2) ? ",\"ownerReferences\":[{\"uid\":\"owner\",\"controller\":true}]" : "",
        world_below(w, 5) ? "" : ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", selector[world_below(w, 3)], world_below(w, 3),
        *name ? "\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[" : "", name, *name ? "]}}" : "",
        *name && rules ? "," : "", STR_ARG(affinity), STR_ARG(spread), world_below(w, 3));
}
