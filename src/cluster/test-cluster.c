/* The pure parts: names and addresses, command lines, containerd's configuration, the user's kubeconfig. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/yaml.h"
#include "base/fs.h"
#include "base/test.h"
#include "cluster/machine.h"
#include "cluster/role.h"
#include "cluster/user-config.h"

static bool has_word(const struct role *r, const char *word)
{
    for (size_t i = 0; i < r->n_argv; i++) {
        if (strcmp(r->argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

TEST(place_takes_dns_labels_only)
{
    struct place p;
    struct err err;
    CHECK_OK(place_init(&p, STR("test-1"), &err), &err);
    CHECK_STR_C(str_c(p.state), "/var/lib/coracle/test-1");
    CHECK(!place_init(&p, STR(""), &err));
    CHECK(!place_init(&p, STR("../etc"), &err));
    CHECK(!place_init(&p, STR("Upper"), &err));
    CHECK(!place_init(&p, STR("-a"), &err));
    CHECK(!place_init(&p, STR("a-very-long-name-that-goes-on-and-on-and-on"), &err));
}

TEST(published_ports_are_two_numbers)
{
    struct cluster_published p;
    CHECK(cluster_published_parse(STR("8080:30080"), &p) && p.host == 8080 && p.node == 30080);
    CHECK(!cluster_published_parse(STR("8080"), &p));
    CHECK(!cluster_published_parse(STR("0:1"), &p));
    CHECK(!cluster_published_parse(STR("1:65536"), &p));
    CHECK(!cluster_published_parse(STR("a:b"), &p));
}

TEST(roles_put_the_control_plane_on_node_1_alone)
{
    struct cluster_config c = { .n_masters = 1, .n_nodes = 3, .n_published = 1, .published = { { 8080, 30080 } } };
    struct machine m = { .overlayfs = true };
    static struct role roles[CLUSTER_MAX_ROLES];
    struct arena a;
    struct err err;
    CHECK(place_init(&c.place, STR("x"), &err));
    arena_init(&a, ARENA_NO_BUDGET);
    size_t n = roles_of(&c, &m, &a, roles);
    size_t n_api = 0, n_kubelet = 0, n_forward = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(roles[i].name, "kube-apiserver") == 0) {
            n_api++;
            CHECK_INT(roles[i].node, 1);
            CHECK_INT(roles[i].socket, ROLE_API_SOCKETS);
            CHECK(has_word(&roles[i], "--advertise-address=10.89.0.2"));
            CHECK(has_word(&roles[i], "--store=sqlite"));
            CHECK_STR_C(str_c(roles[i].program), "/var/lib/coracle/x/bin/kube-apiserver");
        } else if (strcmp(roles[i].name, "kubelet") == 0) {
            n_kubelet++;
            char want[64];
            snprintf(want, sizeof(want), "--node-ip=10.89.0.%u", roles[i].node + 1);
            CHECK(has_word(&roles[i], want));
        } else if (roles[i].socket == ROLE_PUBLISHED_SOCKET) {
            n_forward++;
            CHECK(has_word(&roles[i], "--to=10.89.0.2:30080"));
        }
    }
    CHECK_INT(n_api, 1);
    CHECK_INT(n_kubelet, 3);
    CHECK_INT(n_forward, 1);
    snprintf(c.without, sizeof(c.without), "kubelet,kube-apiserver");
    CHECK_INT(roles_of(&c, &m, &a, roles), n - 4);
    arena_deinit(&a);
}

TEST(dockerd_takes_the_place_of_containerd_on_every_node)
{
    struct cluster_config c = { .n_masters = 1, .n_nodes = 2, .docker = true };
    struct machine m = { .overlayfs = true, .cni_bin = "/cni" };
    static struct role roles[CLUSTER_MAX_ROLES];
    struct arena a;
    struct err err;
    size_t n_docker = 0;
    CHECK(place_init(&c.place, STR("x"), &err));
    arena_init(&a, ARENA_NO_BUDGET);
    size_t n = roles_of(&c, &m, &a, roles);
    for (size_t i = 0; i < n; i++) {
        CHECK(strcmp(roles[i].name, "containerd") != 0);
        if (strcmp(roles[i].name, "dockerd") == 0) {
            n_docker++;
            CHECK(has_word(&roles[i], "--live-restore") && has_word(&roles[i], "--storage-driver=overlay2") && has_word(&roles[i], "--bridge=none"));
            CHECK(has_word(&roles[i], "--oom-score-adjust=0"));
        } else if (strcmp(roles[i].name, "kubelet") == 0) {
            CHECK(has_word(&roles[i], "--docker-endpoint=unix:///run/docker.sock") && has_word(&roles[i], "--cni-bin-dir=/cni"));
        }
    }
    CHECK_INT(n_docker, 2);
    arena_deinit(&a);
}

TEST(containerd_config_follows_the_machine)
{
    struct machine bare = { .cni_bin = "/usr/lib/cni" };
    struct machine full = { .apparmor = true, .may_lower_oom = true, .hugetlb = true, .overlayfs = true, .cni_bin = "/opt/cni/bin" };
    struct buf b;
    buf_init(&b, 65536);
    containerd_config_write(&bare, "/var/lib/containerd", "/run/containerd", "/conf/cni", &b);
    CHECK(str_find(buf_str(&b), STR("disable_apparmor = true")) >= 0);
    CHECK(str_find(buf_str(&b), STR("restrict_oom_score_adj = true")) >= 0);
    CHECK(str_find(buf_str(&b), STR("snapshotter = \"native\"")) >= 0);
    CHECK(str_find(buf_str(&b), STR("conf_dir = \"/conf/cni\"")) >= 0);
    buf_clear(&b);
    containerd_config_write(&full, "/var/lib/containerd", "/run/containerd", "/conf/cni", &b);
    CHECK(str_find(buf_str(&b), STR("disable_apparmor = false")) >= 0);
    CHECK(str_find(buf_str(&b), STR("oom_score = -999")) >= 0);
    CHECK(str_find(buf_str(&b), STR("snapshotter = \"overlayfs\"")) >= 0);
    buf_deinit(&b);
}

TEST(user_config_keeps_what_others_wrote)
{
    char path[64];
    struct err err;
    struct buf b;
    struct client_config config = { .server = STR("https://127.0.0.1:6443"), .ca_pem = STR("ca"), .client_cert_pem = STR("cert"),
                                    .client_key_pem = STR("key") };
    snprintf(path, sizeof(path), "/tmp/coracle-test-config-%d", (int)getpid());
    CHECK_OK(fs_write_atomic(path, STR("apiVersion: v1\nkind: Config\nclusters:\n- name: other\n  cluster: {server: \"https://x\"}\n"
                                       "contexts:\n- name: other\n  context: {cluster: other, user: other}\n"
                                       "users:\n- name: other\n  user: {token: abc}\ncurrent-context: other\npreferences: {colors: true}\n"),
                             0600, &err), &err);
    CHECK_OK(user_config_add(path, "coracle", &config, &err), &err);
    CHECK_OK(user_config_add(path, "coracle", &config, &err), &err); /* again changes nothing */
    buf_init(&b, 65536);
    CHECK_OK(fs_read(path, 65536, &b, &err), &err);
    struct arena a;
    struct val doc;
    arena_init(&a, 1 << 20);
    CHECK_OK(yaml_parse(&a, buf_str(&b), NULL, &doc, &err), &err);
    CHECK_INT(val_get(&doc, STR("clusters"))->n, 2);
    CHECK_STR_C(val_get_str(&doc, STR("current-context")), "coracle");
    CHECK(val_is(VAL_AT(&doc, "preferences", "colors"), VAL_BOOL));

    CHECK_OK(user_config_remove(path, "coracle", &err), &err);
    CHECK_OK(user_config_remove(path, "coracle", &err), &err);
    buf_clear(&b);
    CHECK_OK(fs_read(path, 65536, &b, &err), &err);
    CHECK_OK(yaml_parse(&a, buf_str(&b), NULL, &doc, &err), &err);
    CHECK_INT(val_get(&doc, STR("users"))->n, 1);
    CHECK_STR_C(val_get_str(&val_get(&doc, STR("users"))->items[0], STR("name")), "other");
    CHECK_STR_C(val_get_str(&doc, STR("current-context")), "");

    CHECK_OK(fs_write_atomic(path, STR("just: [broken"), 0600, &err), &err);
    CHECK(!user_config_add(path, "coracle", &config, &err)); /* a file that cannot be read is left alone */
    buf_clear(&b);
    CHECK_OK(fs_read(path, 65536, &b, &err), &err);
    CHECK_STR_C(buf_str(&b), "just: [broken");
    buf_deinit(&b);
    arena_deinit(&a);
    CHECK(unlink(path) == 0);
    CHECK_OK(user_config_add(path, "coracle", &config, &err), &err); /* an absent file is made, for the owner alone */
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(unlink(path) == 0);
}
