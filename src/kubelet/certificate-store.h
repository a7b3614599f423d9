/*
 * Certificates that rotate, on disk, as the original keeps them: each in a file of its own with its key,
 * <dir>/<prefix>-YYYY-MM-DD-HH-MM-SS.pem (mode 0600), and <prefix>-current.pem, a symbolic link to the one in force that is turned
 * at once. So whoever reads the link sees a pair that fits together, also after a power failure. The one before the current one is
 * kept, older ones are removed.
 */
#ifndef KUBELET_CERTIFICATE_STORE_H
#define KUBELET_CERTIFICATE_STORE_H

#include <limits.h>

#include "base/buf.h"
#include "base/err.h"
#include "pki/cert.h"

/* One file: a chain of certificates and a key. */
#define CERT_PAIR_MAX (256u << 10)

struct cert_store {
    char dir[PATH_MAX / 2];
    const char *prefix; /* "kubelet-client", "kubelet-server" */
};

/* A certificate with its chain and key, as PEM (each PEM may hold the other's blocks as well). */
struct cert_pair {
    struct buf cert_pem, key_pem;
    struct pki_cert *leaf; /* NULL: there is none */
};

void cert_pair_init(struct cert_pair *p);
/* Wipes the key. */
void cert_pair_deinit(struct cert_pair *p);
/* Takes PEM texts (copied) that must fit together. False leaves '*p' as it was. */
MUST_CHECK bool cert_pair_set(struct cert_pair *p, struct str cert_pem, struct str key_pem, struct err *err);

/* The path of <prefix>-current.pem. */
void cert_store_current_path(const struct cert_store *s, char dst[PATH_MAX]);
MUST_CHECK bool cert_store_read(const struct cert_store *s, struct cert_pair *ret, struct err *err);
/* Writes the pair as of 'now' (seconds) and turns the link. */
MUST_CHECK bool cert_store_write(const struct cert_store *s, const struct cert_pair *p, int64_t now, struct err *err);

#endif
