#include "kubelet/test-kubelet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/decode-json.h"
#include "base/fs.h"
#include "client/client.h"
#include "kubelet/mounts.h"
#include "net/http-server.h"

/* ---- the apiserver ---- */

static void on_body(struct http_stream *s, struct str body, const struct err *err, void *arg)
{
    struct test_world *w = arg;
    const struct http_request *r = http_stream_request(s);
    const struct http_header type = { STR("content-type"), STR("application/json") };
    struct net_chunk chunk = net_chunk_static(STR("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"no such thing\",\"reason\":\"NotFound\",\"code\":404}"));
    int status = 404;
    for (size_t i = 0; i < w->n_routes && !err; i++) {
        struct test_route *t = &w->routes[i];
        if (str_eq_c(r->method, t->method) && str_eq_c(r->target, t->target)) {
            t->asked++;
            CHECK(str_to_cstr(body, t->body, sizeof(t->body)));
            status = t->status;
            if (t->json) {
                chunk = net_chunk_copy(str_c(t->json));
            }
            break;
        }
    }
    http_stream_reply(s, status, &type, 1, &chunk, 1);
    http_stream_release(s);
}

static void on_request(struct http_stream *s, void *arg)
{
    http_stream_collect_body(s, 1 << 20, on_body, arg);
}

static void serve(struct test_world *w)
{
    struct err err = { 0 };
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(addr);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 16) == 0 &&
          getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    const struct http_server_config cfg = { .on_request = on_request, .arg = w };
    w->server = http_server_new(w->k.loop, &cfg, &err);
    CHECK_OK(w->server && http_server_listen(w->server, fd, NULL, NULL, &err), &err);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(addr.sin_port));
    const struct client_config config = { .server = str_c(url) };
    const struct client_options options = { .user_agent = "test" };
    w->k.client = client_new(w->k.loop, &config, &options, &err);
    CHECK_OK(w->k.client, &err);
}

struct test_route *test_route(struct test_world *w, const char *method, const char *target, int status, const char *json)
{
    struct test_route *t = NULL;
    for (size_t i = 0; i < w->n_routes; i++) {
        if (strcmp(w->routes[i].method, method) == 0 && strcmp(w->routes[i].target, target) == 0) {
            t = &w->routes[i];
        }
    }
    if (!t) {
        CHECK(w->n_routes < TEST_ROUTES);
        t = &w->routes[w->n_routes++];
    }
    *t = (struct test_route){ .method = method, .target = target, .status = status, .json = json };
    return t;
}

/* ---- the world ---- */

void test_world_init(struct test_world *w, bool apiserver)
{
    struct err err = { 0 };
    memset(w, 0, sizeof(*w));
    w->k.cfg = &w->config;
    map_init(&w->k.pods);
    snprintf(w->k.root, sizeof(w->k.root), "/tmp/coracle-test-kubelet-XXXXXX");
    CHECK(mkdtemp(w->k.root) != NULL);
    snprintf(w->k.node_name, sizeof(w->k.node_name), "node-1");
    snprintf(w->k.node_ip, sizeof(w->k.node_ip), "192.0.2.7");
    w->k.pods_synced = true;
    w->k.cpu_milli = 2000;
    w->k.memory_bytes = 64 << 20;
    w->k.loop = loop_new(&err);
    CHECK_OK(w->k.loop, &err);
    if (apiserver) {
        serve(w);
    }
    w->k.objects = objects_new(&w->k);
}

void test_world_deinit(struct test_world *w)
{
    struct err err = { 0 };
    for (size_t i = 0; i < w->n_pods; i++) {
        struct pod *p = w->pods[i];
        for (size_t j = 0; j < p->n_containers; j++) {
            free(p->containers[j]);
        }
        free(p->containers);
        arena_deinit(&p->arena);
        free(p);
    }
    objects_free(w->k.objects);
    client_free(w->k.client);
    http_server_free(w->server);
    loop_free(w->k.loop);
    map_deinit(&w->k.pods);
    CHECK_OK(mounts_clear(w->k.root, &err) && fs_remove_tree(w->k.root, &err), &err);
}

