/* Messages between the kubelet's two processes. */
#include "kubelet/server-wire.h"

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
