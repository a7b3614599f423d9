/*
 * TLS by OpenSSL 3: TLS 1.2 and 1.3, AES-128-GCM preferred, no tickets, no session cache, buffers released while idle.
 *
 * A net_tls_server and a net_tls_client hold the material of many connections and can be reloaded while connections live:
 * those keep what they began with, new ones use the new certificates. Both are counted and belong to one thread, except that
 * _ref and _unref may be called anywhere.
 *
 * Client certificates are asked for, never required: a connection without one goes on, and one with a certificate that does
 * not verify goes on too, with NET_PEER_BAD and the reason, so that the request can be answered with 401 as kube-apiserver
 * does. Server certificates are always verified against the given CAs and the given name (RFC 6125: SAN dNSName with a
 * left-most wildcard, SAN iPAddress for addresses; the common name is never looked at) unless the caller says otherwise.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/err.h"
#include "net/chunk.h"

enum net_peer_state {
    NET_PEER_NONE,     /* no certificate was shown */
    NET_PEER_VERIFIED, /* chain ends in a configured CA, dates and usage are right */
    NET_PEER_BAD       /* shown, and refused: see 'reason' */
};

/* The certificate of the other side. Immutable and counted; lives as long as any connection or holder. */
struct net_peer {
    struct net_ref ref;
    enum net_peer_state state;
    const char *reason;   /* for NET_PEER_BAD: OpenSSL's words, "certificate has expired" */
    size_t n_chain;       /* leaf first. VERIFIED: the verified chain with its root; BAD: what was sent */
    struct str *chain;    /* DER */
    int64_t not_after;    /* leaf's expiry, seconds since 1970; 0 when unreadable */
    uint8_t digest[32];   /* SHA-256 over the certificates' own digests: what was found out about the chain is remembered by it */
};

/* A certificate chain (leaf first) and its key, PEM, plus the server names it is for. */
struct net_tls_identity {
    struct str cert_pem;
    struct str key_pem;
    const struct str *names; /* SNI: exact or "*.suffix"; none: taken from the certificate's SANs */
    size_t n_names;
};

enum net_alpn { NET_ALPN_H1 = 1, NET_ALPN_H2 = 2 };

struct net_tls_server_config {
    struct net_tls_identity identity;     /* when no SNI entry matches */
    const struct net_tls_identity *sni;   /* further ones */
    size_t n_sni;
    struct str client_ca_pem;             /* empty: client certificates are not asked for */
    unsigned alpn;                        /* set of enum net_alpn; 0: no ALPN */
    const char *min_version;              /* "VersionTLS12" (default when NULL) or "VersionTLS13" */
};

struct net_tls_server;
MUST_CHECK struct net_tls_server *net_tls_server_new(const struct net_tls_server_config *config, struct err *err);
/* When the certificate that is in use begins to be valid (Unix seconds); 0: it does not say. */
int64_t net_tls_server_not_before(const struct net_tls_server *t);
/* Replaces all material at once; on failure the old stays in force. */
MUST_CHECK bool net_tls_server_reload(struct net_tls_server *t, const struct net_tls_server_config *config, struct err *err);
struct net_tls_server *net_tls_server_ref(struct net_tls_server *t);
struct net_tls_server *net_tls_server_unref(struct net_tls_server *t);

struct net_tls_client_config {
    struct str ca_pem;                 /* empty: the system's CAs */
    struct net_tls_identity identity;  /* empty: no client certificate */
    struct str server_name;            /* verified instead of the dialled host; also sent as SNI. Empty: the dialled host */
    bool insecure_skip_verify;         /* for --insecure-skip-tls-verify and for the kubelet's probes only */
    unsigned alpn;                     /* set of enum net_alpn; 0: no ALPN */
};

struct net_tls_client;
MUST_CHECK struct net_tls_client *net_tls_client_new(const struct net_tls_client_config *config, struct err *err);
MUST_CHECK bool net_tls_client_reload(struct net_tls_client *t, const struct net_tls_client_config *config, struct err *err);
struct net_tls_client *net_tls_client_ref(struct net_tls_client *t);
struct net_tls_client *net_tls_client_unref(struct net_tls_client *t);
/* Counts net_tls_client_reload() calls: a pool drops idle connections of an older generation. */
unsigned net_tls_client_generation(const struct net_tls_client *t);

#endif
