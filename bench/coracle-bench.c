/*
 * coracle-bench: drives a kube-apiserver, any, by URL and credentials, and says how fast it answers and what that costs it.
 *
 *     coracle-bench --kubeconfig FILE --process apiserver=1234 [SUBJECT...]
 *
 * Everything is made in a namespace of its own, which is deleted at the end. CPU and memory are read from /proc, so the
 * processes named by --process must be of this machine.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/fs.h"
#include "bench/bench.h"
#include "bench/namespace.h"
#include "bench/report.h"
#include "bench/target.h"
#include "net/loop.h"
#include "net/tls-buffers.h"

static const struct bench_subject *const subjects[] = {
    &bench_connect, &bench_storm, &bench_discovery, &bench_create,   &bench_get,   &bench_update,   &bench_status,
    &bench_lease,   &bench_event,
    &bench_list,    &bench_paged, &bench_streamed,  &bench_lists,    &bench_mixed, &bench_watch,    &bench_delete,  &bench_bind,
    &bench_schedule, &bench_churn, &bench_deployment, &bench_scheduling, &bench_fill,
};

struct options {
    struct target_options target;
    struct flag_strings processes, cases;
    struct str json, namespace;
    int32_t requests, concurrency, objects, watchers, nodes, pods, replicas;
    struct str counts, around;
    double rate;
    bool keep, no_warmup;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, target.kubeconfig, "kubeconfig", "", "Path to a kubeconfig"),
    FLAG_STRING(struct options, target.context, "context", "", "Context of the kubeconfig; empty: its current one"),
    FLAG_STRING(struct options, target.server, "server", "", "https://host:port, in place of the kubeconfig's"),
    FLAG_STRING(struct options, target.ca, "certificate-authority", "", "PEM file to verify the server with"),
    FLAG_STRING(struct options, target.certificate, "client-certificate", "", "PEM file"),
    FLAG_STRING(struct options, target.key, "client-key", "", "PEM file"),
    FLAG_STRING(struct options, target.token, "token", "", "Bearer token"),
    FLAG_ARRAY(struct options, processes, "process", "", "NAME=PID of a process of the server to measure; may be repeated"),
    FLAG_STRING(struct options, namespace, "namespace", "", "Where objects are made; empty: one of its own, deleted at the end"),
    FLAG_BOOL(struct options, keep, "keep", "false", "Leaves the namespace"),
    FLAG_STRING(struct options, json, "json", "", "File that gets the figures as JSON"),
    FLAG_FLOAT(struct options, rate, "rate", "0", "Requests a second of an open loop, for subjects of single requests; 0: closed loops"),
    FLAG_BOOL(struct options, no_warmup, "no-warmup", "false", "Measures from the first request on"),
    FLAG_STRING(struct options, counts, "counts", "", "File with the counters of a server that was started with count.so and CORACLE_COUNTS"),
    FLAG_STRING(struct options, around, "around", "", "Command that is run with \"begin SUBJECT\" and \"end SUBJECT\" around what is measured"),
    FLAG_INT32(struct options, requests, "requests", "5000", "How many requests a subject of single requests sends"),
    FLAG_INT32(struct options, concurrency, "concurrency", "16", "How many of them are under way at once"),
    FLAG_INT32(struct options, objects, "objects", "10000", "Pods of a list"),
    FLAG_INT32(struct options, watchers, "watchers", "50", "Watchers of a change"),
    FLAG_INT32(struct options, nodes, "nodes", "5", "Nodes on paper"),
    FLAG_INT32(struct options, pods, "pods", "2000", "Pods to schedule"),
    FLAG_STRINGS(struct options, cases, "cases", "", "Cases of scheduling; empty: all of basic, affinity, anti-affinity, spreading, preemption, unschedulable, churn, daemonset"),
    FLAG_INT32(struct options, replicas, "replicas", "500", "Replicas of the Deployment"),
};

void bench_figure(struct bench *b, double value, const char *unit, const char *name, ...)
{
    if (b->n_figures >= BENCH_FIGURES_MAX) {
        return;
    }
    struct bench_figure *f = &b->figures[b->n_figures++];
    f->subject = b->subject;
    f->value = value;
    snprintf(f->unit, sizeof(f->unit), "%s", unit);
    va_list ap;
    va_start(ap, name);
    vsnprintf(f->name, sizeof(f->name), name, ap);
    va_end(ap);
    report_line(f);
}

void bench_absent(struct bench *b, const char *fmt, ...)
{
    va_list ap;
    (void)b;
    va_start(ap, fmt);
    printf("    not offered: ");
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

static bool parse_processes(struct bench *b, const struct flag_strings *list, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        struct str name, number;
        uint64_t pid;
        struct usage_process *p = &b->processes[b->n_processes];
        if (b->n_processes == BENCH_PROCESSES_MAX || !str_cut(list->items[i], '=', &name, &number) ||
            !str_to_u64(number, &pid) || pid > INT32_MAX || !str_to_cstr(name, p->name, sizeof(p->name))) {
            return err_set(err, ERR_INVALID, "--process=%.*s is no NAME=PID", STR_ARG(list->items[i]));
        }
        p->pid = (pid_t)pid;
        b->n_processes++;
    }
    return true;
}

/* False when a word on the command line is no subject. */
static bool check_words(const struct flag_result *f, struct err *err)
{
    for (size_t i = 0; i < f->n_args; i++) {
        bool known = false;
        for (size_t j = 0; j < ARRAY_SIZE(subjects); j++) {
            known = known || str_eq_c(str_c(subjects[j]->name), f->args[i]);
        }
        if (!known) {
            return err_set(err, ERR_INVALID, "\"%s\" is no subject; --help names them", f->args[i]);
        }
    }
    return true;
}

