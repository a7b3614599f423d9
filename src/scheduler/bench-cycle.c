/*
 * What a cycle costs, without a server: the cases of scheduler_perf on a cache filled here, one pod at a time, each assumed where it was
 * put. Prints microseconds of CPU a pod; under callgrind the count of instructions is the same on every machine.
 *
 *     bench-cycle [CASE] [NODES] [PODS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/decode-json.h"
#include "scheduler/cycle.h"

#define ZONES 3

struct bench_case {
    const char *name;
    const char *metadata, *spec; /* what a measured pod has besides; "%u" in spec is its number */
    unsigned there;              /* pods before, for each 100 nodes */
    const char *there_spec;
    const char *cpu, *there_cpu;
    bool one_a_node; /* no more measured pods than nodes are left */
};

#define TERM(kind, topology)                                                                                                             \
    "\"affinity\":{\"" kind "\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"labelSelector\":{\"matchLabels\":{\"color\":"      \
    "\"green\"}},\"topologyKey\":\"" topology "\"}]}},"
#define ANTI TERM("podAntiAffinity", "kubernetes.io/hostname")
#define CONTROLLER ",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"r\",\"uid\":\"r-uid\",\"controller\":true}]"

static const struct bench_case cases[] = {
    { .name = "basic", .cpu = "10m" },
    { .name = "deployment", .metadata = CONTROLLER, .cpu = "10m" },
    { .name = "affinity", .spec = TERM("podAffinity", "topology.kubernetes.io/zone"), .cpu = "10m" },
    { .name = "anti-affinity", .spec = ANTI, .there = 20, .there_spec = ANTI, .cpu = "10m", .there_cpu = "10m", .one_a_node = true },
    { .name = "spreading",
      .spec = "\"topologySpreadConstraints\":[{\"maxSkew\":5,\"topologyKey\":\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":"
              "\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"color\":\"green\"}}}],",
      .cpu = "10m" },
    { .name = "preemption", .spec = "\"priority\":1000,", .there = 400, .there_spec = "\"priority\":10,", .cpu = "3", .there_cpu = "900m", .one_a_node = true },
    { .name = "unschedulable", .cpu = "100" },
    { .name = "daemonset",
      .spec = "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":[{"
              "\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"node-%u\"]}]}]}}},",
      .cpu = "10m", .one_a_node = true },
};

struct bench {
    struct arena arena; /* objects, for the life of a case */
    struct cache cache;
    struct pod_info **pods;
    size_t n_pods, capacity;
};

static void *decode(struct bench *b, const struct api_type *type, const char *json)
{
    struct err err;
    void *obj = arena_alloc(&b->arena, type->size);
    if (!obj || !api_decode_json(&b->arena, type, arena_str(&b->arena, str_c(json)), NULL, obj, &err)) {
        fprintf(stderr, "%s\n", json);
        exit(1);
    }
    return obj;
}

static void make_node(struct bench *b, unsigned i)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"node-%u\",\"labels\":{\"bench\":\"sched\",\"kubernetes.io/hostname\":\"node-%u\","
             "\"topology.kubernetes.io/zone\":\"zone-%u\"}},\"status\":{\"allocatable\":{\"cpu\":\"4\",\"memory\":\"32Gi\",\"pods\":\"110\"}}}",
             i, i, i % ZONES);
    cache_put_node(&b->cache, decode(b, &core_v1_node_type, json));
}

