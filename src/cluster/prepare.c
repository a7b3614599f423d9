#include "cluster/prepare.h"

#include <errno.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/time-floor.h"
#include "cluster/files.h"
#include "cluster/role.h"
#include "cluster/user-config.h"
#include "pki/cluster-pki.h"
#include "pki/limits.h"

/* ---- files ---- */

/* Beside the executable, in the build folder it comes from, or where it was installed to. */
static bool find_images(const char *exe, char dst[PATH_MAX], struct err *err)
{
    static const char *const places[] = { "images/coracle.tar", "../images/coracle.tar", "../../images/coracle.tar",
                                          "../share/coracle/images/coracle.tar" };
    char dir[PATH_MAX];
    path_of(dir, "%s", exe);
    *strrchr(dir, '/') = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (access(path_of(dst, "%s/%s", dir, places[i]), R_OK) == 0) {
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the images are missing: %s/%s is not there; build it with 'make'", dir, places[0]);
}

bool prepare_programs(const char *state, struct err *err)
{
    static const char *const names[] = { "kube-apiserver", "kube-controller-manager", "cloud-controller-manager",
                                         "kube-scheduler", "kubelet",                 "kube-proxy", "coracle-tunnel" };
    char exe[PATH_MAX], images[PATH_MAX], to[PATH_MAX], dir[PATH_MAX];
    if (!files_own_executable(exe, err) || !find_images(exe, images, err) ||
        !fs_mkdirs(path_of(dir, "%s/bin", state), 0755, err) ||
        !files_copy(exe, path_of(to, "%s/bin/coracle", state), 0755, FILES_SAME_OWNER, err) ||
        !fs_mkdirs(path_of(dir, "%s/images", state), 0755, err) ||
        !files_copy(images, path_of(to, "%s/images/coracle.tar", state), 0644, FILES_SAME_OWNER, err)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        path_of(to, "%s/bin/%s", state, names[i]);
        if (symlink("coracle", to) < 0 && errno != EEXIST) {
            return err_set_errno(err, errno, "cannot link %s", to);
        }
    }
    return true;
}

/* ---- PKI and kubeconfigs ---- */

/* Reads a file of the PKI into the arena. */
static bool load(struct arena *a, const char *dir, const char *file, struct str *ret, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    bool ok = fs_read(path_of(path, "%s/%s", dir, file), PKI_MAX_FILE, &b, err);
    if (ok) {
        *ret = arena_str(a, buf_str(&b));
    }
    buf_deinit(&b);
    return ok;
}

static bool load_client(const struct cluster_config *c, struct arena *a, const char *pair, const char *server,
                        struct client_config *ret, struct err *err)
{
    char dir[PATH_MAX], crt[160], key[160];
    path_of(dir, "%s/pki", c->place.state);
    snprintf(crt, sizeof(crt), "%s.crt", pair);
    snprintf(key, sizeof(key), "%s.key", pair);
    *ret = (struct client_config){ .server = arena_str(a, str_c(server)), .namespace = STR("default") };
    return load(a, dir, "ca.crt", &ret->ca_pem, err) && load(a, dir, crt, &ret->client_cert_pem, err) &&
           load(a, dir, key, &ret->client_key_pem, err);
}

static bool write_client(const struct cluster_config *c, const char *pair, const char *server, const char *path,
                         struct err *err)
{
    struct arena a;
    struct client_config config;
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = load_client(c, &a, pair, server, &config, err) && kubeconfig_write(path, str_c(c->place.name), &config, err);
    arena_deinit(&a);
    return ok;
}

bool prepare_admin_config(const struct cluster_config *c, struct arena *a, struct client_config *ret, struct err *err)
{
    char server[64];
    snprintf(server, sizeof(server), "https://127.0.0.1:%u", c->api_port);
    if (!load_client(c, a, "admin", server, ret, err)) {
        return false;
    }
    /* Renewed while the cluster runs. */
    ret->client_cert_file = arena_printf(a, "%s/pki/admin.crt", c->place.state);
    ret->client_key_file = arena_printf(a, "%s/pki/admin.key", c->place.state);
    return true;
}

static bool prepare_node_pki(const struct pki_cluster_spec *spec, unsigned node, unsigned *ret_made, struct err *err)
{
    char name[16], ip[CLUSTER_IP_SIZE];
    cluster_node_name(node, name);
    cluster_ip_text(cluster_node_addr(node), ip);
    const struct str dns[] = { str_c(name), STR("localhost") }, ips[] = { str_c(ip), STR("127.0.0.1") };
    return pki_cluster_write_node(spec, str_c(name), dns, 2, ips, 2, ret_made, err);
}

/* Copies credentials into the folder of one program, for its user alone. */
static bool share(const struct cluster_config *c, const char *program, uid_t uid, const char *const *files, size_t n_files,
                  struct err *err)
{
    char dir[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    path_of(dir, "%s/kube/%s", c->place.state, program);
    if (!fs_mkdirs(dir, 0700, err)) {
        return false;
    }
    for (size_t i = 0; i < n_files; i++) {
        path_of(from, "%s/pki/%s", c->place.state, files[i]);
        path_of(to, "%s/%s", dir, files[i]);
        if (!files_copy(from, to, 0400, uid, err) || !files_hand_over(to, uid, err)) {
            return false;
        }
    }
    return files_hand_over(dir, uid, err);
}

/* The same for a client's kubeconfig: node-1's loopback is where the control plane finds the API. */
static bool share_kubeconfig(const struct cluster_config *c, const char *program, uid_t uid, struct err *err)
{
    char path[PATH_MAX];
    path_of(path, "%s/kube/%s/kubeconfig", c->place.state, program);
    return write_client(c, program, "https://127.0.0.1:6443", path, err) &&
           files_hand_over(path, uid, err);
}

static bool share_etcd(const struct cluster_config *c, const char *folder, uid_t uid, const char *file, const char *as, struct err *err)
{
    char dir[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    path_of(dir, "%s/kube/%s", c->place.state, folder);
    path_of(from, "%s/pki/etcd/%s", c->place.state, file);
    path_of(to, "%s/%s", dir, as);
    return fs_mkdirs(dir, 0700, err) && files_copy(from, to, 0400, uid, err) && files_hand_over(to, uid, err) && files_hand_over(dir, uid, err);
}

/* Members' certificates for etcd, and a client's for the API servers. */
static bool prepare_etcd(const struct cluster_config *c, struct err *err)
{
    static const char *const client[] = { "ca.crt", "client.crt", "client.key" };
    if (!c->etcd_store) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(client); i++) {
        if (!share_etcd(c, "apiserver/etcd", ROLE_UID_APISERVER, client[i], client[i], err)) {
            return false;
        }
    }
    bool ok = share_etcd(c, "etcd", ROLE_UID_ETCD, "ca.crt", "ca.crt", err);
    for (unsigned node = 1; ok && node <= c->n_masters; node++) {
        char crt[64], key[64];
        snprintf(crt, sizeof(crt), "member-node-%u.crt", node);
        snprintf(key, sizeof(key), "member-node-%u.key", node);
        ok = share_etcd(c, "etcd", ROLE_UID_ETCD, crt, crt, err) && share_etcd(c, "etcd", ROLE_UID_ETCD, key, key, err);
    }
    return ok;
}

static bool write_etcd_pki(const struct cluster_config *c, const struct pki_cluster_spec *cluster, unsigned *ret_made, struct err *err)
{
    struct pki_etcd_member members[CLUSTER_MAX_MASTERS];
    char dir[PATH_MAX], names[CLUSTER_MAX_MASTERS][16], ips[CLUSTER_MAX_MASTERS][CLUSTER_IP_SIZE];
    struct pki_cluster_spec spec = *cluster;
    spec.dir = path_of(dir, "%s/pki/etcd", c->place.state);
    for (unsigned i = 0; i < c->n_masters; i++) {
        cluster_node_name(i + 1, names[i]);
        members[i] = (struct pki_etcd_member){ .name = str_c(names[i]), .ip = str_c(cluster_ip_text(cluster_node_addr(i + 1), ips[i])) };
    }
    return pki_cluster_write_etcd(&spec, members, c->n_masters, ret_made, err);
}

static bool prepare_control_plane(const struct cluster_config *c, struct err *err)
{
    static const char *const apiserver[] = {
        "ca.crt", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
        "sa.pub", "sa.key", "front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key",
    };
    static const char *const controller_manager[] = { "ca.crt", "ca.key", "sa.key" };
    static const char *const scheduler[] = { "ca.crt" };
    char store[PATH_MAX], kube[PATH_MAX];
    path_of(store, "%s/store", c->place.state);
    /* The folder above is everybody's way in; each folder inside is its user's. */
    if (!fs_mkdirs(path_of(kube, "%s/kube", c->place.state), 0755, err) || !fs_mkdirs(store, 0700, err)) {
        return false;
    }
    return files_hand_over(store, ROLE_UID_APISERVER, err) &&
           share(c, "apiserver", ROLE_UID_APISERVER, apiserver, ARRAY_SIZE(apiserver), err) &&
           share(c, "controller-manager", ROLE_UID_CONTROLLER_MANAGER, controller_manager, ARRAY_SIZE(controller_manager),
                 err) &&
           share_kubeconfig(c, "controller-manager", ROLE_UID_CONTROLLER_MANAGER, err) &&
           share(c, "scheduler", ROLE_UID_SCHEDULER, scheduler, ARRAY_SIZE(scheduler), err) &&
           share_kubeconfig(c, "scheduler", ROLE_UID_SCHEDULER, err) && prepare_etcd(c, err);
}

/* The folder of the PKI; '*ret_made' counts what was made. */
static bool write_pki(const struct cluster_config *c, unsigned *ret_made, struct err *err)
{
    unsigned made = 0;
    char dir[PATH_MAX], ip[CLUSTER_MAX_MASTERS][CLUSTER_IP_SIZE], name[CLUSTER_MAX_MASTERS][16];
    struct str ips[CLUSTER_MAX_MASTERS], dns[CLUSTER_MAX_MASTERS];
    for (unsigned i = 0; i < c->n_masters; i++) {
        cluster_node_name(i + 1, name[i]);
        ips[i] = str_c(cluster_ip_text(cluster_node_addr(i + 1), ip[i]));
        dns[i] = str_c(name[i]);
    }
    const struct pki_cluster_spec spec = {
        .dir = path_of(dir, "%s/pki", c->place.state),
        .cluster_domain = STR(CLUSTER_DOMAIN),
        .service_ip = STR(CLUSTER_API_SERVICE_IP),
        .apiserver_dns = dns,
        .n_apiserver_dns = c->n_masters,
        .apiserver_ips = ips,
        .n_apiserver_ips = c->n_masters,
        .now = time_floor_now_s(),
        .cert_lifetime_s = c->certificate_s,
    };
    *ret_made = 0;
    if (!fs_mkdirs(dir, 0700, err) || !pki_cluster_write(&spec, ret_made, err)) {
        return false;
    }
    for (unsigned node = 1; node <= c->n_nodes; node++) {
        if (!prepare_node_pki(&spec, node, &made, err)) {
            return false;
        }
        *ret_made += made;
    }
    made = 0;
    bool ok = !c->etcd_store || write_etcd_pki(c, &spec, &made, err);
    *ret_made += made;
    return ok;
}

/* The time floor of this cluster: what earlier runs wrote down, and when the API server's certificate was signed. */
static void raise_time_floor(const struct cluster_config *c)
{
    char path[PATH_MAX];
    struct pki_bundle b;
    time_floor_open(path_of(path, "%s/time-floor", c->place.state));
    if (pki_bundle_load(&b, path_of(path, "%s/pki/apiserver.crt", c->place.state), NULL)) {
        time_floor_raise(pki_cert_not_before(b.certs[0]));
        pki_bundle_deinit(&b);
    }
}

bool prepare_pki(const struct cluster_config *c, struct err *err)
{
    unsigned made;
    raise_time_floor(c);
    return write_pki(c, &made, err) && prepare_control_plane(c, err);
}

/* ---- nodes ---- */

/* A node's kubeconfigs and its kubelet's serving certificate. */
static bool prepare_node_credentials(const struct cluster_config *c, unsigned node, struct err *err)
{
    char conf[PATH_MAX], pki[PATH_MAX], from[PATH_MAX], to[PATH_MAX], server[64], pair[64], ip[CLUSTER_IP_SIZE];
    path_of(conf, "%s/conf", cluster_node_dir(c, node, to));
    path_of(pki, "%s/pki", c->place.state);
    snprintf(server, sizeof(server), "https://%s:%d", cluster_ip_text(cluster_node_addr((node - 1) % c->n_masters + 1), ip), CLUSTER_API_PORT);
    snprintf(pair, sizeof(pair), "nodes/node-%u/kubelet-client", node);
    return write_client(c, pair, server, path_of(to, "%s/kubelet.conf", conf), err) &&
           write_client(c, "kube-proxy", server, path_of(to, "%s/kube-proxy.conf", conf), err) &&
           files_copy(path_of(from, "%s/ca.crt", pki), path_of(to, "%s/ca.crt", conf), 0644, FILES_SAME_OWNER, err) &&
           files_copy(path_of(from, "%s/nodes/node-%u/kubelet.crt", pki, node), path_of(to, "%s/kubelet.crt", conf), 0644, FILES_SAME_OWNER, err) &&
           files_copy(path_of(from, "%s/nodes/node-%u/kubelet.key", pki, node), path_of(to, "%s/kubelet.key", conf), 0600, FILES_SAME_OWNER, err);
}

static bool prepare_node(const struct cluster_config *c, const struct machine *m, unsigned node, struct err *err)
{
    char conf[PATH_MAX], dir[PATH_MAX];
    path_of(conf, "%s/conf", cluster_node_dir(c, node, dir));
    if (!fs_mkdirs(path_of(dir, "%s/cni", conf), 0755, err) || !prepare_node_credentials(c, node, err)) {
        return false;
    }
    struct buf b;
    buf_init(&b, 65536);
    containerd_config_write(m, "/var/lib/containerd", "/run/containerd", dir, &b);
    /* dockerd reads no other file than this: what the machine's own dockerd is told is not meant for a node. Its key, which nothing
     * uses, would be written to /etc otherwise. */
    static const struct str docker = STR_INIT("{ \"deprecated-key-path\": \"/var/lib/docker/key.json\" }\n");
    bool ok = c->docker ? fs_write_atomic(path_of(dir, "%s/docker.json", conf), docker, 0644, err)
                        : fs_write_atomic(path_of(dir, "%s/containerd.toml", conf), buf_str(&b), 0644, err);
    buf_deinit(&b);
    return ok;
}

bool prepare_nodes(const struct cluster_config *c, const struct machine *m, struct err *err)
{
    for (unsigned node = 1; node <= c->n_nodes; node++) {
        if (!prepare_node(c, m, node, err)) {
            return err_wrap(err, "node-%u", node);
        }
    }
    return true;
}

/* ---- while it runs ---- */

/* The file that 'up' wrote a context into, as the cluster remembers it. */
static bool renew_user_config(const struct cluster_config *c, struct err *err)
{
    struct cluster_config now = { .place = c->place };
    struct client_config config;
    struct arena a;
    char context[64];
    if (!cluster_config_load(&now, err)) {
        return false;
    }
    if (!now.kubeconfig[0] || access(now.kubeconfig, F_OK) < 0) {
        return true;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    user_config_context(&c->place, context);
    bool ok = prepare_admin_config(c, &a, &config, err) && user_config_renew(now.kubeconfig, context, &config, err);
    arena_deinit(&a);
    return ok;
}

bool prepare_renew(const struct cluster_config *c, bool *ret_renewed, struct err *err)
{
    unsigned made;
    *ret_renewed = false;
    if (!write_pki(c, &made, err)) {
        return false;
    }
    /* Also when nothing was made: an earlier time may have been cut short. What is the same is not written. */
    if (!prepare_control_plane(c, err)) {
        return false;
    }
    for (unsigned node = 1; node <= c->n_nodes; node++) {
        if (!prepare_node_credentials(c, node, err)) {
            return err_wrap(err, "node-%u", node);
        }
    }
    *ret_renewed = made > 0;
    return made == 0 || renew_user_config(c, err);
}
