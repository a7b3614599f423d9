/*
 * The proxy verbs and the way to kubelets, against backends in Python (tests/lib/hostile-backend.py) that stand behind a CONNECT proxy
 * (tests/lib/http-connect-proxy.py): so pods and nodes have addresses of a cluster, and nothing of one is needed.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "apiserver/backend.h"
#include "apiserver/test-server.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/test.h"
#include "base/test-python.h"
#include "pki/cert.h"

#define POD "/api/v1/namespaces/default/pods/proxy/proxy"

struct fix {
    struct test_server t;
    struct arena a;
    char dir[64], socket[80], proxy_log[80], backend_log[80];
    pid_t proxy, backend;
    /* kubelets */
    char ca_file[80], client_file[80], client_key_file[80];
    bool no_ca, must_be_verified;
    uint32_t proxy_response_ms;
};

static void adjust(struct apiserver_config *cfg, void *arg)
{
    struct fix *f = arg;
    cfg->tunnel_socket = str_c(f->socket);
    cfg->proxy_response_ms = f->proxy_response_ms;
    if (f->ca_file[0]) {
        cfg->kubelet_certificate_authority = f->no_ca ? STR_EMPTY : str_c(f->ca_file);
        cfg->kubelet_must_be_verified = f->must_be_verified;
        cfg->kubelet_client_certificate = str_c(f->client_file);
        cfg->kubelet_client_key = str_c(f->client_key_file);
    }
}

static struct test_answer post(struct fix *f, const char *target, const char *json)
{
    struct test_answer r = test_request(&f->t, &f->a, STR("POST"), str_c(target), "admin", STR("Content-Type: application/json\r\n"), str_c(json));
    if (r.status != 201) {
        printf("  POST %s: %d %.*s\n", target, r.status, STR_ARG(r.body));
    }
    CHECK_INT(r.status, 201);
    return r;
}

static void patch_status(struct fix *f, const char *target, const char *json)
{
    struct test_answer r = test_request(&f->t, &f->a, STR("PATCH"), str_c(target), "admin",
                                        STR("Content-Type: application/merge-patch+json\r\n"), str_c(json));
    if (r.status != 200) {
        printf("  PATCH %s: %d %.*s\n", target, r.status, STR_ARG(r.body));
    }
    CHECK_INT(r.status, 200);
}

static void set_pod_ip(struct fix *f, const char *ip)
{
    char json[300];
    (void)snprintf(json, sizeof(json), "{\"status\":{\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}]}}", ip, ip);
    patch_status(f, "/api/v1/namespaces/default/pods/proxy/status", json);
}

/* Starts everything; 'cert' and 'key' NULL: the backend is plain. A pod "proxy", a service "web" and a node "node-1" lead to it. */
static void fix_start_as(struct fix *f, const char *cert, const char *key)
{
    char to[80], word[64];
    arena_init(&f->a, 512u << 20);
    (void)snprintf(f->socket, sizeof(f->socket), "%s/sock", f->dir);
    (void)snprintf(f->proxy_log, sizeof(f->proxy_log), "%s/proxy.log", f->dir);
    (void)snprintf(f->backend_log, sizeof(f->backend_log), "%s/backend.log", f->dir);
    f->backend = cert ? test_python_start("tests/lib/hostile-backend.py", word, "--log", f->backend_log, "--cert", cert, "--key", key,
                                          NULL)
                      : test_python_start("tests/lib/hostile-backend.py", word, "--log", f->backend_log, NULL);
    (void)snprintf(to, sizeof(to), "127.0.0.1:%s", word);
    f->proxy = test_python_start("tests/lib/http-connect-proxy.py", word, "--uds", f->socket, "--log", f->proxy_log, "--to", to, NULL);
    test_server_start_with(&f->t, adjust, f);
    (void)post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}");
    (void)post(f, "/api/v1/namespaces/default/pods",
         "{\"metadata\":{\"name\":\"proxy\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeName\":\"node-1\",\"containers\":[{\"name\":\"c\",\"image\":\"x\","
         "\"ports\":[{\"name\":\"http\",\"containerPort\":8080},{\"name\":\"admin\",\"containerPort\":9090}]}]}}");
    set_pod_ip(f, "10.0.0.5");
    (void)post(f, "/api/v1/namespaces/default/services",
         "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080},"
         "{\"name\":\"admin\",\"port\":81,\"targetPort\":9090}]}}");
    (void)post(f, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
         "{\"metadata\":{\"name\":\"web-1\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"addressType\":\"IPv4\",\"endpoints\":["
         "{\"addresses\":[\"10.0.0.5\"],\"conditions\":{\"ready\":true}},{\"addresses\":[\"10.0.0.6\"],\"conditions\":{\"ready\":true}},"
         "{\"addresses\":[\"10.0.0.7\"],\"conditions\":{\"ready\":false}}],"
         "\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}]}");
    (void)post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"node-1\"}}");
    patch_status(f, "/api/v1/nodes/node-1/status",
                 "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.5\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":10250}}}}");
}

