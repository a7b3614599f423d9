#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "net/loop.h"

/* ---- the closed loop ---- */

struct running;

struct slot {
    struct running *run;
    struct http_call *call;
    struct bench_request request;
    uint64_t begin_ns;
    bool busy;
    int status;
    struct buf refused; /* the beginning of an answer that is no 2xx */
};

struct running {
    struct bench *bench;
    struct load *load;
    struct slot *slots;
    unsigned n_slots;
    unsigned next, end; /* request to send next, and the one before which this part of the load ends */
    unsigned left;      /* answers that are missing */
    double rate;        /* open loop */
    unsigned first;     /* request of this part that was due at 'begin_ns' */
    uint64_t begin_ns;
    unsigned last_left; /* for the stall check */
    struct err err;
};

static void slot_start(struct slot *s);

static void slot_fail(struct slot *s)
{
    s->run->left = 0;
}

static void load_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct slot *s = arg;
    s->status = r->status;
}

static void load_body(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct slot *s = arg;
    s->run->load->bytes += data.len;
    if (s->status > 299 && s->refused.len < 600) {
        buf_append(&s->refused, str_sub(data, 0, 600));
    }
}

static void load_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct slot *s = arg;
    struct running *run = s->run;
    s->call = NULL;
    if (run->err.code != ERR_NONE) {
        return;
    }
    if (s->status < 200 || s->status > 299) {
        (void)err_set(&run->err, ERR_INTERNAL, "%s %s: HTTP %d: %.*s", s->request.method, s->request.target, s->status,
                      STR_ARG(str_trim(buf_str(&s->refused))));
        slot_fail(s);
        return;
    }
    uint64_t now = clock_mono_ns();
    histogram_add(&run->load->latency, now - MIN(s->begin_ns, now));
    run->left--;
    slot_start(s);
}

static void load_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct slot *s = arg;
    s->call = NULL;
    if (s->run->err.code == ERR_NONE) {
        s->run->err = e->err;
        slot_fail(s);
    }
}

static const struct http_call_ops load_ops = {
    .on_response = load_response, .on_body = load_body, .on_end = load_end, .on_error = load_error
};

/* When request 'i' of an open loop is due. */
static uint64_t due_ns(const struct running *run, unsigned i)
{
    return run->begin_ns + (uint64_t)((i - run->first) / run->rate * 1e9);
}

static void slot_start(struct slot *s)
{
    struct running *run = s->run;
    uint64_t now = clock_mono_ns();
    s->busy = run->next < run->end && (run->rate <= 0 || due_ns(run, run->next) <= now);
    if (!s->busy) {
        return;
    }
    s->begin_ns = run->rate > 0 ? due_ns(run, run->next) : now;
    buf_clear(&s->request.body);
    buf_clear(&s->refused);
    s->request.content_type = s->request.accept = NULL;
    run->load->make(run->bench, run->next++, &s->request, run->load->arg);
    s->call = bench_send(run->bench, &s->request, &load_ops, s);
}

static void start_idle(struct running *run)
{
    for (unsigned i = 0; i < run->n_slots && run->next < run->end; i++) {
        if (!run->slots[i].busy) {
            slot_start(&run->slots[i]);
            if (!run->slots[i].busy) {
                return; /* none is due */
            }
        }
    }
}

static bool turn_until_answered(struct running *run, struct err *err)
{
    struct bench *b = run->bench;
    struct load *l = run->load;
    uint64_t sample_at = 0, progress_at = clock_mono_ms();
    while (run->left > 0) {
        loop_turn(b->loop, run->rate > 0 ? 1 : l->sample_ms ? (int)l->sample_ms : 1000);
        if (run->rate > 0) {
            start_idle(run);
        }
        uint64_t now = clock_mono_ms();
        if (l->sample_ms && now >= sample_at) {
            struct usage u = { 0 };
            if (!usage_read(b->processes, b->n_processes, &u, err)) {
                return false;
            }
            usage_most(&l->most, &u, b->n_processes);
            sample_at = now + l->sample_ms;
        }
        if (run->left != run->last_left) {
            run->last_left = run->left;
            progress_at = now;
        } else if (now > progress_at + 60000) {
            return err_set(err, ERR_TIMEOUT, "no answer came for a minute, %u are missing", run->left);
        }
    }
    if (run->err.code != ERR_NONE) {
        *err = run->err;
        return false;
    }
    return true;
}

bool bench_around(struct bench *b, const char *when, struct err *err)
{
    char command[4096];
    if (str_empty(b->around)) {
        return true;
    }
    int n = snprintf(command, sizeof(command), "%.*s %s %s", STR_ARG(b->around), when, b->subject);
    if (n < 0 || (size_t)n >= sizeof(command) || system(command) != 0) {
        return err_set(err, ERR_INTERNAL, "the command of --around failed: %.*s %s", STR_ARG(b->around), when);
    }
    return true;
}

