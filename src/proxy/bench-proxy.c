/*
 * What Services cost. nftables mode: the whole table and one change of it at several numbers of Services with ten endpoints each, the
 * memory for that, and how long a connection takes to be made through it. Userspace mode: the same for a connection and its first byte,
 * bytes a second, CPU, and memory for a thousand connections. In network namespaces of our own; needs the rights for them.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fs.h"
#include "nft/socket.h"
#include "proxy/netns.h"
#include "proxy/userspace.h"

#define N_ENDPOINTS 10
#define CHANGES 200
#define CONNECTIONS 500
#define HELD 1000
#define BULK (512u << 20)

struct bench {
    struct netns ns;
    struct engine *engine;
    struct nft_socket *nl;
    struct arena a;
    struct discovery_v1_endpoint endpoints[N_ENDPOINTS];
    struct str addresses[N_ENDPOINTS];
};

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static double since_ms(uint64_t begin)
{
    return (double)(clock_mono_ns() - begin) / 1e6;
}

static double cpu_ms(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* The CPU between two moments, by whom. */
static void print_cpu(const char *what, const struct rusage *from, const struct rusage *to, double parts)
{
    double user = (double)(to->ru_utime.tv_sec - from->ru_utime.tv_sec) * 1e3 + (double)(to->ru_utime.tv_usec - from->ru_utime.tv_usec) / 1e3,
           kernel = (double)(to->ru_stime.tv_sec - from->ru_stime.tv_sec) * 1e3 + (double)(to->ru_stime.tv_usec - from->ru_stime.tv_usec) / 1e3;
    printf("  CPU of %s: %.2f ms ours, %.2f ms the kernel's\n", what, user / parts, kernel / parts);
}

/* The resident memory of a process, in MB. */
static double resident(pid_t pid)
{
    char path[64];
    struct buf b;
    struct err err;
    struct str line;
    double mb = 0;
    unsigned long kb;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    buf_init(&b, 1 << 16);
    if (fs_read(path, 1 << 16, &b, &err)) {
        struct str rest = buf_str(&b);
        while (rest.len && str_split(&rest, '\n', &line)) {
            if (str_starts(line, STR("VmRSS:"))) {
                char text[100];
                if (str_to_cstr(line, text, sizeof(text)) && sscanf(text, "VmRSS: %lu", &kb) == 1) {
                    mb = (double)kb / 1024;
                }
            }
        }
    }
    buf_deinit(&b);
    return mb;
}

/* Service number 'i', with endpoints that exist on paper; or (SIZE_MAX) the one of an endpoint that answers, 10.96.0.10. */
static void set(struct bench *b, size_t i, size_t n_endpoints)
{
    struct core_v1_service_port port = { .protocol = STR("TCP"), .port = 80 };
    struct discovery_v1_endpoint_port slice_port = { .protocol = STR("TCP"), .port = 8080, .has_port = true };
    struct discovery_v1_endpoint_slice slice = { .address_type = STR("IPv4"),
                                                 .endpoints = b->endpoints,
                                                 .n_endpoints = n_endpoints,
                                                 .ports = &slice_port,
                                                 .n_ports = 1 };
    const struct discovery_v1_endpoint_slice *slices[] = { &slice };
    bool real = i == SIZE_MAX;
    arena_clear(&b->a);
    struct core_v1_service s = { .spec = { .ports = &port,
                                           .n_ports = 1,
                                           .type = STR("ClusterIP"),
                                           .cluster_ip = real ? STR("10.96.0.10")
                                                              : arena_printf(&b->a, "10.100.%zu.%zu", i / 250, i % 250 + 1) } };
    for (size_t k = 0; k < N_ENDPOINTS; k++) {
        size_t e = i * N_ENDPOINTS + k;
        b->addresses[k] =
            real ? STR("10.9.1.1") : arena_printf(&b->a, "10.%zu.%zu.%zu", 1 + e / 62500, e / 250 % 250, e % 250 + 1);
        b->endpoints[k] =
            (struct discovery_v1_endpoint){ .addresses = &b->addresses[k], .n_addresses = 1, .node_name = STR("other") };
    }
    b->engine->ops->set_service(b->engine, arena_printf(&b->a, "bench/service-%zu", i), &s, slices, 1);
}

