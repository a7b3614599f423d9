#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "net/chunk.h"

static struct loop *new_loop(void)
{
    struct err err;
    struct loop *l = loop_new(&err);
    CHECK_OK(l, &err);
    return l;
}

struct trace {
    struct loop *loop;
    char text[64];
    size_t n;
};
struct step {
    struct trace *trace;
    char letter;
    bool stop;
};

static void note(void *arg)
{
    struct step *s = arg;
    s->trace->text[s->trace->n++] = s->letter;
    if (s->stop) {
        loop_stop(s->trace->loop);
    }
}

TEST(timers_fire_in_order_of_time_then_of_start)
{
    struct trace t = { .loop = new_loop() };
    struct step a = { &t, 'a', false }, b = { &t, 'b', false }, c = { &t, 'c', true };
    struct loop_timer ta, tb, tc;
    loop_timer_init(&ta, t.loop, note, &a);
    loop_timer_init(&tb, t.loop, note, &b);
    loop_timer_init(&tc, t.loop, note, &c);
    loop_timer_start(&tc, 20);
    loop_timer_start(&ta, 5);
    loop_timer_start(&tb, 5);
    uint64_t begin = clock_mono_ms();
    loop_run(t.loop);
    CHECK(clock_mono_ms() - begin >= 19);
    CHECK_STR_C(str_n(t.text, t.n), "abc");
    loop_free(t.loop);
}

TEST(a_stopped_timer_does_not_fire)
{
    struct trace t = { .loop = new_loop() };
    struct step a = { &t, 'a', false }, b = { &t, 'b', true };
    struct loop_timer ta, tb;
    loop_timer_init(&ta, t.loop, note, &a);
    loop_timer_init(&tb, t.loop, note, &b);
    loop_timer_start(&ta, 1);
    loop_timer_start(&tb, 5);
    loop_timer_stop(&ta);
    loop_timer_stop(&ta);
    loop_run(t.loop);
    CHECK_STR_C(str_n(t.text, t.n), "b");
    loop_free(t.loop);
}

struct chain {
    struct loop_task task;
    int count;
};

static void defer_again(void *arg)
{
    struct chain *c = arg;
    c->count++;
    loop_task_defer(&c->task);
}

TEST(a_task_that_defers_itself_does_not_starve_timers)
{
    struct trace t = { .loop = new_loop() };
    struct chain c = { .count = 0 };
    struct step a = { &t, 'a', true };
    struct loop_timer ta;
    loop_task_init(&c.task, t.loop, defer_again, &c);
    loop_task_defer(&c.task);
    loop_task_defer(&c.task);
    loop_timer_init(&ta, t.loop, note, &a);
    loop_timer_start(&ta, 5);
    loop_run(t.loop);
    CHECK_STR_C(str_n(t.text, t.n), "a");
    CHECK(c.count > 10);
    loop_task_cancel(&c.task);
    loop_free(t.loop);
}

struct pair_io {
    struct loop_io io[2];
    int called;
};

static void stop_the_other(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct pair_io *p = arg;
    CHECK(events & LOOP_READ);
    p->called++;
    loop_io_stop(&p->io[0]);
    loop_io_stop(&p->io[1]);
}

TEST(a_descriptor_stopped_by_an_earlier_callback_of_the_same_turn_stays_silent)
{
    struct loop *l = new_loop();
    struct pair_io p = { .called = 0 };
    int a[2], b[2];
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    loop_io_init(&p.io[0], l, a[0], stop_the_other, &p);
    loop_io_init(&p.io[1], l, b[0], stop_the_other, &p);
    CHECK_INT(loop_io_set(&p.io[0], LOOP_READ), 0);
    CHECK_INT(loop_io_set(&p.io[1], LOOP_READ), 0);
    loop_turn(l, 100);
    loop_turn(l, 0);
    CHECK_INT(p.called, 1);
    (void)close(a[0]), (void)close(a[1]), (void)close(b[0]), (void)close(b[1]);
    loop_free(l);
}

struct poster {
    struct loop *loop;
    int n, got;
};

static void count_post(void *arg)
{
    struct poster *p = arg;
    if (++p->got == p->n) {
        loop_stop(p->loop);
    }
}

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < p->n; i++) {
        loop_call(p->loop, count_post, p);
    }
    return NULL;
}

TEST(posts_of_another_thread_all_arrive)
{
    struct poster p = { .loop = new_loop(), .n = 2000 };
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, post_many, &p) == 0);
    loop_run(p.loop);
    pthread_join(thread, NULL);
    CHECK_INT(p.got, 2000);
    loop_free(p.loop);
}

