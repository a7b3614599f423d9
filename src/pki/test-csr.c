#include "pki/csr.h"

#include "pki/test-pki.h"

TEST(request_round_trips_and_openssl_verifies_it)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    struct buf b;
    struct arena a;
    struct pki_csr csr;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct str org = STR("system:nodes"), dns = STR("n1"), ip = STR("10.0.0.1");
    struct pki_names names = { .cn = STR("system:node:n1"),
                               .orgs = &org,
                               .n_orgs = 1,
                               .dns = &dns,
                               .n_dns = 1,
                               .ips = &ip,
                               .n_ips = 1 };
    CHECK_OK(pki_csr_write(k, &names, &b, &err), &err);
    test_write(&d, "r", buf_str(&b));
    CHECK(test_sh(&d,
                  "openssl req -in r -verify -noout -text | grep 'DNS:n1, IP Address:10.0.0.1'") ==
          0);
    CHECK_OK(pki_csr_read(buf_str(&b), &a, &csr, &err), &err);
    CHECK_STR(csr.names.cn, names.cn);
    CHECK_STR(csr.names.orgs[0], org);
    CHECK_STR(csr.names.dns[0], dns);
    CHECK_STR(csr.names.ips[0], ip);
    CHECK(pki_key_same_public(csr.key, k));
    pki_csr_deinit(&csr);
    pki_key_unref(k);
    buf_deinit(&b);
    arena_deinit(&a);
    test_dir_remove(&d);
}

TEST(request_made_by_openssl_is_read)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    struct buf b;
    struct arena a;
    struct pki_csr csr;
    char path[128];
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    CHECK(test_sh(&d, "openssl req -new -newkey rsa:2048 -nodes -keyout k -out r -subj "
                      "/O=o1/O=o2/CN=me -addext subjectAltName=DNS:a,DNS:b") == 0);
    snprintf(path, sizeof(path), "%s/r", d.path);
    CHECK_OK(fs_read(path, 1 << 20, &b, &err), &err);
    CHECK_OK(pki_csr_read(buf_str(&b), &a, &csr, &err), &err);
    CHECK_INT(csr.names.n_orgs, 2);
    CHECK_INT(csr.names.n_dns, 2);
    pki_csr_deinit(&csr);
    buf_deinit(&b);
    arena_deinit(&a);
    test_dir_remove(&d);
}

TEST(changed_request_is_refused)
{
    struct err err = { 0 };
    struct buf b;
    struct arena a;
    struct pki_csr csr;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_names names = { .cn = STR("alice") };
    CHECK_OK(pki_csr_write(k, &names, &b, &err), &err);
    /* "alice" is in the first line of base64; flip one letter of it. */
    char *line = strchr(b.ptr, '\n') + 1;
    line[24] = line[24] == 'A' ? 'B' : 'A';
    CHECK(!pki_csr_read(buf_str(&b), &a, &csr, &err));
    buf_clear(&b);
    CHECK_OK(pki_csr_write(k, &names, &b, &err), &err);
    CHECK_OK(pki_csr_write(k, &names, &b, &err), &err);
    CHECK(!pki_csr_read(buf_str(&b), &a, &csr, &err)); /* two */
    CHECK(!pki_csr_read(STR("rubbish"), &a, &csr, &err));
    pki_key_unref(k);
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(a_certificate_keeps_the_whole_subject_of_its_request_and_openssl_verifies_it)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    struct buf b;
    struct arena a;
    struct pki_csr csr;
    char path[128];
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    CHECK(test_sh(&d, "openssl req -new -newkey rsa:2048 -nodes -keyout k -out r -subj "
                      "/OU=unit/O=o1/CN=me/L=town "
                      "-addext subjectAltName=email:a@b.example,URI:spiffe://x/y") == 0);
    snprintf(path, sizeof(path), "%s/r", d.path);
    CHECK_OK(fs_read(path, 1 << 20, &b, &err), &err);
    CHECK_OK(pki_csr_check(buf_str(&b), &err), &err);
    CHECK_OK(pki_csr_read(buf_str(&b), &a, &csr, &err), &err);
    CLEANUP(pki_key_unrefp) struct pki_key *ca_key = pki_key_generate(PKI_KEY_RSA, 2048, &err);
    CHECK_OK(ca_key, &err);
    struct pki_cert_spec ca_spec = { .names = { .cn = STR("ca") },
                                     .not_before = 1000,
                                     .not_after = 4000000000 };
    CLEANUP(pki_cert_unrefp) struct pki_cert *ca = pki_cert_self_sign(ca_key, &ca_spec, &err);
    CHECK_OK(ca, &err);
    struct pki_cert_spec spec = { .names = csr.names,
                                  .subject = csr.subject,
                                  .usages = PKI_USAGE_IPSEC_USER | PKI_USAGE_CLIENT_AUTH,
                                  .not_before = 2000,
                                  .not_after = 3900000000 };
    CLEANUP(pki_cert_unrefp)
    struct pki_cert *cert = pki_cert_sign(ca, ca_key, csr.key, &spec, &err);
    CHECK_OK(cert, &err);
    buf_clear(&b);
    pki_cert_write_pem(ca, &b);
    test_write(&d, "ca", buf_str(&b));
    buf_clear(&b);
    pki_cert_write_pem(cert, &b);
    test_write(&d, "c", buf_str(&b));
    CHECK(test_sh(&d, "openssl verify -CAfile ca c") == 0);
    CHECK(test_sh(
              &d,
              "openssl x509 -in c -noout -subject | grep 'OU = unit, O = o1, CN = me, L = town'") ==
          0);
    CHECK(test_sh(&d,
                  "openssl x509 -in c -noout -text | grep 'email:a@b.example, URI:spiffe://x/y'") ==
          0);
    CHECK(test_sh(&d, "openssl x509 -in c -noout -text | grep 'IPSec User'") == 0);
    pki_csr_deinit(&csr);
    buf_deinit(&b);
    arena_deinit(&a);
    test_dir_remove(&d);
}

TEST(the_api_takes_any_request_but_nothing_else)
{
    struct err err;
    CHECK(!pki_csr_check(STR("x"), &err));
    CHECK(strcmp(err.msg, "PEM block type must be CERTIFICATE REQUEST") == 0);
    CHECK(!pki_csr_check(
        STR("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"),
        &err));
    CHECK(!pki_csr_check(STR(""), &err));
}
