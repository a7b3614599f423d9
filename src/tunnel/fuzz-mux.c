/* The other side of a reverse tunnel sends anything: to the hub's end (first byte even) or the agent's, with streams open. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "tunnel/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    struct loop *loop;
    bool closed;
    struct tunnel_far *fars[4];
};

static void on_nothing(void *arg)
{
    (void)arg;
}
static void on_gone(const char *reason, void *arg)
{
    (void)reason;
    *(struct tunnel_far **)arg = NULL;
}
static void on_data(struct str data, void *arg)
{
    struct tunnel_far *far = *(struct tunnel_far **)arg;
    if (far && data.len) {
        (void)far_write(far, data);
        far_pause(far, data.ptr[0] & 1);
    }
}
static const struct tunnel_far_events events = { on_nothing, on_gone, on_data, on_nothing, on_nothing, on_gone };

static void on_connect(struct mux *m, struct tunnel_far *far, struct str host, uint16_t port, void *arg)
{
    struct state *s = arg;
    (void)m;
    if (port == 0 || host.len == 0) {
        abort();
    }
    for (size_t i = 0; i < 4; i++) {
        if (!s->fars[i]) {
            s->fars[i] = far;
            mux_accept(far, &events, &s->fars[i]);
            return;
        }
    }
    mux_refuse(far, 503, "no room");
}
static void on_close(struct mux *m, const char *reason, void *arg)
{
    struct state *s = arg;
    (void)m;
    (void)reason;
    s->closed = true;
}
static void no_data(struct net_stream *st, struct str data, void *arg)
{
    (void)st;
    (void)data;
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct mux_ops ops = { .on_connect = on_connect, .on_close = on_close };
    static const struct net_stream_ops stream_ops = { .on_data = no_data };
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    signal(SIGPIPE, SIG_IGN);
    struct err err;
    struct state s = { .loop = loop_new(&err) };
    int fds[2];
    char drop[4096];
    if (!s.loop || size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        loop_free(s.loop);
        return 0;
    }
    bool opener = data[0] % 2 == 0;
    struct mux *m = mux_new(net_stream_new(s.loop, fds[0], &stream_ops, NULL), opener, &ops, &s);
    for (size_t i = 0; opener && i < 2; i++) {
        s.fars[i] = mux_open(m, STR("10.0.0.1"), 80, &events, &s.fars[i], &err);
    }
    if (!opener) {
        (void)!write(fds[1], preface, sizeof(preface) - 1);
    }
    size_t half = size / 2;
    (void)!write(fds[1], data + 1, half);
    loop_turn(s.loop, 0);
    (void)!write(fds[1], data + 1 + half, size - 1 - half);
    for (int i = 0; i < 6 && !s.closed; i++) {
        loop_turn(s.loop, 0);
        (void)!read(fds[1], drop, sizeof(drop));
    }
    for (size_t i = 0; i < 4; i++) {
        s.fars[i] = i % 2 ? far_close(s.fars[i]) : s.fars[i];
    }
    mux_free(m, "over");
    (void)close(fds[1]);
    loop_free(s.loop);
    return 0;
}