TEST(a_signal_becomes_a_callback)
{
    struct trace t = { .loop = new_loop() };
    struct step a = { &t, 's', true };
    struct loop_signal sig;
    CHECK_INT(loop_signal_start(&sig, t.loop, SIGUSR2, note, &a), 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    loop_run(t.loop);
    CHECK_STR_C(str_n(t.text, t.n), "s");
    loop_signal_stop(&sig);
    loop_free(t.loop);
}

struct child_end {
    struct loop *loop;
    int status;
};

static void child_ended(struct loop_child *c UNUSED, int status, void *arg)
{
    struct child_end *e = arg;
    e->status = status;
    loop_stop(e->loop);
}

TEST(a_childs_end_is_reported_with_its_status)
{
    struct child_end e = { .loop = new_loop() };
    struct loop_child c;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(7);
    }
    CHECK_INT(loop_child_start(&c, e.loop, pid, child_ended, &e), 0);
    loop_run(e.loop);
    CHECK(WIFEXITED(e.status));
    CHECK_INT(WEXITSTATUS(e.status), 7);

    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    CHECK_INT(loop_child_start(&c, e.loop, pid, child_ended, &e), 0);
    CHECK_INT(loop_child_kill(&c, SIGKILL), 0);
    loop_run(e.loop);
    CHECK(WIFSIGNALED(e.status));
    CHECK_INT(WTERMSIG(e.status), SIGKILL);
    loop_free(e.loop);
}

struct square {
    struct loop_work work;
    struct loop *loop;
    int in, out, *left;
};

static void square_run(struct loop_work *w)
{
    struct square *s = CONTAINER_OF(w, struct square, work);
    s->out = s->in * s->in;
}

static void square_done(struct loop_work *w)
{
    struct square *s = CONTAINER_OF(w, struct square, work);
    if (--*s->left == 0) {
        loop_stop(s->loop);
    }
}

TEST(workers_do_all_work_and_report_on_the_loop)
{
    enum { N = 100 };
    struct loop *l = new_loop();
    struct err err;
    struct loop_workers *pool = loop_workers_new(l, 3, N, &err);
    CHECK_OK(pool, &err);
    static struct square s[N];
    int left = N;
    for (int i = 0; i < N; i++) {
        s[i] = (struct square){ .work = { .run = square_run, .done = square_done }, .loop = l, .in = i, .left = &left };
        CHECK_INT(loop_workers_submit(pool, &s[i].work), 0);
    }
    loop_run(l);
    for (int i = 0; i < N; i++) {
        CHECK_INT(s[i].out, i * i);
    }
    loop_workers_free(pool);
    loop_free(l);
}

TEST(a_full_worker_queue_says_so_and_a_freed_pool_drops_what_waits)
{
    struct loop *l = new_loop();
    struct err err;
    struct loop_workers *pool = loop_workers_new(l, 0, 1, &err);
    CHECK_OK(pool, &err);
    int left = 2;
    struct square a = { .work = { .run = square_run, .done = square_done }, .loop = l, .left = &left }, b = a;
    CHECK_INT(loop_workers_submit(pool, &a.work), 0);
    CHECK_INT(loop_workers_submit(pool, &b.work), -EAGAIN);
    loop_workers_free(pool);
    CHECK_INT(left, 2);
    loop_turn(l, 0);
    loop_free(l);
}

static int released;
static void on_release(struct net_ref *r UNUSED)
{
    released++;
}

TEST(a_queue_hands_out_bytes_in_order_and_releases_each_owner_once)
{
    struct net_ref owner;
    struct net_queue q;
    char out[32];
    released = 0;
    net_ref_init(&owner, on_release);
    net_queue_init(&q);
    for (int i = 0; i < 9; i++) {
        net_queue_push(&q, net_chunk_of(&owner, STR("abc")));
    }
    net_queue_push(&q, net_chunk_copy(STR("tail")));
    net_queue_push(&q, net_chunk_of(&owner, STR_EMPTY));
    net_ref_put(&owner);
    CHECK_INT(q.bytes, 31);
    net_queue_consume(&q, 4);
    CHECK_INT(net_queue_copy(&q, out, sizeof(out)), 27);
    CHECK_STR_C(str_n(out, 27), "bcabcabcabcabcabcabcabctail");
    CHECK_STR_C(net_queue_peek(&q), "bc");
    struct iovec iov[3];
    CHECK_INT(net_queue_iov(&q, iov, 3), 3);
    CHECK_INT(iov[0].iov_len, 2);
    net_queue_consume(&q, 22);
    CHECK_INT(released, 0);
    net_queue_consume(&q, 1);
    CHECK_INT(released, 1);
    CHECK_STR_C(net_queue_peek(&q), "tail");
    net_queue_deinit(&q);
    net_queue_deinit(&q);
}
