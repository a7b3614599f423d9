/* Hosts that stay: their configuration as text, their programs, the unit, and the host keys that others leave. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "cluster/host-objects.h"
#include "cluster/host-service.h"
#include "cluster/host.h"

static bool has_word(const struct role *r, const char *word)
{
    for (size_t i = 0; i < r->n_argv; i++) {
        if (strcmp(r->argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static const struct role *find(const struct role *roles, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            return &roles[i];
        }
    }
    return NULL;
}

TEST(host_reads_back_what_it_wrote)
{
    static struct host h, again;
    struct err err;
    struct buf b;
    host_init(&h);
    h.node = true;
    h.reach = HOST_BY_SSH;
    h.port = 7443;
    snprintf(h.name, sizeof(h.name), "n-1");
    snprintf(h.address, sizeof(h.address), "fd00::2");
    snprintf(h.reverse_server, sizeof(h.reverse_server), "[fd00::1]:8132");
    buf_init(&b, 16384);
    host_write(&h, &b);
    CHECK_OK(host_parse(&again, buf_str(&b), &err), &err);
    CHECK(memcmp(&h, &again, sizeof(h)) == 0);
    buf_deinit(&b);
}

TEST(host_refuses_lines_that_it_does_not_know)
{
    static struct host h;
    struct err err;
    CHECK(!host_parse(&h, STR("server=true\nport=70000\n"), &err));
    CHECK(!host_parse(&h, STR("server=true\nreach=by-air\n"), &err));
    CHECK(!host_parse(&h, STR("server=yes\n"), &err));
    CHECK(!host_parse(&h, STR("server=true\nsrever=true\n"), &err));
    CHECK(!host_parse(&h, STR("port=6443\n"), &err)); /* neither */
    CHECK_OK(host_parse(&h, STR("# a person's\n\n node = true \n"), &err), &err);
}

TEST(host_first_address_is_that_of_the_kubernetes_service)
{
    char ip[64];
    struct err err;
    CHECK(host_first_address("10.96.0.0/16", ip, &err));
    CHECK_STR_C(str_c(ip), "10.96.0.1");
    CHECK(host_first_address("192.168.5.77/24", ip, &err));
    CHECK_STR_C(str_c(ip), "192.168.5.1");
    CHECK(!host_first_address("10.96.0.0", ip, &err));
    CHECK(!host_first_address("10.96.0.0/30", ip, &err));
}

TEST(host_roles_of_a_node_use_its_own_credentials)
{
    static struct host h;
    static struct role roles[HOST_MAX_ROLES];
    struct machine m = { .overlayfs = true };
    struct arena a;
    host_init(&h);
    h.node = true;
    h.reach = HOST_BY_REVERSE;
    snprintf(h.name, sizeof(h.name), "n-1");
    snprintf(h.reverse_server, sizeof(h.reverse_server), "10.0.0.1:8132");
    arena_init(&a, ARENA_NO_BUDGET);
    size_t n = host_roles(&h, &m, &a, roles);
    const struct role *kubelet = find(roles, n, "kubelet"), *proxy = find(roles, n, "kube-proxy"),
                      *agent = find(roles, n, "tunnel-agent");
    CHECK(kubelet && proxy && agent && !find(roles, n, "kube-apiserver"));
    CHECK(has_word(kubelet, "--flag-defaults=secure") && has_word(kubelet, "--rotate-server-certificates=true"));
    CHECK(has_word(kubelet, "--node-labels=coracle.local/reach=reverse"));
    CHECK(has_word(proxy, "--kubeconfig=/var/lib/coracle/host/conf/kubelet.conf"));
    CHECK_STR_C(str_c(proxy->needs_file), "/var/lib/coracle/host/conf/kubelet.conf");
    CHECK(has_word(agent, "--server=10.0.0.1:8132"));
    arena_deinit(&a);
}

