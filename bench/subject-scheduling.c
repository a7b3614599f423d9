/*
 * The scheduler in the cases that Kubernetes' scheduler_perf has: pods a second from the first create to the last binding, on
 * --nodes nodes on paper of 4 cores in three zones. Each case takes its pods away again.
 */
#include "base/clock.h"
#include "bench/bench.h"
#include "bench/counter.h"
#include "net/loop.h"

enum sched_case { BASIC, AFFINITY, ANTI_AFFINITY, SPREADING, PREEMPTION, UNSCHEDULABLE, CHURN, DAEMONSET, N_CASES };

struct plan {
    enum sched_case kind;
    bool measured; /* otherwise the pods that are there before */
    unsigned first;
};

static const char *const names[N_CASES] = { "basic", "affinity", "anti-affinity", "spreading", "preemption", "unschedulable", "churn", "daemonset" };

/* ---- bodies ---- */

static void put_affinity(struct buf *b, const char *kind, const char *topology)
{
    buf_printf(b, "\"affinity\":{\"%s\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"labelSelector\":{\"matchLabels\":{\"color\":"
                  "\"green\"}},\"topologyKey\":\"%s\"}]}},", kind, topology);
}

static void put_rules(struct buf *b, const struct plan *p, unsigned i)
{
    switch (p->kind) {
    case AFFINITY:
        put_affinity(b, "podAffinity", "topology.kubernetes.io/zone");
        break;
    case ANTI_AFFINITY:
        put_affinity(b, "podAntiAffinity", "kubernetes.io/hostname");
        break;
    case SPREADING:
        buf_append_c(b, "\"topologySpreadConstraints\":[{\"maxSkew\":5,\"topologyKey\":\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":"
                        "\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"color\":\"green\"}}}],");
        break;
    case DAEMONSET:
        buf_printf(b, "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":[{"
                      "\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"sched-%u\"]}]}]}}},", i);
        break;
    case PREEMPTION:
        buf_printf(b, "\"priorityClassName\":\"bench-%s\",", p->measured ? "high" : "low");
        break;
    case BASIC:
    case UNSCHEDULABLE:
    case CHURN:
    case N_CASES:
        break;
    }
}

static const char *cpu_of(const struct plan *p)
{
    if (p->kind == PREEMPTION) {
        return p->measured ? "3" : "900m"; /* four of the low ones fill a node */
    }
    return p->kind == UNSCHEDULABLE && !p->measured ? "100" : "10m";
}

static void make_pod(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    const struct plan *p = arg;
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods", b->ns);
    buf_printf(&r->body, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%s-%u\",\"labels\":{\"color\":\"green\",\"case\":\"%s\","
                         "\"measured\":\"%s\"}},\"spec\":{", names[p->kind], p->measured ? "m" : "b", i, names[p->kind], p->measured ? "yes" : "no");
    put_rules(&r->body, p, i);
    buf_printf(&r->body, "\"nodeSelector\":{\"bench\":\"sched\"},\"terminationGracePeriodSeconds\":0,\"tolerations\":[{\"operator\":\"Exists\"}],\"containers\":[{\"name\":\"pause\",\"image\":"
                         "\"registry.example/pause:1\",\"resources\":{\"requests\":{\"cpu\":\"%s\",\"memory\":\"10Mi\"}}}]}}", cpu_of(p));
}

/* Of the case churn every fifth request is something else: a Node that comes, or one that goes; each wakes pods that wait. One goes
 * when twenty others have come since, so that it has surely come. */
enum { CHURN_EVERY = 5, CHURN_LAG = 20 };

static void make_churn(struct bench *b, unsigned turn, struct bench_request *r)
{
    unsigned name = turn / 2;
    (void)b;
    if (turn % 2 == 0) {
        r->method = "POST";
        r->content_type = "application/json";
        snprintf(r->target, sizeof(r->target), "/api/v1/nodes");
        buf_printf(&r->body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"churn-%u\"}}", name);
    } else if (name >= CHURN_LAG) {
        r->method = "DELETE";
        snprintf(r->target, sizeof(r->target), "/api/v1/nodes/churn-%u", name - CHURN_LAG);
    } else {
        r->method = "GET";
        snprintf(r->target, sizeof(r->target), "/version");
    }
}

static void make_mixed(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    const struct plan *p = arg;
    if (p->kind == CHURN && i % CHURN_EVERY == CHURN_EVERY - 1) {
        make_churn(b, i / CHURN_EVERY, r);
    } else {
        make_pod(b, p->kind == CHURN ? i - i / CHURN_EVERY : i, r, arg);
    }
}

static bool end_churn(struct bench *b, unsigned turns, struct err *err)
{
    unsigned made = (turns + 1) / 2;
    for (unsigned i = made > CHURN_LAG + 1 ? made - CHURN_LAG - 1 : 0; i < made; i++) {
        struct bench_request r = { .method = "DELETE" };
        snprintf(r.target, sizeof(r.target), "/api/v1/nodes/churn-%u", i);
        if (!bench_do(b, &r, 404, err)) {
            return false;
        }
    }
    return true;
}

static void make_node(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    static const char room[] = "{\"cpu\":\"4\",\"memory\":\"32Gi\",\"pods\":\"110\"}";
    (void)b, (void)arg;
    r->method = "POST";
    r->content_type = "application/json";
    snprintf(r->target, sizeof(r->target), "/api/v1/nodes");
    buf_printf(&r->body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"sched-%u\",\"labels\":{\"kubernetes.io/hostname\":"
                         "\"sched-%u\",\"topology.kubernetes.io/zone\":\"zone-%u\",\"bench\":\"sched\"}},\"status\":{\"capacity\":%s,\"allocatable\":%s,\"conditions\":[{"
                         "\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\",\"message\":\"on paper\"}]}}", i, i, i % 3, room, room);
}

static void make_node_delete(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)b, (void)arg;
    r->method = "DELETE";
    snprintf(r->target, sizeof(r->target), "/api/v1/nodes/sched-%u", i);
}

/* ---- a case ---- */

static bool delete_pods(struct bench *b, const char *of_case, struct err *err)
{
    struct bench_request r = { .method = "DELETE", .content_type = "application/json" };
    snprintf(r.target, sizeof(r.target), "/api/v1/namespaces/%s/pods?labelSelector=case%%3D%s", b->ns, of_case);
    buf_init(&r.body, 256);
    buf_append_c(&r.body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0}");
    bool ok = bench_do(b, &r, 0, err);
    buf_deinit(&r.body);
    return ok;
}

static bool make_priority(struct bench *b, const char *name, int value, struct err *err)
{
    struct bench_request r = { .method = "POST", .target = "/apis/scheduling.k8s.io/v1/priorityclasses", .content_type = "application/json" };
    buf_init(&r.body, 1024);
    buf_printf(&r.body, "{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{\"name\":\"bench-%s\"},\"value\":%d}", name, value);
    bool ok = bench_do(b, &r, 409, err);
    buf_deinit(&r.body);
    return ok;
}

static bool has_case(const struct bench *b, const char *name)
{
    for (size_t i = 0; i < b->cases.n; i++) {
        if (str_eq_c(b->cases.items[i], name)) {
            return true;
        }
    }
    return b->cases.n == 0;
}

/* How many pods are there before, and how many are measured. */
static void sizes(const struct bench *b, enum sched_case kind, unsigned *ret_before, unsigned *ret_measured)
{
    *ret_before = 0;
    *ret_measured = b->pods;
    switch (kind) {
    case ANTI_AFFINITY:
        *ret_before = b->nodes / 5;
        *ret_measured = MIN(b->pods, b->nodes - *ret_before);
        break;
    case DAEMONSET:
        *ret_measured = MIN(b->pods, b->nodes);
        break;
    case PREEMPTION: /* each measured pod takes the place of four */
        *ret_before = b->nodes * 4;
        *ret_measured = MIN(b->pods, b->nodes);
        break;
    case UNSCHEDULABLE:
        *ret_before = MAX(b->pods / 10, 1u);
        break;
    case BASIC:
    case AFFINITY:
    case SPREADING:
    case CHURN:
    case N_CASES:
        break;
    }
}

/* Creates the pods and waits for the bindings. */
static bool create_and_bind(struct bench *b, struct plan *p, unsigned n, bool wait, double *ret_seconds, struct usage *before,
                            struct err *err)
{
    struct counter bound;
    char query[160];
    unsigned others = p->kind == CHURN ? (n - 1) / (CHURN_EVERY - 1) : 0;
    struct load l = { .n = n + others, .concurrency = b->concurrency, .make = make_mixed, .arg = p, .setup = true };
    snprintf(query, sizeof(query), "fieldSelector=spec.nodeName%%21%%3D&labelSelector=case%%3D%s,measured%%3D%s&resourceVersion=0", names[p->kind],
             p->measured ? "yes" : "no");
    struct http_call *watch = counter_start(b, &bound, n, query, err);
    if (!watch) {
        return false;
    }
    uint64_t begin = clock_mono_ns();
    bool ok = load_run(b, &l, err) && (!wait || counter_wait(b, &bound, 600000, err));
    if (bound.open) {
        http_call_cancel(watch);
    }
    *ret_seconds = (double)(MAX(bound.last_ns, begin + 1) - begin) / 1e9;
    *before = l.before;
    return ok && end_churn(b, others, err);
}

static bool run_case(struct bench *b, enum sched_case kind, struct err *err)
{
    struct plan there = { .kind = kind }, plan = { .kind = kind, .measured = true };
    struct usage before = { 0 }, after = { 0 };
    unsigned n_before, n;
    double seconds;
    sizes(b, kind, &n_before, &n);
    if (n_before > 0 && !create_and_bind(b, &there, n_before, kind != UNSCHEDULABLE, &seconds, &before, err)) {
        return false;
    }
    if (!bench_around(b, "begin", err) ||
        !create_and_bind(b, &plan, n, true, &seconds, &before, err) || !bench_around(b, "end", err) ||
        !usage_read(b->processes, b->n_processes, &after, err)) {
        return false;
    }
    bench_figure(b, n / seconds, "1/s", "%s: pods, of %u", names[kind], n);
    for (size_t i = 0; i < b->n_processes; i++) {
        bench_figure(b, (after.cpu_s[i] - before.cpu_s[i]) / n * 1000, "s", "%s: CPU of %s per 1,000 pods", names[kind], b->processes[i].name);
    }
    return delete_pods(b, names[kind], err);
}

static bool run_scheduling(struct bench *b, struct err *err)
{
    struct load make = { .n = b->nodes, .concurrency = b->concurrency, .make = make_node, .setup = true };
    struct load away = { .n = b->nodes, .concurrency = b->concurrency, .make = make_node_delete, .setup = true };
    if (!make_priority(b, "low", 10, err) || !make_priority(b, "high", 1000, err) || !load_run(b, &make, err)) {
        return false;
    }
    bool ok = true;
    for (enum sched_case i = BASIC; ok && i < N_CASES; i++) {
        if (has_case(b, names[i])) {
            ok = run_case(b, i, err) || err_wrap(err, "%s", names[i]);
        }
    }
    struct err ignored;
    return load_run(b, &away, ok ? err : &ignored) && ok;
}

const struct bench_subject bench_scheduling = { "scheduling", "the cases of scheduler_perf on nodes on paper", run_scheduling };
