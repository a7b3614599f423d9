/* The kubelet's port as its clients see it: the real server process, TLS, a core with a runtime in memory, an apiserver that reviews. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/json-reader.h"
#include "api/val.h"
#include "base/clock.h"
#include "base/fs.h"
#include "client/client.h"
#include "kubelet/test-fixture.h"
#include "net/http-client.h"
#include "net/http-server.h"
#include "pki/cert.h"

struct site {
    struct fixture f;
    struct http_server *local; /* apiserver and the runtime's streams */
    uint16_t local_port;
    char reviewed[2048];       /* the last SubjectAccessReview */
    const char *allow;         /* what the review must contain to be allowed */
    bool hold;                 /* reviews are not answered */
    struct http_stream *held[400];
    size_t n_held;
    char streamed[256];        /* the last target at the runtime */
    struct net_stream *echo;
    struct buf ca_key, ca, cert, key, serving_ca;
    struct net_tls_client *tls, *bare; /* with and without a client certificate */
    struct http_client *client, *stranger;
    struct pod *pod;
};

/* ---- what stands behind the kubelet ---- */

static void echo_data(struct net_stream *s, struct str data, void *arg UNUSED)
{
    net_stream_write_str(s, data);
}

static void echo_close(struct net_stream *s, enum net_close how UNUSED, const char *reason UNUSED, void *arg)
{
    struct site *t = arg;
    net_stream_free(s);
    t->echo = NULL;
}

static void on_review(struct http_stream *s, struct str body, const struct err *err, void *arg)
{
    struct site *t = arg;
    char answer[256];
    CHECK(!err && str_to_cstr(body, t->reviewed, sizeof(t->reviewed)));
    if (t->hold) {
        CHECK(t->n_held < ARRAY_SIZE(t->held));
        t->held[t->n_held++] = s;
        return;
    }
    snprintf(answer, sizeof(answer), "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":%s}}",
             t->allow && strstr(t->reviewed, t->allow) ? "true" : "false");
    const struct http_header type = { STR("content-type"), STR("application/json") };
    struct net_chunk chunk = net_chunk_copy(str_c(answer));
    http_stream_reply(s, 201, &type, 1, &chunk, 1);
    http_stream_release(s);
}

static void on_local(struct http_stream *s, void *arg)
{
    static const struct net_stream_ops ops = { .on_data = echo_data, .on_close = echo_close };
    struct site *t = arg;
    const struct http_request *r = http_stream_request(s);
    if (!http_stream_wants_upgrade(s)) {
        http_stream_collect_body(s, 1 << 20, on_review, t);
        return;
    }
    const struct http_header h[] = { { STR("upgrade"), http_header_get(&r->headers, STR("upgrade")) },
                                     { STR("x-stream-protocol-version"), STR("v4.channel.k8s.io") } };
    snprintf(t->streamed, sizeof(t->streamed), "%.*s", STR_ARG(r->target));
    t->echo = http_stream_upgrade(s, h, 2);
    CHECK(t->echo);
    net_stream_set_ops(t->echo, &ops, t);
    net_stream_resume(t->echo);
    http_stream_release(s);
}

static int listening(uint16_t *ret_port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 64) == 0 &&
          getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static void serve_local(struct site *t)
{
    struct err err = { 0 };
    const struct http_server_config cfg = { .on_request = on_local, .arg = t };
    int fd = listening(&t->local_port);
    t->local = http_server_new(t->f.k.loop, &cfg, &err);
    CHECK_OK(t->local && http_server_listen(t->local, fd, NULL, NULL, &err), &err);
}

/* ---- certificates ---- */