static struct pod_info *make_pod(struct bench *b, unsigned i, const char *metadata, const char *spec, const char *cpu)
{
    char json[4096], own[2048];
    const char *number = spec ? strstr(spec, "%u") : NULL;
    snprintf(own, sizeof(own), "%.*s", number ? (int)(number - spec) : 2000, spec ? spec : "");
    if (number) {
        size_t len = strlen(own);
        snprintf(own + len, sizeof(own) - len, "%u%s", i, number + 2);
    }
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"bench\",\"name\":\"pod-%u\",\"uid\":\"uid-%u\",\"labels\":{\"color\":\"green\",\"case\":\"x\"}%s},"
             "\"spec\":{%s\"nodeSelector\":{\"bench\":\"sched\"},\"tolerations\":[{\"operator\":\"Exists\"}],\"containers\":[{\"name\":\"pause\","
             "\"image\":\"registry.example/pause:1\",\"resources\":{\"requests\":{\"cpu\":\"%s\",\"memory\":\"10Mi\"}}}]}}",
             i, i, metadata ? metadata : "", own, cpu);
    struct pod_info *p = pod_info_new(decode(b, &core_v1_pod_type, json));
    if (b->n_pods == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : 1024;
        b->pods = reallocarray(b->pods, b->capacity, sizeof(struct pod_info *));
    }
    b->pods[b->n_pods++] = p;
    return p;
}

/* One pod, as the scheduler does it: decide, then assume, or delete the victims and decide again. */
static bool schedule(struct bench *b, struct pod_info *p, struct arena *arena)
{
    struct cycle_options o = { 0 };
    struct cycle_result r;
    for (int turn = 0; turn < 2; turn++) {
        struct cycle c = { .cache = &b->cache, .pod = p, .arena = arena };
        cycle_run(&c, &o, &r);
        if (r.node) {
            cache_add_pod(&b->cache, p, r.node->name);
        }
        for (size_t i = 0; r.nominated && i < r.n_victims; i++) {
            cache_remove_pod(&b->cache, r.victims[i]);
        }
        bool again = r.nominated != NULL;
        if (again) {
            cache_promise(&b->cache, p, r.nominated->name);
        }
        arena_clear(arena);
        if (r.node || !again) {
            break;
        }
    }
    return r.node != NULL;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run(const struct bench_case *k, unsigned n_nodes, unsigned n_pods)
{
    struct bench b = { .n_pods = 0 };
    struct arena arena;
    unsigned there = n_nodes * k->there / 100, bound = 0;
    arena_init(&b.arena, ARENA_NO_BUDGET);
    arena_init(&arena, ARENA_NO_BUDGET);
    cache_init(&b.cache);
    for (unsigned i = 0; i < n_nodes; i++) {
        make_node(&b, i);
    }
    for (unsigned i = 0; i < there; i++) { /* evenly, so that the case begins as the scheduler would have left it */
        char name[32];
        snprintf(name, sizeof(name), "node-%u", i % n_nodes);
        cache_add_pod(&b.cache, make_pod(&b, 10000000 + i, NULL, k->there_spec, k->there_cpu), str_c(name));
    }
    if (k->one_a_node) {
        n_pods = MIN(n_pods, k->there < 100 ? n_nodes - there : n_nodes);
    }
    size_t first = b.n_pods;
    for (unsigned i = 0; i < n_pods; i++) {
        make_pod(&b, i, k->metadata, k->spec, k->cpu);
    }
    double begin = now_us();
    for (unsigned i = 0; i < n_pods; i++) {
        bound += schedule(&b, b.pods[first + i], &arena);
    }
    double took = now_us() - begin;
    printf("%-14s %6u nodes, %6u pods, %6u bound: %9.1f us a pod\n", k->name, n_nodes, n_pods, bound, took / n_pods);
    cache_deinit(&b.cache);
    for (size_t i = 0; i < b.n_pods; i++) {
        pod_info_free(b.pods[i]);
    }
    free(b.pods);
    arena_deinit(&b.arena);
    arena_deinit(&arena);
}

static unsigned number(const char *text, unsigned otherwise)
{
    uint64_t n;
    return text && str_to_u64(str_c(text), &n) && n <= 1000000 ? (unsigned)n : otherwise;
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 && strcmp(argv[1], "all") != 0 ? argv[1] : NULL;
    unsigned nodes = number(argc > 2 ? argv[2] : NULL, 5000), pods = number(argc > 3 ? argv[3] : NULL, 10000);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (!only || !strcmp(only, cases[i].name)) {
            run(&cases[i], nodes, pods);
        }
    }
    return 0;
}
