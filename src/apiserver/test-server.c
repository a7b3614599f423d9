#include "apiserver/test-server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "pki/key.h"

static void write_file(const char *path, struct str text)
{
    struct err err;
    CHECK_OK(fs_write_atomic(path, text, 0600, &err), &err);
}

void test_server_start(struct test_server *t)
{
    test_server_start_with(t, NULL, NULL);
}

void test_server_start_with(struct test_server *t, void (*adjust)(struct apiserver_config *cfg, void *arg), void *arg)
{
    static struct str modes[] = { STR_INIT("Node"), STR_INIT("RBAC") };
    static struct str key_files[1];
    struct apiserver_config cfg;
    struct err err;
    int pair[2];
    *t = (struct test_server){ .fd = -1 };
    buf_init(&t->in, 64u << 20);
    (void)snprintf(t->token_file, sizeof(t->token_file), "/tmp/c-apiserver-tokens-%d", (int)getpid());
    (void)snprintf(t->key_file, sizeof(t->key_file), "/tmp/c-apiserver-key-%d", (int)getpid());
    write_file(t->token_file, STR("admin,admin,admin-uid,\"system:masters\"\nalice,alice,2,\"devs\"\nbob,bob,3\n"));
    struct pki_key *key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK(key != NULL);
    CLEANUP(buf_deinit) struct buf pem;
    buf_init(&pem, 1u << 16);
    CHECK(pki_key_write_private(key, &pem));
    write_file(t->key_file, buf_str(&pem));
    pki_key_unref(key);
    apiserver_config_defaults(&cfg);
    cfg.token_auth_file = str_c(t->token_file);
    cfg.service_account_signing_key_file = str_c(t->key_file);
    key_files[0] = str_c(t->key_file);
    cfg.service_account_key_files = (struct flag_strings){ key_files, 1 };
    cfg.authorization_modes = (struct flag_strings){ modes, ARRAY_SIZE(modes) };
    cfg.service_cluster_ip_range = STR("10.96.0.0/16");
    cfg.enable_admission_plugins = STR("NodeRestriction");
    if (adjust) {
        adjust(&cfg, arg);
    }
    t->loop = loop_new(&err);
    CHECK(t->loop != NULL);
    t->server = apiserver_new(t->loop, &cfg, &err);
    if (!t->server) {
        printf("  %s\n", err.msg);
    }
    CHECK(t->server != NULL);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    t->fd = pair[0];
    apiserver_serve_fd(t->server, pair[1]);
    for (int i = 0; i < 5000 && !apiserver_is_ready(t->server); i++) {
        loop_turn(t->loop, 10);
    }
    CHECK(apiserver_is_ready(t->server));
}

void test_server_stop(struct test_server *t)
{
    (void)close(t->fd);
    t->server = apiserver_free(t->server);
    t->loop = loop_free(t->loop);
    (void)unlink(t->token_file);
    (void)unlink(t->key_file);
    buf_deinit(&t->in);
}

static bool send_all(struct test_server *t, struct str s)
{
    for (int idle = 0; s.len > 0 && idle < 3000;) {
        ssize_t n = send(t->fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n > 0) {
            s = str_sub(s, (size_t)n, s.len);
            idle = 0;
        } else if (n < 0 && errno != EAGAIN) {
            return false;
        }
        loop_turn(t->loop, 1);
        idle++;
    }
    return s.len == 0;
}

/* More bytes of the answer; false at the end of the connection or after ten seconds. */
static bool more(struct test_server *t)
{
    for (int i = 0; i < 2000; i++) {
        char *to = buf_reserve(&t->in, 65536);
        ssize_t n = to ? recv(t->fd, to, 65536, 0) : -1;
        if (n > 0) {
            buf_commit(&t->in, (size_t)n);
            return true;
        }
        if (n == 0 || errno != EAGAIN) {
            return false;
        }
        loop_turn(t->loop, 5);
    }
    return false;
}

