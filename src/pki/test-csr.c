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
