/* Private keys as they stand in PEM files, for TLS and for the rooms that sign. */
#ifndef NET_TLS_KEY_H
#define NET_TLS_KEY_H

#include <openssl/types.h>

/* The key of a PEM block by the block's name ("EC PRIVATE KEY"). The name says where to look: asking OpenSSL to find out takes it
 * twice as long, a millisecond, for each key. NULL: it cannot be read (encrypted ones cannot); OpenSSL's errors are cleared. */
EVP_PKEY *net_tls_key_of_der(const char *name, const unsigned char *der, long len);
/* Is it the name of a block with a private key, encrypted or not? */
int net_tls_key_is_name(const char *name);

#endif