static void fix_dir(struct fix *f)
{
    *f = (struct fix){ .dir = "/tmp/coracle-test-proxy-XXXXXX" };
    CHECK(mkdtemp(f->dir));
}

static void fix_start(struct fix *f)
{
    fix_dir(f);
    fix_start_as(f, NULL, NULL);
}

static void fix_stop(struct fix *f)
{
    struct err err;
    test_server_stop(&f->t);
    test_python_stop(&f->proxy);
    test_python_stop(&f->backend);
    arena_deinit(&f->a);
    CHECK_OK(fs_remove_tree(f->dir, &err), &err);
}

static struct test_answer ask(struct fix *f, const char *method, const char *target, const char *headers, struct str body)
{
    return test_request(&f->t, &f->a, str_c(method), str_c(target), "admin", str_c(headers), body);
}

static struct test_answer get(struct fix *f, const char *target)
{
    return ask(f, "GET", target, "", STR_EMPTY);
}

static bool has(struct str s, const char *what)
{
    return str_find(s, str_c(what)) >= 0;
}

static struct str log_text(struct fix *f, const char *path)
{
    struct err err;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    return fs_read(path, 64u << 20, &b, &err) ? arena_str(&f->a, buf_str(&b)) : STR_EMPTY;
}

static void turn(struct fix *f, int ms)
{
    for (int i = 0; i < ms / 5; i++) {
        loop_turn(f->t.loop, 5);
    }
}

/* Sends bytes on the test's connection and collects what comes until 'until' is seen or 'ms' are over. */
static struct str raw(struct fix *f, const char *bytes, const char *until, int ms)
{
    CLEANUP(buf_deinit) struct buf in;
    buf_init(&in, 1u << 20);
    CHECK(send(f->t.fd, bytes, strlen(bytes), MSG_NOSIGNAL) == (ssize_t)strlen(bytes));
    for (int i = 0; i < ms / 5; i++) {
        char *to = buf_reserve(&in, 65536);
        ssize_t n = to ? recv(f->t.fd, to, 65536, 0) : -1;
        if (n > 0) {
            buf_commit(&in, (size_t)n);
        }
        if (until && str_find(buf_str(&in), str_c(until)) >= 0) {
            break;
        }
        loop_turn(f->t.loop, 5);
    }
    return arena_str(&f->a, buf_str(&in));
}

/* ---- what travels ---- */

TEST(proxied_path_query_and_headers_travel_as_they_came_without_credentials)
{
    struct fix f;
    fix_start(&f);
    struct test_answer r = ask(&f, "GET", POD "/a%2Fb/./c%20d/?x=%26&y=a+b&proxy", "X-Own: 1\r\nCookie: k=v\r\nConnection: X-Hop, keep-alive\r\n"
                               "X-Hop: secret\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic x\r\nX-Remote-User: root\r\n"
                               "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: gopher\r\n", STR_EMPTY);
    CHECK_INT(r.status, 200);
    CHECK(has(r.body, "\"target\": \"/a%2Fb/./c%20d/?x=%26&y=a+b&proxy\""));
    CHECK(has(r.body, "[\"Host\", \"test\"]") && has(r.body, "\"x-own\"") && has(r.body, "\"k=v\""));
    CHECK(has(r.body, "[\"x-forwarded-for\", \"192.0.2.1") && has(r.body, "[\"x-forwarded-uri\", \"" POD "/a%2Fb/./c%20d/\"]"));
    CHECK(has(r.body, "[\"x-forwarded-host\", \"test\"]") && has(r.body, "[\"x-forwarded-proto\", \"http\"]"));
    CHECK(!has(r.body, "evil") && !has(r.body, "gopher"));
    CHECK(!has(r.body, "secret") && !has(r.body, "uthorization") && !has(r.body, "admin") && !has(r.body, "x-remote-user"));
    CHECK(!has(r.body, "eep-Alive") && !has(r.body, "keep-alive"));
    CHECK(has(log_text(&f, f.proxy_log), "CONNECT 10.0.0.5:8080\n"));
    fix_stop(&f);
}

