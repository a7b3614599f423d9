/*
 * A SPDY/3.1 session without I/O: it eats the peer's bytes and gives back bytes and events. kubectl, kube-apiserver and
 * containerd carry exec, attach and port-forward over it after an HTTP/1.1 upgrade ("Upgrade: SPDY/3.1").
 *
 * Life of a stream: opened by a SYN_STREAM of either side; the receiver answers with a SYN_REPLY (spdy_reply()) or refuses
 * it. Each side ends its half with FIN on any frame; a stream is gone when both halves ended or either side reset it.
 *
 * Flow control. The peers Kubernetes has (all built on one Go library) know neither windows nor WINDOW_UPDATE: they send as
 * much as the transport takes and never grant credit. SPDY_FLOW_NONE, the mode to use with them, counts on the transport:
 * who cannot take more bytes calls spdy_pause(), spdy_recv() then stops in the middle of its input, and the caller stops
 * reading the socket. SPDY_FLOW_WINDOWS keeps both windows of the specification (section 2.6.8), for peers that do.
 *
 * Bytes to send collect in a bounded buffer: take them with spdy_out()/spdy_out_consume() after every call. Callbacks are
 * called from spdy_recv() only and may call any function here but spdy_free().
 */
#ifndef NET_SPDY_H
#define NET_SPDY_H

#include "base/buf.h"
#include "base/err.h"

struct spdy;

enum spdy_role { SPDY_CLIENT, SPDY_SERVER };
enum spdy_flow { SPDY_FLOW_NONE, SPDY_FLOW_WINDOWS };

/* Reset codes (section 2.6.3). */
enum spdy_status {
    SPDY_PROTOCOL_ERROR = 1,
    SPDY_INVALID_STREAM = 2,
    SPDY_REFUSED_STREAM = 3,
    SPDY_UNSUPPORTED_VERSION = 4,
    SPDY_CANCEL = 5,
    SPDY_INTERNAL_ERROR = 6,
    SPDY_FLOW_CONTROL_ERROR = 7,
    SPDY_STREAM_IN_USE = 8,
    SPDY_STREAM_ALREADY_CLOSED = 9,
    SPDY_FRAME_TOO_LARGE = 11,
};

/* Names are lower case on the wire; a value may hold several, separated by NUL bytes. */
struct spdy_header {
    struct str name, value;
};

struct spdy_config {
    enum spdy_role role;
    enum spdy_flow flow;
    uint32_t max_streams; /* open at once, both sides together; 0: SPDY_MAX_STREAMS */
    uint32_t window;      /* our receive window per stream in SPDY_FLOW_WINDOWS; 0: 65536 */
};

struct spdy_events {
    /* The peer opened a stream. Return false to refuse it; otherwise answer with spdy_reply() now or later. 'fin': the peer
     * sends nothing on it. Headers live until the call returns. NULL: every stream is refused. */
    bool (*on_stream)(void *user, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin);
    /* The peer accepted our stream. */
    void (*on_reply)(void *user, uint32_t id, const struct spdy_header *h, size_t n_h);
    /* Later headers of an open stream. */
    void (*on_headers)(void *user, uint32_t id, const struct spdy_header *h, size_t n_h);
    /* Some bytes of a stream; never empty. In SPDY_FLOW_WINDOWS give them back with spdy_consumed(). */
    void (*on_data)(void *user, uint32_t id, struct str data);
    /* The peer ended its half. */
    void (*on_fin)(void *user, uint32_t id);
    /* The peer reset the stream; it is gone. */
    void (*on_reset)(void *user, uint32_t id, uint32_t status);
    /* SPDY_FLOW_WINDOWS: a stream whose window was used up can send again. */
    void (*on_writable)(void *user, uint32_t id);
    /* The answer to spdy_ping(). */
    void (*on_pong)(void *user, uint32_t ping_id);
    /* The peer takes no new streams; those above 'last_good' were not looked at. */
    void (*on_goaway)(void *user, uint32_t last_good, uint32_t status);
};

/* 'events' must live as long as the session; any of its members may be NULL. Aborts when out of memory. */
struct spdy *spdy_new(const struct spdy_config *config, const struct spdy_events *events, void *user);
/* NULL-safe. */
struct spdy *spdy_free(struct spdy *s);

/* Eats bytes; '*ret_used' tells how many: fewer than given only after spdy_pause(). False when the peer broke the protocol
 * or a limit: a GOAWAY is then in the output, nothing more can be received, and the connection is to be closed. */
MUST_CHECK bool spdy_recv(struct spdy *s, struct str in, size_t *ret_used, struct err *err);
/* Stops and restarts spdy_recv(), between pieces of data. */
void spdy_pause(struct spdy *s);
void spdy_resume(struct spdy *s);
bool spdy_paused(const struct spdy *s);

/* What is to be sent now. Borrowed until the next call on the session. */
struct str spdy_out(const struct spdy *s);
void spdy_out_consume(struct spdy *s, size_t n);
/* Moves all of it into 'ret' (initialised by this call); false when there is nothing. */
MUST_CHECK bool spdy_out_take(struct spdy *s, struct buf *ret);

/* Opens a stream. False at the limit of streams, after a GOAWAY, or with a full output. */
MUST_CHECK bool spdy_open(struct spdy *s, const struct spdy_header *h, size_t n_h, bool fin, uint32_t *ret_id,
                          struct err *err);
/* Accepts the peer's stream. Does nothing when the stream is gone or already answered. */
void spdy_reply(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n_h, bool fin);
/* How many bytes spdy_write() would take now: the window in SPDY_FLOW_WINDOWS, what the output buffer holds otherwise; 0
 * for a stream that is gone or whose half we ended. */
size_t spdy_writable(const struct spdy *s, uint32_t id);
/* Sends the first bytes of 'data' and returns how many were taken. */
MUST_CHECK size_t spdy_write(struct spdy *s, uint32_t id, struct str data);
/* Ends our half. */
void spdy_fin(struct spdy *s, uint32_t id);
/* Ends the stream both ways; it is gone. */
void spdy_reset(struct spdy *s, uint32_t id, uint32_t status);
/* SPDY_FLOW_WINDOWS: 'n' received bytes were used up, the peer may send as many again. */
void spdy_consumed(struct spdy *s, uint32_t id, size_t n);
void spdy_ping(struct spdy *s, uint32_t *ret_ping_id);
/* Tells the peer that we take no new streams. */
void spdy_goaway(struct spdy *s, uint32_t status);

/* Streams open now. */
size_t spdy_n_streams(const struct spdy *s);
bool spdy_is_open(const struct spdy *s, uint32_t id);
/* Has either side said GOAWAY? */
bool spdy_going_away(const struct spdy *s);

/* The value of a header by its lower-case name; absent when there is none. */
struct str spdy_header_get(const struct spdy_header *h, size_t n_h, const char *name);

#endif
