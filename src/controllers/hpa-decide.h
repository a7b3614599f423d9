/*
 * One round of a HorizontalPodAutoscaler, decided: answers in, number, conditions, metrics and events out. Pure but for the memory.
 */
#ifndef CONTROLLERS_HPA_DECIDE_H
#define CONTROLLERS_HPA_DECIDE_H

#include "api/gen/autoscaling_v1.h"
#include "controllers/controllers.h"
#include "controllers/hpa-behavior.h"
#include "controllers/hpa-metrics.h"

typedef struct autoscaling_v2_horizontal_pod_autoscaler hpa_t;

struct hpa_inputs {
    const hpa_t *hpa;
    struct hpa_answer scale_answer, pods;
    struct hpa_answer *answers; /* one for each metric */
    size_t n_metrics;
    struct autoscaling_v1_scale scale; /* hpa_read_scale() makes it of its answer */
    struct hpa_tuning tuning;          /* as the flags say; the behavior's own tolerances go before it */
    int64_t down_window_s, now_s;
};

enum hpa_condition_type { HPA_ABLE_TO_SCALE, HPA_SCALING_ACTIVE, HPA_SCALING_LIMITED, HPA_CONDITIONS };
struct hpa_condition {
    const char *status; /* NULL: as it was */
    const char *reason;
    struct str message;
};
struct hpa_event {
    const char *type, *reason;
    struct str message;
};
struct hpa_outcome {
    bool known;   /* the scale is known: 'current' and what follows count */
    bool rescale; /* the scale is to be written */
    bool scaled;  /* and was */
    int32_t current, desired;
    struct str why; /* of a rescale, for its event */
    metric_status_t *metrics;
    size_t n_metrics;
    struct hpa_condition conditions[HPA_CONDITIONS];
    struct hpa_event events[8];
    size_t n_events;
};

/* False: the answer is no Scale; its error says so then. */
MUST_CHECK bool hpa_read_scale(struct arena *a, struct hpa_inputs *in);
/* Do the metrics matter, with this scale? */
bool hpa_needs_metrics(const struct hpa_inputs *in);
void hpa_decide(struct arena *a, const struct hpa_inputs *in, struct hpa_memory *m, struct hpa_outcome *ret);
/* The scale was written, or that failed. */
void hpa_scaled(struct arena *a, const struct hpa_inputs *in, struct hpa_memory *m, const struct hpa_answer *answer, struct hpa_outcome *out);
/* Puts it into the object's status. */
void hpa_status(const struct hpa_outcome *out, struct arena *a, int64_t now_s, hpa_t *hpa);

#endif
