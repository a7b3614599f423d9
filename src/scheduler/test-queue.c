#include "base/test.h"
#include "scheduler/queue.h"

struct waiting {
    struct core_v1_pod pod;
    struct pod_info *info;
};

static void waiting_init(struct waiting *w, int32_t priority)
{
    *w = (struct waiting){ 0 };
    w->pod.spec.has_priority = true;
    w->pod.spec.priority = priority;
    w->info = pod_info_new(&w->pod);
}

TEST(higher_priority_goes_first_then_first_come)
{
    struct sched_queue q;
    struct waiting a, b, c;
    sched_queue_init(&q);
    waiting_init(&a, 0);
    waiting_init(&b, 0);
    waiting_init(&c, 10);
    sched_queue_add(&q, a.info, 100);
    sched_queue_add(&q, b.info, 100);
    sched_queue_add(&q, c.info, 200);
    CHECK(sched_queue_pop(&q, 200) == c.info);
    CHECK(sched_queue_pop(&q, 200) == a.info);
    CHECK(sched_queue_pop(&q, 200) == b.info);
    CHECK(!sched_queue_pop(&q, 200));
    sched_queue_deinit(&q);
    pod_info_free(a.info);
    pod_info_free(b.info);
    pod_info_free(c.info);
}

static bool helps_none(void *data, const struct pod_info *p, const struct sched_change *change)
{
    (void)p, (void)change;
    ++*(unsigned *)data;
    return false;
}

TEST(a_rejected_pod_waits_for_an_event_that_could_help_it)
{
    struct sched_queue q;
    struct waiting a, b;
    unsigned asked = 0;
    sched_queue_init(&q);
    q.events[3] = EVENT_NODE_ADD;
    waiting_init(&a, 0);
    waiting_init(&b, 0);
    sched_queue_add(&q, a.info, 0);
    CHECK(sched_queue_pop(&q, 0) == a.info);
    sched_queue_failed(&q, a.info, 1 << 3, 0);
    CHECK_INT(sched_queue_len(&q, QUEUE_UNSCHEDULABLE), 1);
    sched_queue_event(&q, &(struct sched_change){ .events = EVENT_POD_DELETE }, 5000);
    CHECK(!sched_queue_pop(&q, 5000));
    q.hint = helps_none;
    q.hint_data = &asked;
    sched_queue_event(&q, &(struct sched_change){ .events = EVENT_NODE_ADD }, 5000);
    CHECK_INT(asked, 1);
    CHECK(!sched_queue_pop(&q, 5000));
    q.hint = NULL;
    /* In back-off it goes after whoever is active, and before the end of it when nobody is. */
    sched_queue_event(&q, &(struct sched_change){ .events = EVENT_NODE_ADD }, 500);
    CHECK_INT(sched_queue_len(&q, QUEUE_BACKOFF), 1);
    sched_queue_add(&q, b.info, 600);
    CHECK(sched_queue_pop(&q, 600) == b.info);
    CHECK_INT(sched_queue_wait_ms(&q, 600), 0);
    CHECK(sched_queue_pop(&q, 600) == a.info);
    sched_queue_deinit(&q);
    pod_info_free(a.info);
    pod_info_free(b.info);
}

TEST(a_pod_that_met_an_error_waits_for_the_end_of_its_back_off)
{
    struct sched_queue q;
    struct waiting a;
    sched_queue_init(&q);
    waiting_init(&a, 0);
    sched_queue_add(&q, a.info, 0);
    CHECK(sched_queue_pop(&q, 0) == a.info);
    sched_queue_failed(&q, a.info, 0, 0);
    CHECK(!sched_queue_pop(&q, 999));
    CHECK_INT(sched_queue_wait_ms(&q, 400), 600);
    CHECK(sched_queue_pop(&q, 1000) == a.info);
    sched_queue_deinit(&q);
    pod_info_free(a.info);
}

TEST(an_unschedulable_pod_is_tried_again_after_five_minutes)
{
    struct sched_queue q;
    struct waiting a;
    sched_queue_init(&q);
    waiting_init(&a, 0);
    sched_queue_add(&q, a.info, 0);
    CHECK(sched_queue_pop(&q, 0) == a.info);
    sched_queue_failed(&q, a.info, 1, 0);
    CHECK_INT(sched_queue_wait_ms(&q, 0), 300000);
    CHECK(!sched_queue_pop(&q, 299999));
    CHECK(sched_queue_pop(&q, 300000) == a.info);
    sched_queue_deinit(&q);
    pod_info_free(a.info);
}

TEST(a_gated_pod_waits_until_its_gates_are_gone)
{
    struct core_v1_pod_scheduling_gate gate = { .name = STR_INIT("g") };
    struct sched_queue q;
    struct waiting a;
    sched_queue_init(&q);
    waiting_init(&a, 0);
    a.pod.spec.scheduling_gates = &gate;
    a.pod.spec.n_scheduling_gates = 1;
    sched_queue_add(&q, a.info, 0);
    CHECK(!sched_queue_pop(&q, 1000000));
    a.pod.spec.n_scheduling_gates = 0;
    sched_queue_update(&q, a.info, 1);
    CHECK(sched_queue_pop(&q, 1) == a.info);
    sched_queue_deinit(&q);
    pod_info_free(a.info);
}
