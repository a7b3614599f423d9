/*
 * Not a test: what a request, a watch event and a connection cost. One process serves, a child process asks, over TLS on
 * loopback. Prints one line a figure.
 *
 *     ninja -C build src/net/bench-http && build/src/net/bench-http
 */
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "net/http-client.h"
#include "net/http-server.h"
#include "net/test-certs.h"

enum { BODY = 4500, WATCHES = 900, CONNS = 1000, EVENTS = 100 };

static char body[BODY];
static struct loop *loop;
static struct http_stream *watches[WATCHES];
static unsigned n_watches;
static size_t base_rss;

static double cpu_s(void)
{
    struct rusage r;
    (void)getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void watch_gone(struct http_stream *s, void *arg UNUSED)
{
    for (unsigned i = 0; i < n_watches; i++) {
        if (watches[i] == s) {
            watches[i] = watches[--n_watches];
            break;
        }
    }
    http_stream_release(s);
}

static const struct http_stream_ops watch_ops = { .on_cancel = watch_gone };

static void answer_text(struct http_stream *s, const char *text)
{
    struct net_chunk c = net_chunk_copy(str_c(text));
    http_stream_reply(s, 200, NULL, 0, &c, 1);
}

static double mark_cpu;
static size_t mark_heap;

static void big_more(struct http_stream *s, void *arg)
{
    size_t *left = arg;
    while (*left > 0 && http_stream_queued(s) < 512 * 1024) {
        struct net_chunk c = net_chunk_static(str_n(body, BODY));
        http_stream_write(s, &c, 1);
        (*left)--;
    }
    if (*left == 0) {
        free(left);
        http_stream_end(s);
        http_stream_release(s);
    }
}

static const struct http_stream_ops big_ops = { .on_drain = big_more };

static void on_request(struct http_stream *s, void *arg UNUSED)
{
    const struct http_request *r = http_stream_request(s);
    char text[96];
    if (str_eq(r->target, STR("/watch"))) {
        http_stream_set_ops(s, &watch_ops, NULL);
        http_stream_respond(s, 200, NULL, 0, -1);
        watches[n_watches++] = s;
        return;
    }
    if (str_eq(r->target, STR("/list"))) { /* 10,000 items, 45 MB */
        size_t *left = malloc(sizeof(*left));
        *left = 10000;
        http_stream_set_ops(s, &big_ops, left);
        http_stream_respond(s, 200, NULL, 0, -1);
        big_more(s, left);
        return;
    }
    if (str_eq(r->target, STR("/mark"))) {
        mark_cpu = cpu_s();
        mark_heap = heap_bytes();
        answer_text(s, "ok");
    } else if (str_eq(r->target, STR("/since"))) {
        (void)snprintf(text, sizeof(text), "%.6f %zd", cpu_s() - mark_cpu, (ssize_t)heap_bytes() - (ssize_t)mark_heap);
        answer_text(s, text);
    } else if (str_eq(r->target, STR("/events"))) {
        for (int e = 0; e < EVENTS; e++) {
            for (unsigned i = 0; i < n_watches; i++) {
                struct net_chunk c = net_chunk_static(str_n(body, 400));
                http_stream_write(watches[i], &c, 1);
            }
        }
        answer_text(s, "ok");
    } else {
        struct http_header h = { STR("content-type"), STR("application/json") };
        struct net_chunk c = net_chunk_static(str_n(body, BODY));
        http_stream_reply(s, 200, &h, 1, &c, 1);
    }
    http_stream_release(s);
}

static void serve(int fd, bool tls)
{
    struct err err;
    const struct test_pki *pki = test_pki();
    loop = loop_new(&err);
    struct http_server_config config = { .on_request = on_request, .max_connections = 8000, .max_streams = 1000 };
    struct http_server *srv = http_server_new(loop, &config, &err);
    struct net_tls_server_config tc = { .identity = test_identity(&pki->server), .client_ca_pem = str_c(pki->ca.cert_pem),
                                        .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    struct net_tls_server *t = tls ? net_tls_server_new(&tc, &err) : NULL;
    if (!http_server_listen(srv, fd, t, NULL, &err)) {
        abort();
    }
    base_rss = heap_bytes();
    loop_run(loop);
}

/* ---- the asking side ---- */

struct client {
    struct http_client *http;
    unsigned done, errors, heads;
    unsigned left, under_way;
    size_t bytes;
    char text[128];
};

static void on_response(struct http_call *c UNUSED, const struct http_response *r UNUSED, void *arg)
{
    ((struct client *)arg)->heads++;
}
static void on_body(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct client *k = arg;
    if (k->bytes < sizeof(k->text) - 1) {
        (void)!str_to_cstr(str_sub(data, 0, sizeof(k->text) - 1), k->text, sizeof(k->text));
    }
    k->bytes += data.len;
}
static void start_more(struct client *k);
static void on_end(struct http_call *c UNUSED, const struct http_headers *t UNUSED, void *arg)
{
    struct client *k = arg;
    k->done++;
    k->under_way--;
    start_more(k);
}
static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct client *k = arg;
    if (k->errors++ == 0) {
        printf("error: %s\n", e->err.msg);
    }
    k->done++;
    k->under_way--;
}
static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

static void start_more(struct client *k)
{
    static const struct http_header h[] = { { STR_INIT("accept"), STR_INIT("application/json") },
                                            { STR_INIT("user-agent"), STR_INIT("bench/1.0 (linux/amd64) kubernetes/0000000") } };
    while (k->left > 0 && k->under_way < 64) {
        struct http_call_config c = { .method = STR("GET"), .target = STR("/api/v1/namespaces/default/pods/web-0"), .headers = h,
                                      .n_headers = 2 };
        k->left--;
        k->under_way++;
        (void)http_client_start(k->http, &c, &ops, k);
    }
}

static void ask(struct client *k, const char *target)
{
    struct http_call_config c = { .method = STR("GET"), .target = str_c(target) };
    k->done = 0;
    k->under_way = 1;
    k->left = 0;
    k->bytes = 0;
    (void)http_client_start(k->http, &c, &ops, k);
    while (k->done < 1) {
        loop_turn(loop, -1);
    }
}

static void since(struct client *k, double *cpu, double *heap)
{
    ask(k, "/since");
    if (sscanf(k->text, "%lf %lf", cpu, heap) != 2) {
        abort();
    }
}

static struct http_client *client_of(struct net_tls_client *tls, uint16_t port, enum http_client_protocol p, unsigned max)
{
    struct err err;
    struct http_client_config c = { .host = STR("127.0.0.1"), .port = port, .tls = tls, .protocol = p, .max_connections = max };
    return http_client_new(loop, &c, &err);
}

static void bench_gets(struct client *k, const char *name)
{
    double cpu, heap;
    ask(k, "/mark");
    uint64_t begin = clock_mono_ns();
    k->done = 0;
    k->left = 50000;
    start_more(k);
    while (k->done < 50000) {
        loop_turn(loop, -1);
    }
    double wall = (double)(clock_mono_ns() - begin) / 1e9;
    since(k, &cpu, &heap);
    printf("%-22s %8.0f requests/s, %.1f us of server CPU a request (4.5 KB answers, 64 under way)\n", name, 50000 / wall,
           cpu * 1e6 / 50000);
}

int main(void)
{
    struct err err;
    struct net_addr a;
    (void)test_pki();
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    memset(body, 'x', sizeof(body));
    if (!net_addr_parse(STR("127.0.0.1:0"), &a)) {
        return 1;
    }
    int fd = net_listen(&a, 0, &err), plain = net_listen(&a, 0, &err);
    socklen_t len = sizeof(a.un);
    struct net_addr at, plain_at;
    (void)getsockname(fd, &at.sa, &len);
    at.len = len;
    len = sizeof(a.un);
    (void)getsockname(plain, &plain_at.sa, &len);
    plain_at.len = len;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(plain);
        serve(fd, true);
        _exit(0);
    }
    (void)close(fd);
    loop = loop_new(&err);
    struct net_tls_client_config tc = { .ca_pem = str_c(test_pki()->ca.cert_pem), .identity = test_identity(&test_pki()->client),
                                        .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    struct net_tls_client *tls = net_tls_client_new(&tc, &err);
    uint16_t port = net_addr_port(&at);
    struct client k = { .http = client_of(tls, port, HTTP_CLIENT_AUTO, 1) }, one = { .http = client_of(tls, port, HTTP_CLIENT_H1_ONLY, 4) };
    double cpu, heap;
    ask(&k, "/x");
    bench_gets(&k, "GET, TLS, HTTP/2");
    bench_gets(&one, "GET, TLS, HTTP/1.1 x4");

    ask(&k, "/mark");
    uint64_t begin = clock_mono_ns();
    for (int i = 0; i < 10; i++) {
        ask(&k, "/list");
    }
    double wall = (double)(clock_mono_ns() - begin) / 1e9;
    since(&k, &cpu, &heap);
    printf("%-22s %8.1f ms of server CPU each, %.1f ms until it is here\n", "list of 45 MB, HTTP/2", cpu * 100, wall * 100);

    ask(&k, "/mark");
    struct client w = { .http = k.http, .under_way = WATCHES };
    for (int i = 0; i < WATCHES; i++) {
        struct http_call_config c = { .method = STR("GET"), .target = STR("/watch") };
        (void)http_client_start(k.http, &c, &ops, &w);
    }
    while (w.heads < WATCHES && !w.errors) {
        loop_turn(loop, -1);
    }
    since(&k, &cpu, &heap);
    printf("%-22s %8.0f bytes of server heap each (%d on one connection)\n", "idle watch, HTTP/2", heap / WATCHES, WATCHES);
    ask(&k, "/mark");
    w.bytes = sizeof(w.text);
    ask(&k, "/events");
    while (w.bytes < (size_t)WATCHES * EVENTS * 400 && !w.errors) {
        loop_turn(loop, -1);
    }
    since(&k, &cpu, &heap);
    printf("%-22s %8.2f us of server CPU each (400 B, %d watches, %d events)\n", "watch event, HTTP/2", cpu * 1e6 / WATCHES / EVENTS,
           WATCHES, EVENTS);

    ask(&one, "/x");
    ask(&one, "/mark");
    struct client *idle = calloc(CONNS, sizeof(*idle));
    for (int i = 0; i < CONNS; i++) {
        idle[i].http = client_of(tls, port, i % 2 ? HTTP_CLIENT_H1_ONLY : HTTP_CLIENT_AUTO, 1);
    }
    double per[2] = { 0 };
    for (int p = 0; p < 2; p++) {
        ask(&one, "/mark");
        begin = clock_mono_ns();
        for (int i = p; i < CONNS; i += 2) {
            ask(&idle[i], "/x");
        }
        wall = (double)(clock_mono_ns() - begin) / 1e9;
        since(&one, &cpu, &per[p]);
        printf("%-22s %8.0f bytes of server heap each; %.0f mutual handshakes/s, %.0f us of server CPU each\n",
               p ? "idle conn, HTTP/1.1" : "idle conn, HTTP/2", per[p] / (CONNS / 2), CONNS / 2 / wall, cpu * 1e6 / (CONNS / 2));
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return 0;
}
