/* What ssh-link.c (the session) and ssh-far.c (its channels) share. */
#ifndef TUNNEL_SSH_LINK_PRIVATE_H
#define TUNNEL_SSH_LINK_PRIVATE_H

#include "base/list.h"
#include "net/dial.h"
#include "tunnel/ssh-lib.h"
#include "tunnel/ssh-link.h"

enum ssh_phase { SSH_IDLE, SSH_DIALING, SSH_QUEUED /* connected; others are at it */, SSH_HELLO, SSH_AUTH, SSH_UP };

struct ssh_far;

struct ssh_link {
    struct tunnel_link base;
    struct ssh_links *shared;
    char node[256];
    /* the target */
    char address[256], kubelet_host[256];
    char names[4][256];
    size_t n_names;
    uint16_t kubelet_port;
    char *annotation;        /* the first that was seen */
    bool annotation_warned;

    enum ssh_phase phase;
    bool counted;            /* in shared->handshakes */
    struct net_dial *dial;
    int fd;                  /* ours, for the loop; libssh has a copy */
    ssh_session session;
    ssh_event event;
    struct loop_io io;
    struct loop_task work;
    struct loop_timer timer; /* the next try; or the time limit of a handshake; or the next probe */
    uint32_t retry_ms;
    unsigned flaps;          /* times in a row that it opened and broke at once */
    uint64_t deadline_ms;    /* of the handshake */
    uint64_t open_since_ms;
    struct err failure;      /* set: the session is to be taken down at the end of this step */
    bool working;

    struct list fars;        /* all */
    struct list opening;     /* waiting for the server's answer */
    struct list active;      /* something to look at */
    struct list blocked;     /* want to write */
    unsigned n_fars;
    struct ssh_far *probe;
    struct loop_timer probe_timer;
};

/* Sets the failure; the step under way, or the next one, takes the session down. */
PRINTF_LIKE(2, 3) void ssh_link_fail(struct ssh_link *l, const char *fmt, ...);
static inline void ssh_link_wake(struct ssh_link *l)
{
    loop_task_defer(&l->work);
}

/* ---- ssh-far.c ---- */
struct tunnel_far *ssh_far_open(struct ssh_link *l, struct str host, uint16_t port, const struct tunnel_far_events *events, void *arg,
                                struct err *err);
/* Looks at what libssh's callbacks left, and at who may write. */
void ssh_far_work(struct ssh_link *l);
/* The session is gone (l->session is NULL): all end with the reason. */
void ssh_far_end_all(struct ssh_link *l, const char *reason);

#endif
