/*
 * A detached JSON Web Signature (RFC 7515, appendix F) by HS256: header and signature of a text
 * that is kept elsewhere. A bootstrap token signs the cluster-info ConfigMap so (Kubernetes
 * documentation, "Authenticating with Bootstrap Tokens", "ConfigMap Signing"): "kid" is the token's
 * id, the key its secret. Whoever holds the token can make it and check it; nobody else can.
 */
#ifndef PKI_DETACHED_JWS_H
#define PKI_DETACHED_JWS_H

#include "base/buf.h"

/* Appends "<header>..<signature>" of 'content'. */
void detached_jws_sign(struct str key_id, struct str secret, struct str content, struct buf *b);
/* Is 'jws' the signature of 'content' by that key? It must be the very text that
 * detached_jws_sign() makes: there is no header of the peer's to be read and believed. Takes the
 * same time wherever they differ. */
MUST_CHECK bool detached_jws_verify(struct str jws, struct str key_id, struct str secret,
                                    struct str content);

#endif
