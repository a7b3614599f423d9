/* Random numbers from the kernel (getrandom): fit for keys, nonces and identifiers. Short ones come from 2 KB that were asked for ahead; a
 * process that is forked never gets those of its parent. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "base/macros.h"

/* Fills 'size' bytes. Aborts when the kernel has no random numbers: nothing here may go on with weak ones. */
void rand_bytes(void *dst, size_t size);
/* Uniform in [0, bound); bound > 0. */
uint64_t rand_below(uint64_t bound);
#define RAND_UUID_SIZE 37
/* A random UUID of version 4 (RFC 9562) in text, with a NUL. */
void rand_uuid(char dst[RAND_UUID_SIZE]);
/* 'n' characters of Kubernetes' name suffix alphabet "bcdfghjklmnpqrstvwxz2456789" and a NUL: dst has n + 1 bytes. */
void rand_suffix(char *dst, size_t n);

#endif
