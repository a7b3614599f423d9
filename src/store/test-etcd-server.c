#include "store/test-etcd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/test.h"
#include "net/addr.h"
#include "net/test-certs.h"

struct member {
    pid_t pid;
    uint16_t client_port, peer_port;
    char url[64];
};

struct test_etcd {
    char dir[64], ca[96], cert[96], key[96], client_cert[96], client_key[96];
    char cluster[400];
    uint64_t quota;
    unsigned n;
    struct member members[TEST_ETCD_MAX];
};

static uint16_t free_port(void)
{
    struct net_addr a;
    struct err err;
    CHECK(net_addr_parse_ip(STR("127.0.0.1"), 0, &a));
    int fd = net_listen(&a, 0, &err);
    CHECK_OK(fd >= 0, &err);
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    CHECK(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    close(fd);
    return ntohs(in.sin_port);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs(text, f);
    CHECK(fclose(f) == 0);
}

static void start_member(struct test_etcd *e, unsigned i)
{
    struct member *m = &e->members[i];
    char args[32][420];
    char *argv[33];
    int n = 0;
    snprintf(args[n++], sizeof(args[0]), "etcd");
    snprintf(args[n++], sizeof(args[0]), "--name=m%u", i);
    snprintf(args[n++], sizeof(args[0]), "--data-dir=%s/m%u", e->dir, i);
    snprintf(args[n++], sizeof(args[0]), "--listen-client-urls=%s", m->url);
    snprintf(args[n++], sizeof(args[0]), "--advertise-client-urls=%s", m->url);
    snprintf(args[n++], sizeof(args[0]), "--listen-peer-urls=http://127.0.0.1:%u", m->peer_port);
    snprintf(args[n++], sizeof(args[0]), "--initial-advertise-peer-urls=http://127.0.0.1:%u", m->peer_port);
    snprintf(args[n++], sizeof(args[0]), "--initial-cluster=%s", e->cluster);
    snprintf(args[n++], sizeof(args[0]), "--cert-file=%s", e->cert);
    snprintf(args[n++], sizeof(args[0]), "--key-file=%s", e->key);
    snprintf(args[n++], sizeof(args[0]), "--trusted-ca-file=%s", e->ca);
    snprintf(args[n++], sizeof(args[0]), "--client-cert-auth=true");
    snprintf(args[n++], sizeof(args[0]), "--max-request-bytes=10485760");
    snprintf(args[n++], sizeof(args[0]), "--quota-backend-bytes=%llu", (unsigned long long)e->quota);
    snprintf(args[n++], sizeof(args[0]), "--logger=zap");
    for (int k = 0; k < n; k++) {
        argv[k] = args[k];
    }
    argv[n] = NULL;
    fflush(NULL);
    m->pid = fork();
    CHECK(m->pid >= 0);
    if (m->pid == 0) {
        char log[128];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(log, sizeof(log), "%s/m%u.log", e->dir, i);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        setenv("ETCD_UNSUPPORTED_ARCH", "arm64", 1);
        execvp("etcd", argv);
        _exit(127);
    }
}

static void wait_member(struct test_etcd *e, unsigned i)
{
    uint64_t end = clock_mono_ms() + 20000;
    for (;;) {
        const char *said = test_etcdctl(e, "--command-timeout=1s --endpoints=%s endpoint health 2>&1", e->members[i].url);
        if (strstr(said, "is healthy")) {
            return;
        }
        CHECK(clock_mono_ms() < end);
        usleep(100000);
    }
}

struct test_etcd *test_etcd_start(unsigned n, uint64_t quota)
{
    if (system("command -v etcd >/dev/null && command -v etcdctl >/dev/null") != 0) {
        test_skip("etcd is not installed");
    }
    struct test_etcd *e = calloc(1, sizeof(*e));
    CHECK(e && n >= 1 && n <= TEST_ETCD_MAX);
    e->n = n;
    e->quota = quota;
    snprintf(e->dir, sizeof(e->dir), "/tmp/c-etcd-test-XXXXXX");
    CHECK(mkdtemp(e->dir));
    snprintf(e->ca, sizeof(e->ca), "%s/ca.crt", e->dir);
    snprintf(e->cert, sizeof(e->cert), "%s/server.crt", e->dir);
    snprintf(e->key, sizeof(e->key), "%s/server.key", e->dir);
    snprintf(e->client_cert, sizeof(e->client_cert), "%s/client.crt", e->dir);
    snprintf(e->client_key, sizeof(e->client_key), "%s/client.key", e->dir);
    const struct test_pki *pki = test_pki();
    write_file(e->ca, pki->ca.cert_pem);
    write_file(e->cert, pki->server.cert_pem);
    write_file(e->key, pki->server.key_pem);
    write_file(e->client_cert, pki->client.cert_pem);
    write_file(e->client_key, pki->client.key_pem);
    for (unsigned i = 0; i < n; i++) {
        struct member *m = &e->members[i];
        m->client_port = free_port();
        m->peer_port = free_port();
        snprintf(m->url, sizeof(m->url), "https://127.0.0.1:%u", m->client_port);
        size_t at = strlen(e->cluster);
        snprintf(e->cluster + at, sizeof(e->cluster) - at, "%sm%u=http://127.0.0.1:%u", i ? "," : "", i, m->peer_port);
    }
    for (unsigned i = 0; i < n; i++) {
        start_member(e, i);
    }
    for (unsigned i = 0; i < n; i++) {
        wait_member(e, i);
    }
    return e;
}

void test_etcd_signal(struct test_etcd *e, unsigned i, int signo)
{
    CHECK(kill(e->members[i].pid, signo) == 0);
    if (signo == SIGKILL || signo == SIGTERM) {
        CHECK(waitpid(e->members[i].pid, NULL, 0) == e->members[i].pid);
        e->members[i].pid = 0;
    }
}

void test_etcd_again(struct test_etcd *e, unsigned i)
{
    start_member(e, i);
    wait_member(e, i);
}

struct test_etcd *test_etcd_stop(struct test_etcd *e)
{
    for (unsigned i = 0; i < e->n; i++) {
        if (e->members[i].pid) {
            test_etcd_signal(e, i, SIGKILL);
        }
    }
    (void)!fs_remove_tree(e->dir, NULL);
    free(e);
    return NULL;
}

static struct test_etcd *shared;

static void stop_shared(void)
{
    shared = test_etcd_stop(shared);
}

struct test_etcd *test_etcd_shared(void)
{
    if (!shared) {
        shared = test_etcd_start(1, 0);
        atexit(stop_shared);
    }
    return shared;
}

size_t test_etcd_servers(const struct test_etcd *e, struct str servers[TEST_ETCD_MAX])
{
    for (unsigned i = 0; i < e->n; i++) {
        servers[i] = str_c(e->members[i].url);
    }
    return e->n;
}

void test_etcd_files(const struct test_etcd *e, struct store_etcd_config *c)
{
    c->ca_file = str_c(e->ca);
    c->cert_file = str_c(e->client_cert);
    c->key_file = str_c(e->client_key);
}

const char *test_etcdctl(struct test_etcd *e, const char *fmt, ...)
{
    static char out[16384];
    char args[2048], cmd[3000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(args, sizeof(args), fmt, ap);
    va_end(ap);
    snprintf(cmd, sizeof(cmd), "ETCDCTL_API=3 timeout 10 etcdctl --cacert=%s --cert=%s --key=%s %s%s %s", e->ca, e->client_cert,
             e->client_key, strstr(args, "--endpoints") ? "" : "--endpoints=", strstr(args, "--endpoints") ? "" : e->members[0].url, args);
    FILE *f = popen(cmd, "r");
    CHECK(f);
    size_t n = fread(out, 1, sizeof(out) - 1, f);
    out[n] = '\0';
    pclose(f);
    while (n && out[n - 1] == '\n') {
        out[--n] = '\0';
    }
    return out;
}

static int leader(struct test_etcd *e)
{
    for (unsigned i = 0; i < e->n; i++) {
        if (e->members[i].pid && strstr(test_etcdctl(e, "--endpoints=%s endpoint status", e->members[i].url), "true, false")) {
            return (int)i;
        }
    }
    return -1;
}

void test_etcd_lead(struct test_etcd *e, unsigned member)
{
    for (int tries = 0; tries < 20; tries++) {
        int now = leader(e);
        if (now == (int)member) {
            return;
        }
        if (now >= 0) {
            /* "https://…, 8e9e05c52164694d, 3.4.23, …" */
            char id[32];
            const char *at = strchr(test_etcdctl(e, "--endpoints=%s endpoint status", e->members[member].url), ',');
            CHECK(at);
            snprintf(id, sizeof(id), "%.*s", (int)strcspn(at + 2, ","), at + 2);
            test_etcdctl(e, "--endpoints=%s move-leader %s 2>&1", e->members[now].url, id);
        }
        usleep(200000);
    }
    CHECK(!"the leader could not be moved");
}
