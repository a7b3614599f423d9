/*
 * JSON Web Tokens (RFC 7519) in their compact signed form (RFC 7515), and JSON Web Key Sets (RFC 7517).
 *
 * A token passes through three steps, and its claims must not be believed before the last:
 *   jwt_parse()   splits and decodes, within limits; nothing is trusted yet
 *   jwt_verify()  one of the keys made the signature. The algorithm is fixed by the *key* (RSA: RS*, PS*; P-256: ES256; …), and the
 *                 header must agree; "none" and the HS* family do not exist here, so a public key is never taken for a secret
 *   the caller checks the claims (issuer, audience, times): see auth/sa-token.h
 * Headers with "crit", "b64" or a nested token are refused (RFC 7515 4.1.11), duplicate members too.
 */
#ifndef PKI_JWT_H
#define PKI_JWT_H

#include "base/arena.h"
#include "pki/key.h"
#include "pki/limits.h"

enum jwt_alg {
    JWT_ALG_UNKNOWN,
    JWT_RS256, JWT_RS384, JWT_RS512,
    JWT_PS256, JWT_PS384, JWT_PS512,
    JWT_ES256, JWT_ES384, JWT_ES512,
    JWT_EDDSA,
    JWT_ALG_MAX
};
/* "RS256", … */
const char *jwt_alg_name(enum jwt_alg alg);
enum jwt_alg jwt_alg_of_name(struct str name);

struct jwt {
    enum jwt_alg alg;
    struct str alg_name; /* as sent, also when unknown */
    struct str kid;      /* absent when there is none */
    struct str claims;   /* JSON text of an object, in the arena */
    struct str signing_input, signature;
};
/* Does it look like a token at all (three non-empty parts)? For choosing an authenticator without work. */
bool jwt_looks_like(struct str token);
MUST_CHECK bool jwt_parse(struct str token, struct arena *a, struct jwt *ret, struct err *err);
/* The issuer, unverified: only to choose who should verify it. False when there is none. */
MUST_CHECK bool jwt_peek_issuer(struct str token, struct arena *a, struct str *ret);

/* A set of public keys with their key ids. Not thread-safe while it is being filled. */
struct jwt_key {
    char *kid; /* NUL-terminated */
    struct pki_key *key;
};
struct jwt_keyset {
    struct jwt_key *keys;
    size_t n;
};
void jwt_keyset_init(struct jwt_keyset *s);
void jwt_keyset_deinit(struct jwt_keyset *s);
/* Adds the public half of 'k' (a reference is taken). Absent 'kid': the key's own id, jwt_key_id(). A key already there is not added
 * twice. False when the set is full. */
MUST_CHECK bool jwt_keyset_add(struct jwt_keyset *s, struct pki_key *k, struct str kid);
/* Is there a key of that id? For key sets that are fetched again when a new id shows up. */
bool jwt_keyset_has(const struct jwt_keyset *s, struct str kid);
/* Adds every key of a PEM text (public keys, certificates, private keys). At least one, or an error. */
MUST_CHECK bool jwt_keyset_add_pem(struct jwt_keyset *s, struct str pem, struct err *err);
/* Kubernetes' key id: base64url of SHA-256 over the SubjectPublicKeyInfo. Appends it. */
void jwt_key_id(const struct pki_key *k, struct buf *b);

/* One of the keys signed it: those with the token's kid first; the others too when no key has that kid or the token has none. */
MUST_CHECK bool jwt_verify(const struct jwt *t, const struct jwt_keyset *keys, struct err *err);
/* Appends a signed token with the key's algorithm (RS256, ES256, ES384, ES512, EdDSA) and kid = jwt_key_id(). */
MUST_CHECK bool jwt_sign(const struct pki_key *key, struct str claims_json, struct buf *b, struct err *err);

/* Appends {"keys":[…]} of all keys, with use, kty, kid, alg and the parameters, as /openid/v1/jwks serves it. */
void jwks_write(const struct jwt_keyset *s, struct buf *b);
/* Reads a key set. Keys that are unusable (unknown kty, use "enc", too small) are passed over, as RFC 7517 5 says; none usable is
 * an error. */
MUST_CHECK bool jwks_read(struct str json, struct jwt_keyset *ret, struct err *err);

#endif
