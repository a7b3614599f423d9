/*
 * Metrics: counters, gauges and histograms with labels, written in Prometheus' text format (version 0.0.4).
 *
 * A metric is a static variable; it is exposed by metrics_write() once it was touched, so a program shows only its own.
 *
 *     static struct metric requests = METRIC_COUNTER("apiserver_request_total", "Requests answered.", "verb", "code");
 *     metric_add(metric_cell(&requests, verb, code), 1);
 *     static struct metric latency = METRIC_HISTOGRAM("x_duration_seconds", "Time taken.", metric_buckets_seconds, "verb");
 *     metric_observe(metric_cell(&latency, verb), seconds);
 *     static struct metric inflight = METRIC_GAUGE("x_inflight", "Now running.");
 *     metric_set(metric_cell(&inflight), 3);
 *
 * metric_cell() takes a lock and a hash look-up; hot paths keep the cell, which lives as long as the process. Adding,
 * setting and observing are atomic and safe from any thread. A metric holds at most METRIC_MAX_CELLS label combinations;
 * beyond that everything goes to one cell whose label values are "other", so that a peer cannot grow it.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <pthread.h>

#include "base/buf.h"
#include "base/map.h"

#define METRIC_MAX_LABELS 6
#define METRIC_MAX_CELLS 2000
#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };

struct metric_cell;

struct metric {
    enum metric_kind kind;
    const char *name, *help;
    const double *buckets; /* upper bounds, ascending, closed by a 0 (histograms) */
    const char *labels[METRIC_MAX_LABELS];

    /* Set when first touched, under 'lock'. */
    pthread_mutex_t lock;
    bool registered;
    struct map by_labels;
    struct metric_cell *cells, *other;
    struct metric *next;
};

#define METRIC_COUNTER(n, h, ...) \
    { .kind = METRIC_KIND_COUNTER, .name = (n), .help = (h), .labels = { __VA_ARGS__ }, .lock = PTHREAD_MUTEX_INITIALIZER }
#define METRIC_GAUGE(n, h, ...) \
    { .kind = METRIC_KIND_GAUGE, .name = (n), .help = (h), .labels = { __VA_ARGS__ }, .lock = PTHREAD_MUTEX_INITIALIZER }
#define METRIC_HISTOGRAM(n, h, b, ...) \
    { .kind = METRIC_KIND_HISTOGRAM, .name = (n), .help = (h), .buckets = (b), .labels = { __VA_ARGS__ }, \
      .lock = PTHREAD_MUTEX_INITIALIZER }

/* 1 ms to 60 s: what most latencies of the original programs use. */
extern const double metric_buckets_seconds[];

/* The cell of these label values (struct str each, as many as the metric has labels). Never NULL. */
#define metric_cell(m, ...) \
    metric_cell_of((m), (const struct str[METRIC_MAX_LABELS + 1]){ __VA_ARGS__ })
struct metric_cell *metric_cell_of(struct metric *m, const struct str *values);

void metric_add(struct metric_cell *c, double by);
void metric_set(struct metric_cell *c, double to);
void metric_observe(struct metric_cell *c, double value);
/* The present value of a counter or gauge; the count of a histogram. For tests and status pages. */
double metric_value(const struct metric_cell *c);
/* Forgets a series (a node that is gone). The cell must not be used any more. */
void metric_forget(struct metric *m, const struct str *values);

/* Calls 'fn' before every metrics_write(), to set gauges that are read from elsewhere. At most 16. */
void metrics_on_write(void (*fn)(void *user), void *user);
/* Appends all touched metrics, and the process' own (CPU, memory, descriptors, start), sorted by nothing in particular. */
void metrics_write(struct buf *b);

#endif