static double apply(struct bench *b, bool all, size_t *ret_bytes)
{
    struct nft_batch x;
    struct err err;
    uint64_t begin = clock_mono_ns();
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(b->nl));
    b->engine->ops->write(b->engine, &x, all);
    nft_batch_end(&x);
    *ret_bytes = x.b.len;
    if (!nft_socket_send(b->nl, &x, NULL, &err)) {
        fail(err.msg);
    }
    nft_batch_deinit(&x);
    return since_ms(begin);
}

/* ---- an endpoint: a byte on each connection, then it takes whatever comes ---- */

static void *take(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static char b[1 << 20];
    while (read(fd, b, sizeof(b)) > 0) {
    }
    (void)send(fd, "e", 1, MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    int fd, listener = (int)(intptr_t)arg;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t t;
        pthread_attr_t small;
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 1 << 16);
        pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&t, &small, take, (void *)(intptr_t)fd) != 0) {
            fail("no thread");
        }
    }
    return NULL;
}

/* In a process of its own, which ends with this one's pipe. */
static pid_t start_endpoint(const struct bench *b)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(0x0a090101) };
    netns_enter(b->ns.endpoints);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1000) < 0) {
        fail("the endpoint cannot listen");
    }
    netns_enter(b->ns.node);
    pid_t pid = fork();
    if (pid == 0) {
        serve((void *)(intptr_t)fd);
        _exit(0);
    }
    close(fd);
    return pid;
}

static int connect_to(const struct bench *b, uint32_t addr, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(addr) };
    const struct timeval limit = { .tv_sec = 10 };
    netns_enter(b->ns.clients);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    netns_enter(b->ns.node);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
        fail("no connection");
    }
    return fd;
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* From connect() to the endpoint's first byte. */
static void first_byte(const struct bench *b, const char *what, uint32_t addr, uint16_t port)
{
    static double us[CONNECTIONS];
    char c;
    for (int i = 0; i < CONNECTIONS; i++) {
        uint64_t begin = clock_mono_ns();
        int fd = connect_to(b, addr, port);
        if (read(fd, &c, 1) != 1) {
            fail("no first byte");
        }
        us[i] = since_ms(begin) * 1e3;
        close(fd);
    }
    qsort(us, CONNECTIONS, sizeof(us[0]), compare);
    printf("  %s: connect to first byte %.0f us (median), %.0f us (99 %%)\n", what, us[CONNECTIONS / 2], us[CONNECTIONS * 99 / 100]);
}

