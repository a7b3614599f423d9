#include "pki/key.h"

#include <openssl/x509.h>

#include "pki/test-pki.h"

static const enum pki_key_kind all_kinds[] = { PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_P521,
                                               PKI_KEY_RSA, PKI_KEY_ED25519 };

TEST(keys_of_every_kind_survive_pem_in_both_forms)
{
    for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++) {
        struct err err = { 0 };
        struct buf b;
        buf_init(&b, 1 << 20);
        struct pki_key *k = pki_key_generate(all_kinds[i], 0, &err);
        CHECK_OK(k, &err);
        CHECK(pki_key_is_private(k) && pki_key_kind(k) == all_kinds[i]);
        CHECK(pki_key_write_private(k, &b));
        struct pki_key *k2 = pki_key_read_private(buf_str(&b), &err);
        CHECK_OK(k2, &err);
        CHECK(pki_key_same_public(k, k2));
        buf_clear(&b);
        CHECK(pki_key_write_traditional(k, &b));
        struct pki_key *k3 = pki_key_read_private(buf_str(&b), &err);
        CHECK_OK(k3, &err);
        CHECK(pki_key_same_public(k, k3));
        buf_clear(&b);
        CHECK(pki_key_write_public(k, &b));
        struct str pem = buf_str(&b);
        struct pki_key *pub = pki_key_read_public(&pem, &err);
        CHECK_OK(pub, &err);
        CHECK(!pki_key_is_private(pub) && pki_key_same_public(k, pub));
        CHECK(!pki_key_write_private(pub, &b));
        pki_key_unref(k);
        pki_key_unref(k2);
        pki_key_unref(k3);
        pki_key_unref(pub);
        buf_deinit(&b);
    }
}

static void check_spki_is_openssls(const struct pki_key *k)
{
    CLEANUP(buf_deinit) struct buf b;
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(pki_key_evp(k), &der);
    CHECK(n > 0);
    buf_init(&b, 1 << 20);
    pki_key_write_spki(k, &b);
    CHECK_STR(buf_str(&b), str_n((const char *)der, (size_t)n));
    OPENSSL_free(der);
}

/* Among the RSA keys some have a first byte above 127, some do not. */
TEST(public_keys_are_encoded_as_openssl_encodes_them)
{
    for (size_t i = 0; i < 3 * ARRAY_SIZE(all_kinds); i++) {
        struct err err = { 0 };
        struct pki_key *k = pki_key_generate(all_kinds[i % ARRAY_SIZE(all_kinds)], i < ARRAY_SIZE(all_kinds) ? 0 : 3072, &err);
        CHECK_OK(k, &err);
        check_spki_is_openssls(k);
        pki_key_unref(k);
    }
}

TEST(keys_that_openssl_makes_are_read_and_weak_ones_are_refused)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    static const struct {
        const char *cmd;
        bool good;
    } cases[] = {
        { "openssl ecparam -name prime256v1 -genkey -out k",
          true }, /* EC PARAMETERS block before it, SEC1 */
        { "openssl genrsa -traditional -out k 2048", true },   /* PKCS#1 */
        { "openssl genpkey -algorithm ed25519 -out k", true }, /* PKCS#8 */
        { "openssl ecparam -name prime256v1 -genkey -noout -conv_form compressed -out k", true },
        { "openssl ecparam -name secp384r1 -genkey -noout -param_enc explicit -out k", true },
        { "openssl genrsa -f4 -out k 2049", true }, /* an odd number of bits */
        { "openssl genrsa -3 -out k 2048", true },
        { "openssl ecparam -name prime256v1 -genkey -noout | sed 's/EC PRIVATE/PRIVATE/' > k", true }, /* under the other form's name */
        { "openssl genpkey -algorithm rsa | sed 's/PRIVATE/RSA PRIVATE/' > k", true },
        { "openssl genpkey -algorithm rsa | sed 's/PRIVATE/EC PRIVATE/' > k", true },
        { "openssl genrsa -out k 1024", false },
        { "openssl ecparam -name secp256k1 -genkey -noout -out k", false },
        { "openssl genrsa -aes128 -passout pass:secret -out k 2048", false },
        { "openssl genrsa -traditional -aes128 -passout pass:secret -out k 2048", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char path[128];
        struct err err = { 0 };
        CHECK(test_sh(&d, "%s", cases[i].cmd) == 0);
        snprintf(path, sizeof(path), "%s/k", d.path);
        struct pki_key *k = pki_key_load_private(path, &err);
        if ((k != NULL) != cases[i].good) {
            printf("  %s: %s\n", cases[i].cmd, err.msg);
        }
        CHECK((k != NULL) == cases[i].good);
        if (k) {
            check_spki_is_openssls(k);
        }
        pki_key_unref(k);
    }
    test_dir_remove(&d);
}

TEST(several_public_keys_of_one_file_are_read_in_turn)
{
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 1 << 20);
    struct pki_key *k1 = pki_key_generate(PKI_KEY_P256, 0, &err),
                   *k2 = pki_key_generate(PKI_KEY_P384, 0, &err);
    CHECK(k1 && k2 && pki_key_write_public(k1, &b) && pki_key_write_private(k2, &b));
    struct str pem = buf_str(&b);
    struct pki_key *r1 = pki_key_read_public(&pem, &err), *r2 = pki_key_read_public(&pem, &err);
    CHECK(r1 && r2 && pki_key_same_public(k1, r1) && pki_key_same_public(k2, r2) &&
          !pki_key_is_private(r2));
    CHECK(!pki_key_read_public(&pem, &err) && err.code == ERR_NOT_FOUND);
    pki_key_unref(k1);
    pki_key_unref(k2);
    pki_key_unref(r1);
    pki_key_unref(r2);
    buf_deinit(&b);
}

TEST(pin_is_the_one_that_openssl_computes)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    struct buf b;
    char pin[PKI_PIN_SIZE];
    buf_init(&b, 1 << 20);
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK(k && pki_key_write_private(k, &b));
    test_write(&d, "k", buf_str(&b));
    pki_key_pin(k, pin);
    CHECK(test_sh(&d, "openssl pkey -in k -pubout -outform der | openssl sha256 -hex | grep %s",
                  pin + 7) == 0);
    pki_key_unref(k);
    buf_deinit(&b);
    test_dir_remove(&d);
}

TEST(rubbish_is_no_key)
{
    struct err err = { 0 };
    CHECK(!pki_key_read_private(STR(""), &err) && err.code == ERR_NOT_FOUND);
    CHECK(!pki_key_read_private(
              STR("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), &err) &&
          err.code == ERR_INVALID);
    CHECK(!pki_key_read_private(STR("-----BEGIN PRIVATE KEY-----\nAAAA\n"), &err));
    CHECK(!pki_key_of_spki(STR("x"), &err));
}
