#include "net/test-server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "net/test-certs.h"

struct request {
    struct test_server *server;
    struct http_stream *s;
    struct loop_timer timer;
    size_t left;
    bool request_done;
};

enum { ECHO_HIGH = 65536 };
static const char pattern[4096];

static struct request *request_new(struct test_server *t, struct http_stream *s)
{
    struct request *r = calloc(1, sizeof(*r));
    r->server = t;
    r->s = s;
    t->open++;
    return r;
}

static void done(struct request *r)
{
    loop_timer_stop(&r->timer);
    r->server->open--;
    http_stream_release(r->s);
    free(r);
}

static void cancelled(struct http_stream *s UNUSED, void *arg)
{
    struct request *r = arg;
    r->server->cancelled++;
    done(r);
}

static void reply_text(struct http_stream *s, int status, struct str text)
{
    struct http_header type = { STR("Content-Type"), STR("text/plain") };
    struct net_chunk c = net_chunk_copy(text);
    http_stream_reply(s, status, &type, 1, &c, 1);
}

/* ---- /echo ---- */

static void echo_body(struct http_stream *s, struct str data, void *arg UNUSED)
{
    struct net_chunk c = net_chunk_copy(data);
    http_stream_write(s, &c, 1);
    if (http_stream_queued(s) >= ECHO_HIGH) {
        http_stream_pause(s);
    }
}

static void echo_end(struct http_stream *s, const struct http_headers *trailers, void *arg)
{
    struct str t = http_header_get(trailers, STR("x-check"));
    if (t.ptr) {
        struct net_chunk c = net_chunk_copy(t);
        http_stream_write(s, &c, 1);
    }
    http_stream_end(s);
    done(arg);
}

static void echo_drain(struct http_stream *s, void *arg UNUSED)
{
    http_stream_resume(s);
}

static const struct http_stream_ops echo_ops = { echo_body, echo_end, echo_drain, cancelled };

/* ---- /collect ---- */

static void collected(struct http_stream *s, struct str body, const struct err *err, void *arg)
{
    struct request *r = arg;
    if (err && err->code == ERR_CANCELLED) {
        r->server->cancelled++;
    } else if (err) {
        reply_text(s, 413, str_c(err->msg));
    } else {
        reply_text(s, 200, body);
    }
    done(r);
}

/* ---- /big ---- */

static void big_more(struct http_stream *s, void *arg)
{
    struct request *r = arg;
    while (r->left > 0 && http_stream_queued(s) < 256 * 1024) {
        size_t n = MIN(r->left, sizeof(pattern));
        struct net_chunk c = net_chunk_static(str_n(pattern, n));
        http_stream_write(s, &c, 1);
        r->left -= n;
    }
    if (r->left == 0) {
        http_stream_end(s);
        done(r);
    }
}

static const struct http_stream_ops big_ops = { NULL, NULL, big_more, cancelled };

/* ---- /hold ---- */

static void held_cancelled(struct http_stream *s, void *arg)
{
    struct test_server *t = arg;
    t->cancelled++;
    for (unsigned i = 0; i < t->n_held; i++) {
        if (t->held[i] == s) {
            t->held[i] = t->held[--t->n_held];
            break;
        }
    }
    http_stream_release(s);
}

static const struct http_stream_ops hold_ops = { NULL, NULL, NULL, held_cancelled };

/* ---- /later, /never, /slow-body ---- */

static void later(void *arg)
{
    struct request *r = arg;
    reply_text(r->s, 200, STR("later\n"));
    done(r);
}

static const struct http_stream_ops cancel_ops = { NULL, NULL, NULL, cancelled };

static void slow_resume(void *arg)
{
    struct request *r = arg;
    http_stream_resume(r->s);
}

static void slow_body(struct http_stream *s, struct str data, void *arg)
{
    struct request *r = arg;
    r->left += data.len;
    http_stream_pause(s);
    loop_timer_start(&r->timer, 1);
}

