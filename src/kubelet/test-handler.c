/* Probes and hooks against real sockets on loopback. */
#include "kubelet/test-fixture.h"

#include <sys/socket.h>

#include "net/http-server.h"

struct probe_world {
    struct fixture f;
    struct http_server *http;
    struct pod_container *c;
    uint16_t port;
    bool done, unhealthy;
    enum handler_result result;
    char output[256], agent[64];
};

static void on_request(struct http_stream *s, void *arg)
{
    struct probe_world *w = arg;
    const struct http_request *r = http_stream_request(s);
    struct str agent = http_header_get(&r->headers, STR("user-agent"));
    snprintf(w->agent, sizeof(w->agent), "%.*s", STR_ARG(agent));
    if (str_eq_c(r->target, "/grpc.health.v1.Health/Check")) {
        static const char serving[] = { 0, 0, 0, 0, 2, 8, 1 }, not_serving[] = { 0, 0, 0, 0, 2, 8, 2 };
        static const struct http_header headers[] = { { STR_INIT("content-type"), STR_INIT("application/grpc") } },
                                        trailers[] = { { STR_INIT("grpc-status"), STR_INIT("0") } };
        struct net_chunk body = net_chunk_static(str_n(w->unhealthy ? not_serving : serving, sizeof(serving)));
        http_stream_respond(s, 200, headers, 1, -1);
        http_stream_write(s, &body, 1);
        http_stream_end_trailers(s, trailers, 1);
    } else {
        struct net_chunk body = net_chunk_static(STR("no"));
        http_stream_reply(s, str_eq_c(r->target, "/ok?x=1") ? 204 : 503, NULL, 0, &body, 1);
    }
    http_stream_release(s);
}

static void start(struct probe_world *w)
{
    struct err err = { 0 };
    struct net_addr addr;
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    memset(w, 0, sizeof(*w));
    fixture_init(&w->f);
    snprintf(w->f.k.node_ip, sizeof(w->f.k.node_ip), "127.0.0.1");
    const struct http_server_config config = { .on_request = on_request, .arg = w };
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), 0, &addr));
    int fd = net_listen(&addr, 0600, &err);
    CHECK(fd >= 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    w->port = ntohs(in.sin_port);
    w->http = http_server_new(w->f.k.loop, &config, &err);
    CHECK_OK(w->http && http_server_listen(w->http, fd, NULL, NULL, &err), &err);
    char yaml[256];
    snprintf(yaml, sizeof(yaml), "{kind: Pod, metadata: {name: p}, spec: {hostNetwork: true, containers: [{name: a, image: 'x:1', ports: [{name: web, containerPort: %u}]}]}}", w->port);
    w->c = fixture_pod(&w->f, yaml)->containers[0];
    fixture_settle(&w->f);
}

static void end(struct probe_world *w)
{
    http_server_free(w->http);
    fixture_deinit(&w->f);
}

static void on_done(void *arg, enum handler_result result, struct str output)
{
    struct probe_world *w = arg;
    w->done = true;
    w->result = result;
    snprintf(w->output, sizeof(w->output), "%.*s", STR_ARG(output));
}

static enum handler_result run(struct probe_world *w, const struct handler_action *action)
{
    w->done = false;
    handler_start(w->c, action, 2000, true, on_done, w);
    for (int i = 0; i < 100 && !w->done; i++) {
        loop_turn(w->f.k.loop, 50);
    }
    CHECK(w->done);
    return w->result;
}

TEST(an_http_probe_asks_a_named_port_and_takes_200_to_399)
{
    struct probe_world w;
    start(&w);
    struct core_v1_http_get_action get = { .path = STR("/ok?x=1"), .port = { .kind = API_IOS_STRING, .s = STR("web") } };
    CHECK_INT(run(&w, &(struct handler_action){ .http_get = &get }), HANDLER_OK);
    CHECK_STR_C(str_c(w.agent), "kube-probe/1.36");
    get.path = STR("/other");
    CHECK_INT(run(&w, &(struct handler_action){ .http_get = &get }), HANDLER_FAILED);
    CHECK_STR_C(str_c(w.output), "HTTP probe failed with statuscode: 503");
    get.port.s = STR("nothing");
    CHECK_INT(run(&w, &(struct handler_action){ .http_get = &get }), HANDLER_ERROR);
    end(&w);
}

TEST(a_tcp_probe_needs_somebody_who_listens)
{
    struct probe_world w;
    start(&w);
    struct core_v1_tcp_socket_action tcp = { .port = { .kind = API_IOS_INT, .i = w.port } };
    CHECK_INT(run(&w, &(struct handler_action){ .tcp_socket = &tcp }), HANDLER_OK);
    tcp.port.i = 1;
    CHECK_INT(run(&w, &(struct handler_action){ .tcp_socket = &tcp }), HANDLER_FAILED);
    end(&w);
}

TEST(a_grpc_probe_takes_serving_alone)
{
    struct probe_world w;
    start(&w);
    const struct core_v1_grpc_action grpc = { .port = w.port, .service = STR("x") };
    CHECK_INT(run(&w, &(struct handler_action){ .grpc = &grpc }), HANDLER_OK);
    w.unhealthy = true;
    CHECK_INT(run(&w, &(struct handler_action){ .grpc = &grpc }), HANDLER_FAILED);
    CHECK_STR_C(str_c(w.output), "service unhealthy");
    end(&w);
}

TEST(a_command_is_run_by_the_runtime)
{
    struct probe_world w;
    start(&w);
    static struct str words[] = { STR_INIT("bad") };
    const struct core_v1_exec_action exec = { .command = words, .n_command = 1 };
    CHECK_INT(run(&w, &(struct handler_action){ .exec = &exec }), HANDLER_OK);
    w.f.fake.exec_fails = STR("bad");
    CHECK_INT(run(&w, &(struct handler_action){ .exec = &exec }), HANDLER_FAILED);
    end(&w);
}
