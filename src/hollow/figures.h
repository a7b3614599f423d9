/* What a fleet of hollow nodes counts, for one interval and for all of its life. */
#ifndef HOLLOW_FIGURES_H
#define HOLLOW_FIGURES_H

#include "base/buf.h"
#include "base/histogram.h"

enum hollow_latency {
    HOLLOW_L_REGISTER,   /* create of the Node, the TLS handshake included */
    HOLLOW_L_LEASE,      /* renewal of the Lease */
    HOLLOW_L_STATUS,     /* patch of a Node's or a pod's status */
    HOLLOW_L_LIST,       /* list of the node's pods */
    HOLLOW_L_POD_START,  /* from creationTimestamp (whole seconds) until "Running" was answered */
    HOLLOW_L_POD_REPORT, /* from the event that showed the pod until "Running" was answered, without what starting took */
    HOLLOW_LATENCIES
};

struct hollow_counts {
    uint64_t requests, refused, failed; /* refused: answered by 4xx or 5xx; failed: no answer */
    uint64_t events, event_bytes, watches_begun, lists;
    uint64_t pods_started, pods_ended;
    uint64_t late_renewals; /* more than twice the interval after the one before */
};

struct hollow_figures {
    struct histogram interval[HOLLOW_LATENCIES], all[HOLLOW_LATENCIES];
    struct hollow_counts now, before; /* 'before': when the interval began */
    uint64_t interval_ms;             /* when it began */
    unsigned nodes, watches, pods, ready; /* that are registered, open, known, Running */
};

void hollow_figures_latency(struct hollow_figures *f, enum hollow_latency which, uint64_t ns);
/* One JSON object of the interval up to now_ms (all: of the whole life), without a newline; begins the next interval. */
void hollow_figures_write(struct hollow_figures *f, struct buf *b, uint64_t now_ms, double seconds, bool all);
/* The same for a person, one line. Before hollow_figures_write(), which begins the next interval. */
void hollow_figures_print(const struct hollow_figures *f, struct buf *b, uint64_t now_ms, double seconds);

#endif
