/* What the tests of this room share. */
#ifndef AUTH_TEST_AUTH_H
#define AUTH_TEST_AUTH_H

#include <unistd.h>

#include "auth/authz.h"
#include "base/fs.h"
#include "base/test.h"
#include "pki/cert.h"
#include "pki/jwt.h"

#define TEST_NOW ((int64_t)1800000000) /* 2027-01-15T08:00:00Z */

/* A file of the test, gone at its end. */
struct test_file {
    char path[64];
};

static inline struct test_file test_file_make(struct str content)
{
    struct test_file f;
    struct err err = { 0 };
    snprintf(f.path, sizeof(f.path), "/tmp/coracle-test-auth-%d-%llx", (int)getpid(), (unsigned long long)str_hash(content));
    CHECK_OK(fs_write_atomic(f.path, content, 0600, &err), &err);
    return f;
}

static inline void test_file_remove(struct test_file *f)
{
    (void)unlink(f->path);
}

static inline struct auth_user test_user(const char *name, const struct str *groups, size_t n)
{
    return (struct auth_user){ .name = str_c(name), .groups = groups, .n_groups = n };
}

/* Attributes of a request for a resource. */
static inline struct authz_attributes test_attr(const struct auth_user *u, const char *verb, const char *group, const char *resource,
                                                const char *namespace_, const char *name)
{
    struct str sub = STR_EMPTY, res = str_c(resource), head;
    if (str_cut(res, '/', &head, &sub)) {
        res = head;
    } else {
        sub = STR_EMPTY;
    }
    return (struct authz_attributes){
        .user = u, .verb = str_c(verb), .resource_request = true, .api_group = str_c(group), .api_version = STR("v1"), .resource = res,
        .subresource = sub, .namespace_ = str_c(namespace_), .name = str_c(name),
    };
}

#endif
