#include "controllers/hpa-replicas.h"

#include <math.h>
#include <stdlib.h>

enum pod_group { GONE, UNREADY, MISSING, COUNTED };

static const struct hpa_sample *sample_of(const struct hpa_sample *samples, size_t n, struct str pod)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(samples[i].pod, pod)) {
            return &samples[i];
        }
    }
    return NULL;
}

/* A pod that begins uses more, or less, than it will: its sample is for later. */
static bool only_begins(const struct hpa_tuning *t, const struct hpa_pod *p, const struct hpa_sample *s)
{
    if (!p->has_ready || !p->start_s) {
        return true;
    }
    if (p->start_s + t->cpu_initialization_s > t->now_s) {
        return !p->ready || s->at_s < p->ready_since_s + s->window_s;
    }
    return !p->ready && p->start_s + t->initial_readiness_s > p->ready_since_s;
}

static enum pod_group group_of(const struct hpa_tuning *t, const struct hpa_pod *p, const struct hpa_sample *s, bool cpu)
{
    return p->gone                            ? GONE
           : p->pending                       ? UNREADY
           : !s                               ? MISSING
           : cpu && only_begins(t, p, s)      ? UNREADY
                                              : COUNTED;
}

/* The values that are summed: of pods that count, and later those that are made up for the others. */
struct sums {
    int64_t value, request;
    int32_t n;
};

static void add(struct sums *s, const struct hpa_pod *p, int64_t value)
{
    s->value += value;
    s->request += p->request;
    s->n++;
}

static bool ratio_of(const struct sums *s, const struct hpa_target *target, double *ret, struct hpa_count *count)
{
    count->usage = s->n ? s->value / s->n : 0;
    if (target->utilization > 0) {
        if (s->request <= 0) {
            return false;
        }
        count->utilization = (int32_t)(s->value * 100 / s->request);
        *ret = (double)count->utilization / target->utilization;
    } else {
        *ret = (double)count->usage / (double)target->average;
    }
    return true;
}

static bool is_within(const struct hpa_tuning *t, double ratio)
{
    return ratio >= 1.0 - t->down && ratio <= 1.0 + t->up;
}

static int32_t ceil_to_count(double x)
{
    double up = ceil(x);
    return up >= INT32_MAX ? INT32_MAX : up <= 0 ? 0 : (int32_t)up;
}

/* Pods without a sample: on the way down they use what they ask for (or the target, if that is more), on the way up nothing. So do
 * on the way up those that are not ready. */
static void make_up(struct sums *s, const struct hpa_pod *pods, const enum pod_group *groups, size_t n, const struct hpa_target *target,
                    double ratio)
{
    int64_t percent = target->utilization > 100 ? target->utilization : 100;
    for (size_t i = 0; i < n; i++) {
        if (groups[i] == MISSING && ratio < 1.0) {
            add(s, &pods[i], target->utilization > 0 ? pods[i].request * percent / 100 : target->average);
        } else if ((groups[i] == MISSING || groups[i] == UNREADY) && ratio > 1.0) {
            add(s, &pods[i], 0);
        }
    }
}

bool hpa_count_pods(struct arena *a, const struct hpa_tuning *t, const struct hpa_pod *pods, size_t n_pods, const struct hpa_sample *samples,
                    size_t n_samples, bool cpu, const struct hpa_target *target, int32_t current, struct hpa_count *ret, struct err *err)
{
    struct sums sums = { .n = 0 };
    size_t n_unready = 0, n_missing = 0;
    double ratio, made_up;
    enum pod_group *groups = arena_new_n(a, enum pod_group, n_pods);
    if (!groups) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the pods");
    }
    *ret = (struct hpa_count){ .replicas = current };
    if (n_pods == 0) {
        return err_set(err, ERR_INVALID, "no pods returned by selector while calculating replica count");
    }
    for (size_t i = 0; i < n_pods; i++) {
        const struct hpa_sample *s = sample_of(samples, n_samples, pods[i].name);
        groups[i] = group_of(t, &pods[i], s, cpu);
        n_unready += groups[i] == UNREADY;
        n_missing += groups[i] == MISSING;
        if (groups[i] == COUNTED) {
            add(&sums, &pods[i], s->value);
        }
    }
    if (sums.n == 0) {
        return err_set(err, ERR_INVALID, "did not receive metrics for targeted pods (pods might be unready)");
    }
    if (!ratio_of(&sums, target, &ratio, ret)) {
        return err_set(err, ERR_INVALID, "no metrics returned matched known pods");
    }
    bool up_with_unready = n_unready > 0 && ratio > 1.0;
    if (!up_with_unready && n_missing == 0) {
        ret->replicas = is_within(t, ratio) ? current : ceil_to_count(ratio * sums.n);
        return true;
    }
    struct hpa_count whole;
    make_up(&sums, pods, groups, n_pods, target, ratio);
    if (!ratio_of(&sums, target, &made_up, &whole) || is_within(t, made_up) || (ratio < 1.0 && made_up > 1.0) || (ratio > 1.0 && made_up < 1.0)) {
        return true; /* what is made up must not turn the direction */
    }
    int32_t count = ceil_to_count(made_up * sums.n);
    if (!((made_up < 1.0 && count > current) || (made_up > 1.0 && count < current))) {
        ret->replicas = count;
    }
    return true;
}

struct hpa_count hpa_count_value(const struct hpa_tuning *t, int64_t usage, int64_t target, int32_t current, int32_t ready_pods)
{
    struct hpa_count c = { .replicas = current, .usage = usage };
    double ratio = (double)usage / (double)target;
    if (current == 0) {
        c.replicas = ceil_to_count(ratio);
    } else if (!is_within(t, ratio)) {
        c.replicas = ceil_to_count(ratio * ready_pods);
    }
    return c;
}

struct hpa_count hpa_count_shared(const struct hpa_tuning *t, int64_t usage, int64_t target_average, int32_t replicas)
{
    struct hpa_count c = { .replicas = replicas, .usage = replicas ? (usage + replicas - 1) / replicas : usage };
    double ratio = (double)usage / ((double)target_average * replicas);
    if (replicas == 0 || !is_within(t, ratio)) {
        c.replicas = ceil_to_count((double)usage / (double)target_average);
    }
    return c;
}

int32_t hpa_ready_pods(const struct hpa_pod *pods, size_t n)
{
    int32_t ready = 0;
    for (size_t i = 0; i < n; i++) {
        ready += !pods[i].pending && !pods[i].gone && pods[i].has_ready && pods[i].ready;
    }
    return ready;
}
