#include "hollow/figures.h"

#include <inttypes.h>

static const char *const names[HOLLOW_LATENCIES] = { "register", "lease", "status", "list", "podStart", "podReport" };

void hollow_figures_latency(struct hollow_figures *f, enum hollow_latency which, uint64_t ns)
{
    histogram_add(&f->interval[which], ns);
    histogram_add(&f->all[which], ns);
}

static double ms(const struct histogram *h, double percent)
{
    return (double)histogram_percentile(h, percent) / 1e6;
}

void hollow_figures_write(struct hollow_figures *f, struct buf *b, uint64_t now_ms, double seconds, bool all)
{
    static const struct hollow_counts none;
    const struct hollow_counts *n = &f->now, *o = all ? &none : &f->before;
    double span = all ? seconds : (double)(now_ms - f->interval_ms) / 1000;
    buf_printf(b, "{\"seconds\":%.1f,\"span\":%.2f,\"total\":%s,\"nodes\":%u,\"watches\":%u,\"pods\":%u,\"ready\":%u", seconds, span,
               all ? "true" : "false", f->nodes, f->watches, f->pods, f->ready);
    const struct { const char *name; uint64_t value; } counts[] = {
        { "requests", n->requests - o->requests }, { "refused", n->refused - o->refused }, { "failed", n->failed - o->failed },
        { "events", n->events - o->events }, { "eventBytes", n->event_bytes - o->event_bytes },
        { "watchesBegun", n->watches_begun - o->watches_begun }, { "lists", n->lists - o->lists },
        { "podsStarted", n->pods_started - o->pods_started }, { "podsEnded", n->pods_ended - o->pods_ended },
        { "lateRenewals", n->late_renewals - o->late_renewals },
    };
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        buf_printf(b, ",\"%s\":%" PRIu64, counts[i].name, counts[i].value);
    }
    buf_append_c(b, ",\"milliseconds\":{");
    for (size_t i = 0; i < HOLLOW_LATENCIES; i++) {
        const struct histogram *h = all ? &f->all[i] : &f->interval[i];
        buf_printf(b, "%s\"%s\":{\"n\":%" PRIu64 ",\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p100\":%.3f}", i ? "," : "", names[i], h->n,
                   ms(h, 50), ms(h, 90), ms(h, 99), ms(h, 100));
    }
    buf_append_c(b, "}}");
    if (!all) {
        f->before = f->now;
        f->interval_ms = now_ms;
        memset(f->interval, 0, sizeof(f->interval));
    }
}

void hollow_figures_print(const struct hollow_figures *f, struct buf *b, uint64_t now_ms, double seconds)
{
    const struct hollow_counts *n = &f->now, *o = &f->before;
    double span = (double)(now_ms - f->interval_ms) / 1000;
    span = span > 0 ? span : 1;
    buf_printf(b, "%7.1f s  %5u nodes  %6u pods  %6u ready  %6.0f requests/s  %6.0f events/s  lease p99 %.1f ms  status p99 %.1f ms",
               seconds, f->nodes, f->pods, f->ready, (double)(n->requests - o->requests) / span, (double)(n->events - o->events) / span,
               ms(&f->interval[HOLLOW_L_LEASE], 99), ms(&f->interval[HOLLOW_L_STATUS], 99));
    if (n->refused + n->failed != o->refused + o->failed) {
        buf_printf(b, "  %" PRIu64 " refused  %" PRIu64 " failed", n->refused - o->refused, n->failed - o->failed);
    }
    if (n->late_renewals != o->late_renewals) {
        buf_printf(b, "  %" PRIu64 " late renewals", n->late_renewals - o->late_renewals);
    }
}
