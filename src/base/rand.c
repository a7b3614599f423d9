#include "base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_bytes(void *dst, size_t size)
{
    unsigned char *p = dst;
    while (size) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            abort();
        }
        p += n;
        size -= (size_t)n;
    }
}

uint64_t rand_below(uint64_t bound)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound, v;
    do {
        rand_bytes(&v, sizeof(v));
    } while (v >= limit);
    return v % bound;
}

void rand_uuid(char dst[RAND_UUID_SIZE])
{
    unsigned char b[16];
    rand_bytes(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(b); i++) {
        *dst++ = digits[b[i] >> 4];
        *dst++ = digits[b[i] & 15];
        if (i == 3 || i == 5 || i == 7 || i == 9) {
            *dst++ = '-';
        }
    }
    *dst = '\0';
}

void rand_suffix(char *dst, size_t n)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    enum { LETTERS = sizeof(alphabet) - 1, FAIR = 256 - 256 % LETTERS };
    unsigned char raw[16];
    size_t at = sizeof(raw);
    for (size_t i = 0; i < n;) {
        if (at == sizeof(raw)) {
            rand_bytes(raw, sizeof(raw));
            at = 0;
        }
        if (raw[at++] < FAIR) {
            dst[i++] = alphabet[raw[at - 1] % LETTERS];
        }
    }
    dst[n] = '\0';
}
