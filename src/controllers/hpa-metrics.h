/*
 * What a metric of a HorizontalPodAutoscaler is asked of (the metrics APIs metrics.k8s.io, custom.metrics.k8s.io,
 * external.metrics.k8s.io), and what it asks for, by the answers. Pure: paths out, answers as text in.
 */
#ifndef CONTROLLERS_HPA_METRICS_H
#define CONTROLLERS_HPA_METRICS_H

#include "api/gen/autoscaling_v2.h"
#include "controllers/hpa-replicas.h"

typedef struct autoscaling_v2_metric_spec metric_spec_t;
typedef struct autoscaling_v2_metric_status metric_status_t;

/* One answer of a server. 'error' absent: it went well. */
struct hpa_answer {
    struct str body, error;
    int http_status;
};

/* The path with its query. 'selector' is the target's, as text. Absent: no such path can be made, as for a metric of no known type. */
struct str hpa_metric_path(struct arena *a, struct str ns, const metric_spec_t *m, struct str selector);
struct str hpa_pods_path(struct arena *a, struct str ns, struct str selector);

struct hpa_question {
    struct arena *a;
    struct str ns, selector;
    const metric_spec_t *metric;
    const struct hpa_answer *pods, *answer;
    struct hpa_tuning tuning;
    int32_t spec_replicas, status_replicas; /* of the scale */
};

/* What the metric proposes, or why it has nothing to say. */
struct hpa_proposal {
    bool ok;
    int32_t replicas;
    struct str name;        /* for persons: "cpu resource utilization (percentage of request)" */
    metric_status_t status; /* for status.currentMetrics */
    const char *reason;     /* !ok: of the condition */
    struct str cause, error;/* !ok: for the condition and its event; with what it was for, for the sum of all */
};
void hpa_ask_metric(const struct hpa_question *q, struct hpa_proposal *ret);

#endif
