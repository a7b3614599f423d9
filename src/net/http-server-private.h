/* What the files of the HTTP server share: connections, and streams as the two protocols see them. */
#ifndef NET_HTTP_SERVER_PRIVATE_H
#define NET_HTTP_SERVER_PRIVATE_H

#include "net/http-server-gate.h"
#include "net/http-server.h"
#include "net/limits.h"

struct http_conn;

/* What a protocol does for a stream. */
struct http_conn_ops {
    void (*respond)(struct http_stream *s, int status, const struct http_header *h, size_t n, int64_t content_length);
    /* Takes the chunks. */
    void (*write)(struct http_stream *s, const struct net_chunk *chunks, size_t n);
    void (*end)(struct http_stream *s, const struct http_header *trailers, size_t n);
    void (*reset)(struct http_stream *s);
    /* The handler has begun to want the body. */
    void (*want_body)(struct http_stream *s);
    /* 'n' bytes of body that had been held back were taken. */
    void (*consumed)(struct http_stream *s, size_t n);
    size_t (*queued)(const struct http_stream *s);
    struct net_stream *(*upgrade)(struct http_stream *s, const struct http_header *h, size_t n);
    /* No new requests; close when idle. */
    void (*drain)(struct http_conn *c);
    /* The socket is gone, or the server goes: cancel streams, empty the protocol's part (its memory goes with the
     * connection's, because callbacks of it may be on the stack). */
    void (*free)(struct http_conn *c);
};

struct http_conn {
    const struct http_conn_ops *ops; /* NULL until the protocol is known */
    struct http_server *server;
    struct list link;          /* server's connections */
    struct list stranger;      /* its address's connections without a success yet */
    struct http_gate_address *address; /* of the gate; NULL: no stranger */
    struct net_stream *io;     /* NULL once it was handed out or closed */
    const void *cookie;        /* of the listener */
    struct net_path *path;     /* of the listener; a reference */
    uint8_t path_rank;         /* of http_stream_set_path() */
    struct loop_timer timer;   /* the protocol's: header, idle and stall limits */
    struct net_addr local, remote;
    uint64_t since_ms;         /* let in */
    struct net_peer *peer;     /* counted, or NULL: outlives the socket */
    struct list streams;
    unsigned n_streams;
    unsigned holds;            /* streams and callbacks that keep the memory */
    void *proto;               /* the protocol's part, freed with the connection */
    char first[4];             /* plain text: what came before the protocol was known */
    uint8_t n_first;
    bool forgiven;             /* time was over before we had read what was there */
    bool trusted;              /* a request was answered with success */
    bool refused;              /* one was answered with none */
    bool draining;
    bool closing;              /* only what is queued is still sent */
    bool gone;                 /* unlinked from the server */
};

/* The part of a request that receives a body; most requests have none. */
struct http_body {
    struct buf unread;         /* not taken by the handler yet */
    struct buf collected;
    size_t max;
    http_body_fn *done;
    void *done_arg;
    struct http_header *trailers;
    size_t n_trailers;
};

struct http_stream {
    struct http_conn *conn;    /* NULL once the protocol is done with the stream */
    struct http_conn *home;    /* the same for ever: what the request points into */
    struct http_server *server;
    struct list link;          /* conn's streams */
    struct list pump;          /* server's streams with something to tell */
    struct arena arena;
    struct http_request req;
    const struct http_stream_ops *ops;
    void *arg;
    struct http_body *body;
    struct net_queue queue;    /* HTTP/2: what waits */
    size_t high, low;
    int64_t left;              /* bytes of the answer still due, or -1 */
    struct http_header *trailers; /* HTTP/2: to send */
    uint16_t n_trailers;
    int16_t status;
    int32_t id;                /* HTTP/2 */
    uint32_t skipped;          /* HTTP/2: body that came after the answer */
    uint8_t stalls;            /* HTTP/2: ticks since the peer last took a byte of what waits */
    uint8_t refs;              /* the handler's and the protocol's */
    bool dead : 1;             /* for the handler */
    bool responded : 1;
    bool ended : 1;            /* the whole answer is queued */
    bool no_body : 1;          /* HEAD, 204, 304 */
    bool body_ended : 1;       /* the whole request is here */
    bool body_told : 1;
    bool paused : 1;
    bool above : 1;
    bool drained : 1;          /* on_drain() is due */
    bool wants_body : 1;
    bool upgrade : 1;
    bool deferred : 1;         /* HTTP/2: nghttp2 waits for data */
    bool stopped : 1;          /* HTTP/2: the client was told to send no more */
    bool in_handler : 1;       /* on_request() is on the stack */
};

/* ---- http-stream.c: for the protocols ---- */
struct http_stream *http_stream_new(struct http_conn *c, size_t first_arena_chunk);
/* Fills what both protocols have in common and calls on_request(). */
void http_stream_dispatch(struct http_stream *s);
/* Bytes of the body have come. Returns how many were taken at once; the rest is reported by ops->consumed(). */
size_t http_stream_body(struct http_stream *s, struct str data);
void http_stream_body_end(struct http_stream *s, const struct http_headers *trailers);
/* The peer takes more: on_drain() if it is due. */
void http_stream_wrote(struct http_stream *s);
/* The protocol is done with the stream: cancels it when it has not ended, and gives the protocol's reference back. */
void http_stream_detach(struct http_stream *s);
void http_stream_pump_run(void *server);

/* ---- http-server.c: for the gate ---- */
/* Begins to serve a descriptor (taken). */
void http_server_serve(struct http_server *srv, const struct http_arrival *a);

/* ---- http-server.c: for the protocols ---- */
struct http_conn *http_conn_hold(struct http_conn *c);
void http_conn_drop(struct http_conn *c);
/* A request was answered with success: the larger limits apply. */
void http_conn_trust(struct http_conn *c);
uint32_t http_conn_idle_ms(const struct http_conn *c);
uint32_t http_conn_write_stall_ms(const struct http_conn *c);
/* Closes after what is queued. */
void http_conn_close(struct http_conn *c);
/* The socket has closed (on_close), or is to be closed at once. Frees the protocol's part; 'c' may be freed. */
void http_conn_gone(struct http_conn *c);
/* The socket was handed out by an upgrade. */
void http_conn_released(struct http_conn *c);
/* "Tue, 24 Nov 2026 08:02:49 GMT", read once a second. */
struct str http_server_date(struct http_server *srv);
/* The second that http_server_date() told last. */
int64_t http_server_date_s(const struct http_server *srv);
/* Emptied by each user. */
struct buf *http_server_scratch(struct http_server *srv);
const struct http_server_config *http_server_config(const struct http_server *srv);
struct loop *http_server_loop(const struct http_server *srv);
struct list *http_server_pump(struct http_server *srv);
void http_server_defer_pump(struct http_server *srv);
/* Leaves out headers that are ours or malformed. */
bool http_header_may_be_sent(const struct http_header *h);

/* ---- the protocols ---- */
void http_h1_start(struct http_conn *c);
void http_h2_start(struct http_conn *c);
extern const struct net_stream_ops http_h1_stream_ops, http_h2_stream_ops;

#endif
