#include "base/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "kubelet/certificate-manager.h"

static void make_pair(struct cert_pair *p, const char *cn)
{
    struct err err;
    struct buf cert, key;
    struct pki_cert_spec spec = { .names = { .cn = str_c(cn) }, .path_len = -1, .not_before = clock_real_s() - 60,
                                  .not_after = clock_real_s() + 3600 };
    struct pki_key *k = pki_key_generate(PKI_KEY_P256, 0, &err);
    struct pki_cert *c = pki_cert_self_sign(k, &spec, &err);
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    pki_cert_write_pem(c, &cert);
    CHECK(pki_key_write_private(k, &key));
    CHECK_OK(cert_pair_set(p, buf_str(&cert), buf_str(&key), &err), &err);
    buf_deinit(&cert);
    buf_deinit(&key);
    pki_cert_unref(c);
    pki_key_unref(k);
}

TEST(a_stored_pair_is_what_the_link_leads_to_and_two_of_them_are_kept)
{
    struct cert_store s = { .dir = "/tmp/c-certs-XXXXXX", .prefix = "kubelet-client" };
    struct cert_pair p, got;
    struct err err = { 0 };
    char link[PATH_MAX], target[256];
    struct stat st;
    size_t files = 0;
    CHECK(mkdtemp(s.dir) != NULL);
    cert_pair_init(&p);
    cert_pair_init(&got);
    CHECK(!cert_store_read(&s, &got, &err) && err.code == ERR_NOT_FOUND);
    for (int i = 0; i < 4; i++) { /* within one second: names of their own all the same */
        char cn[16];
        snprintf(cn, sizeof(cn), "node-%d", i);
        make_pair(&p, cn);
        CHECK_OK(cert_store_write(&s, &p, 1800000000, &err), &err);
        CHECK_OK(cert_store_read(&s, &got, &err), &err);
        uint8_t a[32], b[32];
        pki_cert_sha256(p.leaf, a);
        pki_cert_sha256(got.leaf, b);
        CHECK(memcmp(a, b, 32) == 0);
    }
    cert_store_current_path(&s, link);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    CHECK(n > 0);
    target[n] = '\0';
    CHECK_STR_C(str_c(target), "kubelet-client-2027-01-15-08-00-03.pem");
    CHECK(stat(link, &st) == 0 && (st.st_mode & 0777) == 0600);
    DIR *d = opendir(s.dir);
    for (struct dirent *e; (e = readdir(d));) {
        files += strncmp(e->d_name, "kubelet-client-2", 16) == 0;
    }
    closedir(d);
    CHECK_INT(files, 2);
    cert_pair_deinit(&p);
    cert_pair_deinit(&got);
    CHECK(fs_remove_tree(s.dir, &err));
}

TEST(a_certificate_for_another_key_is_refused)
{
    struct cert_pair a, b;
    struct err err = { 0 };
    cert_pair_init(&a);
    cert_pair_init(&b);
    make_pair(&a, "a");
    make_pair(&b, "b");
    struct pki_cert *before = a.leaf;
    CHECK(!cert_pair_set(&a, buf_str(&a.cert_pem), buf_str(&b.key_pem), &err));
    CHECK(strstr(err.msg, "another key"));
    CHECK(a.leaf == before);
    cert_pair_deinit(&a);
    cert_pair_deinit(&b);
}

TEST(a_certificate_is_renewed_after_seven_to_nine_tenths_of_its_life)
{
    CHECK_INT(cert_manager_due(1000, 2000, 0), 1700);
    CHECK_INT(cert_manager_due(1000, 2000, 0.5), 1800);
    CHECK_INT(cert_manager_due(1000, 2000, 1), 1900);
}

TEST(requests_that_fail_come_later_and_later_for_ever)
{
    CHECK_INT(cert_manager_backoff_ms(1, 0.5), 2000);
    CHECK_INT(cert_manager_backoff_ms(2, 0.5), 4000);
    CHECK_INT(cert_manager_backoff_ms(3, 0), 4000);
    CHECK_INT(cert_manager_backoff_ms(20, 0.5), 300000);
    CHECK_INT(cert_manager_backoff_ms(4000000000u, 0.99), 447000);
}