static void slow_end(struct http_stream *s, const struct http_headers *trailers UNUSED, void *arg)
{
    struct request *r = arg;
    char text[32];
    (void)snprintf(text, sizeof(text), "%zu\n", r->left);
    reply_text(s, 200, str_c(text));
    done(r);
}

static const struct http_stream_ops slow_ops = { slow_body, slow_end, NULL, cancelled };

/* ---- /upgrade ---- */

static void shout_data(struct net_stream *s, struct str data, void *arg UNUSED)
{
    char out[256];
    size_t n = MIN(data.len, sizeof(out));
    for (size_t i = 0; i < n; i++) {
        out[i] = data.ptr[i] >= 'a' && data.ptr[i] <= 'z' ? (char)(data.ptr[i] - 32) : data.ptr[i];
    }
    net_stream_write_str(s, str_n(out, n));
}

static void shout_close(struct net_stream *s, enum net_close why UNUSED, const char *reason UNUSED, void *arg UNUSED)
{
    net_stream_free(s);
}

static const struct net_stream_ops shout_ops = { .on_data = shout_data, .on_close = shout_close };

static void on_request(struct http_stream *s, void *arg)
{
    struct test_server *t = arg;
    const struct http_request *req = http_stream_request(s);
    struct http_target target;
    struct err err;
    t->requests++;
    if (!http_target_parse(http_stream_arena(s), req->target, &target, &err)) {
        reply_text(s, 400, str_c(err.msg));
        http_stream_release(s);
        return;
    }
    struct str path = target.n_segments ? target.segments[0] : STR_EMPTY;
    if (str_eq(path, STR("echo"))) {
        http_stream_set_watermarks(s, ECHO_HIGH, ECHO_HIGH / 4);
        http_stream_respond(s, 200, NULL, 0, -1);
        http_stream_set_ops(s, &echo_ops, request_new(t, s));
        return;
    }
    if (str_eq(path, STR("collect"))) {
        http_stream_collect_body(s, 1000, collected, request_new(t, s));
        return;
    }
    if (str_eq(path, STR("big"))) {
        uint64_t n = 0;
        (void)!str_to_u64(http_param_get(&target, STR("n")), &n);
        struct request *r = request_new(t, s);
        r->left = n;
        http_stream_set_ops(s, &big_ops, r);
        http_stream_respond(s, 200, NULL, 0, http_param_get(&target, STR("chunked")).ptr ? -1 : (int64_t)n);
        big_more(s, r);
        return;
    }
    if (str_eq(path, STR("hold"))) {
        http_stream_set_ops(s, &hold_ops, t);
        http_stream_respond(s, 200, NULL, 0, -1);
        t->held[t->n_held++] = s;
        return;
    }
    if (str_eq(path, STR("later")) || str_eq(path, STR("never")) || str_eq(path, STR("slow-body"))) {
        struct request *r = request_new(t, s);
        bool slow = str_eq(path, STR("slow-body"));
        http_stream_set_ops(s, slow ? &slow_ops : &cancel_ops, r);
        loop_timer_init(&r->timer, t->loop, slow ? slow_resume : later, r);
        if (str_eq(path, STR("later"))) {
            loop_timer_start(&r->timer, 20);
        } else if (!slow) {
            http_stream_pause(s); /* nor reads */
        }
        return;
    }
    if (str_eq(path, STR("upgrade")) && http_stream_wants_upgrade(s)) {
        struct http_header h = { STR("Upgrade"), STR("shout") };
        struct net_stream *io = http_stream_upgrade(s, &h, 1);
        if (io) {
            net_stream_set_ops(io, &shout_ops, NULL);
            net_stream_resume(io);
        }
    } else if (str_eq(path, STR("hello"))) {
        reply_text(s, 200, STR("hello\n"));
    } else if (str_eq(path, STR("empty"))) {
        http_stream_reply(s, 204, NULL, 0, NULL, 0);
    } else if (str_eq(path, STR("early"))) {
        reply_text(s, 413, STR("too large\n"));
    } else if (str_eq(path, STR("headers"))) {
        reply_text(s, 200, http_header_get(&req->headers, STR("X-Test")));
    } else if (str_eq(path, STR("trailers"))) {
        struct http_header trailer = { STR("X-Sum"), STR("42") };
        struct net_chunk c = net_chunk_static(STR("body\n"));
        http_stream_respond(s, 200, NULL, 0, -1);
        http_stream_write(s, &c, 1);
        http_stream_end_trailers(s, &trailer, 1);
    } else if (str_eq(path, STR("who"))) {
        static const char *const states[] = { "none", "verified", "bad" };
        char text[160];
        const struct net_peer *p = req->peer;
        (void)snprintf(text, sizeof(text), "%s %s %zu %d\n", states[p ? p->state : NET_PEER_NONE],
                       p && p->reason ? p->reason : "-", p ? p->n_chain : 0, req->version);
        reply_text(s, 200, str_c(text));
    } else {
        reply_text(s, 404, STR("no such path\n"));
    }
    http_stream_release(s);
}