void test_wait(struct test_world *w, const bool *done)
{
    for (int i = 0; i < 250 && !*done; i++) {
        loop_turn(w->k.loop, 20);
    }
    CHECK(*done);
}

static void add_container(struct pod *p, const struct core_v1_container *spec, enum container_kind kind, size_t index)
{
    struct pod_container *c = calloc(1, sizeof(*c));
    p->containers = realloc(p->containers, (p->n_containers + 1) * sizeof(struct pod_container *));
    CHECK(c && p->containers);
    *c = (struct pod_container){ .pod = p, .spec = spec, .kind = kind, .index = index };
    snprintf(c->name, sizeof(c->name), "%.*s", STR_ARG(spec->name));
    p->containers[p->n_containers++] = c;
}

struct pod *test_pod(struct test_world *w, const char *json)
{
    struct err err = { 0 };
    struct pod *p = calloc(1, sizeof(*p));
    CHECK(p && w->n_pods < ARRAY_SIZE(w->pods));
    w->pods[w->n_pods++] = p;
    p->k = &w->k;
    arena_init(&p->arena, KUBELET_MAX_POD_ARENA);
    struct core_v1_pod *obj = arena_new(&p->arena, struct core_v1_pod);
    const struct api_json_decode how = { 0 };
    CHECK_OK(api_decode_json(&p->arena, &core_v1_pod_type, arena_str(&p->arena, str_c(json)), &how, obj, &err), &err);
    p->obj = obj;
    snprintf(p->uid, sizeof(p->uid), "%.*s", STR_ARG(obj->metadata.uid));
    snprintf(p->ns, sizeof(p->ns), "%.*s", STR_ARG(obj->metadata.namespace));
    snprintf(p->name, sizeof(p->name), "%.*s", STR_ARG(obj->metadata.name));
    for (size_t i = 0; i < obj->spec.n_init_containers; i++) {
        add_container(p, &obj->spec.init_containers[i], CONTAINER_INIT, i);
    }
    for (size_t i = 0; i < obj->spec.n_containers; i++) {
        add_container(p, &obj->spec.containers[i], CONTAINER_MAIN, i);
    }
    return p;
}

/* ---- files ---- */

PRINTF_LIKE(3, 0) static void path_of(struct test_world *w, char path[PATH_MAX], const char *fmt, va_list ap)
{
    int n = snprintf(path, PATH_MAX, "%s/", w->k.root);
    vsnprintf(path + n, PATH_MAX - (size_t)n, fmt, ap);
}

struct str test_file(struct test_world *w, struct arena *a, const char *fmt, ...)
{
    char path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    va_list ap;
    va_start(ap, fmt);
    path_of(w, path, fmt, ap);
    va_end(ap);
    buf_init(&b, 1 << 20);
    return fs_read(path, 1 << 20, &b, NULL) ? arena_str(a, str_n(b.ptr ? b.ptr : "", b.len)) : STR_NULL;
}

int test_mode(struct test_world *w, const char *fmt, ...)
{
    char path[PATH_MAX];
    struct stat st;
    va_list ap;
    va_start(ap, fmt);
    path_of(w, path, fmt, ap);
    va_end(ap);
    return stat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

void test_write(struct test_world *w, const char *path, const char *content)
{
    char full[PATH_MAX];
    struct err err = { 0 };
    snprintf(full, sizeof(full), "%s/%s", w->k.root, path);
    CHECK_OK(fs_write_atomic(full, str_c(content), 0644, &err), &err);
}

void test_needs_mounts(void)
{
    static int may = -1;
    if (may < 0) {
        /* A mount namespace of the test's own: whatever happens, the machine's mounts stay as they are. */
        may = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    }
    if (!may) {
        test_skip("mounting needs root");
    }
}
