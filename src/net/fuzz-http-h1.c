/* An HTTP/1.1 client that sends anything, in odd pieces: first byte says how it is cut. */
#include <sys/socket.h>
#include <unistd.h>

#include "net/http-server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collected(struct http_stream *s, struct str body, const struct err *err, void *arg UNUSED)
{
    struct net_chunk c = net_chunk_copy(err ? STR("no") : body);
    http_stream_reply(s, err ? 413 : 200, NULL, 0, &c, 1);
    http_stream_release(s);
}

static void on_request(struct http_stream *s, void *arg UNUSED)
{
    const struct http_request *r = http_stream_request(s);
    struct http_target t;
    struct err err;
    if (http_target_parse(http_stream_arena(s), r->target, &t, &err) && t.n_segments > 0 && str_eq(t.segments[0], STR("a"))) {
        http_stream_reply(s, 200, r->headers.items, r->headers.n, NULL, 0);
        http_stream_release(s);
        return;
    }
    if (http_stream_wants_upgrade(s)) {
        net_stream_free(http_stream_upgrade(s, NULL, 0));
        http_stream_release(s);
        return;
    }
    http_stream_collect_body(s, 1000, collected, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    int fds[2];
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return 0;
    }
    struct loop *l = loop_new(&err);
    struct http_server_config config = { .on_request = on_request };
    struct http_server *srv = http_server_new(l, &config, &err);
    http_server_serve_fd(srv, fds[0], NULL, NULL);
    size_t step = 1U + data[0];
    data++;
    size--;
    for (size_t at = 0; at < size && http_server_connections(srv) > 0; at += step) {
        if (send(fds[1], data + at, size - at < step ? size - at : step, MSG_NOSIGNAL) < 0) {
            break;
        }
        loop_turn(l, 0);
        loop_turn(l, 0);
    }
    (void)shutdown(fds[1], SHUT_WR);
    loop_turn(l, 0);
    loop_turn(l, 0);
    http_server_free(srv);
    loop_free(l);
    (void)close(fds[1]);
    return 0;
}