TEST(proxied_answers_lose_the_headers_of_the_hop)
{
    struct fix f;
    fix_start(&f);
    struct test_answer r = get(&f, POD "/hop");
    CHECK_INT(r.status, 200);
    CHECK_STR_C(r.body, "ok");
    CHECK(!has(r.headers, "secret") && !has(r.headers, "timeout=5") && !has(r.headers, "Basic") && !has(r.headers, "ccess-control") &&
          !has(r.headers, "ccess-Control"));
    CHECK_STR_C(test_header(&r, "x-end"), "kept");
    CHECK(has(r.headers, "a=1") && has(r.headers, "b=2"));
    r = get(&f, POD "/status?code=418");
    CHECK_INT(r.status, 418);
    CHECK_STR_C(r.body, "status body");
    fix_stop(&f);
}

TEST(proxied_redirects_are_rewritten_and_never_followed)
{
    static const char *const cases[][2] = {
        { "/login", POD "/login" },
        { "http://10.0.0.5:8080/a?b=c", POD "/a?b=c" },
        { "https://test/x/", POD "/x/" },
        { "//10.0.0.5:8080", POD "/" },
        { "relative", "relative" },
        { "http://169.254.169.254/latest/", "http://169.254.169.254/latest/" },
        { POD "/again", POD "/again" },
    };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char target[300];
        (void)snprintf(target, sizeof(target), POD "/redirect?to=%s", cases[i][0]);
        for (char *p = target + strlen(POD "/redirect?to="); *p; p++) {
            *p = *p == '?' || *p == '&' ? '\1' : *p;
        }
        char escaped[400];
        size_t n = 0;
        for (const char *p = target; *p; p++) {
            n += (size_t)snprintf(escaped + n, sizeof(escaped) - n, *p == '\1' ? "%%3F" : "%c", *p);
        }
        struct test_answer r = get(&f, escaped);
        CHECK_INT(r.status, 302);
        CHECK_STR_C(test_header(&r, "location"), cases[i][1]);
    }
    CHECK(!has(log_text(&f, f.proxy_log), "169.254"));
    struct test_answer r = get(&f, POD "?a=b");
    CHECK_INT(r.status, 301);
    CHECK_STR_C(test_header(&r, "location"), POD "/?a=b");
    r = ask(&f, "POST", POD, "", STR("x"));
    CHECK_INT(r.status, 200);
    CHECK(has(r.body, "\"target\": \"/\""));
    fix_stop(&f);
}

TEST(proxied_methods_and_bodies_all_pass)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        char want[40];
        struct test_answer r = ask(&f, methods[i], POD "/m", "", i == 0 || i == 5 ? STR_EMPTY : STR("the body"));
        (void)snprintf(want, sizeof(want), "\"method\": \"%s\"", methods[i]);
        CHECK_INT(r.status, 200);
        CHECK(has(r.body, want));
        CHECK(has(r.body, "the body") == (i >= 1 && i <= 4));
    }
    size_t n = 6u << 20;
    char *big = malloc(n);
    memset(big, 'x', n);
    struct test_answer r = ask(&f, "POST", POD "/count-body", "", str_n(big, n));
    CHECK_STR_C(r.body, "6291456");
    r = ask(&f, "POST", POD "/slow-read", "", str_n(big, 1u << 20));
    CHECK_STR_C(r.body, "1048576");
    r = ask(&f, "POST", POD "/count-body", "Transfer-Encoding: chunked\r\n", STR_EMPTY);
    free(big);
    r = get(&f, POD "/big?n=3000000");
    CHECK_INT(r.body.len, 3000000);
    fix_stop(&f);
}

