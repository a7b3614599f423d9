/* Any bytes as a token and as a key set: parsed, and verified against a fixed key, which must never
 * succeed. */
#include <assert.h>

#include "pki/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwt_keyset keys;
    static bool ready;
    struct str text = str_n((const char *)data, size), issuer;
    struct arena a;
    struct jwt t;
    struct jwt_keyset read;
    if (!ready) {
        struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, NULL);
        ready = k && jwt_keyset_add(&keys, k, STR_NULL);
        pki_key_unref(k);
        assert(ready);
    }
    arena_init(&a, 1 << 20);
    if (jwt_parse(text, &a, &t, NULL)) {
        assert(!jwt_verify(&t, &keys, NULL));
    }
    (void)!jwt_peek_issuer(text, &a, &issuer);
    if (jwks_read(text, &read, NULL)) {
        struct buf b;
        buf_init(&b, 16 << 20);
        jwks_write(&read, &b);
        buf_deinit(&b);
        jwt_keyset_deinit(&read);
    }
    arena_deinit(&a);
    return 0;
}
