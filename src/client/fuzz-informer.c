/*
 * An API server that answers an informer with anything: the first byte says how its bytes are cut; they are HTTP/1.1 answers one behind the
 * other (lists, watches with their lines, errors). The copy never holds more objects than the listener was told of.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"
#include "client/informer.h"
#include "net/dial.h"
#include "net/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int next_fd = -1;

static struct fake {
    struct loop_task task;
    net_dial_fn *done;
    void *arg;
} fake;

static void fake_done(void *arg UNUSED)
{
    struct err err;
    int fd = next_fd;
    next_fd = -1;
    (void)err_set(&err, ERR_UNAVAILABLE, "no more");
    fake.done(fd, fd < 0 ? &err : NULL, fake.arg);
}

static struct net_dial *fake_start(struct net_dialer *d UNUSED, struct loop *l, struct str host UNUSED, uint16_t port UNUSED,
                                   uint32_t timeout_ms UNUSED, net_dial_fn *done, void *arg)
{
    fake.done = done;
    fake.arg = arg;
    loop_task_init(&fake.task, l, fake_done, NULL);
    loop_task_defer(&fake.task);
    return (struct net_dial *)(void *)&fake;
}

static void fake_cancel(struct net_dial *attempt UNUSED)
{
    loop_task_cancel(&fake.task);
}

static const struct net_dialer_ops fake_ops = { fake_start, fake_cancel };
static struct net_dialer fake_dialer = { &fake_ops };

/* What the client asked is not looked at: the answers come in the order of the input. */
static void serve(struct loop *l, int fd, struct str text, size_t step)
{
    char drop[4096];
    while (text.len) {
        struct str head = str_sub(text, 0, step);
        if (send(fd, head.ptr, head.len, MSG_NOSIGNAL) < 0) {
            return;
        }
        loop_turn(l, 0);
        (void)!read(fd, drop, sizeof(drop));
        text = str_sub(text, head.len, SIZE_MAX);
    }
}

static void on_event(void *data, const void *old, const void *obj)
{
    unsigned *n = data;
    if (!old && !obj) {
        abort();
    }
    ++*n;
}

static void on_synced(void *data UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const fields[] = { "metadata.labels", "spec.nodeName", "status.phase", NULL };
    const struct client_config config = { .server = STR("http://192.0.2.1:80") };
    const struct client_options options = { .user_agent = "fuzz", .dialer = &fake_dialer };
    const struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("pods")), .fields = fields };
    struct err err;
    unsigned events = 0;
    int fds[2];
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return 0;
    }
    struct loop *l = loop_new(&err);
    struct client *client = l ? client_new(l, &config, &options, &err) : NULL;
    if (!client) {
        abort();
    }
    next_fd = fds[0];
    struct informers *all = informers_new(client);
    struct informer *pods = informers_get(all, &spec, on_event, &events);
    informers_start(all, on_synced, NULL);
    for (int i = 0; i < 4; i++) {
        loop_turn(l, 0);
    }
    serve(l, fds[1], str_n((const char *)data + 1, size - 1), 1U + 8U * data[0]);
    (void)shutdown(fds[1], SHUT_WR);
    for (int i = 0; i < 4; i++) {
        loop_turn(l, 0);
    }
    if (informer_count(pods) > events) {
        abort();
    }
    informers_free(all);
    client_free(client);
    if (next_fd >= 0) {
        (void)close(next_fd);
        next_fd = -1;
    }
    loop_turn(l, 0);
    loop_free(l);
    (void)close(fds[1]);
    return 0;
}