TEST(proxy_names_take_ports_by_number_and_by_name)
{
    static const struct {
        const char *target;
        int status;
        const char *dialled, *words;
    } cases[] = {
        { "/api/v1/namespaces/default/pods/proxy:9090/proxy/x", 200, "10.0.0.5:9090", NULL },
        { "/api/v1/namespaces/default/pods/proxy:admin/proxy/x", 200, "10.0.0.5:9090", NULL },
        { "/api/v1/namespaces/default/pods/http:proxy:http/proxy/x", 200, "10.0.0.5:8080", NULL },
        { "/api/v1/namespaces/default/pods/proxy:none/proxy/x", 400, NULL, "no port \\\"none\\\" found" },
        { "/api/v1/namespaces/default/pods/proxy:0/proxy/x", 400, NULL, "no port" },
        { "/api/v1/namespaces/default/pods/ftp:proxy:80/proxy/x", 400, NULL, "invalid pod request" },
        { "/api/v1/namespaces/default/pods/gone/proxy/x", 404, NULL, "not found" },
        { "/api/v1/namespaces/default/services/web:http/proxy/x", 200, "10.0.0.", NULL },
        { "/api/v1/namespaces/default/services/web:80/proxy/x", 200, "10.0.0.", NULL },
        { "/api/v1/namespaces/default/services/web:81/proxy/x", 503, NULL, "no endpoints available for service \\\"web\\\"" },
        { "/api/v1/namespaces/default/services/web:82/proxy/x", 503, NULL, "no service port 82 found for service \\\"web\\\"" },
        { "/api/v1/namespaces/default/services/web:zz/proxy/x", 503, NULL, "no service port \\\"zz\\\" found" },
        { "/api/v1/nodes/node-1:9100/proxy/metrics", 200, "10.0.0.5:9100", NULL },
        { "/api/v1/nodes/node-1:x/proxy/metrics", 400, NULL, "invalid node request" },
        { "/api/v1/nodes/node-9/proxy/metrics", 404, NULL, "not found" },
    };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        (void)unlink(f.proxy_log);
        struct test_answer r = get(&f, cases[i].target);
        if (r.status != cases[i].status || (cases[i].words && !has(r.body, cases[i].words))) {
            printf("  %s: %d %.*s\n", cases[i].target, r.status, STR_ARG(r.body));
        }
        CHECK_INT(r.status, cases[i].status);
        CHECK(!cases[i].words || has(r.body, cases[i].words));
        struct str log = log_text(&f, f.proxy_log);
        CHECK(cases[i].dialled == NULL ? log.len == 0 : log.len == 0 || has(log, cases[i].dialled));
    }
    set_pod_ip(&f, "fd00::5");
    (void)unlink(f.proxy_log);
    CHECK_INT(get(&f, POD "/x").status, 200);
    CHECK(has(log_text(&f, f.proxy_log), "CONNECT [fd00::5]:8080\n"));
    struct test_answer moved = get(&f, POD "/redirect?to=http://[fd00::5]:8080/in");
    CHECK_STR_C(test_header(&moved, "location"), POD "/in");
    /* Ready endpoints alone, and all of them in turn. */
    (void)unlink(f.proxy_log);
    test_python_stop(&f.proxy);
    char word[64];
    f.proxy = test_python_start("tests/lib/http-connect-proxy.py", word, "--uds", f.socket, "--log", f.proxy_log, "--mode", "refuse", NULL);
    for (int i = 0; i < 40; i++) {
        CHECK_INT(get(&f, "/api/v1/namespaces/default/services/web:http/proxy/x").status, 503);
    }
    struct str log = log_text(&f, f.proxy_log);
    CHECK(has(log, "10.0.0.5:8080") && has(log, "10.0.0.6:8080") && !has(log, "10.0.0.7"));
    fix_stop(&f);
}

/* ---- where it may lead (CVE-2020-8555, CVE-2020-8562, CVE-2022-3294) ---- */

TEST(proxy_never_dials_addresses_of_this_host_or_of_the_link)
{
    static const char *const ips[] = { "127.0.0.1", "127.1.2.3", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::",
                                       "fe80::1", "ff02::1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "64:ff9b::7f00:1",
                                       "64:ff9b::a9fe:a9fe" };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
        char json[300];
        set_pod_ip(&f, ips[i]);
        (void)snprintf(json, sizeof(json), "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"%s\"}]}}", ips[i]);
        patch_status(&f, "/api/v1/nodes/node-1/status", json);
        static const char *const targets[] = { POD "/x", "/api/v1/nodes/node-1/proxy/pods", "/api/v1/nodes/node-1:80/proxy/x",
                                               "/api/v1/nodes/https:node-1:443/proxy/x" };
        for (size_t k = 0; k < ARRAY_SIZE(targets); k++) {
            struct test_answer r = get(&f, targets[k]);
            if (r.status != 400) {
                printf("  %s %s: %d %.*s\n", ips[i], targets[k], r.status, STR_ARG(r.body));
            }
            CHECK_INT(r.status, 400);
            CHECK(has(r.body, "address not allowed"));
        }
    }
    /* Names that mean the far end's own host, or that a resolver takes for an address. */
    static const char *const names[] = { "localhost", "LOCALHOST.", "a.localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char json[300];
        (void)snprintf(json, sizeof(json), "{\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"%s\"}]}}", names[i]);
        patch_status(&f, "/api/v1/nodes/node-1/status", json);
        CHECK_INT(get(&f, "/api/v1/nodes/node-1/proxy/pods").status, 400);
        CHECK_INT(get(&f, "/api/v1/nodes/node-1:80/proxy/x").status, 400);
        CHECK_INT(get(&f, "/api/v1/namespaces/default/pods/proxy/log").status, 400);
    }
    CHECK(!has(log_text(&f, f.proxy_log), "CONNECT"));
    fix_stop(&f);
}