/* Sends requests up to 'end' and waits for all answers. */
static bool run_part(struct running *run, unsigned end, struct err *err)
{
    run->end = end;
    run->first = run->next;
    run->left = run->last_left = end - run->next;
    run->begin_ns = clock_mono_ns();
    start_idle(run);
    return turn_until_answered(run, err);
}

static bool run_parts(struct running *run, struct load *l, struct err *err)
{
    struct bench *b = run->bench;
    if (l->warm > 0 && !run_part(run, l->warm, err)) {
        return false;
    }
    if ((!l->setup && !bench_around(b, "begin", err)) || !usage_read(b->processes, b->n_processes, &l->before, err)) {
        return false;
    }
    l->latency = (struct histogram){ .n = 0 };
    l->bytes = 0;
    l->most = l->before;
    bool ok = run_part(run, l->n, err);
    l->elapsed_ns = clock_mono_ns() - run->begin_ns;
    return ok && usage_read(b->processes, b->n_processes, &l->after, err) && (l->setup || bench_around(b, "end", err));
}

bool load_run(struct bench *b, struct load *l, struct err *err)
{
    l->warm = b->no_warmup ? 0 : MIN(l->warm, l->n - 1);
    struct running run = { .bench = b, .load = l, .rate = l->rate, .n_slots = MIN(l->n, l->rate > 0 ? 1000u : l->concurrency) };
    run.slots = calloc(run.n_slots, sizeof(*run.slots));
    if (!run.slots) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    for (unsigned i = 0; i < run.n_slots; i++) {
        run.slots[i].run = &run;
        buf_init(&run.slots[i].request.body, BUF_NO_MAX);
        buf_init(&run.slots[i].refused, 4096);
    }
    bool ok = run_parts(&run, l, err);
    for (unsigned i = 0; i < run.n_slots; i++) {
        http_call_cancel(run.slots[i].call);
        buf_deinit(&run.slots[i].request.body);
        buf_deinit(&run.slots[i].refused);
    }
    free(run.slots);
    return ok;
}

/* ---- figures ---- */

void bench_report_usage(struct bench *b, const struct usage *before, const struct usage *after, double n, const char *what)
{
    for (size_t i = 0; i < b->n_processes; i++) {
        bench_figure(b, (after->cpu_s[i] - before->cpu_s[i]) / n, "s", "CPU of %s per %s", b->processes[i].name, what);
    }
    for (size_t i = 0; i < b->n_processes; i++) {
        bench_figure(b, after->pss_mb[i], "MB", "PSS of %s afterwards", b->processes[i].name);
    }
}

void bench_report_counts(struct bench *b, const struct usage_counts *before, const struct usage_counts *after,
                         const struct usage_counts *base, double n, const char *what)
{
    static const struct usage_counts none;
    const struct usage_counts *less = base ? base : &none;
    if (!usage_has_counts()) {
        return;
    }
    bench_figure(b, ((double)(after->allocations - before->allocations) - (double)less->allocations) / n, "", "allocations per %s", what);
    bench_figure(b, ((double)(after->bytes - before->bytes) - (double)less->bytes) / n, "B", "bytes allocated per %s", what);
    bench_figure(b, ((double)(after->file_bytes - before->file_bytes) - (double)less->file_bytes) / n, "B", "bytes written to files per %s", what);
    bench_figure(b, ((double)(after->copied - before->copied) - (double)less->copied) / n, "B", "bytes copied per %s", what);
    bench_figure(b, ((double)(after->syncs - before->syncs) - (double)less->syncs) / n, "", "syncs of files per %s", what);
}

void bench_report_latency(struct bench *b, const struct histogram *h, const char *what)
{
    static const double percents[] = { 50, 90, 99, 99.9, 100 };
    for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
        bench_figure(b, (double)histogram_percentile(h, percents[i]) / 1e6, "ms", "%s p%g", what, percents[i]);
    }
}

void load_report(struct bench *b, const struct load *l)
{
    double rate = load_measured(l) / ((double)l->elapsed_ns / 1e9);
    if (l->rate > 0) {
        bench_figure(b, rate, "1/s", "requests (open loop, %g wanted)", l->rate);
    } else {
        bench_figure(b, rate, "1/s", "requests (%u at once)", l->concurrency);
    }
    bench_report_latency(b, &l->latency, "latency");
    bench_report_usage(b, &l->before, &l->after, load_measured(l) / 1000.0, "1,000");
    bench_report_counts(b, &l->before.counts, &l->after.counts, NULL, load_measured(l), "request");
}
