#include "base/rand.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

static void from_kernel(void *dst, size_t size)
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

/* Bytes that were asked for ahead: an object that is created takes four or five small pieces, and a call of a confined process costs more than
 * they do. */
#define POOL_PIECE 64u /* longer ones are asked for when they are needed */
struct pool {
    size_t left; /* of the bytes, from their end; 0 in a new process, because the kernel wipes the page there */
    unsigned char bytes[2048];
};
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool *pool;

/* NULL where the kernel cannot wipe it: a child that went on with its parent's bytes would give out the same. */
static struct pool *pool_new(void)
{
    void *p = mmap(NULL, sizeof(struct pool), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (madvise(p, sizeof(struct pool), MADV_WIPEONFORK) != 0) {
        munmap(p, sizeof(struct pool));
        return NULL;
    }
    return p;
}

static bool from_pool(void *dst, size_t size)
{
    /* Whoever finds it taken asks the kernel: so does a child that was forked while another thread had it. */
    if (pthread_mutex_trylock(&pool_lock) != 0) {
        return false;
    }
    if (!pool) {
        pool = pool_new();
    }
    struct pool *p = pool;
    if (p) {
        if (p->left < size) {
            from_kernel(p->bytes, sizeof(p->bytes));
            p->left = sizeof(p->bytes);
        }
        p->left -= size;
        memcpy(dst, p->bytes + p->left, size);
        explicit_bzero(p->bytes + p->left, size); /* what was given out stands nowhere else */
    }
    pthread_mutex_unlock(&pool_lock);
    return p != NULL;
}

void rand_bytes(void *dst, size_t size)
{
    if (size > POOL_PIECE || !from_pool(dst, size)) {
        from_kernel(dst, size);
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
