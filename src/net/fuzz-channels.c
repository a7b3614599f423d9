/*
 * The peer of exec, attach and port-forward sends anything: the first byte chooses the protocol and the role, the second how the rest is cut.
 * What comes on standard input is sent back as output.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "net/channels.h"
#include "net/loop.h"
#include "net/portforward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct channels *session;
static struct portforward *forward;

static void on_data(struct channels *c, enum channel ch, struct str data, void *arg UNUSED)
{
    channels_write(c, ch == CHANNEL_STDIN ? CHANNEL_STDOUT : CHANNEL_STDIN, data);
    if (data.ptr[0] == 'p') {
        channels_pause(c);
        channels_resume(c);
    }
}
static void on_end(struct channels *c, enum channel ch, void *arg UNUSED)
{
    channels_end(c, ch == CHANNEL_STDIN ? CHANNEL_STDOUT : CHANNEL_STDIN);
}
static void on_nothing(struct channels *c UNUSED, void *arg UNUSED)
{
}
static void on_close(struct channels *c UNUSED, const struct err *why UNUSED, void *arg UNUSED)
{
}

static void no_data(struct net_stream *s UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}
static const struct net_stream_ops no_ops = { .on_data = no_data };

static void on_connect(struct portforward *p UNUSED, struct portforward_conn *c, uint16_t port, void *arg)
{
    int fds[2];
    if (port % 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        portforward_fail(c, "nobody is there");
        return;
    }
    (void)close(fds[1]);
    portforward_join(c, net_stream_new(arg, fds[0], &no_ops, NULL));
}
static void on_abandon(struct portforward *p UNUSED, struct portforward_conn *c UNUSED, void *arg UNUSED)
{
}
static void on_forward_close(struct portforward *p UNUSED, const struct err *why UNUSED, void *arg UNUSED)
{
}

static void begin(struct loop *l, int fd, unsigned first)
{
    static const struct channels_ops ops = { on_nothing, on_data, on_end, on_nothing, on_close };
    static const struct portforward_ops forward_ops = { on_connect, on_abandon, on_forward_close };
    struct net_stream *s = net_stream_new(l, fd, &no_ops, NULL);
    if (first % 7 == 6) {
        forward = portforward_new(s, 0, &forward_ops, l);
        return;
    }
    struct channels_config config = { .protocol = first % 7, .server = first < 128,
                                      .mask = CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR) |
                                              CHANNEL_BIT(CHANNEL_RESIZE) };
    session = channels_new(s, &config, &ops, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    char drop[4096];
    int fds[2];
    if (size < 3 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return 0;
    }
    struct loop *l = loop_new(&err);
    begin(l, fds[0], data[0]);
    loop_turn(l, 0);
    size_t step = 1U + 4U * data[1];
    for (size_t at = 2; at < size; at += step) {
        if (send(fds[1], data + at, MIN(size - at, step), MSG_NOSIGNAL) < 0) {
            break;
        }
        loop_turn(l, 0);
        loop_turn(l, 0);
        (void)!read(fds[1], drop, sizeof(drop));
    }
    (void)shutdown(fds[1], SHUT_WR);
    for (int i = 0; i < 4; i++) {
        loop_turn(l, 0);
    }
    session = channels_free(session);
    forward = portforward_free(forward);
    loop_turn(l, 0);
    loop_free(l);
    (void)close(fds[1]);
    return 0;
}
