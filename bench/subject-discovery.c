/*
 * Discovery as kubectl does it. A server of today (KEP-3352, KEP-2896) answers /api and /apis with every resource of every group, when asked for
 * it by media type, and has the schema in pieces below /openapi/v3. An older one answers with the groups' names alone: each version of
 * each is asked for then; and it has the schema at /openapi/v2 as a whole. Which of both a server is, is found out once, not measured.
 */
#include "api/decode-json.h"
#include "api/gen/meta_v1.h"
#include "bench/bench.h"

#define AGGREGATED "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," \
                   "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
#define OPENAPI_V2 "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

enum { ASKED_MAX = 512 };

struct asked {
    char target[200];
    const char *accept; /* NULL: JSON */
};

struct discovery {
    struct asked asked[ASKED_MAX];
    unsigned n;
};

PRINTF_LIKE(3, 4) static void ask(struct discovery *d, const char *accept, const char *fmt, ...)
{
    if (d->n == ASKED_MAX) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(d->asked[d->n].target, sizeof(d->asked[0].target), fmt, ap);
    va_end(ap);
    d->asked[d->n++].accept = accept;
}

static bool ask_core(struct discovery *d, struct arena *a, struct str text, struct err *err)
{
    struct meta_v1_api_versions core = { .n_versions = 0 };
    if (!api_decode_json(a, &meta_v1_api_versions_type, text, NULL, &core, err)) {
        return false;
    }
    for (size_t i = 0; i < core.n_versions; i++) {
        ask(d, NULL, "/api/%.*s", STR_ARG(core.versions[i]));
    }
    return true;
}

static bool ask_groups(struct discovery *d, struct arena *a, struct str text, struct err *err)
{
    struct meta_v1_api_group_list list = { .n_groups = 0 };
    if (!api_decode_json(a, &meta_v1_api_group_list_type, text, NULL, &list, err)) {
        return false;
    }
    for (size_t i = 0; i < list.n_groups; i++) {
        for (size_t j = 0; j < list.groups[i].n_versions; j++) {
            ask(d, NULL, "/apis/%.*s", STR_ARG(list.groups[i].versions[j].group_version));
        }
    }
    return true;
}

/* One of /api and /apis, and what has to be asked behind it. */
static bool probe_root(struct bench *b, struct discovery *d, const char *root,
                       bool (*behind)(struct discovery *, struct arena *, struct str, struct err *), struct bench_answer *answer, struct err *err)
{
    struct bench_request r = { .method = "GET", .accept = AGGREGATED };
    snprintf(r.target, sizeof(r.target), "%s", root);
    if (!bench_fetch(b, &r, answer, err) || !bench_is_2xx(&r, answer, err)) {
        return false;
    }
    ask(d, AGGREGATED, "%s", root);
    if (str_find(str_sub(buf_str(&answer->body), 0, 200), STR("\"APIGroupDiscoveryList\"")) >= 0) {
        return true;
    }
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    return behind(d, &a, buf_str(&answer->body), err);
}

static bool probe_schema(struct bench *b, struct discovery *d, struct bench_answer *answer, struct err *err)
{
    struct bench_request r = { .method = "GET", .target = "/openapi/v3" };
    if (!bench_fetch(b, &r, answer, err)) {
        return false;
    }
    if (answer->status == 404) {
        ask(d, OPENAPI_V2, "/openapi/v2");
        return true;
    }
    ask(d, NULL, "/openapi/v3");
    ask(d, NULL, "/openapi/v3/api/v1");
    return bench_is_2xx(&r, answer, err);
}

static void make_discovery(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)b;
    const struct discovery *d = arg;
    const struct asked *next = &d->asked[i % d->n];
    r->method = "GET";
    r->accept = next->accept;
    snprintf(r->target, sizeof(r->target), "%s", next->target);
}

static bool run_discovery(struct bench *b, struct err *err)
{
    static struct discovery d;
    struct bench_answer answer = { .left = 0 };
    d.n = 0;
    buf_init(&answer.body, BUF_NO_MAX);
    bool ok = probe_root(b, &d, "/api", ask_core, &answer, err) && probe_root(b, &d, "/apis", ask_groups, &answer, err) &&
              probe_schema(b, &d, &answer, err);
    buf_deinit(&answer.body);
    if (!ok) {
        return false;
    }
    unsigned rounds = MAX(b->requests / 10 / 4, 2u);
    struct load l = { .n = (rounds + 1) * d.n, .warm = d.n, .concurrency = MIN(b->concurrency, 4u), .rate = b->rate, .make = make_discovery, .arg = &d };
    if (!load_run(b, &l, err)) {
        return false;
    }
    load_report(b, &l);
    double kubectls = (double)load_measured(&l) / d.n;
    bench_figure(b, d.n, "", "requests of one kubectl");
    bench_figure(b, (double)l.bytes / kubectls / 1e3, "kB", "of discovery, for one kubectl");
    if (b->n_processes > 0) {
        bench_figure(b, (l.after.cpu_s[0] - l.before.cpu_s[0]) / kubectls * 1e3, "ms", "CPU of %s for one kubectl", b->processes[0].name);
    }
    return true;
}

const struct bench_subject bench_discovery = { "discovery", "the resources and the schema of core, as kubectl asks for them", run_discovery };
