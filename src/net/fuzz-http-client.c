/* A server that answers anything: the first byte chooses the protocol and how the answer is cut. */
#include <sys/socket.h>
#include <unistd.h>

#include "net/http-client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A dialler that hands out one end of a socketpair. */
static int next_fd = -1;

struct fake {
    struct loop_task task;
    net_dial_fn *done;
    void *arg;
} fake;

static void fake_done(void *arg UNUSED)
{
    struct err err;
    int fd = next_fd;
    next_fd = -1;
    err_set(&err, ERR_UNAVAILABLE, "no more");
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

static void on_response(struct http_call *c UNUSED, const struct http_response *r UNUSED, void *arg UNUSED)
{
}

static void on_body(struct http_call *c, struct str data, void *arg UNUSED)
{
    if (data.len == 7) {
        http_call_cancel(c);
    }
}

static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    int fds[2];
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return 0;
    }
    struct loop *l = loop_new(&err);
    next_fd = fds[0];
    struct http_client_config config = { .host = STR("x"), .port = 1, .dialer = &fake_dialer,
                                         .protocol = data[0] & 1 ? HTTP_CLIENT_H2_PRIOR : HTTP_CLIENT_H1_ONLY };
    struct http_client *client = http_client_new(l, &config, &err);
    struct http_call_config call = { .method = STR("GET"), .target = STR("/a") };
    for (int i = 0; i < 3; i++) {
        call.method = i == 1 ? STR("HEAD") : STR("GET");
        (void)http_client_start(client, &call, &ops, NULL);
    }
    loop_turn(l, 0);
    loop_turn(l, 0);
    loop_turn(l, 0);
    size_t step = 1U + data[0] / 2;
    data++;
    size--;
    for (size_t at = 0; at < size; at += step) {
        if (send(fds[1], data + at, size - at < step ? size - at : step, MSG_NOSIGNAL) < 0) {
            break;
        }
        loop_turn(l, 0);
    }
    (void)close(fds[1]);
    loop_turn(l, 0);
    loop_turn(l, 0);
    http_client_free(client);
    if (next_fd >= 0) {
        (void)close(next_fd);
        next_fd = -1;
    }
    loop_free(l);
    return 0;
}
