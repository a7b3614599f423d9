/* Shared by jwt.c and jwks.c. */
#ifndef PKI_JWT_PRIVATE_H
#define PKI_JWT_PRIVATE_H

#include <openssl/evp.h>

#include "pki/jwt.h"

struct jwt_alg_row {
    enum jwt_alg alg;
    const char *name;
    enum pki_key_kind kind;
    const EVP_MD *(*md)(void); /* NULL: the algorithm hashes itself */
    bool pss;
    unsigned coordinate; /* bytes of r and s each, ECDSA alone */
};
/* The row, or NULL for JWT_ALG_UNKNOWN. */
const struct jwt_alg_row *jwt_alg_row(enum jwt_alg alg);
/* What a key of this kind signs with. */
const struct jwt_alg_row *jwt_alg_of_kind(enum pki_key_kind kind);

#endif
