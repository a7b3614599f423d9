/* Messages between the kubelet's two processes. */
#include "kubelet/server-wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"

TEST(messages_between_the_processes_carry_strings_and_a_descriptor)
{
    int pair[2], fd;
    static char bytes[WIRE_MAX];
    struct wire_message m = { .id = 7, .what = WIRE_BODY, .number = 200, .strings = { STR("text/plain"), STR("") }, .n_strings = 2 }, got;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    m.fd = wire_memory_file(STR("hello"));
    CHECK(m.fd >= 0);
    CHECK_INT(wire_send(pair[0], &m), 0);
    ssize_t n = wire_receive(pair[1], bytes, &fd);
    CHECK(n > 0 && fd >= 0 && wire_decode(str_n(bytes, (size_t)n), &got));
    CHECK_INT(got.id, 7);
    CHECK_INT(got.number, 200);
    CHECK_STR_C(got.strings[0], "text/plain");
    char text[8] = "";
    CHECK_INT(read(fd, text, sizeof(text)), 5);
    CHECK_STR_C(str_c(text), "hello");
    for (size_t cut = 0; cut < (size_t)n; cut++) {
        (void)!wire_decode(str_n(bytes, cut), &got); /* no cut message is read past its end */
    }
    close(fd);
    close(m.fd);
    close(pair[0]);
    close(pair[1]);
}

TEST(messages_to_one_who_is_behind_wait_in_their_order_with_their_descriptors)
{
    int pair[2], fd;
    static char bytes[WIRE_MAX], text[20000];
    struct wire_queue q;
    struct wire_message got;
    uint32_t seen = 0;
    memset(text, 'x', sizeof(text));
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    wire_queue_init(&q, pair[0]);
    for (uint32_t i = 1; i <= 300; i++) {
        struct wire_message m = { .id = i, .what = WIRE_LOG, .strings = { str_n(text, sizeof(text)) }, .n_strings = 1, .fd = -1 };
        if (i % 3 == 0) {
            char number[16];
            snprintf(number, sizeof(number), "%u", i);
            m.fd = wire_memory_file(str_c(number));
        }
        CHECK_INT(wire_queue_send(&q, &m), 0);
        if (m.fd >= 0) {
            close(m.fd); /* the queue has its own */
        }
    }
    CHECK(wire_queue_waits(&q)); /* 6 MB do not fit into the socket */
    while (seen < 300) {
        ssize_t n = wire_receive(pair[1], bytes, &fd);
        if (n < 0) {
            CHECK(wire_queue_waits(&q));
            wire_queue_flush(&q);
            continue;
        }
        CHECK(wire_decode(str_n(bytes, (size_t)n), &got));
        CHECK_INT(got.id, ++seen);
        CHECK_INT(got.strings[0].len, sizeof(text));
        CHECK((fd >= 0) == (seen % 3 == 0));
        if (fd >= 0) {
            char number[16] = "";
            uint64_t v;
            ssize_t len = read(fd, number, sizeof(number));
            CHECK(len > 0 && str_to_u64(str_n(number, (size_t)len), &v) && v == seen);
            close(fd);
        }
    }
    CHECK(!wire_queue_waits(&q) && q.bytes == 0);
    wire_queue_deinit(&q);
    close(pair[0]);
    close(pair[1]);
}

TEST(queue_of_messages_is_bounded_and_forgets_what_nobody_takes)
{
    int pair[2], rc = 0;
    static char text[60000];
    struct wire_queue q;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    wire_queue_init(&q, pair[0]);
    struct wire_message m = { .id = 1, .strings = { str_n(text, sizeof(text)) }, .n_strings = 1, .fd = -1 };
    for (int i = 0; i < 2000 && rc == 0; i++) {
        rc = wire_queue_send(&q, &m);
    }
    CHECK_INT(rc, -ENOBUFS);
    CHECK(q.bytes <= WIRE_MAX_QUEUED_BYTES && q.n <= WIRE_MAX_QUEUED);
    m.strings[1] = m.strings[0];
    m.n_strings = 2;
    CHECK_INT(wire_queue_send(&q, &m), -EMSGSIZE);
    close(pair[1]);
    wire_queue_flush(&q);
    CHECK(!wire_queue_waits(&q));
    wire_queue_deinit(&q);
    close(pair[0]);
}
