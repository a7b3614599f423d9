/* Lists of every pod of the namespace, one after the other and sixteen at once. */
#include "bench/bench.h"

static void make_list(struct bench *b, unsigned i, struct bench_request *r, void *arg)
{
    (void)i, (void)arg;
    r->method = "GET";
    snprintf(r->target, sizeof(r->target), "/api/v1/namespaces/%s/pods", b->ns);
}

static bool run_list(struct bench *b, struct err *err)
{
    if (!bench_need_pods(b, b->objects, err)) {
        return false;
    }
    struct load l = { .n = 20, .warm = 1, .concurrency = 1, .make = make_list };
    if (!load_run(b, &l, err)) {
        return false;
    }
    bench_figure(b, (double)l.bytes / load_measured(&l) / 1e6, "MB", "size of a list of %u pods", b->n_pods);
    bench_figure(b, (double)histogram_percentile(&l.latency, 50) / 1e6, "ms", "latency p50");
    bench_figure(b, (double)histogram_percentile(&l.latency, 100) / 1e6, "ms", "latency p100");
    bench_report_usage(b, &l.before, &l.after, load_measured(&l), "list");
    bench_report_counts(b, &l.before.counts, &l.after.counts, NULL, load_measured(&l) * (double)b->n_pods, "list item");
    return true;
}

const struct bench_subject bench_list = { "list", "lists of all pods as JSON, one after the other", run_list };

static bool run_lists(struct bench *b, struct err *err)
{
    if (!bench_need_pods(b, b->objects, err)) {
        return false;
    }
    struct load l = { .n = 64, .concurrency = 16, .make = make_list, .sample_ms = 20 };
    if (!load_run(b, &l, err)) {
        return false;
    }
    bench_figure(b, (double)histogram_percentile(&l.latency, 50) / 1e6, "ms", "latency p50");
    for (size_t i = 0; i < b->n_processes; i++) {
        bench_figure(b, l.most.pss_mb[i] - l.before.pss_mb[i], "MB", "growth of %s meanwhile", b->processes[i].name);
    }
    bench_report_usage(b, &l.before, &l.after, l.n, "list");
    return true;
}

const struct bench_subject bench_lists = { "lists", "16 lists of all pods at once, and what they hold", run_lists };
