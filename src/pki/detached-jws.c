#include "pki/detached-jws.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encoding.h"

/* Header and signature of a key id of sane length are well below this; the content may be large. */
#define ROOM_BESIDE_CONTENT 4096

void detached_jws_sign(struct str key_id, struct str secret, struct str content, struct buf *b)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n_mac = 0;
    struct buf header, input;
    buf_init(&header, ROOM_BESIDE_CONTENT / 4);
    buf_init(&input, ROOM_BESIDE_CONTENT + content.len * 2);
    /* Key ids are letters and digits: nothing to escape. Members stand in the order that every
     * other signer writes. */
    buf_printf(&header, "{\"alg\":\"HS256\",\"kid\":\"%.*s\"}", STR_ARG(key_id));
    base64url_encode(&input, buf_str(&header));
    size_t n_header = input.len;
    buf_append_char(&input, '.');
    base64url_encode(&input, content);
    if (buf_failed(&header) || buf_failed(&input) ||
        !HMAC(EVP_sha256(), secret.ptr ? secret.ptr : "", (int)secret.len,
              (const unsigned char *)input.ptr, input.len, mac, &n_mac)) {
        b->failed = true;
    } else {
        buf_append_bytes(b, input.ptr, n_header);
        buf_append_c(b, "..");
        base64url_encode(b, str_n((const char *)mac, n_mac));
    }
    OPENSSL_cleanse(mac, sizeof(mac));
    ERR_clear_error();
    buf_deinit(&header);
    buf_deinit(&input);
}

bool detached_jws_verify(struct str jws, struct str key_id, struct str secret, struct str content)
{
    struct buf want;
    buf_init(&want, ROOM_BESIDE_CONTENT);
    detached_jws_sign(key_id, secret, content, &want);
    bool same = !buf_failed(&want) && want.len > 0 && jws.len == want.len &&
                CRYPTO_memcmp(jws.ptr, want.ptr, want.len) == 0;
    buf_deinit(&want);
    return same;
}