struct str test_header(const struct test_answer *r, const char *name)
{
    struct str rest = r->headers, line, key, value;
    while (str_split(&rest, '\n', &line)) {
        if (str_cut(str_trim(line), ':', &key, &value) && str_eq_nocase(key, str_c(name))) {
            return str_trim(value);
        }
    }
    return STR_NULL;
}

/* Takes the chunks apart; false when more bytes are needed. */
static bool dechunk(struct str s, struct buf *out, size_t *ret_used)
{
    size_t at = 0;
    buf_clear(out);
    for (;;) {
        ptrdiff_t eol = str_find(str_sub(s, at, s.len), STR("\r\n"));
        if (eol < 0) {
            return false;
        }
        size_t len = (size_t)strtoul(s.ptr + at, NULL, 16);
        at += (size_t)eol + 2;
        if (s.len < at + len + 2) {
            return false;
        }
        buf_append(out, str_sub(s, at, len));
        at += len + 2;
        if (len == 0) {
            *ret_used = at;
            return true;
        }
    }
}

void test_reconnect(struct test_server *t)
{
    int pair[2];
    (void)close(t->fd);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    t->fd = pair[0];
    apiserver_serve_fd(t->server, pair[1]);
    buf_clear(&t->in);
}

struct test_answer test_request(struct test_server *t, struct arena *a, struct str method, struct str target, const char *token,
                                struct str headers, struct str body)
{
    CLEANUP(buf_deinit) struct buf req, plain;
    struct test_answer r = { 0 };
    buf_init(&req, 64u << 20);
    buf_init(&plain, 64u << 20);
    buf_printf(&req, "%.*s %.*s HTTP/1.1\r\nHost: test\r\nUser-Agent: golden/1.0\r\n", STR_ARG(method), STR_ARG(target));
    if (token) {
        buf_printf(&req, "Authorization: Bearer %s\r\n", token);
    }
    buf_append(&req, headers);
    if (body.len > 0 || str_eq_c(method, "POST") || str_eq_c(method, "PUT") || str_eq_c(method, "PATCH")) {
        buf_printf(&req, "Content-Length: %zu\r\n", body.len);
    }
    buf_append(&req, STR("\r\n"));
    buf_append(&req, body);
    buf_clear(&t->in);
    if (!send_all(t, buf_str(&req))) {
        /* The server may answer before it has read everything. */
    }
    ptrdiff_t end;
    while ((end = str_find(buf_str(&t->in), STR("\r\n\r\n"))) < 0) {
        if (!more(t)) {
            test_reconnect(t);
            return r;
        }
    }
    r.headers = arena_str(a, str_sub(buf_str(&t->in), 0, (size_t)end));
    r.status = (int)strtol(t->in.ptr + 9, NULL, 10);
    size_t at = (size_t)end + 4, used = 0;
    uint64_t length = 0;
    struct str cl = test_header(&r, "content-length");
    if (cl.ptr && str_to_u64(cl, &length)) {
        while (t->in.len < at + length && more(t)) {
        }
        r.body = arena_str(a, str_sub(buf_str(&t->in), at, (size_t)length));
    } else if (str_eq_c(test_header(&r, "transfer-encoding"), "chunked")) {
        while (!dechunk(str_sub(buf_str(&t->in), at, t->in.len), &plain, &used) && more(t)) {
        }
        r.body = arena_str(a, buf_str(&plain));
    }
    if (r.status == 413 || str_eq_nocase(test_header(&r, "connection"), STR("close"))) {
        test_reconnect(t);
    }
    return r;
}

struct str test_read(struct arena *a, const char *fmt, ...)
{
    char path[4096];
    struct err err;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    if (n < 0 || (size_t)n >= sizeof(path) || !fs_read(path, 64u << 20, &b, &err)) {
        return STR_NULL;
    }
    return arena_str(a, buf_str(&b));
}
