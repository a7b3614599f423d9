/*
 * A gRPC client on one HTTP/2 connection, over a unix socket (how the kubelet talks to its container runtime, CRI) or over
 * TCP and TLS to one of several endpoints (etcd).
 *
 * Any number of calls run at once on the connection. It is made when the first call needs it and made anew after it was
 * lost; nothing is kept running while there are no calls. After a failed attempt calls fail at once with UNAVAILABLE until
 * a back-off (with jitter, doubling) has passed, unless they asked to wait.
 *
 * Of several endpoints one is used at a time. When its connection is lost or cannot be made the next one is tried at once; the
 * back-off begins when all were tried. A server that holds its connection open and is silent (paused, cut off) is found out
 * with a ping, see 'silence_ms'.
 *
 * Every call ends with exactly one 'done' or 'end' callback, unless it is cancelled. No callback is called from inside a
 * function of this header but grpc_client_free() and grpc_call_resume(); all run on the loop's thread.
 */
#ifndef NET_GRPC_H
#define NET_GRPC_H

#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"

struct grpc_client;
struct net_dialer;
struct grpc_call;
struct net_path;

/* The codes of the gRPC specification. */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_CODE_MAX
};

/* How a call ended. */
struct grpc_status {
    enum grpc_code code;
    bool sent;      /* the request may have reached the server; false: it surely has not, trying again is safe */
    struct err err; /* err.code == ERR_NONE when code == GRPC_OK; the message is the server's where it gave one */
};

/* The end of a unary call. 'response' is the message's bytes, borrowed for the call; empty on failure. */
typedef void grpc_done_fn(void *arg, struct str response, const struct grpc_status *status);
/* One message of a stream, borrowed for the call. */
typedef void grpc_message_fn(void *arg, struct str message);
/* The end of a stream. */
typedef void grpc_end_fn(void *arg, const struct grpc_status *status);

struct grpc_endpoint {
    struct str host; /* a name or an IP address (verified in the server's certificate) */
    uint16_t port;
};

struct grpc_header {
    const char *name, *value;
};

struct grpc_config {
    const char *unix_path;     /* "/run/containerd/containerd.sock", or "@name" for an abstract socket; copied. Or … */
    const struct grpc_endpoint *endpoints; /* … at least one; copied */
    size_t n_endpoints;
    struct net_tls_client *tls; /* NULL: plain text; a reference is taken. Only HTTP/2 is offered */
    const struct grpc_header *metadata; /* sent with every call; must stay valid */
    size_t n_metadata;
    struct net_dialer *dialer; /* NULL: direct; lives longer than the client */
    uint32_t connect_ms;       /* dialling and handshake; 0: 5000 */
    uint32_t silence_ms;       /* a unary call that has waited so long while nothing came makes the client ping (at most every
                                * five seconds); no answer within the same time again: the connection is lost. 0: never */
    uint32_t keepalive_ms;     /* ping after so long without a byte while there are calls; 0: never */
    size_t max_message;        /* bytes of one received message; 0: GRPC_MAX_MESSAGE */
    uint32_t backoff_min_ms;   /* 0: 50 */
    uint32_t backoff_max_ms;   /* 0: 3000 */
    struct net_path *path;     /* what it is for (path.h), a reference is taken; may be NULL */
};

/* Never fails; whether the socket is there shows with the first call. */
struct grpc_client *grpc_client_new(struct loop *l, const struct grpc_config *config);
/* Ends every call with GRPC_CANCELLED and frees the client. NULL-safe; may be called from a callback. */
struct grpc_client *grpc_client_free(struct grpc_client *c);
bool grpc_client_is_connected(const struct grpc_client *c);
/* "10.0.0.1:2379": the endpoint that is used, or tried next. */
const char *grpc_client_endpoint(const struct grpc_client *c);
/* This endpoint is of no use now (it has no leader): its calls end with UNAVAILABLE and the next endpoint is tried. */
void grpc_client_leave(struct grpc_client *c, const char *why);

/* Calls 'method' ("/runtime.v1.RuntimeService/Version") with one request message (its bytes are copied) and one response.
 * 'timeout_ms' 0: no deadline. */
struct grpc_call *grpc_unary(struct grpc_client *c, const char *method, struct str request, uint64_t timeout_ms,
                             grpc_done_fn *done, void *arg);
/* One request, many responses. 'on_message' may pause the call. */
struct grpc_call *grpc_server_stream(struct grpc_client *c, const char *method, struct str request, uint64_t timeout_ms,
                                     grpc_message_fn *on_message, grpc_end_fn *end, void *arg);
/* A stream in both directions: requests follow by grpc_call_send(). */
struct grpc_call *grpc_bidi_stream(struct grpc_client *c, const char *method, uint64_t timeout_ms,
                                   grpc_message_fn *on_message, grpc_end_fn *end, void *arg);

/* Sends a message on a stream in both directions. False when more than 'max_message' bytes wait already. */
MUST_CHECK bool grpc_call_send(struct grpc_call *call, struct str message);
/* No more messages follow. */
void grpc_call_send_end(struct grpc_call *call);
/* Stops and restarts 'on_message'; the server is held back by flow control. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);
/* Makes the call wait for a connection, as long as its deadline allows, rather than fail during a back-off. Right after the
 * call was made. */
void grpc_call_wait_for_ready(struct grpc_call *call);
/* Ends the call without any further callback; the pointer is gone. NULL-safe. After 'done' or 'end' it is gone already. */
void grpc_call_cancel(struct grpc_call *call);

/* "NOT_FOUND" … */
const char *grpc_code_name(enum grpc_code code);
enum err_code grpc_err_code(enum grpc_code code);

#endif