void test_server_start(struct test_server *t, const struct test_server_config *config)
{
    struct err err;
    *t = (struct test_server){ 0 };
    t->loop = loop_new(&err);
    CHECK_OK(t->loop, &err);
    struct http_server_config http = config->http;
    http.on_request = on_request;
    http.arg = t;
    t->http = http_server_new(t->loop, &http, &err);
    CHECK_OK(t->http, &err);
    if (config->tls) {
        const struct test_pki *pki = test_pki();
        struct net_tls_identity second = test_identity(&pki->server2);
        struct net_tls_server_config c = { .identity = test_identity(&pki->server),
                                           .client_ca_pem = str_c(pki->ca.cert_pem),
                                           .sni = &second,
                                           .n_sni = 1,
                                           .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
        t->tls = net_tls_server_new(&c, &err);
        CHECK_OK(t->tls, &err);
    }
    if (config->listen) {
        struct net_addr a;
        CHECK(net_addr_parse(STR("127.0.0.1:0"), &a));
        int fd = net_listen(&a, 0, &err);
        CHECK_OK(fd >= 0, &err);
        socklen_t len = sizeof(struct sockaddr_un);
        CHECK(getsockname(fd, &a.sa, &len) == 0);
        a.len = len;
        t->port = net_addr_port(&a);
        CHECK_OK(http_server_listen(t->http, fd, t->tls, t, &err), &err);
    }
}

void test_server_stop(struct test_server *t)
{
    while (t->n_held > 0) {
        struct http_stream *s = t->held[--t->n_held];
        http_stream_end(s);
        http_stream_release(s);
    }
    t->http = http_server_free(t->http);
    t->tls = net_tls_server_unref(t->tls);
    CHECK_INT(t->open, 0);
    t->loop = loop_free(t->loop);
}

void test_turn(struct loop *l, const unsigned *until, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms, now;
    while ((now = clock_mono_ms()) < end && !(until && *until)) {
        loop_turn(l, (int)(end - now));
    }
}

int test_connect(struct test_server *t)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    http_server_serve_fd(t->http, fds[0], NULL, NULL);
    return fds[1];
}

struct str test_exchange(struct test_server *t, int fd, struct str bytes, const char *needle, unsigned ms)
{
    static char got[1 << 20];
    size_t n = 0, sent = 0;
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end) {
        if (sent < bytes.len) {
            ssize_t r = send(fd, bytes.ptr + sent, bytes.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += r > 0 ? (size_t)r : 0;
        }
        loop_turn(t->loop, 5);
        ssize_t r = recv(fd, got + n, sizeof(got) - 1 - n, MSG_DONTWAIT);
        if (r == 0 || (r < 0 && errno == ECONNRESET)) {
            break;
        }
        n += r > 0 ? (size_t)r : 0;
        got[n] = 0;
        if (needle && strstr(got, needle)) {
            break;
        }
    }
    return str_n(got, n);
}
