#include "pki/cert.h"

#include "base/clock.h"
#include "base/time-floor.h"

#include "pki/test-pki.h"

static struct pki_cert *sign(const struct test_ca *ca, const struct pki_key *k,
                             const struct pki_names *names, unsigned usages, int64_t from,
                             int64_t to)
{
    struct err err = { 0 };
    struct pki_cert_spec s = { .names = *names,
                               .usages = usages | PKI_USAGE_DIGITAL_SIGNATURE,
                               .not_before = from,
                               .not_after = to };
    struct pki_cert *c = pki_cert_sign(ca->cert, ca->key, k, &s, &err);
    CHECK_OK(c, &err);
    return c;
}

TEST(openssl_verifies_what_is_signed_and_shows_the_names)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 1 << 20);
    struct str orgs[] = { STR("system:nodes"), STR("b") },
               dns[] = { STR("n1"), STR("*.example.com") };
    struct str ips[] = { STR("10.0.0.1"), STR("fd00::1") };
    struct pki_names names = { .cn = STR("system:node:n1"),
                               .orgs = orgs,
                               .n_orgs = 2,
                               .dns = dns,
                               .n_dns = 2,
                               .ips = ips,
                               .n_ips = 2 };
    pki_cert_write_pem(ca.cert, &b);
    test_write(&d, "ca.crt", buf_str(&b));
    static const enum pki_key_kind kinds[] = { PKI_KEY_P256, PKI_KEY_RSA, PKI_KEY_ED25519,
                                               PKI_KEY_P384 };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct pki_key *k = pki_key_generate(kinds[i], 0, &err);
        CHECK_OK(k, &err);
        struct pki_cert *c =
            sign(&ca, k, &names, PKI_USAGE_SERVER_AUTH, TEST_NOW - 30, TEST_NOW + 3600);
        buf_clear(&b);
        pki_cert_write_pem(c, &b);
        test_write(&d, "c.crt", buf_str(&b));
        CHECK(test_sh(&d, "openssl verify -attime 1800000000 -x509_strict -purpose sslserver "
                          "-CAfile ca.crt c.crt") == 0);
        CHECK(test_sh(&d, "openssl verify -attime 1800003601 -CAfile ca.crt c.crt") != 0);
        CHECK(
            test_sh(&d,
                    "openssl verify -attime 1800000000 -purpose sslclient -CAfile ca.crt c.crt") !=
            0);
        CHECK(test_sh(&d, "openssl x509 -in c.crt -noout -ext subjectAltName | grep 'DNS:n1, "
                          "DNS:\\*.example.com, IP Address:10.0.0.1, IP "
                          "Address:FD00:0:0:0:0:0:0:1'") == 0);
        CHECK(test_sh(&d, "openssl x509 -in c.crt -noout -subject | grep 'O = system:nodes + O = "
                          "b, CN = system:node:n1\\|O = b + O = "
                          "system:nodes, CN = system:node:n1'") == 0);
        pki_cert_unref(c);
        pki_key_unref(k);
    }
    buf_deinit(&b);
    test_ca_free(&ca);
    test_dir_remove(&d);
}

TEST(inspection_gives_back_what_was_signed)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct arena a;
    struct pki_cert_info i;
    arena_init(&a, 1 << 20);
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct str orgs[] = { STR("a"), STR("b") }, dns[] = { STR("x.y") }, ips[] = { STR("1.2.3.4") },
               uris[] = { STR("spiffe://a/b") };
    struct pki_names names = { .cn = STR("gr\xc3\xbc\xc3\x9f"),
                               .orgs = orgs,
                               .n_orgs = 2,
                               .dns = dns,
                               .n_dns = 1,
                               .ips = ips,
                               .n_ips = 1,
                               .uris = uris,
                               .n_uris = 1 };
    struct pki_cert *c =
        sign(&ca, k, &names, PKI_USAGE_CLIENT_AUTH, TEST_NOW - 300, TEST_NOW + 999999999);
    CHECK_OK(pki_cert_inspect(c, &a, &i, &err), &err);
    CHECK_STR(i.names.cn, names.cn);
    CHECK_INT(i.names.n_orgs, 2);
    CHECK_STR_C(i.names.dns[0], "x.y");
    CHECK_STR_C(i.names.ips[0], "1.2.3.4");
    CHECK_STR_C(i.names.uris[0], "spiffe://a/b");
    CHECK_STR_C(i.issuer, "CN=test-ca");
    CHECK_INT(i.usages, PKI_USAGE_CLIENT_AUTH | PKI_USAGE_DIGITAL_SIGNATURE);
    CHECK(!i.ca && i.fingerprint.len == 64 && i.serial.len == 30);
    CHECK_INT(i.not_before, TEST_NOW - 60); /* cut to the CA's life */
    CHECK_INT(i.not_after, TEST_NOW + 86400);
    CHECK(pki_cert_matches_key(c, k) && !pki_cert_matches_key(c, ca.key));
    pki_cert_unref(c);
    pki_key_unref(k);
    test_ca_free(&ca);
    arena_deinit(&a);
}

