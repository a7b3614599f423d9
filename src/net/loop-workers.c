/* The bounded pool of worker threads. */
#include "net/loop-private.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

struct loop_workers {
    struct loop *loop;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    struct list queue;
    unsigned n_queued, max_queued;
    unsigned n_idle, n_threads, max_threads;
    bool stopping;
    /* Work that has run and whose done() has not been called yet, so that freeing the pool can drop it. */
    struct list finished;
    struct loop_post post;
    bool posted;
    pthread_t threads[];
};

/* On the loop: calls done() of all that has finished. */
static void deliver(void *arg)
{
    struct loop_workers *p = arg;
    struct list ready, *n;
    list_init(&ready);
    pthread_mutex_lock(&p->lock);
    p->posted = false;
    while ((n = list_pop_front(&p->finished))) {
        list_push_back(&ready, n);
    }
    pthread_mutex_unlock(&p->lock);
    while ((n = list_pop_front(&ready))) {
        struct loop_work *w = LIST_ENTRY(n, struct loop_work, link);
        w->done(w);
    }
}

static void *worker(void *arg)
{
    struct loop_workers *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct list *n;
        while (!p->stopping && !(n = list_pop_front(&p->queue))) {
            p->n_idle++;
            pthread_cond_wait(&p->wake, &p->lock);
            p->n_idle--;
        }
        if (p->stopping) {
            break;
        }
        p->n_queued--;
        pthread_mutex_unlock(&p->lock);
        struct loop_work *w = LIST_ENTRY(n, struct loop_work, link);
        w->run(w);
        pthread_mutex_lock(&p->lock);
        list_push_back(&p->finished, &w->link);
        if (!p->posted && !p->stopping) {
            p->posted = true;
            loop_post(p->loop, &p->post);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct loop_workers *loop_workers_new(struct loop *l, unsigned n_threads, unsigned max_queued, struct err *err)
{
    struct loop_workers *p = calloc(1, sizeof(*p) + n_threads * sizeof(p->threads[0]));
    if (!p) {
        err_set(err, ERR_NO_MEMORY, "no memory for a worker pool");
        return NULL;
    }
    p->loop = l;
    p->max_threads = n_threads;
    p->max_queued = max_queued;
    p->post = (struct loop_post){ .fn = deliver, .arg = p };
    list_init(&p->post.link);
    list_init(&p->queue);
    list_init(&p->finished);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    return p;
}

struct loop_workers *loop_workers_free(struct loop_workers *p)
{
    if (!p) {
        return NULL;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_threads; i++) {
        pthread_join(p->threads[i], NULL);
    }
    loop_post_cancel(p->loop, &p->post);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

int loop_workers_submit(struct loop_workers *p, struct loop_work *w)
{
    int r = 0;
    w->pool = p;
    pthread_mutex_lock(&p->lock);
    if (p->n_queued >= p->max_queued) {
        r = -EAGAIN;
    } else if (p->n_queued >= p->n_idle && p->n_threads < p->max_threads) {
        /* Signals belong to the loop's thread. */
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int e = pthread_create(&p->threads[p->n_threads], NULL, worker, p);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (e == 0) {
            p->n_threads++;
        } else if (p->n_threads == 0) {
            r = -EAGAIN;
        }
    }
    if (r == 0) {
        p->n_queued++;
        list_push_back(&p->queue, &w->link);
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}
