/* Inside the server's process: server.c, server-logs.c. */
#ifndef KUBELET_SERVER_PRIVATE_H
#define KUBELET_SERVER_PRIVATE_H

#include "kubelet/kubelet.h"
#include "kubelet/server-wire.h"
#include "net/http-server.h"

struct server;

struct server_fork_config {
    int socket;
    uint32_t uid; /* 0: stay who we are */
    struct str address;
    uint16_t port, read_only_port, cadvisor_port; /* 0: not served */
    uint64_t idle_ms;
    const char *authn, *authz; /* who checks those who come, in words; for `coracle paths` */
};

/* The server's process: never returns but with its exit status. */
int server_main(const struct server_fork_config *config);

typedef void server_answer_fn(void *arg, const struct wire_message *answer);
/* Asks the core; the answer comes in a later turn. 0 when it cannot be asked: then 'done' is not called. Strings are borrowed
 * while this runs. */
uint32_t server_ask(struct server *s, struct wire_message *m, server_answer_fn *done, void *arg);
void server_forget(struct server *s, uint32_t id);
struct loop *server_loop(struct server *s);

/* server-logs.c: answers 's' with the log in 'fd' as its query asks. Takes the reference and the fd. 'where': namespace, pod, container. */
void server_log_start(struct server *srv, struct http_stream *s, const struct http_target *t, int fd, const struct str where[3], uint32_t attempt,
                      bool grows);

#endif