TEST(host_roles_of_a_server_are_unprivileged)
{
    static struct host h;
    static struct role roles[HOST_MAX_ROLES];
    struct machine m = { .overlayfs = true };
    struct arena a;
    host_init(&h);
    h.server = h.tunnels = true;
    arena_init(&a, ARENA_NO_BUDGET);
    size_t n = host_roles(&h, &m, &a, roles);
    CHECK_INT(n, 4);
    for (size_t i = 0; i < n; i++) {
        CHECK(roles[i].uid != ROLE_ROOT && roles[i].confinement.read[0]);
    }
    CHECK(has_word(find(roles, n, "kube-apiserver"), "--tunnel-socket=/run/coracle/host/tunnel/tunnel.sock"));
    CHECK(has_word(find(roles, n, "tunnel"), "--ssh-annotation-host-keys=false"));
    arena_deinit(&a);
}

TEST(host_keys_become_known_hosts_lines)
{
    struct buf b;
    buf_init(&b, 65536);
    CHECK(host_pin_lines(STR("n-1"), STR("10.0.0.7"), 22, STR("ssh-ed25519 AAAA= root@n-1\n\necdsa-sha2-nistp256 BBBB"),
                         &b));
    CHECK_STR_C(buf_str(&b), "10.0.0.7,n-1 ssh-ed25519 AAAA=\n10.0.0.7,n-1 ecdsa-sha2-nistp256 BBBB\n");
    b.len = 0;
    CHECK(host_pin_lines(STR("n-1"), STR("fd00::7"), 2222, STR("ssh-ed25519 AAAA"), &b));
    CHECK_STR_C(buf_str(&b), "[fd00::7]:2222,[n-1]:2222 ssh-ed25519 AAAA\n");
    /* Whatever would be more than one plain entry is refused. */
    CHECK(!host_pin_lines(STR("n-1,other"), STR("10.0.0.7"), 22, STR("ssh-ed25519 AAAA"), &b));
    CHECK(!host_pin_lines(STR("*"), STR("10.0.0.7"), 22, STR("ssh-ed25519 AAAA"), &b));
    CHECK(!host_pin_lines(STR("n-1"), STR("10.0.0.7,10.0.0.8"), 22, STR("ssh-ed25519 AAAA"), &b));
    CHECK(!host_pin_lines(STR("n-1"), STR("10.0.0.7"), 22, STR("@cert-authority * ssh-ed25519 AAAA"), &b));
    CHECK(!host_pin_lines(STR("n-1"), STR("10.0.0.7"), 22, STR("ssh-ed25519"), &b));
    CHECK(!host_pin_lines(STR("n-1"), STR("10.0.0.7"), 22, STR_EMPTY, &b));
    buf_deinit(&b);
}

/* systemd itself says whether it understands the unit. */
TEST(host_units_are_as_systemd_takes_them)
{
    static struct host h;
    char dir[] = "/tmp/coracle-unit.XXXXXX", path[64], command[256];
    struct err err;
    if (access("/usr/bin/systemd-analyze", X_OK) < 0) {
        test_skip("there is no systemd-analyze");
    }
    CHECK(mkdtemp(dir) != NULL);
    for (int i = 0; i < 3; i++) {
        struct buf b;
        host_init(&h);
        h.server = i != 1;
        h.node = i != 0;
        /* It looks whether the program is there. */
        snprintf(h.place.state, sizeof(h.place.state), "%s", dir);
        snprintf(path, sizeof(path), "%s/bin", dir);
        CHECK(fs_mkdirs(path, 0755, &err));
        snprintf(path, sizeof(path), "%s/bin/coracle", dir);
        CHECK(fs_write_atomic(path, STR("#!/bin/sh\n"), 0755, &err));
        snprintf(path, sizeof(path), "%s/coracle.service", dir);
        buf_init(&b, 8192);
        host_service_write(&h, &b);
        CHECK(fs_write_atomic(path, buf_str(&b), 0644, &err));
        buf_deinit(&b);
        snprintf(command, sizeof(command),
                 "out=$(systemd-analyze verify --man=no %s 2>&1) && [ -z \"$out\" ] || { echo \"$out\"; exit 1; }",
                 path);
        CHECK_INT(system(command), 0); /* NOLINT: a fixed command */
    }
    CHECK(fs_remove_tree(dir, &err));
}
