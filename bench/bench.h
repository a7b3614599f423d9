/*
 * What the subjects of coracle-bench share: the server that is driven, the processes that are watched while it is, and the
 * figures found. A subject is one const struct in one file, listed in coracle-bench.c; subjects run in that order, and a
 * later one uses the objects that an earlier one left.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "base/flags.h"
#include "base/histogram.h"
#include "bench/usage.h"
#include "client/endpoint.h"
#include "net/http-client.h"

struct bench_figure {
    const char *subject;
    char name[64];
    char unit[16];
    double value;
};

#define BENCH_FIGURES_MAX 512
#define BENCH_PROCESSES_MAX 16

struct bench {
    struct loop *loop;
    struct http_client *http;
    struct client_endpoint endpoint;
    char ns[64];              /* the namespace that everything is made in */
    unsigned requests;        /* how many a subject of single requests sends */
    unsigned concurrency;     /* how many of them are under way at once */
    unsigned objects;         /* pods in a list */
    unsigned watchers, nodes, pods, replicas;
    unsigned n_pods;          /* pods pod-0 … that exist now */
    struct usage_process processes[BENCH_PROCESSES_MAX]; /* of the server; none: only times are measured */
    size_t n_processes;

    struct flag_strings cases; /* of scheduling; none: all */
    double rate;              /* requests a second of an open loop; 0: closed loops */
    bool no_warmup;           /* every request is measured */
    struct str around;        /* command that is run before and after what is measured; or empty */

    const char *subject; /* that runs now */
    struct bench_figure figures[BENCH_FIGURES_MAX];
    size_t n_figures;
};

struct bench_subject {
    const char *name;
    const char *about;
    bool (*run)(struct bench *b, struct err *err);
};

/* Says that the server does not offer what the subject measures; the subject then returns true. */
PRINTF_LIKE(2, 3) void bench_absent(struct bench *b, const char *fmt, ...);
/* Adds a figure to the report. */
PRINTF_LIKE(4, 5) void bench_figure(struct bench *b, double value, const char *unit, const char *name, ...);

/* One request. 'method' and 'content_type' are literals; 'content_type' NULL: no body. */
struct bench_request {
    const char *method;
    char target[256]; /* without the prefix of the URL */
    const char *content_type;
    const char *accept;       /* NULL: application/json */
    struct http_client *http; /* NULL: the bench's own */
    struct buf body;
};

/* Sends the request; the ops are called as those of net/http-client.h. */
struct http_call *bench_send(struct bench *b, const struct bench_request *r, const struct http_call_ops *ops, void *arg);
/* A whole answer in memory. The owner initialises 'body' and gives it back. */
struct bench_answer {
    int status;
    struct buf body;
    unsigned left; /* 1 while it is under way */
    struct err err;
};
/* Sends one request and waits for the whole answer, of any status. False when there is none. */
MUST_CHECK bool bench_fetch(struct bench *b, const struct bench_request *r, struct bench_answer *a, struct err *err);
/* False, with the server's words, when the answer is no 2xx. */
MUST_CHECK bool bench_is_2xx(const struct bench_request *r, const struct bench_answer *a, struct err *err);
/* Sends one request and waits for its answer. False when the status is neither 2xx nor 'also' (0: none). */
MUST_CHECK bool bench_do(struct bench *b, const struct bench_request *r, int also, struct err *err);

/*
 * 'n' requests, each made by 'make' when its turn comes; the first 'warm' of them are not measured. In a closed loop 'concurrency'
 * are under way at once, and the next goes when one is answered. In an open loop ('rate' above 0) they go at that rate whatever the
 * answers do, and a latency counts from the moment when the request was due: a server that stalls is charged for all whom it kept
 * waiting. An answer that is no 2xx ends the load with the server's words.
 */
struct load {
    unsigned n, warm, concurrency;
    double rate;
    void (*make)(struct bench *b, unsigned i, struct bench_request *r, void *arg);
    void *arg;
    bool setup;         /* only makes what is measured later: --around is not called */
    uint64_t sample_ms; /* above 0: how often the memory of the processes is looked at meanwhile */

    /* the result */
    struct histogram latency; /* nanoseconds */
    uint64_t elapsed_ns, bytes;
    struct usage before, after, most; /* 'most': the largest memory seen, with 'sample_ms' */
};
MUST_CHECK bool load_run(struct bench *b, struct load *l, struct err *err);
/* How many were measured. */
static inline unsigned load_measured(const struct load *l)
{
    return l->n - l->warm;
}
/* Runs the command of --around with 'when' ("begin", "end") and the subject's name behind it. */
MUST_CHECK bool bench_around(struct bench *b, const char *when, struct err *err);
/* The usual figures of a load: requests a second, latencies, CPU of each process per 1,000 requests. */
void load_report(struct bench *b, const struct load *l);
/* p50, p90, p99, p99.9 and p100 in milliseconds: "latency p50". */
void bench_report_latency(struct bench *b, const struct histogram *h, const char *what);
/* Allocations and bytes written for each of 'n' of 'what', less 'base' (NULL: nothing), where they are counted. */
void bench_report_counts(struct bench *b, const struct usage_counts *before, const struct usage_counts *after,
                         const struct usage_counts *base, double n, const char *what);
/* CPU and memory alone, for 'n' of 'what'. */
void bench_report_usage(struct bench *b, const struct usage *before, const struct usage *after, double n, const char *what);

/* Makes pods until there are 'n', not measured. */
MUST_CHECK bool bench_need_pods(struct bench *b, unsigned n, struct err *err);
/* Makes the --nodes nodes paper-0 …, where they are missing. */
MUST_CHECK bool bench_need_nodes(struct bench *b, struct err *err);
/* Turns the loop until '*left' is 0 or 'timeout_ms' are over. */
MUST_CHECK bool bench_wait(struct bench *b, const unsigned *left, uint64_t timeout_ms, struct err *err);

extern const struct bench_subject bench_connect, bench_storm, bench_discovery, bench_create, bench_get, bench_update, bench_status, bench_list,
    bench_paged, bench_streamed, bench_lists, bench_mixed, bench_watch, bench_delete, bench_schedule, bench_churn, bench_deployment, bench_fill,
    bench_scheduling, bench_lease, bench_event, bench_bind;

#endif