static void make_certificates(struct site *t)
{
    struct err err = { 0 };
    const struct str org = STR("devs");
    int64_t now = clock_real_s();
    struct pki_cert_spec root = { .names = { .cn = STR("clients") }, .ca = true, .not_before = now - 300, .not_after = now + 3600 };
    struct pki_cert_spec leaf = { .names = { .cn = STR("alice"), .orgs = &org, .n_orgs = 1 }, .usages = PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_CLIENT_AUTH,
                                  .not_before = now - 300, .not_after = now + 3600 };
    CLEANUP(pki_key_unrefp) struct pki_key *ca_key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CLEANUP(pki_key_unrefp) struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(ca_key && key, &err);
    CLEANUP(pki_cert_unrefp) struct pki_cert *ca = pki_cert_self_sign(ca_key, &root, &err);
    CHECK_OK(ca, &err);
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_sign(ca, ca_key, key, &leaf, &err);
    CHECK_OK(cert, &err);
    buf_init(&t->ca, 65536);
    buf_init(&t->cert, 65536);
    buf_init(&t->key, 65536);
    buf_init(&t->serving_ca, 65536);
    pki_cert_write_pem(ca, &t->ca);
    pki_cert_write_pem(cert, &t->cert);
    CHECK(pki_key_write_private(key, &t->key));
}

/* ---- the site ---- */

static const char pod_yaml[] = "metadata: {name: web, namespace: ns, uid: uid-1}\nspec:\n  containers:\n  - {name: app, image: 'x:1', stdin: true}\n";

static void site_start(struct site *t, struct str mode)
{
    struct err err = { 0 };
    char path[PATH_MAX], url[64];
    uint16_t port;
    memset(t, 0, sizeof(*t));
    fixture_init(&t->f);
    make_certificates(t);
    serve_local(t);
    snprintf(t->f.fake.stream_url, sizeof(t->f.fake.stream_url), "http://127.0.0.1:%u/stream/token", t->local_port);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", t->local_port);
    const struct client_config config = { .server = str_c(url) };
    const struct client_options options = { .user_agent = "test" };
    t->f.k.client = client_new(t->f.k.loop, &config, &options, &err);
    CHECK_OK(t->f.k.client, &err);

    close(listening(&port)); /* free a moment ago: good enough on loopback */
    snprintf(path, sizeof(path), "%s/ca.crt", t->f.dir);
    CHECK_OK(fs_write_atomic(path, buf_str(&t->ca), 0644, &err), &err);
    struct kubelet_config *c = &t->f.cfg;
    c->address = STR("127.0.0.1");
    c->port = port;
    c->client_ca_file = arena_str(&t->f.a, str_c(path));
    c->cert_dir = arena_printf(&t->f.a, "%s/pki", t->f.dir);
    c->authorization_mode = mode;
    c->server_user = geteuid() == 0 ? STR("65534") : STR("0");
    c->streaming_idle_ms = 60000;
    CHECK_OK(server_fork(&t->f.k, &err) && server_start(&t->f.k, &err), &err);

    /* The certificate is made when the server asks for it. */
    snprintf(path, sizeof(path), "%s/pki/kubelet.crt", t->f.dir);
    for (int i = 0; i < 250 && access(path, F_OK) < 0; i++) {
        loop_turn(t->f.k.loop, 20);
    }
    CHECK_OK(fs_read(path, 65536, &t->serving_ca, &err), &err);
    struct net_tls_client_config tls = { .ca_pem = buf_str(&t->serving_ca), .server_name = STR("n1"), .alpn = NET_ALPN_H1 | NET_ALPN_H2 };
    t->bare = net_tls_client_new(&tls, &err);
    tls.identity = (struct net_tls_identity){ .cert_pem = buf_str(&t->cert), .key_pem = buf_str(&t->key) };
    t->tls = net_tls_client_new(&tls, &err);
    CHECK_OK(t->tls && t->bare, &err);
    struct http_client_config client = { .host = STR("127.0.0.1"), .port = port, .tls = t->tls };
    t->client = http_client_new(t->f.k.loop, &client, &err);
    client.tls = t->bare;
    t->stranger = http_client_new(t->f.k.loop, &client, &err);
    CHECK_OK(t->client && t->stranger, &err);

    t->f.k.pods_synced = true;
    t->pod = fixture_pod(&t->f, pod_yaml);
    fixture_settle(&t->f);
    CHECK(container_is_running(t->pod->containers[0]));
}

