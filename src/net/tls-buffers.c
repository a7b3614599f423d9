#include "net/tls-buffers.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/macros.h"
#include "net/limits.h"

/* A record has 16 KB at most, and some hundred bytes of head, padding, MAC and alignment: 16,584 and 16,712 are seen. */
#define RECORD_LEAST 16384u
#define RECORD_BUFFER 17408u

/* Taken and given by exchange, so any thread may do so at any time. */
static _Atomic(void *) kept[TLS_BUFFERS_KEPT];

static void *record_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size < RECORD_LEAST || size > RECORD_BUFFER) {
        return size ? malloc(size) : NULL;
    }
    for (unsigned i = 0; i < TLS_BUFFERS_KEPT; i++) {
        void *p = atomic_load_explicit(&kept[i], memory_order_relaxed) ? atomic_exchange(&kept[i], NULL) : NULL;
        if (p) {
            return p;
        }
    }
    return malloc(RECORD_BUFFER);
}

static void *record_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return realloc(p, size);
}

static void record_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    /* Whatever has this size can serve as one, whoever allocated it. */
    size_t size = p ? malloc_usable_size(p) : 0;
    if (size < RECORD_BUFFER || size > RECORD_BUFFER + 256) {
        free(p);
        return;
    }
    for (unsigned i = 0; i < TLS_BUFFERS_KEPT; i++) {
        void *none = NULL;
        if (!atomic_load_explicit(&kept[i], memory_order_relaxed) && atomic_compare_exchange_strong(&kept[i], &none, p)) {
            return;
        }
    }
    free(p);
}

void tls_buffers_init(void)
{
    (void)CRYPTO_set_mem_functions(record_alloc, record_realloc, record_free);
}

void tls_buffers_release(void)
{
    for (unsigned i = 0; i < TLS_BUFFERS_KEPT; i++) {
        free(atomic_exchange(&kept[i], NULL));
    }
}

unsigned tls_buffers_kept(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TLS_BUFFERS_KEPT; i++) {
        n += atomic_load(&kept[i]) != NULL;
    }
    return n;
}
