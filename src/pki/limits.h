/* Every bound of this room, with its reason. Past each the answer is an error of code ERR_TOO_LARGE. */
#ifndef PKI_LIMITS_H
#define PKI_LIMITS_H

/* Key, certificate and bundle files: a bundle of all public roots is 250 KB. */
#define PKI_MAX_FILE (4u << 20)
/* Certificates in one bundle or chain file. */
#define PKI_MAX_BUNDLE 4096
/* One certificate in DER. Certificates of real clusters stay below 4 KB; TLS lets a peer send more. */
#define PKI_MAX_CERT_DER (64u << 10)
/* Certificates a peer may send in its chain. */
#define PKI_MAX_CHAIN 10
/* A CSR as PEM: the API object that carries it is bounded too, but this is what OpenSSL gets to see. */
#define PKI_MAX_CSR (64u << 10)
/* Subject alternative names and subject organisations looked at per certificate or request. */
#define PKI_MAX_NAMES 1024
/* A token as sent. Kubernetes' own are about 1 KB; OIDC tokens with many groups reach 16 KB. */
#define JWT_MAX_TOKEN (64u << 10)
/* JOSE header and JWKS nesting, and sizes. */
#define JWT_MAX_HEADER (8u << 10)
#define JWKS_MAX_SIZE (1u << 20)
#define JWKS_MAX_KEYS 256
/* RSA moduli accepted: larger ones make a verification cost milliseconds. */
#define PKI_MIN_RSA_BITS 2048
#define PKI_MAX_RSA_BITS 8192

#endif