TEST(while_the_clock_is_not_set_not_yet_valid_says_nothing_and_expired_is_refused)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct pki_names names = { .cn = STR("n") };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *c = sign(&ca, k, &names, PKI_USAGE_CLIENT_AUTH, TEST_NOW, TEST_NOW + 3600);
    struct pki_cert *roots[] = { ca.cert };
    struct pki_bundle bundle = { .certs = roots, .n = 1 };
    /* The clock is set: before its time it is refused. */
    CHECK(!pki_verify(&bundle, &c, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW - 1000, &err));
    time_floor_test(-clock_real_s());
    time_floor_test_synchronised(0);
    CHECK_OK(pki_verify(&bundle, &c, 1, PKI_USAGE_CLIENT_AUTH, time_floor_now_s(), &err), &err);
    time_floor_raise(TEST_NOW + 7200);
    CHECK(!pki_verify(&bundle, &c, 1, PKI_USAGE_CLIENT_AUTH, time_floor_now_s(), &err));
    CHECK(strstr(err.msg, "expired"));
    time_floor_test_synchronised(-1);
    time_floor_test(0);
    pki_cert_unref(c);
    pki_key_unref(k);
    test_ca_free(&ca);
}

TEST(verification_says_why_in_the_words_of_go)
{
    struct test_ca ca = test_ca_make(TEST_NOW), other = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_names names = { .cn = STR("alice") };
    struct pki_bundle roots = { .certs = &ca.cert, .n = 1 },
                      others = { .certs = &other.cert, .n = 1 };
    struct pki_cert *c =
        sign(&ca, k, &names, PKI_USAGE_CLIENT_AUTH, TEST_NOW - 30, TEST_NOW + 3600);
    CHECK_OK(pki_verify(&roots, &c, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW, &err), &err);
    CHECK(!pki_verify(&others, &c, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW, &err));
    CHECK_STR_C(str_c(err.msg), "x509: certificate signed by unknown authority");
    CHECK(!pki_verify(&roots, &c, 1, PKI_USAGE_SERVER_AUTH, TEST_NOW, &err));
    CHECK_STR_C(str_c(err.msg), "x509: certificate specifies an incompatible key usage");
    CHECK(!pki_verify(&roots, &c, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW + 3601, &err));
    CHECK_STR_C(str_c(err.msg), "x509: certificate has expired or is not yet valid: current time "
                                "2027-01-15T09:00:01Z is after "
                                "2027-01-15T09:00:00Z");
    CHECK(!pki_verify(&roots, &c, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW - 31, &err));
    CHECK_STR_C(str_c(err.msg), "x509: certificate has expired or is not yet valid: current time "
                                "2027-01-15T07:59:29Z is before "
                                "2027-01-15T07:59:30Z");
    pki_cert_unref(c);
    pki_key_unref(k);
    test_ca_free(&ca);
    test_ca_free(&other);
}

