#include "controllers/hpa-behavior.h"

#include <math.h>
#include <stdlib.h>

typedef struct autoscaling_v2_hpa_scaling_rules rules_t;
typedef struct autoscaling_v2_hpa_scaling_policy policy_t;

/* The longest that a window or period may be (validation bounds windows at an hour, periods at half of one). */
#define REMEMBERED_S 3600

/* ---- memory ---- */

static void remember(struct hpa_moments *m, int64_t now_s, int64_t keep_s, int32_t n)
{
    size_t old = 0;
    while (old < m->n && m->items[old].at_s <= now_s - keep_s) {
        old++;
    }
    if (old > 0) {
        memmove(m->items, m->items + old, (m->n - old) * sizeof(*m->items));
        m->n -= old;
    }
    if (m->n == m->capacity) {
        m->capacity = 2 * m->capacity + 8;
        m->items = realloc(m->items, m->capacity * sizeof(*m->items));
        if (!m->items) {
            abort();
        }
    }
    m->items[m->n++] = (struct hpa_moment){ .at_s = now_s, .n = n };
}

void hpa_memory_deinit(struct hpa_memory *m)
{
    free(m->recommendations.items);
    free(m->ups.items);
    free(m->downs.items);
    *m = (struct hpa_memory){ .recommendations = { 0 } };
}

void hpa_memory_begin(struct hpa_memory *m, int64_t now_s, int32_t current)
{
    if (m->recommendations.n == 0) {
        remember(&m->recommendations, now_s, REMEMBERED_S, current);
    }
}

void hpa_memory_scaled(struct hpa_memory *m, const struct hpa_bounds *b, int32_t from, int32_t to)
{
    if (to > from) {
        remember(&m->ups, b->now_s, REMEMBERED_S, to - from);
    } else if (to < from) {
        remember(&m->downs, b->now_s, REMEMBERED_S, from - to);
    }
}

/* ---- damping ---- */

static int64_t up_window(const struct hpa_bounds *b)
{
    const rules_t *r = b->behavior ? b->behavior->scale_up : NULL;
    return r && r->has_stabilization_window_seconds ? r->stabilization_window_seconds : 0;
}

static int64_t down_window(const struct hpa_bounds *b)
{
    const rules_t *r = b->behavior ? b->behavior->scale_down : NULL;
    return r && r->has_stabilization_window_seconds ? r->stabilization_window_seconds : b->down_window_s;
}

/* Up no further than the lowest of the up window, down no further than the highest of the down window. */
static int32_t stabilize(struct hpa_memory *m, const struct hpa_bounds *b, int32_t current, int32_t desired, struct hpa_told *told)
{
    int32_t up = desired, down = desired;
    for (size_t i = 0; i < m->recommendations.n; i++) {
        const struct hpa_moment *x = &m->recommendations.items[i];
        if (x->at_s > b->now_s - up_window(b)) {
            up = MIN(up, x->n);
        }
        if (x->at_s > b->now_s - down_window(b)) {
            down = MAX(down, x->n);
        }
    }
    remember(&m->recommendations, b->now_s, REMEMBERED_S, desired);
    int32_t result = b->behavior ? current : down;
    if (b->behavior) {
        result = MAX(result, up);
        result = MIN(result, down);
    }
    if (result == desired) {
        told->able_reason = "ReadyForNewScale";
        told->able_message = "recommended size matches current size";
    } else if (b->behavior && desired >= current) {
        told->able_reason = "ScaleUpStabilized";
        told->able_message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
    } else {
        told->able_reason = "ScaleDownStabilized";
        told->able_message = "recent recommendations were higher than current one, applying the highest recent recommendation";
    }
    return result;
}

/* ---- how fast ---- */

static int64_t within(const struct hpa_moments *m, int64_t since_s)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        sum += m->items[i].at_s > since_s ? m->items[i].n : 0;
    }
    return sum;
}

/* The number that a policy lets it reach: of what there was when its period began, so many more or less. */
static int64_t reach(const struct hpa_memory *m, const struct hpa_bounds *b, const policy_t *p, int32_t current, bool up)
{
    int64_t since = b->now_s - p->period_seconds;
    int64_t began = (int64_t)current - within(&m->ups, since) + within(&m->downs, since);
    if (str_eq_c(p->type, "Pods")) {
        return up ? began + p->value : began - p->value;
    }
    double part = (double)began * p->value / 100;
    return up ? (int64_t)ceil((double)began + part) : (int64_t)((double)began - part);
}

static int32_t rate_limit(const struct hpa_memory *m, const struct hpa_bounds *b, int32_t current, bool up)
{
    static const policy_t usual_up[] = { { .type = STR_INIT("Pods"), .value = 4, .period_seconds = 15 },
                                         { .type = STR_INIT("Percent"), .value = 100, .period_seconds = 15 } };
    const rules_t *r = up ? b->behavior->scale_up : b->behavior->scale_down;
    const policy_t *policies = r && r->n_policies ? r->policies : up ? usual_up : usual_up + 1;
    size_t n = r && r->n_policies ? r->n_policies : up ? 2 : 1;
    struct str select = r ? r->select_policy : STR_EMPTY;
    if (str_eq_c(select, "Disabled")) {
        return current;
    }
    bool largest = up != str_eq_c(select, "Min"); /* Max is the most change: up the largest number, down the smallest */
    int64_t result = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t x = reach(m, b, &policies[i], current, up);
        result = i == 0 || (largest ? x > result : x < result) ? x : result;
    }
    result = up ? MAX(result, (int64_t)current) : MIN(result, (int64_t)current);
    return (int32_t)MAX(MIN(result, (int64_t)INT32_MAX), (int64_t)0);
}

static int32_t limit(struct hpa_told *told, int32_t to, const char *reason, const char *message)
{
    told->limited = true;
    told->limit_reason = reason;
    told->limit_message = message;
    return to;
}

#define TOO_MANY "TooManyReplicas", "the desired replica count is more than the maximum replica count"
#define TOO_FEW "TooFewReplicas", "the desired replica count is less than the minimum replica count"
#define TOO_FAST_UP "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
#define TOO_FAST_DOWN "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"

static int32_t bound(const struct hpa_memory *m, const struct hpa_bounds *b, int32_t current, int32_t desired, struct hpa_told *told)
{
    if (desired > current) {
        int32_t fastest = b->behavior ? rate_limit(m, b, current, true) : (int32_t)MIN(MAX(2 * (int64_t)current, (int64_t)4), (int64_t)INT32_MAX);
        if (desired > MIN(b->max, fastest)) {
            return b->max > fastest ? limit(told, fastest, TOO_FAST_UP) : limit(told, b->max, TOO_MANY);
        }
    } else if (desired < current && b->behavior) {
        int32_t fastest = rate_limit(m, b, current, false);
        if (desired < MAX(b->min, fastest)) {
            return b->min < fastest ? limit(told, fastest, TOO_FAST_DOWN) : limit(told, b->min, TOO_FEW);
        }
    }
    if (desired < b->min) {
        return limit(told, b->min, TOO_FEW);
    }
    return desired > b->max ? limit(told, b->max, TOO_MANY) : desired;
}

int32_t hpa_normalize(struct hpa_memory *m, const struct hpa_bounds *b, int32_t current, int32_t desired, struct hpa_told *told)
{
    *told = (struct hpa_told){ .limit_reason = "DesiredWithinRange", .limit_message = "the desired count is within the acceptable range" };
    return bound(m, b, current, stabilize(m, b, current, desired, told), told);
}
