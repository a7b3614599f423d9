/*
 * The registry of connections. Every net_stream of a loop is in it from birth to close, with what the transport knows
 * (addresses, TLS version and cipher, peer's certificate, bytes) and the path (path.h) that it is counted for: what the room
 * which made the connection says it is for. Belongs to the loop's thread.
 */
#ifndef NET_REGISTRY_H
#define NET_REGISTRY_H

#include "net/addr.h"
#include "net/loop.h"
#include "net/tls.h"

struct net_path;
struct ssl_st;

struct net_conn {
    struct list link;
    struct net_addr local, remote;
    bool outgoing;               /* we dialled */
    bool encrypted;              /* TLS handshake is complete */
    const char *tls_version;     /* "TLSv1.3", or NULL */
    const char *cipher;          /* "TLS_AES_128_GCM_SHA256", or NULL */
    const struct net_peer *peer; /* the other side's certificate, or NULL */
    struct net_path *path;       /* what it is for (net_stream_set_path()), or NULL */
    struct ssl_st *session;      /* TLS: also before the handshake is complete */
    uint64_t counted_in, counted_out; /* bytes that an earlier path has counted */
    uint64_t opened_ms;          /* monotonic */
    uint64_t bytes_in, bytes_out;
};

/* Calls 'fn' for every connection of the loop; 'fn' must not open or close any. */
void net_registry_each(struct loop *l, void (*fn)(const struct net_conn *c, void *arg), void *arg);
/* How many there are. */
size_t net_registry_count(struct loop *l);

#endif