static void site_end(struct site *t)
{
    http_client_free(t->client);
    http_client_free(t->stranger);
    server_stop(&t->f.k);
    if (t->echo) {
        net_stream_free(t->echo);
    }
    http_server_free(t->local);
    /* Pods and objects may have calls under way: before the client, as kubelet.c does it. */
    pods_free(&t->f.k);
    map_init(&t->f.k.pods);
    t->f.k.objects = objects_free(t->f.k.objects);
    client_free(t->f.k.client);
    net_tls_client_unref(t->tls);
    net_tls_client_unref(t->bare);
    buf_deinit(&t->ca);
    buf_deinit(&t->cert);
    buf_deinit(&t->key);
    buf_deinit(&t->serving_ca);
    fixture_deinit(&t->f);
}

/* ---- calls ---- */

struct call {
    struct site *t;
    struct http_call *c;
    int status;
    bool over, failed;
    struct buf body;
    struct net_stream *upgraded;
};

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    struct call *x = arg;
    x->status = r->status;
}

static void on_data(struct http_call *c UNUSED, struct str data, void *arg)
{
    struct call *x = arg;
    buf_append(&x->body, data);
}

static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    struct call *x = arg;
    x->over = true;
}

static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct call *x = arg;
    printf("  call failed: %s\n", e->err.msg);
    x->over = x->failed = true;
}

static void up_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    struct call *x = arg;
    buf_append(&x->body, data);
}

static void up_close(struct net_stream *s, enum net_close how UNUSED, const char *reason UNUSED, void *arg)
{
    struct call *x = arg;
    x->upgraded = net_stream_free(s);
}

static void on_upgrade(struct http_call *c UNUSED, const struct http_response *r, struct net_stream *s, void *arg)
{
    static const struct net_stream_ops ops = { .on_data = up_data, .on_close = up_close };
    struct call *x = arg;
    x->status = r->status;
    x->upgraded = s;
    net_stream_set_ops(s, &ops, x);
    net_stream_resume(s);
    x->over = true;
}

static const struct http_call_ops call_ops = { .on_response = on_response, .on_body = on_data, .on_end = on_end, .on_error = on_error, .on_upgrade = on_upgrade };

static void call_start(struct site *t, struct http_client *client, struct call *x, const char *method, const char *target, bool upgrade)
{
    static const struct http_header headers[] = { { STR_INIT("upgrade"), STR_INIT("SPDY/3.1") }, { STR_INIT("x-stream-protocol-version"), STR_INIT("v4.channel.k8s.io") } };
    const struct http_call_config config = { .method = str_c(method), .target = str_c(target), .headers = headers, .n_headers = upgrade ? 2 : 0, .upgrade = upgrade };
    *x = (struct call){ .t = t };
    buf_init(&x->body, 64u << 20);
    x->c = http_client_start(client, &config, &call_ops, x);
}

static void call_wait(struct call *x)
{
    for (int i = 0; i < 500 && !x->over; i++) {
        loop_turn(x->t->f.k.loop, 20);
    }
    CHECK(x->over);
}

static void call_end(struct call *x)
{
    if (!x->over) {
        http_call_cancel(x->c);
    }
    if (x->upgraded) {
        net_stream_free(x->upgraded);
    }
    buf_deinit(&x->body);
}

/* The status; the body is copied into the fixture's arena. */
static int get_as(struct site *t, struct http_client *client, const char *method, const char *target, struct str *ret_body)
{
    struct call x;
    call_start(t, client, &x, method, target, false);
    call_wait(&x);
    CHECK(!x.failed);
    if (ret_body) {
        *ret_body = arena_str(&t->f.a, str_n(x.body.ptr ? x.body.ptr : "", x.body.len));
    }
    call_end(&x);
    return x.status;
}

static int get(struct site *t, const char *target, struct str *ret_body)
{
    return get_as(t, t->client, "GET", target, ret_body);
}

static bool has(struct str text, const char *part)
{
    return str_find(text, str_c(part)) >= 0;
}

