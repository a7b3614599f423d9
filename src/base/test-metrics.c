#include "base/metrics.h"
#include "base/test.h"

static struct metric requests = METRIC_COUNTER("t_requests_total", "Requests.", "verb", "code");
static struct metric latency = METRIC_HISTOGRAM("t_seconds", "Time.", metric_buckets_seconds, "verb");
static struct metric inflight = METRIC_GAUGE("t_inflight", "Now.");
static struct metric flood = METRIC_COUNTER("t_flood_total", "Many.", "who");

static void hook(void *user)
{
    metric_set(metric_cell(&inflight), *(double *)user);
}

TEST(metrics_are_written_in_the_text_format)
{
    static double now = 2.5;
    metric_add(metric_cell(&requests, STR("GET"), STR("200")), 1);
    metric_add(metric_cell(&requests, STR("GET"), STR("200")), 2);
    metric_add(metric_cell(&requests, STR("a\"b\\\n"), STR("500")), 1);
    metric_observe(metric_cell(&latency, STR("LIST")), 0.02);
    metric_observe(metric_cell(&latency, STR("LIST")), 100);
    metrics_on_write(hook, &now);
    struct buf b;
    buf_init(&b, 1 << 20);
    metrics_write(&b);
    struct str s = buf_str(&b);
    CHECK(str_find(s, STR("# TYPE t_requests_total counter\n")) >= 0);
    CHECK(str_find(s, STR("t_requests_total{verb=\"GET\",code=\"200\"} 3\n")) >= 0);
    CHECK(str_find(s, STR("t_requests_total{verb=\"a\\\"b\\\\\\n\",code=\"500\"} 1\n")) >= 0);
    CHECK(str_find(s, STR("t_seconds_bucket{verb=\"LIST\",le=\"0.01\"} 0\n")) >= 0);
    CHECK(str_find(s, STR("t_seconds_bucket{verb=\"LIST\",le=\"0.025\"} 1\n")) >= 0);
    CHECK(str_find(s, STR("t_seconds_bucket{verb=\"LIST\",le=\"+Inf\"} 2\n")) >= 0);
    CHECK(str_find(s, STR("t_seconds_sum{verb=\"LIST\"} 100.02\n")) >= 0);
    CHECK(str_find(s, STR("t_seconds_count{verb=\"LIST\"} 2\n")) >= 0);
    CHECK(str_find(s, STR("t_inflight 2.5\n")) >= 0);
    CHECK(str_find(s, STR("process_resident_memory_bytes ")) >= 0);
    buf_deinit(&b);
}

TEST(metrics_do_not_grow_with_a_hostile_label)
{
    for (int i = 0; i < METRIC_MAX_CELLS + 100; i++) {
        char who[24];
        int n = snprintf(who, sizeof(who), "%d", i);
        metric_add(metric_cell(&flood, str_n(who, (size_t)n)), 1);
    }
    CHECK_INT(flood.by_labels.n, METRIC_MAX_CELLS);
    CHECK_INT((long long)metric_value(flood.other), 100);
}

TEST(metric_forget_drops_the_series)
{
    metric_add(metric_cell(&requests, STR("PUT"), STR("200")), 1);
    metric_forget(&requests, (const struct str[]){ STR("PUT"), STR("200") });
    struct buf b;
    buf_init(&b, 1 << 20);
    metrics_write(&b);
    CHECK(str_find(buf_str(&b), STR("verb=\"PUT\"")) < 0);
    buf_deinit(&b);
}