TEST(proxy_without_its_tunnel_answers_503_and_goes_no_other_way)
{
    struct fix f;
    fix_start(&f);
    test_python_stop(&f.proxy);
    (void)unlink(f.socket);
    static const char *const targets[] = { POD "/x", "/api/v1/nodes/node-1/proxy/pods", "/api/v1/namespaces/default/services/web:http/proxy/",
                                           "/api/v1/namespaces/default/pods/proxy/log" };
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct test_answer r = get(&f, targets[i]);
        CHECK_INT(r.status, 503);
        CHECK(has(r.body, "the tunnel process at unix:") && has(r.body, "cannot be reached"));
    }
    fix_stop(&f);
}

/* ---- backends that lie ---- */

TEST(lying_backends_are_bounded_and_nothing_else_suffers)
{
    static const struct {
        const char *path;
        int status;
        const char *words;
    } cases[] = {
        { "/lie-101", 503, "switched protocols without being asked" },
        { "/endless-headers", 503, "error trying to reach service" },
        { "/giant-header", 503, "error trying to reach service" },
        { "/many-headers", 503, "too many headers" },
        { "/reset", 200, NULL },
    };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char target[100];
        (void)snprintf(target, sizeof(target), POD "%s", cases[i].path);
        uint64_t before = clock_mono_ms();
        struct test_answer r = get(&f, target);
        if (r.status != cases[i].status) {
            printf("  %s: %d %.*s\n", cases[i].path, r.status, STR_ARG(r.body));
        }
        CHECK_INT(r.status, cases[i].status);
        CHECK(!cases[i].words || has(r.body, cases[i].words));
        CHECK(clock_mono_ms() - before < 8000);
        if (r.status == 200) {
            CHECK(r.body.len < 1000); /* broken off, and the connection with it */
            test_reconnect(&f.t);
        }
        CHECK_INT(get(&f, POD "/fine").status, 200);
    }
    /* An endless body for a client that does not read: the backend is not read either. */
    (void)raw(&f, "GET " POD "/endless-body HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\n\r\n", "200 OK", 3000);
    turn(&f, 1500);
    (void)close(f.t.fd);
    f.t.fd = -1;
    for (int i = 0; i < 400 && !has(log_text(&f, f.backend_log), "SENT"); i++) {
        turn(&f, 10);
    }
    struct str log = log_text(&f, f.backend_log);
    ptrdiff_t at = str_find(log, STR("SENT "));
    CHECK(at >= 0);
    CHECK(strtoul(log.ptr + at + 5, NULL, 10) < 24u << 20);
    test_reconnect(&f.t);
    /* A header that drips: the client leaves, and the backend loses its connection. */
    (void)raw(&f, "GET " POD "/drip HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\n\r\n", NULL, 300);
    test_reconnect(&f.t);
    CHECK_INT(get(&f, POD "/fine").status, 200);
    fix_stop(&f);
}

/* A long poll may wait minutes, and a backend that says nothing, or an endless header drop by drop, not for ever. */
TEST(proxied_backend_has_a_time_for_its_headers)
{
    static const char *const slow[] = { POD "/drip", POD "/silent", POD "/endless-100" };
    struct fix f;
    fix_dir(&f);
    f.proxy_response_ms = 700;
    fix_start_as(&f, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
        uint64_t before = clock_mono_ms();
        struct test_answer r = get(&f, slow[i]);
        uint64_t took = clock_mono_ms() - before;
        if (r.status != 504 && r.status != 503) {
            printf("  %s: %d %.*s\n", slow[i], r.status, STR_ARG(r.body));
        }
        CHECK(r.status == 504 || r.status == 503);
        CHECK(took < 5000 && (i == 2 || took >= 600));
    }
    CHECK_INT(get(&f, POD "/fine").status, 200);
    fix_stop(&f);
}

/* ---- upgrades ---- */

#define UPGRADE(path) \
    "GET " POD path " HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: session=1\r\n\r\n"

