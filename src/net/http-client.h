/*
 * An asynchronous HTTP client for one endpoint: pooled connections, HTTP/2 with many requests on each (and more connections
 * when the server's stream limit is reached), HTTP/1.1 where the server speaks no HTTP/2, streaming both ways, upgrade.
 *
 * http_client_start() returns at once; callbacks come in later turns of the loop. A call ends exactly once: with on_end(),
 * on_error() or on_upgrade(), after which it is gone; or by http_call_cancel(), after which no callback follows. Callbacks may
 * cancel their call. Redirects are never followed, nothing is retried: on_error() says whether the request may have reached
 * the server, and the caller knows whether its verb is safe to repeat. (Exceptions, a few times: a request that an HTTP/2 server
 * vowed not to have touched (REFUSED_STREAM, above GOAWAY's last id), and a GET or HEAD whose kept-alive HTTP/1.1 connection
 * was closed before a byte of the answer came, are sent again on another connection.)
 * Belongs to the loop's thread.
 */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "net/dial.h"
#include "net/http.h"
#include "net/stream.h"

struct http_client;
struct http_call;

enum http_client_protocol {
    HTTP_CLIENT_AUTO,    /* TLS: by ALPN; plain: HTTP/1.1 */
    HTTP_CLIENT_H1_ONLY,
    HTTP_CLIENT_H2_PRIOR /* HTTP/2 without negotiation (gRPC on unix sockets) */
};

struct http_client_config {
    struct str host;            /* name, address, or path of a unix socket (with port 0). Copied */
    uint16_t port;
    struct str authority;       /* Host / :authority; empty: made of host and port */
    struct net_tls_client *tls; /* NULL: plain. A reference is taken; its ALPN set should be H1|H2 */
    enum http_client_protocol protocol;
    struct net_dialer *dialer;  /* NULL: direct */
    unsigned max_connections;   /* 0: the default of limits.h */
    uint32_t connect_ms;        /* dial and handshake; 0: the default */
    uint32_t idle_ms;           /* how long a connection without requests is kept; 0: the default */
    struct net_path *path;      /* what it is for (path.h), a reference is taken; NULL: a path named by the address alone */
};

MUST_CHECK struct http_client *http_client_new(struct loop *l, const struct http_client_config *config, struct err *err);
/* Every call under way ends without a callback. NULL-safe. */
struct http_client *http_client_free(struct http_client *c);

struct http_response {
    int status;
    struct http_headers headers; /* lower case; valid during the callback */
    int64_t content_length;      /* -1: unknown */
    int version;                 /* 10, 11, 20 */
    const struct net_peer *peer; /* the server's certificate, or NULL */
};

struct http_call_error {
    struct err err;       /* ERR_TIMEOUT, ERR_UNAVAILABLE (could not connect), ERR_IO, ERR_TOO_LARGE … */
    bool sent;            /* false: no byte of the request was handed to a connection, or the server vowed that it did nothing */
    bool tls;             /* the server's certificate or the handshake was refused */
    bool responded;       /* on_response() had been called: the answer broke off */
};

struct http_call_ops {
    /* Final status and headers (1xx are swallowed). Required. */
    void (*on_response)(struct http_call *c, const struct http_response *r, void *arg);
    /* Bytes of the answer, borrowed, all are taken. Not called while paused. */
    void (*on_body)(struct http_call *c, struct str data, void *arg);
    void (*on_end)(struct http_call *c, const struct http_headers *trailers, void *arg);
    void (*on_error)(struct http_call *c, const struct http_call_error *e, void *arg);
    /* The request's queue fell below the low watermark (64 KiB) after 256 KiB. */
    void (*on_drain)(struct http_call *c, void *arg);
    /* For 'upgrade' requests: 101 came; the stream is the callee's, paused until net_stream_set_ops() and _resume(). */
    void (*on_upgrade)(struct http_call *c, const struct http_response *r, struct net_stream *s, void *arg);
};

struct http_call_config {
    struct str method;
    struct str target;               /* origin form */
    struct str authority;            /* Host / :authority of this call; empty: the client's. Copied */
    const struct http_header *headers; /* without host, content-length, connection, transfer-encoding; copied */
    size_t n_headers;
    const struct net_chunk *body;    /* taken; the whole body unless 'streaming' */
    size_t n_body;
    bool streaming;                  /* more comes by http_call_write() until http_call_end() */
    int64_t content_length;          /* with 'streaming': -1 unknown; otherwise ignored */
    bool upgrade;                    /* HTTP/1.1 on a connection of its own; put "upgrade" among the headers. A status other
                                        than 101 comes as an ordinary answer */
    uint32_t response_ms;            /* from start to the response's headers; 0: no limit */
    uint32_t total_ms;               /* from start to the end; 0: no limit */
    uint32_t stall_ms;               /* longest silence while the body comes; 0: no limit */
};

/* Never NULL. Everything in 'config' is copied or taken; 'ops' stays valid. */
struct http_call *http_client_start(struct http_client *c, const struct http_call_config *config,
                                    const struct http_call_ops *ops, void *arg);
/* NULL-safe; returns NULL. */
struct http_call *http_call_cancel(struct http_call *c);
void http_call_pause(struct http_call *c);
void http_call_resume(struct http_call *c);
/* Takes the chunks. */
void http_call_write(struct http_call *c, const struct net_chunk *chunks, size_t n);
void http_call_end(struct http_call *c);
size_t http_call_queued(const struct http_call *c);
/* Connections open now, idle ones included. */
unsigned http_client_connections(const struct http_client *c);
/* Has it neither calls under way nor calls that wait? */
bool http_client_is_idle(const struct http_client *c);
/* Closes idle connections and lets busy ones end after their calls (certificates were renewed, the address moved). */
void http_client_renew(struct http_client *c);

#endif
