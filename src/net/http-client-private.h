/* What the files of the HTTP client share. */
#ifndef NET_HTTP_CLIENT_PRIVATE_H
#define NET_HTTP_CLIENT_PRIVATE_H

#include "net/http-client.h"
#include "net/limits.h"

struct client_conn;

struct http_client {
    struct loop *loop;
    char *host, *authority;
    uint16_t port;
    struct net_tls_client *tls;
    enum http_client_protocol protocol;
    struct net_dialer *dialer;
    unsigned max_conns;
    uint32_t connect_ms, idle_ms;
    struct net_path *path;
    struct list conns, waiting, calls;
    unsigned n_conns, n_opening;
    bool seen_h1; /* the server chose HTTP/1.1: one connection for each call */
    struct loop_task task;
    struct buf scratch;
};

/* What a protocol does on a connection. */
struct client_conn_ops {
    /* How many more calls it takes now. */
    unsigned (*room)(const struct client_conn *c);
    void (*start)(struct client_conn *c, struct http_call *call);
    /* More of the request's body was queued, or it ended. */
    void (*body)(struct http_call *call);
    size_t (*queued)(const struct http_call *call);
    /* The call goes away (cancelled, timed out). The connection may end by it. */
    void (*cancel)(struct http_call *call);
    /* 'n' bytes that had been held back were taken. */
    void (*consumed)(struct http_call *call, size_t n);
    /* Empties the protocol's part (no callbacks to calls); its memory goes by 'free'. */
    void (*stop)(struct client_conn *c);
    void (*free)(struct client_conn *c);
};

enum client_conn_state { CLIENT_DIALING, CLIENT_OPENING, CLIENT_READY, CLIENT_DEAD };

struct client_conn {
    struct list link;
    struct http_client *client;   /* NULL once dead */
    const struct client_conn_ops *ops;
    struct net_dial *dial;
    struct net_stream *io;
    struct loop_timer timer;      /* connect, idle, ping */
    struct list calls;
    unsigned n_calls;
    unsigned served;              /* calls that were started on it */
    unsigned holds;
    uint8_t state;
    bool for_upgrade;             /* waits for the one call in 'calls' */
    bool leaving;                 /* takes no more calls */
    bool pinged;
    void *proto;
    unsigned generation;          /* of the TLS material */
};

struct http_call {
    struct list link;             /* the client's waiting ones, or the connection's */
    struct list all;              /* every call of the client that has not ended */
    struct http_client *client;
    struct client_conn *conn;     /* NULL while waiting */
    const struct http_call_ops *ops;
    void *arg;
    struct arena arena;
    struct str method, target;
    struct str authority;         /* empty: the client's */
    struct http_header *headers;
    size_t n_headers;
    int64_t content_length;       /* -1 unknown; what the request says */
    struct net_chunk *body;       /* kept so that it can be sent again */
    size_t n_body;
    struct net_queue queue;       /* not sent yet */
    struct buf unread;            /* of the answer, while paused */
    struct loop_timer timer;
    struct loop_task task;
    struct http_call_error *error;
    struct http_header *trailers;
    size_t n_trailers;
    uint64_t started_ms, heard_ms;
    uint32_t response_ms, total_ms, stall_ms;
    unsigned holds;
    int32_t id;                   /* HTTP/2 */
    uint8_t retries;              /* times that it was sent again */
    bool waiting : 1;             /* among the client's waiting ones */
    bool head : 1;                /* HEAD */
    bool streaming : 1;
    bool body_ended : 1;          /* all of the request is queued */
    bool upgrade : 1;
    bool sent : 1;                /* a byte may have reached the server */
    bool wrote_more : 1;          /* http_call_write() was used: cannot be sent again */
    bool responded : 1;
    bool got_end : 1;             /* HTTP/2: the server ended its direction in order */
    bool complete : 1;            /* the whole answer is here */
    bool paused : 1;
    bool above : 1;
    bool deferred : 1;            /* HTTP/2: nghttp2 waits for data */
    bool drained : 1;
    bool dead : 1;                /* no more callbacks */
};

/* ---- for the protocols ---- */
/* Final headers have come. May run callbacks: afterwards look at call->dead. */
void http_call_response(struct http_call *call, const struct http_response *r);
/* Returns how many bytes were taken at once. */
size_t http_call_data(struct http_call *call, struct str data);
/* The answer is complete; the call leaves the connection. */
void http_call_complete(struct http_call *call, const struct http_headers *trailers);
void http_call_upgraded(struct http_call *call, const struct http_response *r, struct net_stream *io);
/* Fails the call (in a later task); it leaves the connection. */
PRINTF_LIKE(3, 4) void http_call_fail(struct http_call *call, enum err_code code, const char *fmt, ...);
/* Sends it again on another connection, when that is possible; otherwise false. */
bool http_call_retry(struct http_call *call);
/* Bytes of the request left: on_drain() when due. */
void http_call_wrote(struct http_call *call);
void http_call_leave(struct http_call *call);
struct http_call *http_call_hold(struct http_call *call);
void http_call_drop(struct http_call *call);

/* ---- http-client-call.c ---- */
/* Puts it among those that wait for a connection. */
void http_call_wait(struct http_call *call);

/* ---- http-client-conn.c ---- */
struct client_conn *client_conn_open(struct http_client *client, bool for_upgrade);
/* Takes the connection out of the client and closes its socket; calls must have left. */
void client_conn_stop(struct client_conn *c);
struct client_conn *client_conn_hold(struct client_conn *c);
void client_conn_drop(struct client_conn *c);
/* Ends the connection; calls on it fail with the reason. */
void client_conn_kill(struct client_conn *c, const char *reason);
/* A call has left: gives the connection to the next, or starts its idle time. */
void client_conn_free_room(struct client_conn *c);
/* "host:port" for the Host header. */
struct str http_call_authority(const struct http_call *call);
struct loop *http_client_loop(const struct http_client *c);
struct buf *http_client_scratch(struct http_client *c);
const struct net_peer *client_conn_peer(const struct client_conn *c);

void client_h1_start(struct client_conn *c);
void client_h2_start(struct client_conn *c);

#endif