TEST(upgrades_pass_through_the_proxy_with_cookies_and_without_tokens)
{
    struct fix f;
    fix_start(&f);
    struct str r = raw(&f, UPGRADE("/ws"), "\r\n\r\n", 5000);
    CHECK(str_starts(r, STR("HTTP/1.1 101 ")) && has(r, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") && has(r, "session=1"));
    CHECK(!has(log_text(&f, f.backend_log), "admin"));
    CHECK_STR_C(raw(&f, "any bytes", "any bytes", 3000), "any bytes");
    fix_stop(&f);
}

/* CVE-2018-1002105: after a refused upgrade the connection to the backend stayed joined to the client's, with our credentials. */
TEST(refused_upgrade_leaves_nothing_joined)
{
    static const char *const paths[] = { "/refuse", "/no-switch", "/switch-other" };
    struct fix f;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char request[600];
        (void)snprintf(request, sizeof(request),
                       "GET " POD "%s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", paths[i]);
        struct str r = raw(&f, request, "\r\n\r\n", 5000);
        CHECK(str_starts(r, i == 0 ? STR("HTTP/1.1 400 ") : i == 1 ? STR("HTTP/1.1 500 ") : STR("HTTP/1.1 503 ")));
        turn(&f, 50);
        /* The next request on the same connection is our own again: it has no credentials and gets no further. */
        r = raw(&f, "GET /runningpods/?smuggled HTTP/1.1\r\nHost: test\r\n\r\n", "\r\n\r\n", 2000);
        CHECK(r.len == 0 || str_starts(r, STR("HTTP/1.1 403 ")) || str_starts(r, STR("HTTP/1.1 404 ")) || str_starts(r, STR("HTTP/1.1 401 ")));
        turn(&f, 100);
        CHECK(!has(log_text(&f, f.backend_log), "LEAK") && !has(log_text(&f, f.backend_log), "smuggled"));
        test_reconnect(&f.t);
    }
    fix_stop(&f);
}

/* CVE-2020-8559, CVE-2018-1002102: a backend that answers an upgrade with a redirect sends nobody anywhere. */
TEST(redirect_of_an_upgrade_is_refused)
{
    struct fix f;
    fix_start(&f);
    struct str r = raw(&f, UPGRADE("/upgrade-redirect"), "status code", 5000);
    CHECK(str_starts(r, STR("HTTP/1.1 500 ")) && has(r, "invalid upgrade response: status code 302"));
    CHECK(!has(r, "169.254"));
    turn(&f, 100);
    CHECK(!has(log_text(&f, f.proxy_log), "169.254"));
    fix_stop(&f);
}

TEST(streams_through_a_node_or_pod_need_create_by_any_method)
{
    struct fix f;
    fix_start(&f);
    (void)post(&f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
         "{\"metadata\":{\"name\":\"reader\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes/proxy\",\"pods/exec\",\"pods/attach\","
         "\"pods/portforward\"],\"verbs\":[\"get\"]}]}");
    (void)post(&f, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
         "{\"metadata\":{\"name\":\"reader\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"reader\"},"
         "\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"bob\"}]}");
    turn(&f, 50);
    static const char *const streams[] = {
        "/api/v1/namespaces/default/pods/proxy/exec?command=id&stdout=1", "/api/v1/namespaces/default/pods/proxy/attach?stdout=1",
        "/api/v1/namespaces/default/pods/proxy/portforward", "/api/v1/nodes/node-1/proxy/exec/default/proxy/c?command=id",
        "/api/v1/nodes/node-1/proxy/healthz", "/api/v1/nodes/node-1/proxy//%65xec/default/proxy/c?command=id",
    };
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        char request[600];
        (void)snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer bob\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n", streams[i]);
        struct str r = raw(&f, request, "\r\n\r\n", 5000);
        CHECK(str_starts(r, STR("HTTP/1.1 403 ")));
        test_reconnect(&f.t);
    }
    static const char *const plain[] = { "/api/v1/nodes/node-1/proxy/exec/default/proxy/c?command=id", "/api/v1/nodes/node-1/proxy/run/a/b/c",
                                         "/api/v1/nodes/node-1/proxy/cri/exec/token" };
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        struct test_answer r = test_request(&f.t, &f.a, STR("GET"), str_c(plain[i]), "bob", STR_EMPTY, STR_EMPTY);
        CHECK_INT(r.status, 403);
        CHECK(has(r.body, "cannot create resource \\\"nodes/proxy\\\""));
    }
    struct test_answer r = test_request(&f.t, &f.a, STR("GET"), STR("/api/v1/nodes/node-1:9100/proxy/metrics"), "bob", STR_EMPTY, STR_EMPTY);
    CHECK_INT(r.status, 200);
    fix_stop(&f);
}

/* ---- kubelets: who is at the other end ---- */

static struct pki_key *new_key(void)
{
    struct err err;
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(k != NULL, &err);
    return k;
}

