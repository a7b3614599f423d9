#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop-private.h"

/* Events taken from the kernel at once. More would let a busy set of sockets starve the timers. */
enum { BATCH = 128 };
/* Rounds of deferred tasks in one turn: a task that always defers itself must not starve the descriptors. */
enum { TASK_ROUNDS = 8 };
enum { SLOT_MAX = 4 };

struct loop {
    int epoll_fd;
    uint64_t now_ms;
    bool turning; /* inside loop_turn(): now_ms is fresh */
    struct heap timers;
    struct list tasks;

    struct epoll_event batch[BATCH]; /* valid while dispatching */
    int batch_pos, batch_n;

    int event_fd;
    struct loop_io event_io;
    pthread_mutex_t post_lock; /* guards 'posts' */
    struct list posts;
    atomic_bool stop;

    struct loop_signals *signals;
    struct loop_workers *workers;
    struct {
        const void *key;
        void *value;
        loop_fn *free_fn;
    } slots[SLOT_MAX];
};

struct allocated_post {
    struct loop_post post;
    loop_fn *fn;
    void *arg;
};

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t r;
    do {
        r = write(l->event_fd, &one, sizeof(one));
    } while (r < 0 && errno == EINTR);
}

static void on_event_fd(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct loop *l = arg;
    uint64_t count;
    ssize_t r = read(l->event_fd, &count, sizeof(count));
    (void)r;
    struct list ready;
    list_init(&ready);
    pthread_mutex_lock(&l->post_lock);
    struct list *n;
    while ((n = list_pop_front(&l->posts))) {
        list_push_back(&ready, n);
    }
    pthread_mutex_unlock(&l->post_lock);
    while ((n = list_pop_front(&ready))) {
        struct loop_post *p = LIST_ENTRY(n, struct loop_post, link);
        p->fn(p->arg);
    }
}

struct loop *loop_new(struct err *err)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (!l) {
        err_set(err, ERR_NO_MEMORY, "no memory for an event loop");
        return NULL;
    }
    heap_init(&l->timers);
    list_init(&l->tasks);
    list_init(&l->posts);
    pthread_mutex_init(&l->post_lock, NULL);
    l->event_fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd >= 0) {
        l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (l->event_fd < 0) {
        err_set_errno(err, errno, "cannot make an event loop");
        return loop_free(l);
    }
    loop_io_init(&l->event_io, l, l->event_fd, on_event_fd, l);
    int r = loop_io_set(&l->event_io, LOOP_READ);
    if (r < 0) {
        err_set_errno(err, -r, "cannot watch the loop's own event descriptor");
        return loop_free(l);
    }
    loop_update_now(l);
    return l;
}

struct loop *loop_free(struct loop *l)
{
    if (!l) {
        return NULL;
    }
    l->workers = loop_workers_free(l->workers);
    for (int i = SLOT_MAX - 1; i >= 0; i--) {
        if (l->slots[i].free_fn) {
            l->slots[i].free_fn(l->slots[i].value);
        }
    }
    l->signals = loop_signals_free(l->signals);
    struct list *n;
    while ((n = list_pop_front(&l->posts))) {
        struct loop_post *p = LIST_ENTRY(n, struct loop_post, link);
        if (loop_post_is_allocated(p)) {
            free(p);
        }
    }
    while ((n = list_pop_front(&l->tasks))) {
        LIST_ENTRY(n, struct loop_task, link)->queued = false;
    }
    heap_deinit(&l->timers);
    if (l->event_fd >= 0) {
        (void)close(l->event_fd);
    }
    if (l->epoll_fd >= 0) {
        (void)close(l->epoll_fd);
    }
    pthread_mutex_destroy(&l->post_lock);
    free(l);
    return NULL;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

void loop_update_now(struct loop *l)
{
    l->now_ms = clock_mono_ms();
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

static void run_tasks(struct loop *l)
{
    for (int round = 0; round < TASK_ROUNDS && !list_empty(&l->tasks); round++) {
        /* What is deferred from here on waits for the next round: it goes behind the marker. */
        struct list marker;
        list_push_back(&l->tasks, &marker);
        while (l->tasks.next != &marker) {
            struct loop_task *t = LIST_ENTRY(list_pop_front(&l->tasks), struct loop_task, link);
            t->queued = false;
            t->fn(t->arg);
        }
        list_remove(&marker);
    }
}

static void run_timers(struct loop *l)
{
    struct heap_node *n;
    while ((n = heap_peek(&l->timers)) && n->key <= l->now_ms) {
        heap_remove(&l->timers, n);
        struct loop_timer *t = CONTAINER_OF(n, struct loop_timer, node);
        t->fn(t->arg);
    }
}

static int wait_time(const struct loop *l, int max_wait_ms)
{
    if (!list_empty(&l->tasks) || atomic_load(&l->stop)) {
        return 0;
    }
    const struct heap_node *n = heap_peek(&l->timers);
    if (!n) {
        return max_wait_ms;
    }
    uint64_t now = clock_mono_ms();
    uint64_t left = n->key > now ? n->key - now : 0;
    int wait = left > 60000 ? 60000 : (int)left;
    return max_wait_ms >= 0 && max_wait_ms < wait ? max_wait_ms : wait;
}

void loop_turn(struct loop *l, int max_wait_ms)
{
    int n = epoll_wait(l->epoll_fd, l->batch, BATCH, wait_time(l, max_wait_ms));
    loop_update_now(l);
    l->turning = true;
    l->batch_n = n > 0 ? n : 0;
    for (l->batch_pos = 0; l->batch_pos < l->batch_n; l->batch_pos++) {
        const struct epoll_event *e = &l->batch[l->batch_pos];
        struct loop_io *io = e->data.ptr;
        if (!io) { /* stopped by an earlier callback of this batch */
            continue;
        }
        unsigned events = 0;
        if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI)) {
            events |= LOOP_READ;
        }
        if (e->events & EPOLLOUT) {
            events |= LOOP_WRITE;
        }
        if (e->events & (EPOLLHUP | EPOLLERR)) {
            events |= LOOP_HUP;
        }
        io->fn(io, events, io->arg);
    }
    l->batch_n = 0;
    run_timers(l);
    run_tasks(l);
    l->turning = false;
}

