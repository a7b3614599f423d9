/*
 * Paths: what `coracle paths` is made of. A path is everything that goes between us and one kind of other side for one purpose
 * ("out, kubelet/node-1, logs and exec, 10.0.0.5:10250"), however many connections that takes. What names a path are words of the
 * room that opens the connections; this room only adds up what the transport knows.
 *
 * Facts of open connections are looked up when somebody asks (net_path_each()); a connection that closes leaves its totals and the
 * last facts behind. So the cost while bytes flow is what net_conn counts anyway, and memory is bounded by the number of paths
 * (NET_MAX_PATHS; past it, the path that was used longest ago and that nobody holds gives way), never by that of connections.
 *
 * Listeners are in the registry by themselves (http_server_listen()). Whatever connects to one belongs to the listener's own path
 * until it is told apart with http_stream_set_path(). Everything belongs to the loop's thread.
 */
#ifndef NET_PATH_H
#define NET_PATH_H

#include "net/registry.h"

/* Paths of one loop. A cluster's apiserver has about two dozen and one or two for each node. */
#define NET_MAX_PATHS 4096
#define NET_PATH_ERROR_SIZE 192
#define NET_PATH_SUBJECT_SIZE 256

struct net_path_spec {
    bool outgoing;           /* we dial */
    struct str peer;         /* the other side, in words of the caller: "kubelet/node-1", "users" */
    struct str purpose;      /* "logs, exec, metrics" */
    struct str address;      /* outgoing: "10.0.0.5:10250"; may be empty */
    const char *authn;       /* how the side that dials shows who it is; a literal or NULL */
    const char *authz;       /* who decides what it may do; a literal or NULL */
};

/* The path of these words, made when there is none yet; authn and authz are those of the last call that gives them. Never NULL.
 * A reference is the caller's. */
struct net_path *net_path_get(struct loop *l, const struct net_path_spec *spec);
struct net_path *net_path_ref(struct net_path *p);
/* NULL-safe; returns NULL. */
struct net_path *net_path_unref(struct net_path *p);
void net_path_set_auth(struct net_path *p, const char *authn, const char *authz);
/* A connection could not be made, or was refused. NULL-safe. */
void net_path_failed(struct net_path *p, const char *reason);
/* For transports that are no net_stream (gRPC on unix sockets): 'opened' and bytes since the last call. NULL-safe. */
void net_path_count(struct net_path *p, int opened, uint64_t bytes_in, uint64_t bytes_out);

/* ---- listeners ---- */
struct net_listener;
/* 'tls' NULL: plain. A reference to it is taken; 'fd' is only looked at. Never NULL. */
struct net_listener *net_listener_new(struct loop *l, int fd, struct net_tls_server *tls);
/* NULL-safe; returns NULL. */
struct net_listener *net_listener_free(struct net_listener *n);
/* The path of connections that are not told apart. Borrowed. */
struct net_path *net_listener_path(struct net_listener *n);
/* What the listener on this descriptor is for, and who checks those who come: literals or NULL. Unknown descriptors are ignored. */
void net_listener_describe(struct loop *l, int fd, const char *purpose, const char *authn, const char *authz);

/* ---- reading ---- */
enum net_transport { NET_TRANSPORT_UNKNOWN, NET_TRANSPORT_PLAIN, NET_TRANSPORT_UNIX, NET_TRANSPORT_TLS };

struct net_path_info {
    bool outgoing, listener;
    struct str peer, purpose, address; /* as named; otherwise the last connection's: ours, or where we dialled */
    struct str remote;                 /* the other side's address without the port: of the last connection */
    const char *authn, *authz;
    enum net_transport transport;
    const char *tls_version, *cipher, *http; /* "TLSv1.3", "TLS_AES_128_GCM_SHA256", "HTTP/2"; NULL: not known */
    enum net_peer_state peer_state;    /* the certificate of the other side; of several the one that ends first */
    const char *peer_reason;
    struct str peer_subject;
    int64_t peer_not_before, peer_not_after; /* seconds since 1970; 0: no certificate */
    struct str own_subject;            /* our certificate */
    int64_t own_not_before, own_not_after;
    bool asks_certificates;            /* a listener that asks for client certificates */
    uint64_t bytes_in, bytes_out;
    uint64_t opened, failed;           /* connections in all; attempts that failed */
    unsigned open;                     /* now */
    struct str last_error;
    uint64_t error_age_ms, used_age_ms; /* UINT64_MAX: never */
};
/* Calls 'fn' for every path, listeners first; 'fn' must not open or close connections. Strings are valid during the call. */
void net_path_each(struct loop *l, void (*fn)(const struct net_path_info *i, void *arg), void *arg);

/* "CN=x,O=y" of a DER certificate (as Go prints it), its beginning and end; false when it cannot be read. */
bool net_certificate_facts(struct str der, char subject[NET_PATH_SUBJECT_SIZE], int64_t *ret_not_before, int64_t *ret_not_after);

/* ---- for streams ---- */
void net_path_opened(struct net_path *p, struct net_conn *c);
void net_path_closed(struct net_path *p, struct net_conn *c);

#endif
