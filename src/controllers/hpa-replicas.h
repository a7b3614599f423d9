/*
 * How many replicas one metric asks for ("Horizontal Pod Autoscaling: Algorithm details"). Pure: pods, samples and a target in, a
 * number out. Values are in thousandths.
 */
#ifndef CONTROLLERS_HPA_REPLICAS_H
#define CONTROLLERS_HPA_REPLICAS_H

#include "base/arena.h"
#include "base/err.h"

struct hpa_tuning {
    double up, down;                  /* tolerances: ratios of 1-down to 1+up change nothing */
    int64_t cpu_initialization_s;     /* --horizontal-pod-autoscaler-cpu-initialization-period */
    int64_t initial_readiness_s;      /* --horizontal-pod-autoscaler-initial-readiness-delay */
    int64_t now_s;
};

struct hpa_pod {
    struct str name;
    bool gone;              /* being deleted, or failed */
    bool pending;
    bool has_ready, ready;  /* its Ready condition: there is one, and it is not False */
    int64_t ready_since_s;  /* when that last changed */
    int64_t start_s;        /* 0: not started */
    int64_t request;        /* of the resource */
};

struct hpa_sample {
    struct str pod;
    int64_t value, at_s, window_s;
};

/* What the target of a metric of pods is: one of the two is over 0. */
struct hpa_target {
    int32_t utilization; /* percent of the request */
    int64_t average;
};

struct hpa_count {
    int32_t replicas;
    int32_t utilization; /* percent; with such a target */
    int64_t usage;       /* the average of pods; for other metrics the value */
};

/* A metric that each pod has. 'cpu': samples of pods that only begin are not counted. */
MUST_CHECK bool hpa_count_pods(struct arena *a, const struct hpa_tuning *t, const struct hpa_pod *pods, size_t n_pods,
                               const struct hpa_sample *samples, size_t n_samples, bool cpu, const struct hpa_target *target,
                               int32_t current, struct hpa_count *ret, struct err *err);
/* A metric of another object, or from outside: a value for all, or one that the pods share. */
struct hpa_count hpa_count_value(const struct hpa_tuning *t, int64_t usage, int64_t target, int32_t current, int32_t ready_pods);
struct hpa_count hpa_count_shared(const struct hpa_tuning *t, int64_t usage, int64_t target_average, int32_t replicas);
/* Pods that are Running and ready. */
int32_t hpa_ready_pods(const struct hpa_pod *pods, size_t n);

#endif