void loop_run(struct loop *l)
{
    while (!atomic_load(&l->stop)) {
        loop_turn(l, -1);
    }
    atomic_store(&l->stop, false);
}

/* ---- file descriptors ---- */

void loop_io_init(struct loop_io *io, struct loop *l, int fd, loop_io_fn *fn, void *arg)
{
    *io = (struct loop_io){ .loop = l, .fn = fn, .arg = arg, .fd = fd };
}

int loop_io_set(struct loop_io *io, unsigned events)
{
    if (io->added && io->events == events) {
        return 0;
    }
    struct epoll_event e = { .data.ptr = io };
    e.events = ((events & LOOP_READ) ? (unsigned)EPOLLIN : 0U) | ((events & LOOP_WRITE) ? (unsigned)EPOLLOUT : 0U);
    if (epoll_ctl(io->loop->epoll_fd, io->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &e) < 0) {
        return -errno;
    }
    io->added = true;
    io->events = events;
    return 0;
}

void loop_io_stop(struct loop_io *io)
{
    if (!io->loop || !io->added) {
        return;
    }
    struct loop *l = io->loop;
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    for (int i = l->batch_pos + 1; i < l->batch_n; i++) {
        if (l->batch[i].data.ptr == io) {
            l->batch[i].data.ptr = NULL;
        }
    }
    io->added = false;
    io->events = 0;
}

/* ---- timers ---- */

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_fn *fn, void *arg)
{
    *t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg };
}

void loop_timer_start_at(struct loop_timer *t, uint64_t at_ms)
{
    heap_remove(&t->loop->timers, &t->node);
    heap_push(&t->loop->timers, &t->node, at_ms);
}

void loop_timer_start(struct loop_timer *t, uint64_t in_ms)
{
    if (!t->loop->turning) {
        loop_update_now(t->loop); /* a main that sets up may have taken its time */
    }
    uint64_t now = t->loop->now_ms;
    loop_timer_start_at(t, in_ms > UINT64_MAX - now ? UINT64_MAX : now + in_ms);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->loop) {
        heap_remove(&t->loop->timers, &t->node);
    }
}

/* ---- tasks ---- */

void loop_task_init(struct loop_task *t, struct loop *l, loop_fn *fn, void *arg)
{
    *t = (struct loop_task){ .loop = l, .fn = fn, .arg = arg };
    list_init(&t->link);
}

void loop_task_defer(struct loop_task *t)
{
    if (!t->queued) {
        t->queued = true;
        list_push_back(&t->loop->tasks, &t->link);
    }
}

void loop_task_cancel(struct loop_task *t)
{
    if (t->queued) {
        t->queued = false;
        list_remove(&t->link);
    }
}

/* ---- posts ---- */

static void run_allocated(void *arg)
{
    struct allocated_post *p = arg;
    loop_fn *fn = p->fn;
    void *fn_arg = p->arg;
    free(p);
    fn(fn_arg);
}

bool loop_post_is_allocated(const struct loop_post *p)
{
    return p->fn == run_allocated;
}

void loop_post(struct loop *l, struct loop_post *p)
{
    pthread_mutex_lock(&l->post_lock);
    bool was_empty = list_empty(&l->posts);
    list_push_back(&l->posts, &p->link);
    pthread_mutex_unlock(&l->post_lock);
    if (was_empty) {
        wake(l);
    }
}

void loop_post_cancel(struct loop *l, struct loop_post *p)
{
    pthread_mutex_lock(&l->post_lock);
    list_remove(&p->link);
    pthread_mutex_unlock(&l->post_lock);
}

void loop_call(struct loop *l, loop_fn *fn, void *arg)
{
    struct allocated_post *p = malloc(sizeof(*p));
    if (!p) {
        abort();
    }
    *p = (struct allocated_post){ .post = { .fn = run_allocated, .arg = p }, .fn = fn, .arg = arg };
    loop_post(l, &p->post);
}

/* ---- parts of other files ---- */

struct loop_signals **loop_signals_of(struct loop *l)
{
    return &l->signals;
}

struct loop_workers *loop_default_workers(struct loop *l)
{
    if (!l->workers) {
        struct err err;
        l->workers = loop_workers_new(l, 2, 256, &err);
        if (!l->workers) {
            abort();
        }
    }
    return l->workers;
}

void *loop_slot(const struct loop *l, const void *key)
{
    for (int i = 0; i < SLOT_MAX; i++) {
        if (l->slots[i].key == key) {
            return l->slots[i].value;
        }
    }
    return NULL;
}

void loop_set_slot(struct loop *l, const void *key, void *value, loop_fn *free_fn)
{
    for (int i = 0; i < SLOT_MAX; i++) {
        if (!l->slots[i].key) {
            l->slots[i].key = key;
            l->slots[i].value = value;
            l->slots[i].free_fn = free_fn;
            return;
        }
    }
    abort();
}
