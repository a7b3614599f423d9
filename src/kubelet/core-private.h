/* What the parts of the core's side of the server share: server-core.c (process, socket, answers), core-access.c (who, and may he),
 * core-dispatch.c (paths), core-logs.c, core-streams.c. */
#ifndef KUBELET_CORE_PRIVATE_H
#define KUBELET_CORE_PRIVATE_H

#include "kubelet/server-core.h"
#include "kubelet/server-wire.h"

struct server_core {
    struct kubelet *k;
    int socket;
    pid_t pid;
    struct loop_io io;
    struct wire_queue out;
    struct loop_child child;
    struct authn_chain *authn;
    struct authz_chain *authz;
    struct list requests;
    struct core_logs *logs; /* core-logs.c: followers that wait */
};

/* ---- server-core.c ---- */
struct core_request *core_request_new(struct server_core *s, uint32_t id);
/* In order, and kept while the server is behind: an answer that is lost leaves its client waiting. */
void core_send(struct server_core *s, const struct wire_message *m);
/* Answers the request, which ends. */
void core_request_send(struct core_request *r, struct wire_message *m);

/* ---- core-access.c ---- */
/* A request of the secure port: it is dispatched when its sender may. */
void core_take_request(struct server_core *s, const struct wire_message *m);

/* ---- core-dispatch.c ---- */
void core_dispatch(struct core_request *r);
/* A request of a port that authenticates nobody. */
void core_take_plain(struct server_core *s, const struct wire_message *m);

/* ---- core-logs.c ---- */
void core_logs(struct core_request *r);
void core_logs_start(struct server_core *s);
void core_logs_stop(struct server_core *s);
/* The server has read a log to its end: it is answered when there is more, or nothing will come. */
void core_log_again(struct server_core *s, const struct wire_message *q);

/* ---- core-streams.c ---- */
void core_exec(struct core_request *r, bool attach);
void core_port_forward(struct core_request *r);
void core_run(struct core_request *r);

#endif
