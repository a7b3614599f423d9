/*
 * coracle forward: carries connections that come to an inherited listening socket to an address. The supervisor runs it inside
 * node 1, with a socket of the host's, for each published port.
 *
 * One child for each connection, at most MAX_CONNECTIONS; each moves bytes both ways and passes half closes on.
 */
#include "cluster/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/log.h"
#include "net/addr.h"

#define MAX_CONNECTIONS 128

struct forward_options {
    int64_t listen_fd;
    struct str to;
};

static const struct flag forward_flags[] = {
    FLAG_INT(struct forward_options, listen_fd, "listen-fd", "3", "The inherited listening socket."),
    FLAG_STRING(struct forward_options, to, "to", "", "ADDRESS:PORT to connect to."),
};

/* Moves what is there from one socket to the other. False when this direction has ended. */
static bool move(int from, int to)
{
    char chunk[65536];
    ssize_t n = read(from, chunk, sizeof(chunk));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    for (ssize_t sent = 0; n > 0 && sent < n;) {
        ssize_t w = send(to, chunk + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (w < 0) {
            return false;
        }
        sent += w;
    }
    if (n <= 0) {
        shutdown(to, SHUT_WR);
        return false;
    }
    return true;
}

static NORETURN void carry(int client, const struct net_addr *to)
{
    int server = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || connect(server, &to->sa, to->len) < 0) {
        _exit(1);
    }
    struct pollfd p[2] = { { .fd = client, .events = POLLIN }, { .fd = server, .events = POLLIN } };
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        if (p[0].fd >= 0 && p[0].revents && !move(client, server)) {
            p[0].fd = -1;
        }
        if (p[1].fd >= 0 && p[1].revents && !move(server, client)) {
            p[1].fd = -1;
        }
    }
    _exit(0);
}

static int serve(int listener, const struct net_addr *to)
{
    unsigned running = 0;
    int flags = fcntl(listener, F_GETFL);
    if (flags < 0 || fcntl(listener, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        log_error("cannot use descriptor %d: %s", listener, strerror(errno));
        return 1;
    }
    for (;;) {
        while (running > 0 && waitpid(-1, NULL, running >= MAX_CONNECTIONS ? 0 : WNOHANG) > 0) {
            running--;
        }
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            log_error("cannot accept: %s", strerror(errno));
            return 1;
        }
        pid_t pid = fork();
        if (pid == 0) {
            close(listener);
            carry(client, to);
        }
        running += pid > 0;
        close(client);
    }
}

static int run(int argc, char **argv)
{
    static struct forward_options o;
    const struct flag_section sections[] = { { "forward", forward_flags, ARRAY_SIZE(forward_flags), &o } };
    const struct flag_program program = { .name = "coracle forward", .about = "Carries connections to an address.",
                                          .sections = sections, .n_sections = 1 };
    struct flag_result flags;
    struct net_addr to;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (!net_addr_parse(o.to, &to)) {
        fprintf(stderr, "Error: --to takes ADDRESS:PORT, not \"%.*s\"\n", STR_ARG(o.to));
        return 1;
    }
    return serve((int)o.listen_fd, &to);
}

const struct cluster_command cluster_cmd_forward = { .name = "forward", .about = NULL, .run = run };
