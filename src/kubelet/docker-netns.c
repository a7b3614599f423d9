/* A connection to a port of a pod's own loopback: the socket is made in the pod's network namespace, and stays of it. */
#include "kubelet/docker-private.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "net/addr.h"

#define CONNECT_MS 10000

struct netns_dial {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer timer;
    struct loop_task task;
    int fds[2]; /* one for each family, made while we were there */
    size_t at;
    uint16_t port;
    netns_dial_fn *done;
    void *arg;
    char why[160];
};

/* This thread visits the namespace for the two calls that make the sockets. */
static bool make_sockets(struct netns_dial *n, int netns)
{
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(netns, CLONE_NEWNET) < 0) {
        snprintf(n->why, sizeof(n->why), "the pod's network cannot be entered: %s", strerror(errno));
        fs_closep(&own);
        return false;
    }
    n->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    n->fds[1] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (setns(own, CLONE_NEWNET) < 0) {
        log_error("the own network namespace cannot be entered again: %s", strerror(errno));
        abort();
    }
    close(own);
    return true;
}

static void dial_free(struct netns_dial *n)
{
    loop_io_stop(&n->io);
    loop_timer_stop(&n->timer);
    loop_task_cancel(&n->task);
    fs_closep(&n->fds[0]);
    fs_closep(&n->fds[1]);
    free(n);
}

struct netns_dial *netns_dial_cancel(struct netns_dial *n)
{
    if (n) {
        dial_free(n);
    }
    return NULL;
}

static void finish(struct netns_dial *n, int fd)
{
    netns_dial_fn *done = n->done;
    void *arg = n->arg;
    char why[sizeof(n->why)];
    memcpy(why, n->why, sizeof(why));
    dial_free(n);
    done(arg, fd, fd < 0 ? why : NULL);
}

static void next(void *arg);

static void failed(struct netns_dial *n, int errnum)
{
    if (!n->why[0]) { /* of IPv4: the other says less where a pod has no IPv6 */
        snprintf(n->why, sizeof(n->why), "port %u of the pod: %s", n->port, strerror(errnum));
    }
    loop_io_stop(&n->io);
    n->at++;
    loop_task_defer(&n->task);
}

static void on_io(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct netns_dial *n = arg;
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (error) {
        failed(n, error);
        return;
    }
    loop_io_stop(&n->io);
    finish(n, TAKE_FD(n->fds[n->at]));
}

static void next(void *arg)
{
    static const char *const loopback[] = { "127.0.0.1", "::1" };
    struct netns_dial *n = arg;
    struct net_addr to;
    if (n->at >= ARRAY_SIZE(loopback)) {
        finish(n, -1);
        return;
    }
    int fd = n->fds[n->at];
    if (fd < 0 || !net_addr_parse_ip(str_c(loopback[n->at]), n->port, &to)) {
        n->at++;
        loop_task_defer(&n->task);
        return;
    }
    if (connect(fd, &to.sa, to.len) < 0 && errno != EINPROGRESS) {
        failed(n, errno);
        return;
    }
    loop_io_init(&n->io, n->loop, fd, on_io, n);
    (void)loop_io_set(&n->io, LOOP_WRITE);
}

static void on_late(void *arg)
{
    struct netns_dial *n = arg;
    snprintf(n->why, sizeof(n->why), "port %u of the pod does not answer", n->port);
    finish(n, -1);
}

struct netns_dial *netns_dial(struct loop *l, int netns, uint16_t port, netns_dial_fn *done, void *arg)
{
    struct netns_dial *n = calloc(1, sizeof(*n));
    if (!n) {
        abort();
    }
    *n = (struct netns_dial){ .loop = l, .port = port, .done = done, .arg = arg, .fds = { -1, -1 } };
    loop_task_init(&n->task, l, next, n);
    loop_timer_init(&n->timer, l, on_late, n);
    loop_timer_start(&n->timer, CONNECT_MS);
    if (!make_sockets(n, netns)) {
        n->at = 2;
    }
    loop_task_defer(&n->task);
    return n;
}