static void begin(struct bench *b)
{
    struct err err;
    *b = (struct bench){ 0 };
    if (!netns_make(&b->ns, &err) || !(b->nl = nft_socket_open(&err))) {
        fail(err.msg);
    }
    arena_init(&b->a, 1 << 20);
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void bench_nftables(size_t n)
{
    struct bench b;
    struct rusage start, u, end;
    size_t bytes;
    double sum = 0, most = 0;
    struct proxy_table_config tables[2] = { { .family = NFPROTO_IPV4 } };
    begin(&b);
    pid_t endpoint = start_endpoint(&b);
    b.engine = engine_nftables_new(tables, STR("here"));
    getrusage(RUSAGE_SELF, &start);
    uint64_t from = clock_mono_ns();
    for (size_t i = 0; i < n; i++) {
        set(&b, i, N_ENDPOINTS);
    }
    set(&b, SIZE_MAX, 1);
    printf("nftables, %zu Services with %d endpoints each\n", n, N_ENDPOINTS);
    double reading = since_ms(from), ms = apply(&b, true, &bytes);
    getrusage(RUSAGE_SELF, &u);
    printf("  full sync: %.0f ms to take them in, %.0f ms for the whole table, %.1f MB of messages, %.1f MB resident at most\n", reading,
           ms, (double)bytes / 1e6, (double)u.ru_maxrss / 1e3);
    print_cpu("that", &start, &u, 1);
    for (size_t i = 0; i < CHANGES; i++) {
        from = clock_mono_ns();
        set(&b, i * 7 % n, N_ENDPOINTS - 1);
        apply(&b, false, &bytes);
        ms = since_ms(from);
        sum += ms;
        most = MAX(most, ms);
    }
    getrusage(RUSAGE_SELF, &end);
    printf("  an endpoint goes: %.3f ms on average, %.2f ms at most, %zu bytes\n", sum / CHANGES, most, bytes);
    print_cpu("one endpoint", &u, &end, CHANGES);
    getrusage(RUSAGE_SELF, &start);
    from = clock_mono_ns();
    for (size_t i = 0; i < CHANGES; i++) {
        set(&b, n + i, N_ENDPOINTS);
        apply(&b, false, &bytes);
    }
    getrusage(RUSAGE_SELF, &end);
    printf("  a Service comes: %.3f ms on average, %zu bytes\n", since_ms(from) / CHANGES, bytes);
    print_cpu("one Service", &start, &end, CHANGES);
    first_byte(&b, "past the table", 0x0a090101, 8080);
    first_byte(&b, "through a Service", 0x0a60000a, 80);
    end_child(endpoint);
    b.engine->ops->free(b.engine);
    nft_socket_close(b.nl);
    arena_deinit(&b.a);
    netns_end(&b.ns);
}

static void nothing(void *data UNUSED, struct str key UNUSED)
{
}

static void nobody(void *data UNUSED, const struct core_v1_service *s UNUSED, const char *reason UNUSED, const char *text)
{
    fail(text);
}

static void bench_userspace(size_t n)
{
    struct bench b;
    struct err err;
    size_t bytes;
    static int held[HELD];
    static char block[1 << 20];
    char c;
    struct userspace_config config = { .tables = { { .family = NFPROTO_IPV4 } },
                                       .node = STR("here"),
                                       .udp_timeout_ms = 250,
                                       .files = 20000,
                                       .again = nothing,
                                       .tell = nobody };
    struct rlimit files = { .rlim_cur = 20000, .rlim_max = 20000 };
    (void)setrlimit(RLIMIT_NOFILE, &files);
    begin(&b);
    pid_t endpoint = start_endpoint(&b);
    struct loop *l = loop_new(&err);
    if (!l) {
        fail(err.msg);
    }
    b.engine = engine_userspace_new(l, &config);
    uint64_t from = clock_mono_ns();
    for (size_t i = 0; i < n; i++) {
        set(&b, i, N_ENDPOINTS);
    }
    set(&b, SIZE_MAX, 1);
    double reading = since_ms(from), ms = apply(&b, true, &bytes);
    printf("userspace, %zu Services\n  full sync: %.0f ms to take ports, %.0f ms for the table\n", n, reading, ms);
    fflush(stdout);
    pid_t proxy = fork();
    if (proxy == 0) {
        loop_run(l);
        _exit(0);
    }
    double idle = resident(proxy);
    first_byte(&b, "through a Service", 0x0a60000a, 80);
    int fd = connect_to(&b, 0x0a60000a, 80);
    if (read(fd, &c, 1) != 1) {
        fail("no first byte");
    }
    from = clock_mono_ns();
    for (size_t sent = 0; sent < BULK; sent += sizeof(block)) {
        for (size_t at = 0; at < sizeof(block);) {
            ssize_t w = send(fd, block + at, sizeof(block) - at, MSG_NOSIGNAL);
            if (w <= 0) {
                fail("cannot send");
            }
            at += (size_t)w;
        }
    }
    shutdown(fd, SHUT_WR);
    if (read(fd, &c, 1) != 1) {
        fail("no last byte");
    }
    ms = since_ms(from);
    close(fd);
    for (int i = 0; i < HELD; i++) {
        held[i] = connect_to(&b, 0x0a60000a, 80);
        if (read(held[i], &c, 1) != 1) {
            fail("no first byte");
        }
    }
    printf("  %.0f MB/s through one connection\n  %.1f MB resident, %.2f KB more for each of %d open connections\n",
           BULK / 1e6 / (ms / 1e3), idle, (resident(proxy) - idle) * 1024 / HELD, HELD);
    end_child(endpoint);
    double before = cpu_ms(RUSAGE_CHILDREN);
    end_child(proxy);
    printf("  %.2f s of CPU for all of that (%d connections, %.0f MB)\n", (cpu_ms(RUSAGE_CHILDREN) - before) / 1e3,
           CONNECTIONS + HELD + 1, BULK / 1e6);
}

/* Each in a process of its own, for the memory. */
static void apart(void (*fn)(size_t n), size_t n)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fn(n);
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status) {
        fail("that did not end well");
    }
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 1, 1000, 10000, 30000 };
    uint64_t n;
    for (int i = 1; i < argc; i++) {
        if (!str_to_u64(str_c(argv[i]), &n) || !n || n > 50000) {
            fail("usage: bench-proxy [SERVICES...]");
        }
        apart(bench_nftables, n);
    }
    for (size_t i = 0; argc == 1 && i < ARRAY_SIZE(sizes); i++) {
        apart(bench_nftables, sizes[i]);
    }
    apart(bench_userspace, argc == 1 ? 1000 : 1);
    return 0;
}