static void write_pems(const char *cert_path, const char *key_path, const struct pki_cert *cert, const struct pki_key *key)
{
    struct err err;
    CLEANUP(buf_deinit) struct buf pem;
    buf_init(&pem, 1u << 20);
    pki_cert_write_pem(cert, &pem);
    CHECK_OK(fs_write_atomic(cert_path, buf_str(&pem), 0600, &err), &err);
    buf_clear(&pem);
    CHECK(pki_key_write_private(key, &pem));
    CHECK_OK(!key_path || fs_write_atomic(key_path, buf_str(&pem), 0600, &err), &err);
}

struct forged {
    const char *what;
    const char *ip;
    bool other_ca, client_usage;
    bool no_ca, must_be_verified; /* --kubelet-certificate-authority is not given; --flag-defaults=secure */
    int64_t from, to; /* seconds from now */
    int status;
    const char *words;
};

/* CVE-2018-1002102, CVE-2020-8559: a kubelet that answers logs or exec with a redirect sends us, and our certificate, nowhere. Its
 * refusals are Statuses. */
static void kubelet_redirects(struct fix *f)
{
    static const struct {
        int status, want;
        const char *words;
    } cases[] = {
        { 302, 500, "attempted to redirect" }, { 307, 500, "attempted to redirect" }, { 400, 400, "\"reason\":\"BadRequest\"" },
        { 404, 404, "words of the kubelet" },  { 500, 500, "Internal error occurred: words of the kubelet" }, { 503, 503, "words of the kubelet" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char target[100];
        (void)snprintf(target, sizeof(target), "/api/v1/namespaces/default/pods/proxy/log?tailLines=%d", cases[i].status);
        struct test_answer r = get(f, target);
        CHECK_INT(r.status, cases[i].want);
        CHECK(has(r.body, cases[i].words) && has(r.body, "\"kind\":\"Status\""));
        CHECK(!has(r.headers, "ocation"));
    }
    struct str r = raw(f, "POST /api/v1/namespaces/default/pods/proxy/exec?command=id&stdout=1 HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\n"
                       "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n",
                       "status code", 5000);
    CHECK(str_starts(r, STR("HTTP/1.1 500 ")) && has(r, "invalid upgrade response: status code 302") && !has(r, "169.254"));
    (void)raw(f, "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", "\r\n\r\n", 1000);
    turn(f, 100);
    CHECK(!has(log_text(f, f->proxy_log), "169.254") && !has(log_text(f, f->backend_log), "LEAK"));
    test_reconnect(&f->t);
}

static void kubelet_case(const struct forged *c)
{
    struct fix f;
    struct err err;
    char cert_file[80], key_file[80];
    int64_t now = clock_real_s();
    struct str ip = str_c(c->ip);
    fix_dir(&f);
    f.no_ca = c->no_ca;
    f.must_be_verified = c->must_be_verified;
    (void)snprintf(f.ca_file, sizeof(f.ca_file), "%s/ca.crt", f.dir);
    (void)snprintf(f.client_file, sizeof(f.client_file), "%s/client.crt", f.dir);
    (void)snprintf(f.client_key_file, sizeof(f.client_key_file), "%s/client.key", f.dir);
    (void)snprintf(cert_file, sizeof(cert_file), "%s/kubelet.crt", f.dir);
    (void)snprintf(key_file, sizeof(key_file), "%s/kubelet.key", f.dir);
    CLEANUP(pki_key_unrefp) struct pki_key *ca_key = new_key();
    CLEANUP(pki_key_unrefp) struct pki_key *mallory_key = new_key();
    CLEANUP(pki_key_unrefp) struct pki_key *leaf_key = new_key();
    struct pki_cert_spec ca_spec = { .names = { .cn = STR("ca") }, .ca = true, .path_len = 0, .not_before = now - 7200, .not_after = now + 7200 };
    CLEANUP(pki_cert_unrefp) struct pki_cert *ca = pki_cert_self_sign(ca_key, &ca_spec, &err);
    CLEANUP(pki_cert_unrefp) struct pki_cert *mallory = pki_cert_self_sign(mallory_key, &ca_spec, &err);
    struct pki_cert_spec leaf = { .names = { .cn = STR("system:node:node-1"), .ips = &ip, .n_ips = 1 },
                                  .usages = PKI_USAGE_DIGITAL_SIGNATURE | (c->client_usage ? PKI_USAGE_CLIENT_AUTH : PKI_USAGE_SERVER_AUTH),
                                  .not_before = now + c->from, .not_after = now + c->to };
    struct pki_cert_spec client = { .names = { .cn = STR("kube-apiserver-kubelet-client") },
                                    .usages = PKI_USAGE_DIGITAL_SIGNATURE | PKI_USAGE_CLIENT_AUTH, .not_before = now - 300, .not_after = now + 3600 };
    CLEANUP(pki_cert_unrefp) struct pki_cert *cert =
        pki_cert_sign(c->other_ca ? mallory : ca, c->other_ca ? mallory_key : ca_key, leaf_key, &leaf, &err);
    CHECK_OK(cert != NULL, &err);
    CLEANUP(pki_cert_unrefp) struct pki_cert *client_cert = pki_cert_sign(ca, ca_key, leaf_key, &client, &err);
    write_pems(f.ca_file, NULL, ca, ca_key);
    write_pems(cert_file, key_file, cert, leaf_key);
    write_pems(f.client_file, f.client_key_file, client_cert, leaf_key);
    fix_start_as(&f, cert_file, key_file);
    static const char *const targets[] = { "/api/v1/nodes/node-1/proxy/pods?token=inner", "/api/v1/namespaces/default/pods/proxy/log",
                                           "/api/v1/nodes/https:node-1:9100/proxy/metrics" };
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct test_answer r = get(&f, targets[i]);
        if ((r.status == 200) != (c->status == 200) || (c->words && !has(r.body, c->words))) {
            printf("  %s: %s: %d %.*s\n", c->what, targets[i], r.status, STR_ARG(r.body));
        }
        CHECK((r.status == 200) == (c->status == 200));
        CHECK(!c->words || has(r.body, c->words));
    }
    if (c->status == 200) {
        kubelet_redirects(&f);
    }
    bool got_request = has(log_text(&f, f.backend_log), "inner") || has(log_text(&f, f.backend_log), "GET ");
    CHECK(got_request == (c->status == 200));
    /* Somebody asks for logs without verification, in so many words; a proxy of a pod is never verified, and shown no certificate. */
    CHECK_INT(get(&f, "/api/v1/namespaces/default/pods/proxy/log?insecureSkipTLSVerifyBackend=true").status, 200);
    CHECK_INT(get(&f, "/api/v1/namespaces/default/pods/https:proxy:8080/proxy/x").status, 200);
    fix_stop(&f);
}