static bool wanted(const struct bench_subject *s, const struct flag_result *f)
{
    for (size_t i = 0; i < f->n_args; i++) {
        if (str_eq_c(str_c(s->name), f->args[i])) {
            return true;
        }
    }
    return f->n_args == 0;
}

static bool run(struct bench *b, const struct options *o, const struct flag_result *f, struct err *err)
{
    if (!str_empty(o->counts) && !usage_open_counts(o->counts.ptr, err)) {
        return false;
    }
    if (!check_words(f, err) || !parse_processes(b, &o->processes, err) || !target_connect(b, &o->target, err) || !namespace_make(b, err)) {
        return false;
    }
    bool ok = true;
    struct err ignored;
    for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
        if (wanted(subjects[i], f)) {
            struct err *why = ok ? err : &ignored; /* the first reason is told at the end; the other subjects are measured all the same */
            b->subject = subjects[i]->name;
            report_subject(subjects[i]);
            if (!subjects[i]->run(b, why)) {
                printf("    failed: %s\n", why->msg);
                ok = ok ? err_wrap(err, "%s", subjects[i]->name) : false;
            }
        }
    }
    if (!o->keep && str_empty(o->namespace)) {
        (void)!namespace_delete(b, &ignored);
    }
    return ok;
}

int main(int argc, char **argv)
{
    static struct options o;
    static struct bench b;
    tls_buffers_init();
    const struct flag_section section = { "Benchmark", flags, ARRAY_SIZE(flags), &o };
    const struct flag_program program = { "coracle-bench", "Measures a kube-apiserver. Subjects: version, storm, discovery, "
                                          "create, get, update, status, lease, event, bind, list, paged, streamed, lists, mixed, watch, delete, schedule, churn, "
                                          "deployment, scheduling, fill; none: all.",
                                          &section, 1, "coracle-bench [flags] [SUBJECT...]", true };
    struct flag_result f;
    struct err err;
    int status = flags_main(&program, argc, argv, &f);
    if (status >= 0) {
        return status;
    }
    if (o.requests < 1 || o.concurrency < 1 || o.objects < 1 || o.watchers < 1 || o.nodes < 1 || o.pods < 1 || o.replicas < 1) {
        fprintf(stderr, "coracle-bench: every count must be at least 1\n");
        return 1;
    }
    b.cases = o.cases;
    b.rate = o.rate;
    b.no_warmup = o.no_warmup;
    b.around = o.around;
    b.requests = (unsigned)o.requests;
    b.concurrency = (unsigned)o.concurrency;
    b.objects = (unsigned)o.objects;
    b.watchers = (unsigned)o.watchers;
    b.nodes = (unsigned)o.nodes;
    b.pods = (unsigned)o.pods;
    b.replicas = (unsigned)o.replicas;
    if (str_empty(o.namespace)) {
        snprintf(b.ns, sizeof(b.ns), "coracle-bench-%d", (int)getpid());
    } else if (!str_to_cstr(o.namespace, b.ns, sizeof(b.ns))) {
        fprintf(stderr, "coracle-bench: --namespace is too long\n");
        return 1;
    }
    b.loop = loop_new(&err);
    bool ok = b.loop && run(&b, &o, &f, &err);
    if (!str_empty(o.json) && b.loop) {
        struct err write_err;
        if (!report_write(&b, o.json.ptr, &write_err)) {
            fprintf(stderr, "coracle-bench: %s\n", write_err.msg);
            ok = false;
        }
    }
    if (!ok) {
        fprintf(stderr, "coracle-bench: %s\n", err.msg);
    }
    b.http = http_client_free(b.http);
    loop_free(b.loop);
    return ok ? 0 : 1;
}
