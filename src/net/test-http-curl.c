/* The server against programs of others: curl, nghttp and openssl. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "net/test-certs.h"
#include "net/test-server.h"

struct command {
    struct loop *loop;
    char out[1 << 16];
    size_t n;
    unsigned ended;
    int status;
};

static void on_output(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct command *c = arg;
    ssize_t r = read(io->fd, c->out + c->n, sizeof(c->out) - 1 - c->n);
    if (r <= 0) {
        loop_io_stop(io);
    } else {
        c->n += (size_t)r;
    }
}

static void on_ended(struct loop_child *child UNUSED, int status, void *arg)
{
    struct command *c = arg;
    c->status = status;
    c->ended = 1;
}

/* The folder of certificates of this run; other runs at the same time have their own. */
static char dir[64];

/* Runs a shell command while the loop turns; what it prints is returned. '$U' is the server's URL, '$D' a folder with ca.pem,
 * client.pem (with key), late.pem, mallory.pem. Skips the test when 'program' is not installed. */
static struct str run(struct test_server *t, const char *program, const char *command)
{
    static struct command c;
    char path[128], url[64], port[16];
    (void)snprintf(path, sizeof(path), "/usr/bin/%s", program);
    if (access(path, X_OK) < 0) {
        test_skip("%s is not installed", program);
    }
    if (!dir[0]) {
        const struct test_pki *pki = test_pki();
        const struct {
            const char *name;
            const struct test_cert *cert;
        } files[] = { { "ca", &pki->ca }, { "client", &pki->client }, { "late", &pki->expired_client },
                      { "mallory", &pki->foreign_client } };
        (void)snprintf(dir, sizeof(dir), "/tmp/coracle-test-net-XXXXXX");
        CHECK(mkdtemp(dir));
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
            (void)snprintf(path, sizeof(path), "%s/%s.pem", dir, files[i].name);
            FILE *f = fopen(path, "we");
            CHECK(f);
            (void)fprintf(f, "%s%s", files[i].cert->cert_pem, i ? files[i].cert->key_pem : "");
            (void)fclose(f);
        }
    }
    (void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u", t->tls ? "https" : "http", t->port);
    (void)snprintf(port, sizeof(port), "%u", t->port);
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], 1);
        (void)dup2(fds[1], 2);
        (void)setenv("U", url, 1);
        (void)setenv("P", port, 1);
        (void)setenv("D", dir, 1);
        (void)unsetenv("LD_PRELOAD");
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    c = (struct command){ .loop = t->loop };
    struct loop_child child;
    struct loop_io io;
    CHECK_INT(loop_child_start(&child, t->loop, pid, on_ended, &c), 0);
    loop_io_init(&io, t->loop, fds[0], on_output, &c);
    CHECK_INT(loop_io_set(&io, LOOP_READ), 0);
    test_turn(t->loop, &c.ended, 20000);
    if (!c.ended) {
        (void)loop_child_kill(&child, SIGKILL);
        test_turn(t->loop, &c.ended, 1000);
    }
    test_turn(t->loop, NULL, 10);
    loop_io_stop(&io);
    (void)close(fds[0]);
    return str_n(c.out, c.n);
}

static void remove_files(void)
{
    struct err err;
    if (dir[0] && !fs_remove_tree(dir, &err)) {
        printf("%s\n", err.msg);
    }
}

__attribute__((constructor)) static void at_end(void)
{
    (void)atexit(remove_files);
}

#define CURL "curl -sS --max-time 10 --cacert $D/ca.pem "

TEST(curl_speaks_http1_and_http2_over_tls)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    CHECK_STR_C(run(&t, "curl", CURL "--http1.1 $U/who"), "none - 0 11\n");
    CHECK_STR_C(run(&t, "curl", CURL "--http2 $U/who"), "none - 0 20\n");
    CHECK_STR_C(run(&t, "curl", CURL "--http2 -w '%{http_version} %{http_code}' $U/hello"), "hello\n2 200");
    CHECK_STR_C(run(&t, "curl", CURL "-H 'X-Test: yes' --http2 $U/headers"), "yes");
    CHECK_STR_C(run(&t, "curl", CURL "-d 0123456789 $U/echo"), "0123456789");
    CHECK_STR_C(run(&t, "curl", CURL "-d 0123456789 $U/collect"), "0123456789");
    CHECK_STR_C(run(&t, "curl", CURL "-I -o /dev/null -w '%{http_code} %{size_download}' $U/hello"), "200 0");
    CHECK_STR_C(run(&t, "curl", CURL "-o /dev/null -w '%{http_code}' $U/empty"), "204");
    test_server_stop(&t);
}

TEST(curl_speaks_http2_by_prior_knowledge)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    CHECK_STR_C(run(&t, "curl", "curl -sS --http2-prior-knowledge $U/who"), "none - 0 20\n");
    CHECK_STR_C(run(&t, "curl", "curl -sS $U/who"), "none - 0 11\n");
    test_server_stop(&t);
}