TEST(a_leaf_cannot_sign_and_an_intermediate_can)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct pki_key *mid_key = pki_key_generate(PKI_KEY_P256, 0, &err),
                   *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert_spec s = { .names = { .cn = STR("mid") },
                               .ca = true,
                               .path_len = 0,
                               .usages = PKI_USAGE_CERT_SIGN,
                               .not_before = TEST_NOW - 9,
                               .not_after = TEST_NOW + 9 };
    struct pki_cert *mid = pki_cert_sign(ca.cert, ca.key, mid_key, &s, &err);
    CHECK_OK(mid, &err);
    struct pki_cert_spec leaf = { .names = { .cn = STR("leaf") },
                                  .usages = PKI_USAGE_CLIENT_AUTH,
                                  .not_before = TEST_NOW - 9,
                                  .not_after = TEST_NOW + 9 };
    struct pki_cert *c = pki_cert_sign(mid, mid_key, k, &leaf, &err);
    CHECK_OK(c, &err);
    struct pki_bundle roots = { .certs = &ca.cert, .n = 1 }, mids = { .certs = &mid, .n = 1 };
    struct pki_cert *chain[] = { c, mid };
    CHECK_OK(pki_verify(&roots, chain, 2, PKI_USAGE_CLIENT_AUTH, TEST_NOW, &err), &err);
    CHECK_OK(pki_verify(&mids, chain, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW, &err),
             &err); /* an intermediate as anchor */
    CHECK(!pki_verify(&roots, chain, 1, PKI_USAGE_CLIENT_AUTH, TEST_NOW, &err));
    CHECK(!pki_cert_sign(c, k, mid_key, &leaf, &err)); /* no CA */
    CHECK(!pki_cert_sign(ca.cert, k, k, &leaf, &err)); /* not the CA's key */
    pki_cert_unref(c);
    pki_cert_unref(mid);
    pki_key_unref(k);
    pki_key_unref(mid_key);
    test_ca_free(&ca);
}

TEST(hosts_match_by_name_wildcard_and_address_and_never_by_cn)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct str dns[] = { STR("kubernetes"), STR("*.example.com") },
               ips[] = { STR("10.96.0.1"), STR("::1") };
    struct pki_names names = { .cn = STR("by-cn"), .dns = dns, .n_dns = 2, .ips = ips, .n_ips = 2 };
    struct pki_names only_cn = { .cn = STR("by-cn") };
    struct pki_cert *c = sign(&ca, k, &names, PKI_USAGE_SERVER_AUTH, TEST_NOW, TEST_NOW + 9);
    struct pki_cert *c2 = sign(&ca, k, &only_cn, PKI_USAGE_SERVER_AUTH, TEST_NOW, TEST_NOW + 9);
    CHECK(pki_cert_matches_host(c, STR("kubernetes")) &&
          pki_cert_matches_host(c, STR("a.example.com")));
    CHECK(pki_cert_matches_host(c, STR("10.96.0.1")) && pki_cert_matches_host(c, STR("::1")) &&
          pki_cert_matches_host(c, STR("0:0::1")));
    CHECK(!pki_cert_matches_host(c, STR("a.b.example.com")) &&
          !pki_cert_matches_host(c, STR("10.96.0.2")));
    CHECK(!pki_cert_matches_host(c, STR("by-cn")) && !pki_cert_matches_host(c2, STR("by-cn")) &&
          !pki_cert_matches_host(c, STR("")));
    pki_cert_unref(c);
    pki_cert_unref(c2);
    pki_key_unref(k);
    test_ca_free(&ca);
}

TEST(names_that_would_read_differently_elsewhere_are_refused)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct str nul = STR("a\0b"), ip = STR("10.0.0.256"), dns = STR("a b");
    struct pki_cert_spec s = { .names = { .cn = nul }, .not_before = 1, .not_after = 2 };
    CHECK(!pki_cert_self_sign(ca.key, &s, &err));
    s.names = (struct pki_names){ .cn = STR("a"), .ips = &ip, .n_ips = 1 };
    CHECK(!pki_cert_self_sign(ca.key, &s, &err) && strstr(err.msg, "10.0.0.256"));
    s.names = (struct pki_names){ .cn = STR("a"), .dns = &dns, .n_dns = 1 };
    CHECK(!pki_cert_self_sign(ca.key, &s, &err));
    CHECK(!pki_cert_of_der(STR("\x30\x03\x02\x01\x01"), &err));
    test_ca_free(&ca);
}

TEST(bundles_skip_other_blocks_and_need_one_certificate)
{
    struct test_ca ca = test_ca_make(TEST_NOW);
    struct err err = { 0 };
    struct buf b;
    struct pki_bundle bundle;
    buf_init(&b, 1 << 20);
    CHECK(pki_key_write_private(ca.key, &b));
    CHECK(!pki_bundle_read(&bundle, buf_str(&b), &err));
    buf_append_c(&b, "# a comment\n");
    pki_cert_write_pem(ca.cert, &b);
    pki_cert_write_pem(ca.cert, &b);
    CHECK_OK(pki_bundle_read(&bundle, buf_str(&b), &err), &err);
    CHECK_INT(bundle.n, 2);
    pki_bundle_deinit(&bundle);
    buf_append_c(&b, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    CHECK(!pki_bundle_read(&bundle, buf_str(&b), &err));
    buf_deinit(&b);
    test_ca_free(&ca);
}