/* Writes a log of the container; 'name' "0.log". */
static void write_log(struct site *t, const char *name, const char *text, bool append)
{
    char dir[PATH_MAX], path[PATH_MAX];
    struct err err = { 0 };
    pod_log_dir(t->pod, dir);
    snprintf(path, sizeof(path), "%.3000s/app", dir);
    CHECK_OK(fs_mkdirs(path, 0755, &err), &err);
    snprintf(path, sizeof(path), "%.3000s/app/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* ---- the process ---- */

/* The server's process: the only child of this one. */
static pid_t server_pid(void)
{
    char path[64], text[64] = "";
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    CHECK(f && fgets(text, sizeof(text), f) && sscanf(text, "%d", &pid) == 1);
    fclose(f);
    return pid;
}

TEST(server_process_holds_no_privileges_and_nothing_of_the_cores)
{
    struct site t;
    CLEANUP(buf_deinit) struct buf b;
    struct err err = { 0 };
    char path[64], target[256];
    if (geteuid() != 0) {
        test_skip("only root has privileges to give up");
    }
    int opened = open("/proc/self/status", O_RDONLY); /* something of the core's */
    site_start(&t, STR("AlwaysAllow"));
    pid_t pid = server_pid();
    buf_init(&b, 65536);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    CHECK_OK(fs_read(path, 65536, &b, &err), &err);
    CHECK(has(buf_str(&b), "Uid:\t65534\t65534\t65534\t65534\n"));
    CHECK(has(buf_str(&b), "Gid:\t65534\t65534\t65534\t65534\n"));
    CHECK(has(buf_str(&b), "Groups:\t \n"));
    CHECK(has(buf_str(&b), "CapEff:\t0000000000000000\n") && has(buf_str(&b), "CapPrm:\t0000000000000000\n"));
    CHECK(has(buf_str(&b), "NoNewPrivs:\t1\n"));
    for (int fd = 3; fd < 256; fd++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[MAX(n, (ssize_t)0)] = '\0';
        CHECK(n < 0 || str_starts(str_c(target), STR("socket:")) || str_starts(str_c(target), STR("anon_inode:")));
    }
    site_end(&t);
    close(opened);
}

/* ---- who may ---- */

TEST(nobody_without_credentials_gets_anything_from_the_kubelets_port)
{
    struct site t;
    struct str body;
    static const char *const paths[] = { "/pods", "/healthz", "/exec/ns/web/app?command=id&output=1", "/containerLogs/ns/web/app", "/metrics", "/nothing" };
    site_start(&t, STR("AlwaysAllow"));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CHECK_INT(get_as(&t, t.stranger, "GET", paths[i], &body), 401);
        CHECK_STR_C(body, "Unauthorized");
    }
    site_end(&t);
}

TEST(reading_is_no_right_to_run_however_the_path_is_written)
{
    struct site t;
    struct str body;
    static const char *const paths[] = { "/exec/ns/web/app?command=id&output=1", "/%65xec/ns/web/app?command=id&output=1", "/attach/ns/web/app?output=1", "/portForward/ns/web",
                                         "/ex%65c/ns/web/uid-1/app?command=id&output=1", "/port%46orward/ns/web" };
    site_start(&t, STR("Webhook"));
    t.allow = "\"verb\":\"get\"";
    CHECK_INT(get(&t, "/healthz", &body), 200);
    CHECK(strstr(t.reviewed, "\"user\":\"alice\"") && strstr(t.reviewed, "\"groups\":[\"devs\"") && strstr(t.reviewed, "\"resource\":\"nodes\"") &&
          strstr(t.reviewed, "\"name\":\"n1\""));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CHECK_INT(get(&t, paths[i], &body), 403);
        CHECK(has(body, "Forbidden (user=alice, verb=create, resource=nodes"));
    }
    CHECK_INT(get_as(&t, t.client, "POST", "/r%75n/ns/web/app?cmd=id", &body), 403);
    CHECK_STR_C(str_c(t.streamed), "");
    site_end(&t);
}

TEST(apiserver_that_refuses_to_judge_is_a_no)
{
    struct site t;
    struct str body;
    site_start(&t, STR("Webhook"));
    CHECK_INT(get(&t, "/pods", &body), 403);
    CHECK(has(body, "resource=nodes"));
    site_end(&t);
}

