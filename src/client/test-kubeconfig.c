#include "client/kubeconfig.h"

#include <unistd.h>

#include "base/test.h"

TEST(a_kubeconfig_that_was_written_reads_back_the_same)
{
    struct arena a;
    struct err err;
    struct client_config c = { .server = STR_INIT("https://127.0.0.1:6443"),
                               .ca_pem = STR_INIT("CA\n"),
                               .client_cert_pem = STR_INIT("CERT"),
                               .client_key_pem = STR_INIT("KEY"),
                               .token = STR_INIT("to: \"ken"),
                               .namespace = STR_INIT("kube-system") },
                         got;
    char path[] = "/tmp/coracle-kubeconfig-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(kubeconfig_write(path, STR("my: cluster"), &c, &err), &err);
    CHECK_OK(kubeconfig_read(&a, path, STR_NULL, &got, &err), &err);
    unlink(path);
    CHECK_STR(got.server, c.server);
    CHECK_STR(got.ca_pem, c.ca_pem);
    CHECK_STR(got.client_cert_pem, c.client_cert_pem);
    CHECK_STR(got.client_key_pem, c.client_key_pem);
    CHECK_STR(got.token, c.token);
    CHECK_STR(got.namespace, c.namespace);
    arena_deinit(&a);
}

TEST(what_cannot_be_honoured_in_a_kubeconfig_is_refused_by_name)
{
    struct arena a;
    struct err err;
    struct client_config got;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK(!kubeconfig_parse(
        &a,
        STR("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
            "clusters: [{name: k, cluster: {server: 'https://h'}}]\n"
            "users: [{name: u, user: {exec: {command: x}}}]\n"),
        NULL, STR_NULL, &got, &err));
    CHECK(strstr(err.msg, "exec"));
    CHECK(!kubeconfig_parse(&a, STR("current-context: c\ncontexts: []\n"), NULL, STR_NULL, &got,
                            &err));
    CHECK(strstr(err.msg, "no context \"c\""));
    arena_deinit(&a);
}
