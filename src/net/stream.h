/*
 * A byte stream over a socket, with or without TLS, driven by the loop.
 *
 * Reading: on_data() gets the bytes as they come (borrowed, read into a buffer that all streams of the loop share, so an idle
 * stream holds none) and must take all of them; net_stream_pause() stops it, and one more call never follows a pause.
 * Writing: chunks are queued without copying and sent at the end of the turn, so that many small writes become one TLS
 * record of 16 KiB. net_stream_queued() tells how much waits; on_drain() is called once when it has been at or above the high
 * watermark and falls to the low one or below.
 *
 * Ends: net_stream_shutdown() ends our direction after what is queued; on_eof() says that the other side ended its own.
 * on_close() is the last callback, once: after an error, or after both directions have ended. net_stream_free() drops the
 * stream at any moment, inside callbacks too, and no callback follows; net_stream_close() first sends what is queued.
 * A stream belongs to its loop's thread.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/addr.h"
#include "net/chunk.h"
#include "net/loop.h"
#include "net/registry.h"
#include "net/tls.h"

struct net_stream;

enum net_close {
    NET_CLOSE_EOF = 1,  /* both directions ended in order */
    NET_CLOSE_RESET,    /* the other side or the network broke it */
    NET_CLOSE_TLS,      /* handshake or record failure: see the reason */
    NET_CLOSE_TIMEOUT,  /* the handshake or the flush of a closed stream took too long */
    NET_CLOSE_LOCAL     /* net_stream_close() has finished */
};

struct net_stream_ops {
    /* TLS: the handshake is complete, ALPN and peer are known. Without TLS: in the first turn. May be NULL. */
    void (*on_open)(struct net_stream *s, void *arg);
    void (*on_data)(struct net_stream *s, struct str data, void *arg);
    /* The other side will send no more. NULL: the stream shuts down its own direction too. */
    void (*on_eof)(struct net_stream *s, void *arg);
    void (*on_drain)(struct net_stream *s, void *arg);
    /* 'reason' is a sentence, valid during the call. The callee calls net_stream_free() now or later. */
    void (*on_close)(struct net_stream *s, enum net_close why, const char *reason, void *arg);
};

/* Streams over a connected socket; they take the fd (non-blocking is set). 'ops' stays valid; callbacks start in a later turn.
 * Never NULL. The server form answers a TLS handshake; the client form starts one towards 'host' (the name that is verified
 * and sent as SNI unless the client's config names another; may be an IP address). */
struct net_stream *net_stream_new(struct loop *l, int fd, const struct net_stream_ops *ops, void *arg);
struct net_stream *net_stream_new_tls_server(struct loop *l, int fd, struct net_tls_server *tls,
                                             const struct net_stream_ops *ops, void *arg);
struct net_stream *net_stream_new_tls_client(struct loop *l, int fd, struct net_tls_client *tls, struct str host,
                                             const struct net_stream_ops *ops, void *arg);
/* Offers only these protocols (set of enum net_alpn) in the handshake, whatever the config says. In the turn of the stream's
 * birth. */
void net_stream_restrict_alpn(struct net_stream *s, unsigned alpn);
/* Two streams that are joined to each other (a socketpair), for tests and for bridges. 0 or -errno. */
MUST_CHECK int net_stream_pair(struct loop *l, struct net_stream *ret_pair[2]);

/* Closes at once. NULL-safe; returns NULL. */
struct net_stream *net_stream_free(struct net_stream *s);
/* Sends what is queued (as long as the other side takes a byte every NET_CLOSE_FLUSH_MS), closes, and calls on_close(NET_CLOSE_LOCAL). Reading stops now. */
void net_stream_close(struct net_stream *s);

/* Gives the stream to another owner (an upgrade): callbacks go to 'ops' from now on. */
void net_stream_set_ops(struct net_stream *s, const struct net_stream_ops *ops, void *arg);
/* Bytes that were read but belong to the next owner: delivered to on_data() in the next turn, before any others. Copied. */
void net_stream_unread(struct net_stream *s, struct str data);

void net_stream_pause(struct net_stream *s);
void net_stream_resume(struct net_stream *s);

/* Takes the chunks. On a stream that has ended they are released. */
void net_stream_write(struct net_stream *s, const struct net_chunk *chunks, size_t n);
/* Copies. */
void net_stream_write_str(struct net_stream *s, struct str bytes);
void net_stream_shutdown(struct net_stream *s);
/* Bytes not yet handed to the kernel. */
size_t net_stream_queued(const struct net_stream *s);
/* Defaults: high 256 KiB, low 64 KiB. */
void net_stream_set_watermarks(struct net_stream *s, size_t high, size_t low);
static inline bool net_stream_over(const struct net_stream *s, size_t bytes)
{
    return net_stream_queued(s) >= bytes;
}

/* An engine that makes its bytes when they can be sent (HTTP/2) instead of queueing: 'pull' fills up to 'max' bytes of
 * 'dst' and returns how many; 0 means nothing to send until net_stream_want_write(). Queued chunks go first. */
typedef size_t net_stream_pull_fn(struct net_stream *s, char *dst, size_t max, void *arg);
void net_stream_set_pull(struct net_stream *s, net_stream_pull_fn *pull);
void net_stream_want_write(struct net_stream *s);

struct loop *net_stream_loop(const struct net_stream *s);
const struct net_conn *net_stream_conn(const struct net_stream *s);
/* What the connection is for (path.h), from now on; a reference is taken. NULL: nothing that is counted. */
void net_stream_set_path(struct net_stream *s, struct net_path *path);
/* 0 before the handshake or without ALPN. */
enum net_alpn net_stream_alpn(const struct net_stream *s);
/* Monotonic milliseconds of the last byte in either direction. */
uint64_t net_stream_last_activity_ms(const struct net_stream *s);
/* Bytes that have arrived at the socket and were not read yet. */
size_t net_stream_unread_bytes(const struct net_stream *s);

#endif