TEST(kubelet_is_verified_by_ca_address_usage_and_time)
{
    static const struct forged cases[] = {
        { "the right one", "10.0.0.5", false, false, false, false, -300, 3600, 200, NULL },
        { "another node's", "10.0.0.6", false, false, false, false, -300, 3600, 503, "certificate is refused" },
        { "of another CA", "10.0.0.5", true, false, false, false, -300, 3600, 503, "certificate is refused" },
        { "a client's certificate", "10.0.0.5", false, true, false, false, -300, 3600, 503, "certificate is refused" },
        { "expired", "10.0.0.5", false, false, false, false, -3600, -60, 503, "certificate has expired" },
        { "anybody, without a CA, as documented", "10.0.0.6", true, false, true, false, -300, 3600, 200, NULL },
        { "anybody, without a CA, with secure defaults", "10.0.0.5", true, false, true, true, -300, 3600, 503, "cannot be verified" },
        { "not yet valid", "10.0.0.5", false, false, false, false, 1800, 3600, 503, "certificate is not yet valid" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        kubelet_case(&cases[i]);
    }
}

/* ---- Location on its own ---- */

TEST(location_that_leads_elsewhere_is_left_alone)
{
    struct arena a;
    arena_init(&a, 1u << 16);
    struct str p = STR("/p/proxy"), b = STR("10.0.0.5:80"), h = STR("api:6443");
    CHECK_STR_C(backend_location(&a, STR("http://other/x"), p, b, h), "http://other/x");
    CHECK_STR_C(backend_location(&a, STR("/x"), p, b, h), "/p/proxy/x");
    CHECK_STR_C(backend_location(&a, STR("https://api:6443/p/proxy/x"), p, b, h), "https://api:6443/p/proxy/x");
    CHECK_STR_C(backend_location(&a, STR("/p/proxyother"), p, b, h), "/p/proxy/p/proxyother");
    CHECK_STR_C(backend_location(&a, STR("http://10.0.0.5:80?q"), p, b, h), "/p/proxy/?q");
    CHECK_STR_C(backend_location(&a, STR("javascript:alert(1)"), p, b, h), "javascript:alert(1)");
    CHECK_STR_C(backend_location(&a, STR(""), p, b, h), "");
    arena_deinit(&a);
}
