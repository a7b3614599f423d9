#include "cluster/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "net/addr.h"

/* Only root connects; more than this at once is a mistake. */
#define MAX_CLIENTS 32
#define MAX_REQUEST 256
#define MAX_REPLY (1 << 20)

struct control_client {
    struct control *control;
    struct loop_io io;
    int fd;
    char request[MAX_REQUEST];
    size_t n_request;
    struct buf reply;
    size_t sent;
};

static bool socket_addr(const struct place *place, struct net_addr *ret)
{
    char path[PATH_MAX];
    return net_addr_unix(str_c(path_of(path, "%s/control.sock", place->run)), ret);
}

static void client_free(struct control_client *k)
{
    loop_io_stop(&k->io);
    close(k->fd);
    buf_deinit(&k->reply);
    k->control->n_clients--;
    free(k);
}

static void client_write(struct control_client *k)
{
    while (k->sent < k->reply.len) {
        ssize_t n = send(k->fd, k->reply.ptr + k->sent, k->reply.len - k->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            (void)loop_io_set(&k->io, LOOP_WRITE);
            return;
        }
        if (n <= 0) {
            break;
        }
        k->sent += (size_t)n;
    }
    client_free(k);
}

static void client_on_io(struct loop_io *io UNUSED, unsigned events, void *arg)
{
    struct control_client *k = arg;
    if (k->reply.len) {
        client_write(k);
        return;
    }
    ssize_t n = recv(k->fd, k->request + k->n_request, sizeof(k->request) - k->n_request, 0);
    if (n < 0 && errno == EAGAIN && !(events & LOOP_HUP)) {
        return;
    }
    if (n <= 0) {
        client_free(k);
        return;
    }
    k->n_request += (size_t)n;
    struct str line, rest;
    if (!str_cut(str_n(k->request, k->n_request), '\n', &line, &rest)) {
        if (k->n_request == sizeof(k->request)) {
            client_free(k);
        }
        return;
    }
    const struct control *c = k->control;
    if (str_eq_c(line, "stop")) {
        (void)loop_io_set(&k->io, LOOP_HUP); /* the answer is the end of this process */
        c->ops->stop(c->arg);
        return;
    }
    if (str_eq_c(line, "status")) {
        c->ops->status(c->arg, &k->reply);
    } else if (str_eq_c(line, "nodes")) {
        c->ops->nodes(c->arg, &k->reply);
    } else {
        buf_append_c(&k->reply, "unknown request\n");
    }
    client_write(k);
}

static void control_on_io(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct control *c = arg;
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    struct control_client *k = c->n_clients < MAX_CLIENTS ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        close(fd);
        return;
    }
    k->control = c;
    k->fd = fd;
    c->n_clients++;
    buf_init(&k->reply, MAX_REPLY);
    loop_io_init(&k->io, c->loop, fd, client_on_io, k);
    (void)loop_io_set(&k->io, LOOP_READ);
}

bool control_start(struct control *c, struct loop *l, const struct place *place, const struct control_ops *ops, void *arg,
                   struct err *err)
{
    struct net_addr a;
    *c = (struct control){ .loop = l, .fd = -1, .ops = ops, .arg = arg };
    if (!socket_addr(place, &a)) {
        return err_set(err, ERR_INTERNAL, "the path of the control socket is too long");
    }
    c->fd = net_listen(&a, 0600, err);
    if (c->fd < 0) {
        return err_wrap(err, "the control socket");
    }
    loop_io_init(&c->io, l, c->fd, control_on_io, c);
    int status = loop_io_set(&c->io, LOOP_READ);
    return status == 0 || err_set_errno(err, -status, "cannot watch the control socket");
}

void control_stop(struct control *c)
{
    loop_io_stop(&c->io);
    fs_closep(&c->fd);
}

bool control_ask(const struct place *place, const char *request, unsigned timeout_ms, struct buf *reply, struct err *err)
{
    struct net_addr a;
    CLEANUP(fs_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !socket_addr(place, &a) || connect(fd, &a.sa, a.len) < 0) {
        if (errno == EACCES || errno == EPERM) {
            return err_set(err, ERR_FORBIDDEN, "only root may ask the cluster \"%s\": run it with sudo", place->name);
        }
        return err_set(err, ERR_NOT_FOUND, "no cluster \"%s\" is running", place->name);
    }
    if (dprintf(fd, "%s\n", request) < 0) {
        return err_set_errno(err, errno, "cannot ask the cluster \"%s\"", place->name);
    }
    uint64_t end = clock_mono_ms() + timeout_ms;
    for (;;) {
        uint64_t now = clock_mono_ms();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int ready = now < end ? poll(&p, 1, (int)(end - now)) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return err_set(err, ERR_TIMEOUT, "the cluster \"%s\" did not answer within %u ms", place->name, timeout_ms);
        }
        char chunk[16384];
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n <= 0) {
            return true; /* the end of the answer, also when the answerer was ended */
        }
        buf_append_bytes(reply, chunk, (size_t)n);
    }
}
