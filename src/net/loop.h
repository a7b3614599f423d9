/*
 * The event loop: one per component thread. File descriptors (epoll), timers (a heap), deferred tasks, posts from other
 * threads (eventfd), signals (signalfd), children (pidfd), and a bounded pool of workers whose results come back here.
 *
 * Everything is intrusive: the caller embeds a loop_io, loop_timer, loop_task … and keeps it where it is until it is
 * stopped. Every callback runs on the loop's thread and never blocks. A callback may stop or free any object of the loop,
 * itself included. Only loop_post(), loop_call() and loop_stop() may be called from other threads.
 *
 * One turn: wait; descriptors; posts; timers that are due; deferred tasks (also those that tasks add, within reason).
 * "Now" is read once a turn: loop_now_ms().
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <sys/types.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

struct loop;

typedef void loop_fn(void *arg);

/* A loop for the calling thread, or NULL with a reason. The thread that runs it owns it. */
MUST_CHECK struct loop *loop_new(struct err *err);
/* Frees the loop. What is still registered is forgotten, not called; posts that were not delivered are dropped. NULL-safe. */
struct loop *loop_free(struct loop *l);
/* Turns until loop_stop(). */
void loop_run(struct loop *l);
/* One turn that waits at most 'max_wait_ms' (-1: until something happens). For tests and for mains with an outer loop. */
void loop_turn(struct loop *l, int max_wait_ms);
/* Makes loop_run() return after the current turn. From any thread. */
void loop_stop(struct loop *l);
/* Monotonic time of this turn (CLOCK_MONOTONIC). */
uint64_t loop_now_ms(const struct loop *l);
/* Reads the clock again, for a callback that worked long. */
void loop_update_now(struct loop *l);

/* ---- file descriptors ---- */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 /* reported whether wanted or not: error or both ends closed */ };

struct loop_io;
/* 'events' is a set of LOOP_READ, LOOP_WRITE, LOOP_HUP. Level-triggered. */
typedef void loop_io_fn(struct loop_io *io, unsigned events, void *arg);

struct loop_io {
    struct loop *loop;
    loop_io_fn *fn;
    void *arg;
    int fd; /* borrowed: the caller closes it after loop_io_stop() */
    unsigned events;
    bool added;
};

/* Prepares 'io'; nothing is watched yet. */
void loop_io_init(struct loop_io *io, struct loop *l, int fd, loop_io_fn *fn, void *arg);
/* Sets what is watched; 0 watches nothing but LOOP_HUP once it had been watched. 0 or -errno. */
int loop_io_set(struct loop_io *io, unsigned events);
/* Stops watching; no callback follows. Before close() of the fd. Safe twice and on a zeroed struct. */
void loop_io_stop(struct loop_io *io);

/* ---- timers ---- */
struct loop_timer {
    struct heap_node node;
    struct loop *loop;
    loop_fn *fn;
    void *arg;
};

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_fn *fn, void *arg);
/* (Re)starts the timer: one call of 'fn' in 'in_ms' milliseconds from now (of this turn; outside of one, the clock's). */
void loop_timer_start(struct loop_timer *t, uint64_t in_ms);
/* The same at an absolute monotonic millisecond. */
void loop_timer_start_at(struct loop_timer *t, uint64_t at_ms);
/* Safe when it does not run and on a zeroed struct. */
void loop_timer_stop(struct loop_timer *t);
static inline bool loop_timer_runs(const struct loop_timer *t)
{
    return heap_contains(&t->node);
}

/* ---- deferred tasks: run at the end of this turn, once, in the order of loop_task_defer() ---- */
struct loop_task {
    struct list link;
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    bool queued;
};

void loop_task_init(struct loop_task *t, struct loop *l, loop_fn *fn, void *arg);
/* Does nothing when it is queued already. */
void loop_task_defer(struct loop_task *t);
/* Safe when it is not queued and on a zeroed struct. */
void loop_task_cancel(struct loop_task *t);

/* ---- posts from other threads ---- */
struct loop_post {
    struct list link;
    loop_fn *fn;
    void *arg;
};

/* Queues 'p' (embedded by the caller, not queued yet) so that 'p->fn(p->arg)' runs on the loop's thread. From any thread, the
 * loop's own included. Posts of one thread run in their order. */
void loop_post(struct loop *l, struct loop_post *p);
/* The same with a post that is allocated and freed by the loop. */
void loop_call(struct loop *l, loop_fn *fn, void *arg);
/* Takes back a post that may be queued; no thread may post it meanwhile. On the loop's thread. */
void loop_post_cancel(struct loop *l, struct loop_post *p);

/* ---- signals ---- */
struct loop_signal {
    struct list link;
    struct loop *loop;
    int signo;
    loop_fn *fn;
    void *arg;
};

/* Blocks 'signo' for the calling thread (and threads made later) and delivers it as a callback. Call it in main before any
 * thread is made. 0 or -errno. */
MUST_CHECK int loop_signal_start(struct loop_signal *s, struct loop *l, int signo, loop_fn *fn, void *arg);
/* Stops the callback; the signal stays blocked. Safe on a zeroed struct. */
void loop_signal_stop(struct loop_signal *s);

/* ---- children ---- */
struct loop_child;
/* The child has ended and was reaped; 'status' as from waitpid(2). */
typedef void loop_child_fn(struct loop_child *c, int status, void *arg);

struct loop_child {
    struct loop_io io;
    pid_t pid;
    loop_child_fn *fn;
    void *arg;
};

/* Waits for a child of this process by pidfd; reaps that pid alone. 0 or -errno. */
MUST_CHECK int loop_child_start(struct loop_child *c, struct loop *l, pid_t pid, loop_child_fn *fn, void *arg);
/* Stops waiting; the caller reaps. Safe on a zeroed struct. */
void loop_child_stop(struct loop_child *c);
/* Sends a signal through the pidfd, so it never reaches a pid that was reused. 0 or -errno. */
int loop_child_kill(struct loop_child *c, int signo);

/* ---- workers: threads for what takes long (RSA, name look-up, big encodings) ---- */
struct loop_workers;

struct loop_work {
    struct list link;
    struct loop_workers *pool;
    void (*run)(struct loop_work *w);  /* on a worker thread */
    void (*done)(struct loop_work *w); /* on the loop's thread, after run(); may free 'w' */
};

/* 'n_threads' threads are started when first needed; at most 'max_queued' pieces of work wait. NULL with a reason. */
MUST_CHECK struct loop_workers *loop_workers_new(struct loop *l, unsigned n_threads, unsigned max_queued, struct err *err);
/* Waits for work that runs, drops what waits (done() is not called for either). NULL-safe. Before loop_free(). */
struct loop_workers *loop_workers_free(struct loop_workers *p);
/* Queues 'w', which stays where it is until done(). 0, or -EAGAIN when the queue is full (answer 429 or 503). */
MUST_CHECK int loop_workers_submit(struct loop_workers *p, struct loop_work *w);
/* The pool that the loop makes for itself when first asked (two threads): for name look-up and the like. */
struct loop_workers *loop_default_workers(struct loop *l);

/* ---- one object that belongs to the loop, for rooms that share buffers among all their sockets ---- */
/* The object stored under 'key' (any unique address), or NULL. */
void *loop_slot(const struct loop *l, const void *key);
/* Stores 'value'; 'free_fn' is called by loop_free(). At most four keys. */
void loop_set_slot(struct loop *l, const void *key, void *value, loop_fn *free_fn);

#endif
