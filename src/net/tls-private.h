/* TLS sessions as streams use them. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "net/tls.h"

/* A session for one connection, with the material in force now. NULL when out of memory. */
SSL *net_tls_server_session(struct net_tls_server *t);
/* 'host' is verified (a name or an address) unless the config names another or skips verification. */
SSL *net_tls_client_session(struct net_tls_client *t, struct str host);
/* Client sessions before the handshake: the set of enum net_alpn to offer. */
void net_tls_offer_alpn(SSL *ssl, unsigned alpn);
/* After the handshake: the other side's certificate, or NULL. The session keeps the reference. */
const struct net_peer *net_tls_peer(SSL *ssl);
enum net_alpn net_tls_alpn(const SSL *ssl);
/* The default certificate's context that is in force now. Borrowed. */
const SSL_CTX *net_tls_server_context(const struct net_tls_server *t);
/* In path.c: our default certificate's subject and end, and whether client certificates are asked for. */
bool net_tls_server_facts(const struct net_tls_server *t, char *subject, int64_t *ret_not_before, int64_t *ret_not_after, bool *ret_asks);
/* Appends OpenSSL's queued reasons, or for a refused certificate why. */
void net_tls_reason(SSL *ssl, char *dst, size_t size);

#endif
