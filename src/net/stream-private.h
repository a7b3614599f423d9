/* What the files of a stream share. */
#ifndef NET_STREAM_PRIVATE_H
#define NET_STREAM_PRIVATE_H

#include <openssl/ssl.h>

#include "net/limits.h"
#include "net/registry.h"
#include "net/stream.h"

enum {
    STREAM_READ_BURST = 16,           /* reads of one stream in one turn, before others get theirs */
    STREAM_PENDING_MAX = 1024 * 1024, /* bytes that wait for the socket, or for the next owner */
};

/* What all streams of a loop share: the buffers, so that idle streams hold none, and the registry. */
struct stream_shared {
    struct list conns;
    size_t n_conns;
    char read[NET_READ_SIZE];
    char write[NET_RECORD_SIZE];
};

enum stream_state {
    STREAM_HANDSHAKE, /* TLS is being negotiated */
    STREAM_OPEN,
    STREAM_LINGERING, /* our FIN is sent after net_stream_close(); what still arrives is dropped so that it causes no reset */
    STREAM_CLOSED     /* the socket is gone */
};

struct net_stream {
    struct loop *loop;
    struct stream_shared *shared;
    const struct net_stream_ops *ops;
    void *arg;
    struct net_conn conn;
    struct loop_io io;
    struct loop_task task;   /* opens, reads what the engine holds, writes what is queued */
    struct loop_timer timer; /* handshake; flush of a closed stream */
    SSL *ssl;                /* NULL: plain */
    struct net_queue queue;  /* plain text to send */
    struct buf pending;      /* bytes (records, with TLS) that the socket did not take */
    struct buf unread;       /* bytes for the next owner */
    net_stream_pull_fn *pull;
    size_t high, low;
    uint64_t last_ms;
    int io_errno;            /* why the socket failed inside a TLS call */
    unsigned holds;          /* callbacks on the stack */
    uint8_t state;
    bool freed : 1;          /* net_stream_free() was called inside a callback */
    bool opened : 1;
    bool paused : 1;
    bool eof : 1;            /* the peer has ended its direction */
    bool eof_told : 1;
    bool shutting : 1;       /* we want to end ours */
    bool fin_sent : 1;
    bool closing : 1;        /* net_stream_close() */
    bool above : 1;          /* the queue has been at the high watermark */
    bool pull_wanted : 1;
    bool more : 1;           /* what was sent last is likely to be followed at once: the kernel may wait for it */
    bool socket_empty : 1;   /* the last read of this turn took all there was */
    bool forgiven : 1;       /* the handshake's time was over before we had read what was there */
    bool want_read : 1;      /* look for bytes that the TLS engine has buffered */
};

/* ---- stream.c ---- */
/* Between these two callbacks may free the stream; stream_drop() is false when they did. */
void stream_hold(struct net_stream *s);
bool stream_drop(struct net_stream *s);
/* Closes the socket and says why. */
void stream_finish(struct net_stream *s, enum net_close why, const char *reason);
void stream_finish_errno(struct net_stream *s, int errnum);
/* After a failed TLS call. 'n' is its result. */
void stream_tls_failed(struct net_stream *s, int n);
/* Does anybody want what arrives? */
bool stream_reads(const struct net_stream *s);
void stream_check_both_ended(struct net_stream *s);

/* ---- registry.c ---- */
struct stream_shared *stream_shared(struct loop *l);

/* ---- stream-socket.c ---- */
/* Sends at once what the socket takes; the rest becomes 'pending'. 0 or -errno. */
int stream_raw_write(struct net_stream *s, const char *p, size_t n);
/* Ends the waiting that 'more' began. */
void stream_push(struct net_stream *s);
/* Sends what is pending. 0, -EAGAIN, or -errno. */
int stream_flush_pending(struct net_stream *s);
/* Puts the stream under its TLS engine. */
void stream_attach_bio(struct net_stream *s);

/* ---- stream-read.c ---- */
void stream_read_all(struct net_stream *s);
/* What an owner before this one gave back. */
void stream_deliver_unread(struct net_stream *s);
/* Drops what still arrives after our end. */
void stream_linger(struct net_stream *s);

/* ---- stream-write.c ---- */
/* Sends what there is. False when the stream was finished. */
bool stream_write_all(struct net_stream *s);
/* What follows once everything is sent: end our direction, or close. */
void stream_after_write(struct net_stream *s);

#endif
