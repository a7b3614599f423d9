#include "pki/cluster-pki.h"

#include <sys/stat.h>

#include "pki/test-pki.h"

static struct pki_cluster_spec spec_of(struct test_dir *d, int64_t now)
{
    return (struct pki_cluster_spec){ .dir = d->path, .service_ip = STR("10.96.0.1"), .now = now };
}

TEST(folder_is_made_whole_and_openssl_verifies_every_certificate)
{
    test_need_openssl();
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    unsigned changed = 0;
    struct pki_cluster_spec s = spec_of(&d, TEST_NOW);
    struct str dns = STR("host.example"), ip = STR("192.0.2.7");
    s.apiserver_dns = &dns;
    s.n_apiserver_dns = 1;
    s.apiserver_ips = &ip;
    s.n_apiserver_ips = 1;
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 20);
    CHECK_OK(pki_cluster_write_node(&s, STR("n1"), NULL, 0, &ip, 1, &changed, &err), &err);
    CHECK_INT(changed, 4);
    CHECK(test_sh(&d,
                  "openssl verify -attime %lld -x509_strict -purpose sslserver -CAfile ca.crt "
                  "apiserver.crt nodes/n1/kubelet.crt",
                  (long long)TEST_NOW) == 0);
    CHECK(test_sh(&d,
                  "openssl verify -attime %lld -x509_strict -purpose sslclient -CAfile ca.crt "
                  "admin.crt scheduler.crt kube-proxy.crt "
                  "controller-manager.crt apiserver-kubelet-client.crt nodes/n1/kubelet-client.crt",
                  (long long)TEST_NOW) == 0);
    CHECK(test_sh(&d,
                  "openssl verify -attime %lld -purpose sslclient -CAfile front-proxy-ca.crt "
                  "front-proxy-client.crt",
                  (long long)TEST_NOW) == 0);
    CHECK(test_sh(&d, "for i in kubernetes kubernetes.default.svc.cluster.local localhost "
                      "host.example; do openssl x509 -in apiserver.crt "
                      "-noout -checkhost $i | grep 'does match' || exit 1; done") == 0);
    CHECK(test_sh(&d, "for i in 10.96.0.1 127.0.0.1 ::1 192.0.2.7; do openssl x509 -in "
                      "apiserver.crt -noout -checkip $i | grep 'does match' "
                      "|| exit 1; done") == 0);
    CHECK(test_sh(&d, "openssl x509 -in nodes/n1/kubelet-client.crt -noout -subject | grep 'O = "
                      "system:nodes, CN = system:node:n1'") == 0);
    CHECK(test_sh(&d, "openssl pkey -in sa.key -pubout | cmp - sa.pub") == 0);
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s/ca.key", d.path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    test_dir_remove(&d);
}

TEST(second_run_changes_nothing_and_due_or_missing_pairs_are_renewed)
{
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    unsigned changed = 99;
    char path[128];
    struct pki_cluster_spec s = spec_of(&d, TEST_NOW);
    CHECK_OK(pki_cluster_write(&s, NULL, &err), &err);
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 0);
    snprintf(path, sizeof(path), "%s/admin.key", d.path);
    CHECK(unlink(path) == 0);
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 2);
    /* A new address of the apiserver. */
    struct str ip = STR("192.0.2.7");
    s.apiserver_ips = &ip;
    s.n_apiserver_ips = 1;
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 2);
    /* Two thirds of a year later all leaves are due, the CAs and the token key stay. */
    s.now += (int64_t)250 * 86400;
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 14);
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 0);
    /* A damaged leaf is replaced. */
    test_write(&d, "scheduler.crt", STR("rubbish"));
    CHECK_OK(pki_cluster_write(&s, &changed, &err), &err);
    CHECK_INT(changed, 2);
    test_dir_remove(&d);
}

TEST(ca_is_never_replaced_behind_ones_back)
{
    struct test_dir d = test_dir_make();
    struct err err = { 0 };
    unsigned changed;
    char path[128];
    struct pki_cluster_spec s = spec_of(&d, TEST_NOW);
    CHECK_OK(pki_cluster_write(&s, NULL, &err), &err);
    snprintf(path, sizeof(path), "%s/ca.key", d.path);
    CHECK(unlink(path) == 0);
    CHECK_OK(pki_cluster_write(&s, &changed, &err),
             &err); /* kept elsewhere: fine while nothing is due */
    CHECK_INT(changed, 0);
    s.now += (int64_t)250 * 86400;
    CHECK(!pki_cluster_write(&s, &changed, &err) &&
          strstr(err.msg, "the key of its CA is not here"));
    test_write(&d, "ca.key", STR("rubbish"));
    CHECK(!pki_cluster_write(&s, &changed, &err) && strstr(err.msg, "do not belong together"));
    CHECK(!pki_cluster_write_node(&s, STR("../x"), NULL, 0, NULL, 0, &changed, &err));
    test_dir_remove(&d);
}
