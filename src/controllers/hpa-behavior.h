/*
 * From what the metrics ask for to what is done ("Configurable scaling behavior"): recommendations of the last while damp it, and
 * policies bound how fast it goes. Pure but for its memory, one for each autoscaler.
 */
#ifndef CONTROLLERS_HPA_BEHAVIOR_H
#define CONTROLLERS_HPA_BEHAVIOR_H

#include "api/gen/autoscaling_v2.h"

/* A recommendation, or by how much it was scaled. */
struct hpa_moment {
    int64_t at_s;
    int32_t n;
};
struct hpa_moments {
    struct hpa_moment *items; /* oldest first */
    size_t n, capacity;
};
struct hpa_memory {
    struct hpa_moments recommendations, ups, downs;
};
void hpa_memory_deinit(struct hpa_memory *m);

struct hpa_bounds {
    int32_t min, max;
    const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior; /* NULL: as it was before there was one */
    int64_t down_window_s; /* --horizontal-pod-autoscaler-downscale-stabilization, where the behavior says none */
    int64_t now_s;
};

/* For the conditions AbleToScale and ScalingLimited; literals. */
struct hpa_told {
    const char *able_reason, *able_message;
    bool limited;
    const char *limit_reason, *limit_message;
};

/* What an autoscaler that was not known begins with: what there is. */
void hpa_memory_begin(struct hpa_memory *m, int64_t now_s, int32_t current);
int32_t hpa_normalize(struct hpa_memory *m, const struct hpa_bounds *b, int32_t current, int32_t desired, struct hpa_told *told);
/* It was scaled. */
void hpa_memory_scaled(struct hpa_memory *m, const struct hpa_bounds *b, int32_t from, int32_t to);

#endif
