/* What the tests of this room share: a folder that goes away, the openssl program, quick CAs. */
#ifndef PKI_TEST_PKI_H
#define PKI_TEST_PKI_H

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "pki/cert.h"

#define TEST_NOW ((int64_t)1800000000) /* 2027-01-15T08:00:00Z */

struct test_dir {
    char path[64];
};

static inline struct test_dir test_dir_make(void)
{
    struct test_dir d;
    snprintf(d.path, sizeof(d.path), "/tmp/coracle-test-pki-XXXXXX");
    CHECK(mkdtemp(d.path) != NULL);
    return d;
}

static inline void test_dir_remove(struct test_dir *d)
{
    (void)!fs_remove_tree(d->path, NULL);
}

/* Runs a shell command in the folder; its output goes to <folder>/out. */
PRINTF_LIKE(2, 3) static inline int test_sh(struct test_dir *d, const char *fmt, ...)
{
    char cmd[1024], full[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    snprintf(full, sizeof(full), "cd %s && { %s; } >out 2>&1", d->path, cmd);
    return system(full);
}

static inline void test_write(struct test_dir *d, const char *name, struct str content)
{
    char path[256];
    struct err err = { 0 };
    snprintf(path, sizeof(path), "%s/%s", d->path, name);
    CHECK_OK(fs_write_atomic(path, content, 0600, &err), &err);
}

static inline void test_need_openssl(void)
{
    if (system("command -v openssl >/dev/null 2>&1") != 0) {
        test_skip("no openssl program");
    }
}

struct test_ca {
    struct pki_key *key;
    struct pki_cert *cert;
};

static inline struct test_ca test_ca_make(int64_t now)
{
    struct err err = { 0 };
    struct test_ca ca;
    struct pki_cert_spec s = { .names = { .cn = STR("test-ca") }, .path_len = -1, .not_before = now - 60, .not_after = now + 86400 };
    ca.key = pki_key_generate(PKI_KEY_P256, 0, &err);
    CHECK_OK(ca.key, &err);
    ca.cert = pki_cert_self_sign(ca.key, &s, &err);
    CHECK_OK(ca.cert, &err);
    return ca;
}

static inline void test_ca_free(struct test_ca *ca)
{
    pki_cert_unref(ca->cert);
    pki_key_unref(ca->key);
}

#endif