TEST(requests_that_wait_for_a_verdict_are_bounded)
{
    struct site t;
    static struct call calls[KUBELET_MAX_REQUESTS + 40];
    struct str body;
    size_t refused = 0;
    site_start(&t, STR("Webhook"));
    t.hold = true;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        call_start(&t, t.client, &calls[i], "GET", "/pods", false);
    }
    for (int i = 0; i < 250 && refused < 40; i++) {
        loop_turn(t.f.k.loop, 20);
        refused = 0;
        for (size_t j = 0; j < ARRAY_SIZE(calls); j++) {
            refused += calls[j].over && calls[j].status == 429;
        }
    }
    CHECK_INT(refused, 40);
    t.hold = false;
    for (size_t i = 0; i < t.n_held; i++) {
        on_review(t.held[i], STR("{}"), NULL, &t);
    }
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        call_wait(&calls[i]);
        CHECK(calls[i].status == 429 || calls[i].status == 403);
        call_end(&calls[i]);
    }
    t.allow = "\"verb\":\"get\"";
    CHECK_INT(get(&t, "/healthz", &body), 200); /* the places are free again */
    site_end(&t);
}

/* ---- what is there ---- */

TEST(paths_answer_as_the_kubelets_do)
{
    struct site t;
    struct str body;
    site_start(&t, STR("AlwaysAllow"));
    CHECK_INT(get(&t, "/healthz", &body), 200);
    CHECK_STR_C(body, "ok");
    CHECK_INT(get(&t, "/pods", &body), 200);
    CHECK(has(body, "\"kind\":\"PodList\"") && has(body, "\"name\":\"web\"") && has(body, "\"phase\":\"Running\""));
    CHECK_INT(get(&t, "/runningpods/", &body), 200);
    CHECK(has(body, "\"name\":\"web\""));
    CHECK_INT(get(&t, "/metrics", &body), 200);
    CHECK(has(body, "kubelet_running_pods"));
    CHECK_INT(get(&t, "/metrics/cadvisor", &body), 200);
    CHECK(has(body, "container_memory_working_set_bytes{container=\"app\",id=\"c1\"") && has(body, "pod=\"web\"} 5000") && has(body, "machine_cpu_cores"));
    CHECK(has(body, "container_cpu_usage_seconds_total{container=\"app\"") && has(body, "} 2.5\n"));
    CHECK_INT(get(&t, "/metrics/resource", &body), 200);
    CHECK(has(body, "container_cpu_usage_seconds_total{container=\"app\",namespace=\"ns\",pod=\"web\"} 2.5 "));
    CHECK(has(body, "container_start_time_seconds{container=\"app\"") && has(body, "\nresource_scrape_error 0\n"));
    CHECK_INT(get(&t, "/stats/summary", &body), 200);
    CHECK(has(body, "\"nodeName\":\"n1\"") && has(body, "\"workingSetBytes\":5000"));
    CHECK(has(body, "\"systemContainers\":[{\"name\":\"kubelet\"") && has(body, "\"rlimit\":{") && has(body, "\"ephemeral-storage\":{"));
    struct val summary;
    struct err err = { 0 };
    struct arena a;
    arena_init(&a, 1 << 20);
    CHECK_OK(val_parse_json(&a, body, JSON_DEPTH, NULL, &summary, &err), &err);
    arena_deinit(&a);
    CHECK_INT(get(&t, "/configz", &body), 200);
    CHECK(has(body, "\"kubeletconfig\""));
    CHECK_INT(get(&t, "/metrics/nothing", &body), 404);
    CHECK_INT(get(&t, "/nothing", &body), 404);
    CHECK_STR_C(body, "404 page not found");
    CHECK_INT(get(&t, "/logs/syslog", &body), 405);
    CHECK_INT(get_as(&t, t.client, "DELETE", "/pods", &body), 405);
    CHECK_INT(get(&t, "/a/../pods", &body), 400);
    site_end(&t);
}

TEST(many_large_answers_at_once_all_arrive)
{
    struct site t;
    static struct call calls[200];
    site_start(&t, STR("AlwaysAllow"));
    /* 20 KB inline in each message, far more than the socket between the processes holds. */
    t.pod->obj = NULL;
    char *yaml = malloc(32768);
    CHECK(yaml);
    int n = snprintf(yaml, 32768, "metadata:\n  name: big\n  namespace: ns\n  uid: uid-2\n  annotations: {x: '%020000d'}\nspec:\n  containers:\n  - {name: app, image: 'x:1'}\n", 1);
    CHECK(n > 20000 && n < 32768);
    fixture_pod(&t.f, yaml);
    free(yaml);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        call_start(&t, t.client, &calls[i], "GET", "/pods", false);
    }
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        call_wait(&calls[i]);
        CHECK_INT(calls[i].status, 200);
        CHECK(calls[i].body.len > 20000);
        call_end(&calls[i]);
    }
    site_end(&t);
}

