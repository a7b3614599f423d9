/*
 * One HTTP/2 connection of a gRPC client, without I/O: calls become streams, bytes go in and out. Private to the gRPC
 * client; grpc.c joins it to a socket and to timers.
 */
#ifndef NET_GRPC_SESSION_H
#define NET_GRPC_SESSION_H

#include "base/buf.h"
#include "net/grpc-frame.h"

struct grpc_session;

/* The part of a call that the session works with. */
struct grpc_stream {
    /* set by the owner before grpc_session_start() */
    const char *method;
    uint64_t timeout_ms; /* what is left of the deadline, 0: none */
    struct buf send;     /* framed messages */
    bool send_end;       /* nothing follows 'send' */
    bool unary;          /* exactly one answer, kept until the end */
    struct grpc_deframer in;

    /* the session's */
    int32_t id; /* 0: not started or over */
    size_t send_pos;
    bool deferred; /* the session waits for more to send */
    bool paused;
    struct buf held; /* received and not looked at because of a pause; bounded by the window */
    struct buf answer;
    bool has_answer;
    int http_status;
    bool grpc_content, has_status;
    size_t header_bytes;
    struct grpc_status status; /* why the session gave up on the stream, or what the server said */
    bool failed;
};

struct grpc_session_events {
    /* A message of a stream that is not unary. */
    void (*on_message)(void *user, struct grpc_stream *st, struct str message);
    /* The stream is over: 'st->status' says how. 'refused': the server surely did not look at it. */
    void (*on_end)(void *user, struct grpc_stream *st, bool refused);
};

void grpc_stream_init(struct grpc_stream *st, size_t max_message);
void grpc_stream_deinit(struct grpc_stream *st);

struct grpc_session *grpc_session_new(const struct grpc_session_events *events, void *user);
/* Streams that are not over are forgotten, without on_end. NULL-safe. */
struct grpc_session *grpc_session_free(struct grpc_session *s);

/* What requests say of their target; without it they go to a unix socket ("http", "localhost"). Borrowed. */
void grpc_session_set_target(struct grpc_session *s, bool tls, const char *authority, const struct grpc_header *metadata,
                             size_t n_metadata);
/* Queues a PING; its answer comes as bytes like any other. */
void grpc_session_ping(struct grpc_session *s);

/* Opens the stream. 'st' stays where it is until on_end or grpc_session_cancel(). */
MUST_CHECK bool grpc_session_start(struct grpc_session *s, struct grpc_stream *st, struct err *err);
/* 'st->send' or 'st->send_end' grew. */
void grpc_session_more(struct grpc_session *s, struct grpc_stream *st);
/* Resets the stream; the session forgets it, without on_end. */
void grpc_session_cancel(struct grpc_session *s, struct grpc_stream *st);
void grpc_session_resume(struct grpc_session *s, struct grpc_stream *st);

/* Eats bytes of the server. False: the connection is broken and of no more use. */
MUST_CHECK bool grpc_session_recv(struct grpc_session *s, struct str in, struct err *err);
/* The next bytes to send, borrowed until the next call; empty: nothing now. */
MUST_CHECK bool grpc_session_send(struct grpc_session *s, struct str *ret_out, struct err *err);
/* The server takes no new streams (GOAWAY). */
bool grpc_session_is_draining(const struct grpc_session *s);

#endif