TEST(client_certificates_are_verified_and_bad_ones_reach_the_handler_with_the_reason)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    CHECK_STR_C(run(&t, "curl", CURL "--cert $D/client.pem $U/who"), "verified - 2 20\n");
    CHECK_STR_C(run(&t, "curl", CURL "--cert $D/client.pem --tls-max 1.2 --http1.1 $U/who"), "verified - 2 11\n");
    CHECK_STR_C(run(&t, "curl", CURL "--cert $D/late.pem $U/who"), "bad certificate has expired 2 20\n");
    CHECK_STR_C(run(&t, "curl", CURL "--cert $D/mallory.pem $U/who"), "bad unable to get local issuer certificate 1 20\n");
    test_server_stop(&t);
}

TEST(big_bodies_pass_whole_in_both_directions)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    static const char *const versions[] = { "--http1.1", "--http2" };
    for (int i = 0; i < 2; i++) {
        char cmd[400];
        (void)snprintf(cmd, sizeof(cmd), CURL "%s \"$U/big?n=30000000\" | wc -c", versions[i]);
        CHECK_STR_C(run(&t, "curl", cmd), "30000000\n");
        (void)snprintf(cmd, sizeof(cmd), CURL "%s \"$U/big?n=5000000&chunked=1\" | wc -c", versions[i]);
        CHECK_STR_C(run(&t, "curl", cmd), "5000000\n");
        (void)snprintf(cmd, sizeof(cmd), "head -c 8000000 /dev/zero | " CURL "%s -H Expect: -T - $U/echo | wc -c", versions[i]);
        CHECK_STR_C(run(&t, "curl", cmd), "8000000\n");
        (void)snprintf(cmd, sizeof(cmd), "head -c 2000000 /dev/zero > $D/zero; " CURL "%s --data-binary @$D/zero $U/slow-body",
                       versions[i]);
        CHECK_STR_C(run(&t, "curl", cmd), "2000000\n");
        (void)snprintf(cmd, sizeof(cmd), CURL "%s -o /dev/null -w '%%{http_code}' --data-binary @$D/zero $U/collect", versions[i]);
        CHECK_STR_C(run(&t, "curl", cmd), "413");
    }
    test_server_stop(&t);
}

TEST(openssl_sees_tls13_aes128_alpn_and_the_certificate_by_name)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct str got = run(&t, "openssl", "echo | timeout 5 openssl s_client -connect 127.0.0.1:$P -CAfile $D/ca.pem -alpn h2 2>&1");
    CHECK(str_find(got, STR("TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256")) >= 0);
    CHECK(str_find(got, STR("ALPN protocol: h2")) >= 0);
    CHECK(str_find(got, STR("Verify return code: 0 (ok)")) >= 0);
    CHECK(str_find(got, STR("CN = server")) >= 0);
    CHECK(str_find(got, STR("CN = test-ca")) >= 0); /* among the acceptable client CAs too */
    got = run(&t, "openssl",
              "echo | timeout 5 openssl s_client -connect 127.0.0.1:$P -CAfile $D/ca.pem -servername second.example 2>&1");
    CHECK(str_find(got, STR("CN = second")) >= 0);
    got = run(&t, "openssl", "echo | timeout 5 openssl s_client -connect 127.0.0.1:$P -tls1_1 2>&1");
    CHECK(str_find(got, STR("Cipher is (NONE)")) >= 0);
    got = run(&t, "openssl", "echo | timeout 5 openssl s_client -connect 127.0.0.1:$P -alpn foo 2>&1");
    CHECK(str_find(got, STR("no application protocol")) >= 0);
    test_server_stop(&t);
}

TEST(a_reloaded_certificate_serves_new_connections)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct err err;
    struct net_tls_server_config c = { .identity = test_identity(&test_pki()->server2), .alpn = NET_ALPN_H1 };
    struct net_tls_server_config bad = { .identity = { .cert_pem = STR("nonsense") } };
    CHECK_OK(net_tls_server_reload(t.tls, &c, &err), &err);
    CHECK(!net_tls_server_reload(t.tls, &bad, &err));
    struct str got = run(&t, "openssl", "echo | timeout 5 openssl s_client -connect 127.0.0.1:$P -alpn h2,http/1.1 2>&1");
    CHECK(str_find(got, STR("CN = second")) >= 0);
    CHECK(str_find(got, STR("ALPN protocol: http/1.1")) >= 0);
    test_server_stop(&t);
}

TEST(nghttp_sees_trailers_and_many_streams)
{
    struct test_server t;
    test_server_start(&t, &(struct test_server_config){ .tls = true, .listen = true });
    struct str got = run(&t, "nghttp", "timeout 10 nghttp -nv $U/trailers 2>&1");
    CHECK(str_find(got, STR("x-sum: 42")) >= 0);
    got = run(&t, "h2load", "timeout 20 h2load -n 2000 -c 4 -m 50 $U/hello 2>&1");
    CHECK(str_find(got, STR("2000 succeeded, 0 failed")) >= 0);
    test_server_stop(&t);
}
