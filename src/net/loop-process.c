/* Signals and children on the loop. */
#include "net/loop-private.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct loop_signals {
    int fd;
    sigset_t set;
    struct loop_io io;
    struct list listeners;
    struct list *cursor; /* the next listener while delivering, so that a callback may stop any of them */
};

static void on_signal(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct loop_signals *s = arg;
    struct signalfd_siginfo info;
    while (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        for (struct list *n = s->listeners.next; n != &s->listeners; n = s->cursor) {
            s->cursor = n->next;
            struct loop_signal *listener = LIST_ENTRY(n, struct loop_signal, link);
            if (listener->signo == (int)info.ssi_signo) {
                listener->fn(listener->arg);
            }
        }
        s->cursor = NULL;
    }
}

static struct loop_signals *signals_new(struct loop *l)
{
    struct loop_signals *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    list_init(&s->listeners);
    sigemptyset(&s->set);
    s->fd = signalfd(-1, &s->set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->fd < 0) {
        free(s);
        return NULL;
    }
    loop_io_init(&s->io, l, s->fd, on_signal, s);
    if (loop_io_set(&s->io, LOOP_READ) < 0) {
        (void)close(s->fd);
        free(s);
        return NULL;
    }
    return s;
}

struct loop_signals *loop_signals_free(struct loop_signals *s)
{
    if (s) {
        loop_io_stop(&s->io);
        (void)close(s->fd);
        struct list *n;
        while ((n = list_pop_front(&s->listeners))) {
            LIST_ENTRY(n, struct loop_signal, link)->loop = NULL;
        }
        free(s);
    }
    return NULL;
}

int loop_signal_start(struct loop_signal *sig, struct loop *l, int signo, loop_fn *fn, void *arg)
{
    struct loop_signals **s = loop_signals_of(l);
    if (!*s) {
        *s = signals_new(l);
        if (!*s) {
            return -errno;
        }
    }
    sigset_t one;
    sigemptyset(&one);
    if (sigaddset(&one, signo) < 0) {
        return -EINVAL;
    }
    int r = pthread_sigmask(SIG_BLOCK, &one, NULL);
    if (r != 0) {
        return -r;
    }
    sigaddset(&(*s)->set, signo);
    if (signalfd((*s)->fd, &(*s)->set, 0) < 0) {
        return -errno;
    }
    *sig = (struct loop_signal){ .loop = l, .signo = signo, .fn = fn, .arg = arg };
    list_push_back(&(*s)->listeners, &sig->link);
    return 0;
}

void loop_signal_stop(struct loop_signal *sig)
{
    if (!sig->loop) {
        return;
    }
    struct loop_signals *s = *loop_signals_of(sig->loop);
    if (s->cursor == &sig->link) {
        s->cursor = sig->link.next;
    }
    list_remove(&sig->link);
    sig->loop = NULL;
}

/* ---- children ---- */

static void on_child(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct loop_child *c = arg;
    int status = 0;
    pid_t pid = waitpid(c->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        return;
    }
    /* ECHILD (somebody else reaped it) is reported as an exit with an unknown status of 0. */
    loop_child_stop(c);
    c->fn(c, pid < 0 ? 0 : status, c->arg);
}

int loop_child_start(struct loop_child *c, struct loop *l, pid_t pid, loop_child_fn *fn, void *arg)
{
    *c = (struct loop_child){ .pid = pid, .fn = fn, .arg = arg };
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        return -errno;
    }
    loop_io_init(&c->io, l, fd, on_child, c);
    int r = loop_io_set(&c->io, LOOP_READ);
    if (r < 0) {
        (void)close(fd);
        *c = (struct loop_child){ 0 };
    }
    return r;
}

void loop_child_stop(struct loop_child *c)
{
    if (c->io.loop) {
        loop_io_stop(&c->io);
        (void)close(c->io.fd);
        c->io.loop = NULL;
    }
}

int loop_child_kill(struct loop_child *c, int signo)
{
    if (!c->io.loop) {
        return -ESRCH;
    }
    return syscall(SYS_pidfd_send_signal, c->io.fd, signo, NULL, 0) < 0 ? -errno : 0;
}