/* ---- logs ---- */

#define AT "2026-11-24T10:00:0"

TEST(logs_are_read_with_their_options)
{
    struct site t;
    struct str body;
    site_start(&t, STR("AlwaysAllow"));
    write_log(&t, "0.log", AT "1Z stdout F one\n" AT "2Z stderr F two\n" AT "3Z stdout P thr\n" AT "3Z stdout F ee\n", false);
    CHECK_INT(get(&t, "/containerLogs/ns/web/app", &body), 200);
    CHECK_STR_C(body, "one\ntwo\nthree\n");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?tailLines=3&timestamps=true", &body), 200);
    CHECK_STR_C(body, AT "2Z two\n" AT "3Z three\n");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?tailLines=0", &body), 200);
    CHECK_STR_C(body, "");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?tailLines=99", &body), 200);
    CHECK_STR_C(body, "one\ntwo\nthree\n");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?limitBytes=5", &body), 200);
    CHECK_STR_C(body, "one\nt");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?stream=Stderr", &body), 200);
    CHECK_STR_C(body, "two\n");
    site_end(&t);
}

TEST(logs_that_cannot_be_had_say_why)
{
    struct site t;
    struct str body;
    site_start(&t, STR("AlwaysAllow"));
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?tailLines=x", &body), 400);
    CHECK_STR_C(body, "{\"message\": \"Unable to decode query.\"}");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?tailLines=-1", &body), 422);
    CHECK_STR_C(body, "{\"message\": \"Invalid request.\"}");
    CHECK_INT(get(&t, "/containerLogs/ns/other/app", &body), 404);
    CHECK_STR_C(body, "pod \"other\" does not exist");
    CHECK_INT(get(&t, "/containerLogs/ns/web/other", &body), 404);
    CHECK_STR_C(body, "container \"other\" not found in pod \"web\"");
    CHECK_INT(get(&t, "/containerLogs/ns/web/app?previous=true", &body), 400);
    CHECK_STR_C(body, "previous terminated container \"app\" in pod \"web\" not found");
    t.f.fake.no_image = true;
    fixture_pod(&t.f, "metadata: {name: slow, namespace: ns, uid: uid-3}\nspec:\n  containers:\n  - {name: app, image: 'y:1', imagePullPolicy: Never}\n");
    fixture_settle(&t.f);
    CHECK_INT(get(&t, "/containerLogs/ns/slow/app", &body), 400);
    CHECK_STR_C(body, "container \"app\" in pod \"slow\" is waiting to start: ErrImageNeverPull");
    site_end(&t);
}

static void wait_body(struct call *x, const char *want)
{
    for (int i = 0; i < 500 && !x->over && x->body.len < strlen(want); i++) {
        loop_turn(x->t->f.k.loop, 20);
    }
    CHECK_STR_C(str_n(x->body.ptr ? x->body.ptr : "", x->body.len), want);
}

