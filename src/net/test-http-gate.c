/* Who comes in: many clients of one address, floods, a server that is slow. */
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "net/limits.h"
#include "net/test-server.h"

static const char hello[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

/* 'host': the last byte of the client's own address, 127.0.0.host. */
static int connect_from(uint16_t port, unsigned host)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000000U + host) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* All from one address. */
static void connect_all(struct test_server *t, int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fds[i] = connect_from(t->port, 1);
        loop_turn(t->loop, 0);
    }
}

/* 'n' more descriptors on either side, or the test is skipped. */
static void need_files(size_t n)
{
    struct rlimit r;
    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    if (r.rlim_cur < 2 * n + 100) {
        r.rlim_cur = MIN(r.rlim_max, 2 * n + 100);
        (void)setrlimit(RLIMIT_NOFILE, &r);
        if (r.rlim_cur < 2 * n + 100) {
            test_skip("%zu open files are needed", 2 * n + 100);
        }
    }
}

/* Turns the loop for up to 'ms' until all of 'fds' have something to read. How many have an answer. */
static size_t answers(struct test_server *t, const int *fds, size_t n, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;
    size_t ready = 0, good = 0;
    struct pollfd p;
    while (clock_mono_ms() < end && ready < n) {
        loop_turn(t->loop, 5);
        for (ready = 0; ready < n; ready++) {
            p = (struct pollfd){ .fd = fds[ready], .events = POLLIN };
            if (poll(&p, 1, 0) != 1) {
                break;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        char text[16] = "";
        good += recv(fds[i], text, sizeof(text) - 1, MSG_DONTWAIT) > 12 && strncmp(text, "HTTP/1.1 200", 12) == 0;
    }
    return good;
}

static void set_flag(void *arg)
{
    *(unsigned *)arg = 1;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)close(fds[i]);
    }
}

TEST(http_connections_that_ask_nothing_do_not_keep_others_of_their_address_out)
{
    struct test_server t;
    int idle[HTTP_MAX_STRANGERS_PER_IP];
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    for (size_t i = 0; i < ARRAY_SIZE(idle); i++) {
        idle[i] = connect_from(t.port, 1);
        test_turn(t.loop, NULL, 1);
    }
    CHECK_INT(http_server_connections(t.http), HTTP_MAX_STRANGERS_PER_IP);
    test_turn(t.loop, NULL, HTTP_STRANGER_GRACE_MS + 100);
    int fd = connect_from(t.port, 1);
    struct str got = test_exchange(&t, fd, STR("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello\n", 1000);
    CHECK(str_starts(got, STR("HTTP/1.1 200")));
    CHECK_INT(http_server_connections(t.http), HTTP_MAX_STRANGERS_PER_IP);
    close_all(idle, ARRAY_SIZE(idle));
    (void)close(fd);
    test_server_stop(&t);
}

TEST(http_a_thousand_clients_of_one_address_all_get_in)
{
    enum { CLIENTS = 1000 };
    struct test_server t;
    static int fds[CLIENTS];
    need_files(CLIENTS);
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    connect_all(&t, fds, CLIENTS);
    test_turn(t.loop, NULL, 50);
    CHECK_INT(http_server_connections(t.http), HTTP_MAX_STRANGERS_PER_IP);
    for (size_t i = CLIENTS; i-- > 0;) { /* those that wait speak first: it does not help them */
        CHECK(send(fds[i], hello, sizeof(hello) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(hello) - 1);
    }
    CHECK_INT(answers(&t, fds, CLIENTS, 10000), CLIENTS);
    CHECK_INT(http_server_connections(t.http), CLIENTS);
    close_all(fds, CLIENTS);
    test_server_stop(&t);
}

TEST(http_a_flood_from_one_address_keeps_no_other_address_waiting)
{
    enum { FLOOD = 600 };
    struct test_server t;
    static int fds[FLOOD];
    need_files(FLOOD);
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    connect_all(&t, fds, FLOOD);
    int other = connect_from(t.port, 2);
    uint64_t begin = clock_mono_ms();
    CHECK(str_starts(test_exchange(&t, other, str_c(hello), "hello\n", 1500), STR("HTTP/1.1 200")));
    CHECK(clock_mono_ms() - begin < HTTP_STRANGER_GRACE_MS);
    /* An honest client behind the flood waits until the silent ones before it were cut. */
    int late = connect_from(t.port, 1);
    CHECK(send(late, hello, sizeof(hello) - 1, MSG_NOSIGNAL) > 0);
    CHECK_INT(answers(&t, &late, 1, 3 * HTTP_STRANGER_GRACE_MS), 1);
    (void)close(other);
    (void)close(late);
    close_all(fds, FLOOD);
    test_server_stop(&t);
}

/* Sends a request that is refused on each of 'fds'. */
static void ask_for_nothing(const int *fds, size_t n)
{
    static const char request[] = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    char text[4096];
    for (size_t i = 0; i < n; i++) {
        (void)send(fds[i], request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (recv(fds[i], text, sizeof(text), MSG_DONTWAIT) > 0) {
        }
    }
}

TEST(http_strangers_that_are_refused_again_and_again_do_not_keep_others_of_their_address_out)
{
    struct test_server t;
    int fds[HTTP_MAX_STRANGERS_PER_IP];
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    connect_all(&t, fds, ARRAY_SIZE(fds));
    int late = connect_from(t.port, 1);
    CHECK(send(late, hello, sizeof(hello) - 1, MSG_NOSIGNAL) > 0);
    size_t in = 0;
    for (uint64_t end = clock_mono_ms() + 3 * HTTP_STRANGER_GRACE_MS; in == 0 && clock_mono_ms() < end;) {
        ask_for_nothing(fds, ARRAY_SIZE(fds)); /* never silent */
        in = answers(&t, &late, 1, 100);
    }
    CHECK_INT(in, 1);
    (void)close(late);
    close_all(fds, ARRAY_SIZE(fds));
    test_server_stop(&t);
}

TEST(http_a_slow_server_does_not_cut_those_that_it_has_not_read)
{
    enum { CLIENTS = HTTP_MAX_STRANGERS_PER_IP + 100 };
    struct test_server t;
    static int fds[CLIENTS];
    need_files(CLIENTS);
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    connect_all(&t, fds, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        CHECK(send(fds[i], hello, sizeof(hello) - 1, MSG_NOSIGNAL) > 0);
    }
    (void)usleep((HTTP_STRANGER_GRACE_MS + 300) * 1000); /* the loop gets no processor */
    CHECK_INT(answers(&t, fds, CLIENTS, 5000), CLIENTS);
    close_all(fds, CLIENTS);
    test_server_stop(&t);
}

TEST(http_those_that_wait_go_with_a_server_that_drains)
{
    enum { CLIENTS = HTTP_MAX_STRANGERS_PER_IP + 5 };
    struct test_server t;
    static int fds[CLIENTS];
    unsigned done = 0;
    need_files(CLIENTS);
    test_server_start(&t, &(struct test_server_config){ .listen = true });
    connect_all(&t, fds, CLIENTS);
    test_turn(t.loop, NULL, 20);
    http_server_drain(t.http, 200, set_flag, &done);
    test_turn(t.loop, &done, 2000);
    CHECK_INT(done, 1);
    char c;
    ssize_t n = recv(fds[CLIENTS - 1], &c, 1, MSG_DONTWAIT);
    CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
    close_all(fds, CLIENTS);
    test_server_stop(&t);
}
