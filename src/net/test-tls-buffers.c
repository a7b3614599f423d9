#include "net/tls-buffers.h"

#include <openssl/crypto.h>

#include "base/test.h"
#include "net/limits.h"

/* Before anything of OpenSSL, as a main does it: so every other test of this program goes through it as well. */
__attribute__((constructor)) static void as_a_main_does(void)
{
    tls_buffers_init();
}

TEST(a_buffer_of_a_record_serves_the_next_one_whatever_its_exact_size)
{
    tls_buffers_release();
    void *p = OPENSSL_malloc(16584);
    memset(p, 1, 16584);
    OPENSSL_free(p);
    CHECK_INT(tls_buffers_kept(), 1);
    void *q = OPENSSL_malloc(16712);
    CHECK(q == p);
    memset(q, 2, 16712);
    CHECK_INT(tls_buffers_kept(), 0);
    OPENSSL_free(q);
    CHECK_INT(tls_buffers_kept(), 1);
    tls_buffers_release();
    CHECK_INT(tls_buffers_kept(), 0);
}

TEST(no_more_record_buffers_are_kept_than_the_bound_and_nothing_else)
{
    void *all[TLS_BUFFERS_KEPT + 3], *small = OPENSSL_malloc(100), *large = OPENSSL_malloc(20000);
    tls_buffers_release();
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK((all[i] = OPENSSL_malloc(16584)) != NULL);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        OPENSSL_free(all[i]);
    }
    CHECK_INT(tls_buffers_kept(), TLS_BUFFERS_KEPT);
    tls_buffers_release();
    OPENSSL_free(large);
    OPENSSL_free(small);
    void *grown = OPENSSL_realloc(OPENSSL_malloc(16584), 40000);
    CHECK(grown != NULL);
    OPENSSL_free(grown);
    OPENSSL_free(NULL);
    CHECK_INT(tls_buffers_kept(), 0);
}