TEST(follower_sees_what_comes_also_after_a_rotation_and_ends_with_the_container)
{
    struct site t;
    struct call x;
    char dir[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    site_start(&t, STR("AlwaysAllow"));
    write_log(&t, "0.log", AT "1Z stdout F one\n", false);
    call_start(&t, t.client, &x, "GET", "/containerLogs/ns/web/app?follow=true", false);
    wait_body(&x, "one\n");
    write_log(&t, "0.log", AT "2Z stdout P tw", true);
    write_log(&t, "0.log", "o\n" AT "2Z stdout F !\n", true);
    wait_body(&x, "one\ntwo!\n");
    pod_log_dir(t.pod, dir);
    snprintf(from, sizeof(from), "%.3000s/app/0.log", dir);
    snprintf(to, sizeof(to), "%.3000s/app/0.log.20261124-100003", dir);
    CHECK(rename(from, to) == 0);
    write_log(&t, "0.log.20261124-100003", AT "3Z stdout F late\n", true); /* before the runtime opens the new file */
    write_log(&t, "0.log", AT "4Z stdout F new\n", false);
    wait_body(&x, "one\ntwo!\nlate\nnew\n");
    CHECK(!x.over);
    write_log(&t, "0.log", AT "5Z stdout F last\n", true);
    t.f.cfg.sync_ms = 60000;
    fixture_exit(&t.f, t.pod, "app", 0);
    call_wait(&x);
    CHECK_STR_C(buf_str(&x.body), "one\ntwo!\nlate\nnew\nlast\n");
    call_end(&x);
    site_end(&t);
}

TEST(client_that_leaves_ends_its_log)
{
    struct site t;
    struct call x;
    struct str body;
    site_start(&t, STR("AlwaysAllow"));
    write_log(&t, "0.log", AT "1Z stdout F one\n", false);
    call_start(&t, t.client, &x, "GET", "/containerLogs/ns/web/app?follow=true", false);
    wait_body(&x, "one\n");
    call_end(&x);
    CHECK_INT(get(&t, "/healthz", &body), 200);
    site_end(&t);
}

/* ---- streams ---- */

static void check_stream(struct site *t, const char *method, const char *target)
{
    struct call x;
    t->streamed[0] = '\0';
    call_start(t, t->client, &x, method, target, true);
    call_wait(&x);
    CHECK_INT(x.status, 101);
    CHECK_STR_C(str_c(t->streamed), "/stream/token");
    net_stream_write_str(x.upgraded, STR("ping"));
    for (int i = 0; i < 250 && x.body.len < 4; i++) {
        loop_turn(t->f.k.loop, 20);
    }
    CHECK_STR_C(buf_str(&x.body), "ping");
    call_end(&x);
    for (int i = 0; i < 250 && t->echo; i++) {
        loop_turn(t->f.k.loop, 20);
    }
    CHECK(!t->echo); /* the end of one side is the end of the other */
}

TEST(exec_attach_and_port_forward_reach_the_runtimes_streams)
{
    struct site t;
    site_start(&t, STR("AlwaysAllow"));
    check_stream(&t, "POST", "/exec/ns/web/app?command=sh&command=-c&command=id&input=1&output=1&tty=1");
    CHECK_STR_C(str_c(t.f.fake.exec_asked), "c1 [sh][-c][id] in out tty");
    check_stream(&t, "GET", "/exec/ns/web/uid-1/app?command=id&output=1&error=1");
    CHECK_STR_C(str_c(t.f.fake.exec_asked), "c1 [id] out err");
    check_stream(&t, "POST", "/attach/ns/web/app?input=1&output=1");
    CHECK_STR_C(str_c(t.f.fake.exec_asked), "attach c1 in out");
    check_stream(&t, "POST", "/portForward/ns/web?port=80");
    CHECK_STR_C(str_c(t.f.fake.exec_asked), "forward s1 80");
    site_end(&t);
}

TEST(exec_that_cannot_be_says_why)
{
    struct site t;
    struct str body;
    site_start(&t, STR("AlwaysAllow"));
    CHECK_INT(get(&t, "/exec/ns/web/app?command=id&output=1", &body), 400);
    CHECK(has(body, "pgrade request required"));
    CHECK_INT(get(&t, "/exec/ns/web/app?command=id", &body), 400);
    CHECK_STR_C(body, "you must specify at least 1 of stdin, stdout, stderr");
    CHECK_INT(get(&t, "/exec/ns/web/other?command=id&output=1", &body), 404);
    CHECK_INT(get(&t, "/exec/ns/other/app?command=id&output=1", &body), 404);
    CHECK_STR_C(body, "pod does not exist");
    CHECK_INT(get(&t, "/exec/ns", &body), 400);
    /* A runtime that streams elsewhere is not followed. */
    snprintf(t.f.fake.stream_url, sizeof(t.f.fake.stream_url), "http://192.0.2.9:80/x");
    CHECK_INT(get(&t, "/exec/ns/web/app?command=id&output=1", &body), 500);
    CHECK(has(body, "not on this node"));
    site_end(&t);
}
