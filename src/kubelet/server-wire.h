/*
 * What the kubelet's two processes say to each other over a socketpair (SOCK_SEQPACKET). The server is unprivileged: it speaks TLS
 * and HTTP with the world, and knows nothing. The core decides who may do what and does it. One message asks, one message answers;
 * an answer may carry a file descriptor.
 *
 * A message: u32 id, u8 operation or kind, u32 number, then strings, each u32 length and bytes. All numbers big-endian.
 */
#ifndef KUBELET_SERVER_WIRE_H
#define KUBELET_SERVER_WIRE_H

#include "base/buf.h"
#include "base/list.h"

enum wire_op {
    WIRE_TLS = 1,     /* -> certificate, key, client CAs (PEM); nothing while there is none yet. Sent unasked, with id 0, when it changes */
    WIRE_REQUEST,     /* method, target, authorization, ws protocols, then the peer's chain in DER. number: how many of the chain */
    WIRE_PLAIN,       /* method, target; number: the plain port it came to, which tells the core what may be read */
    WIRE_LOG_AGAIN,   /* namespace, pod, container, inode and length of what was read, as numbers in text; number: attempt -> when there is
                       * more, or after KUBELET_LOG_WAIT_MS: number 1 while it may grow, fd of the present file */
};

enum wire_kind {
    WIRE_BODY = 1, /* number: status; content type, body; with an fd the body is its content */
    WIRE_LOG,      /* fd of the log file; number: attempt; namespace, pod, container, "1" while it may grow */
    WIRE_UPGRADE,  /* number: port on loopback; target at the runtime's streaming server, "exec" or "portforward", channels as a number in text */
};

#define WIRE_MAX_STRINGS 24
/* One message. Socket buffers take it; longer bodies travel as a file in memory. */
#define WIRE_MAX 100000
/* A body longer than this goes by descriptor. */
#define WIRE_MAX_INLINE 32768

struct wire_message {
    uint32_t id;
    uint8_t what;
    uint32_t number;
    struct str strings[WIRE_MAX_STRINGS];
    size_t n_strings;
    int fd; /* -1: none; whoever receives it closes it */
};

/* Decodes; strings borrow from 'bytes'. False when it is malformed. */
MUST_CHECK bool wire_decode(struct str bytes, struct wire_message *ret);
/* Appends the message's bytes (its descriptor travels beside them). */
void wire_encode(const struct wire_message *m, struct buf *b);
/* 0, or -errno (-EAGAIN: the other side is behind). Does not close m->fd. */
int wire_send(int socket, const struct wire_message *m);

/* Messages in order, for a side that must not lose one while the other is behind. */
struct wire_queue {
    int socket;
    struct list items;
    size_t n, bytes;
};
/* Past these the other side is stuck rather than slow: a thousand requests under way, or their answers. */
#define WIRE_MAX_QUEUED 1024
#define WIRE_MAX_QUEUED_BYTES (16u << 20)

void wire_queue_init(struct wire_queue *q, int socket);
void wire_queue_deinit(struct wire_queue *q);
/* Sends, or keeps a copy of the message and of its descriptor when the other side is behind. 0, -ENOBUFS when too much waits,
 * or another -errno. While wire_queue_waits(), call wire_queue_flush() when the socket can be written. */
MUST_CHECK int wire_queue_send(struct wire_queue *q, const struct wire_message *m);
void wire_queue_flush(struct wire_queue *q);
static inline bool wire_queue_waits(const struct wire_queue *q)
{
    return q->n > 0;
}
/* Bytes received, 0 at the end, -errno. '*ret_fd' is -1 or the descriptor that came along. */
ssize_t wire_receive(int socket, char dst[WIRE_MAX], int *ret_fd);
/* A file in memory that holds 'bytes', read from its start; -1 when there is none. */
int wire_memory_file(struct str bytes);

#endif
