#include "cluster/host-prepare.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/time-floor.h"
#include "cluster/files.h"
#include "cluster/prepare.h"
#include "net/addr.h"
#include "pki/cluster-pki.h"

#define MAX_NAMES 32

/* ---- PKI ---- */

struct names {
    struct str dns[MAX_NAMES], ips[MAX_NAMES];
    size_t n_dns, n_ips;
    char host[254];
};

static bool add_name(struct names *n, struct str name, struct err *err)
{
    struct net_addr a;
    if (n->n_dns + n->n_ips >= MAX_NAMES) {
        return err_set(err, ERR_INVALID, "--tls-san takes at most %d names", MAX_NAMES - 3);
    }
    if (net_addr_parse_ip(name, 0, &a)) {
        n->ips[n->n_ips++] = name;
    } else {
        n->dns[n->n_dns++] = name;
    }
    return true;
}

/* By which names others reach this server. */
static bool names_of(const struct host *h, struct names *n, struct err *err)
{
    struct str rest = str_c(h->names), one;
    *n = (struct names){ .n_dns = 0 };
    if (!host_find_name(n->host, err) || !add_name(n, str_c(h->address), err) || !add_name(n, str_c(n->host), err) ||
        (h->name[0] && strcmp(h->name, n->host) != 0 && !add_name(n, str_c(h->name), err))) {
        return false;
    }
    while (str_split(&rest, ',', &one)) {
        one = str_trim(one);
        if (!str_empty(one) && !add_name(n, one, err)) {
            return false;
        }
    }
    return true;
}

static bool write_pki(const struct host *h, unsigned *ret_made, struct err *err)
{
    char dir[PATH_MAX], service_ip[64];
    unsigned made = 0;
    struct names n;
    if (!names_of(h, &n, err) || !host_first_address(h->service_cidr, service_ip, err)) {
        return false;
    }
    const struct pki_cluster_spec spec = {
        .dir = path_of(dir, "%s/pki", h->place.state),
        .cluster_domain = str_c(h->domain),
        .service_ip = str_c(service_ip),
        .apiserver_dns = n.dns,
        .n_apiserver_dns = n.n_dns,
        .apiserver_ips = n.ips,
        .n_apiserver_ips = n.n_ips,
        .now = time_floor_now_s(),
    };
    *ret_made = 0;
    if (!fs_mkdirs(dir, 0700, err) || !pki_cluster_write(&spec, ret_made, err)) {
        return false;
    }
    if (h->tunnels) {
        const struct pki_names server = {
            .cn = STR("coracle-tunnel"), .dns = n.dns, .n_dns = n.n_dns, .ips = n.ips, .n_ips = n.n_ips
        };
        if (!pki_cluster_write_server(&spec, "tunnel-server", &server, &made, err)) {
            return false;
        }
        *ret_made += made;
        made = 0;
        if (!pki_cluster_write_client(&spec, "tunnel", STR(HOST_TUNNEL_USER), NULL, 0, &made, err)) {
            return false;
        }
        *ret_made += made;
    }
    made = 0;
    const struct str dns[] = { STR("localhost") }, ips[] = { str_c(h->address), STR("127.0.0.1") };
    bool ok = !h->node || pki_cluster_write_node(&spec, str_c(h->name), dns, 1, ips, 2, &made, err);
    *ret_made += made;
    return ok;
}

/* ---- credentials of each program ---- */

static bool share(const struct host *h, const char *folder, uid_t uid, const char *from_name, const char *name,
                  struct err *err)
{
    char dir[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    path_of(dir, "%s/kube/%s", h->place.state, folder);
    if (from_name[0] == '/') {
        path_of(from, "%s", from_name);
    } else {
        path_of(from, "%s/pki/%s", h->place.state, from_name);
    }
    path_of(to, "%s/%s", dir, name);
    return fs_mkdirs(dir, 0700, err) && files_copy(from, to, 0400, uid, err) && files_hand_over(to, uid, err) &&
           files_hand_over(dir, uid, err);
}

static bool load(struct arena *a, struct str *ret, struct err *err, const char *path)
{
    struct buf b;
    buf_init(&b, PKI_MAX_FILE);
    bool ok = fs_read(path, PKI_MAX_FILE, &b, err);
    if (ok) {
        *ret = arena_str(a, buf_str(&b));
    }
    buf_deinit(&b);
    return ok;
}

static bool client_of(const struct host *h, struct arena *a, const char *pair, struct str server,
                      struct client_config *ret, struct err *err)
{
    char path[PATH_MAX];
    *ret = (struct client_config){ .server = server, .namespace = STR("default") };
    return load(a, &ret->ca_pem, err, path_of(path, "%s/pki/ca.crt", h->place.state)) &&
           load(a, &ret->client_cert_pem, err, path_of(path, "%s/pki/%s.crt", h->place.state, pair)) &&
           load(a, &ret->client_key_pem, err, path_of(path, "%s/pki/%s.key", h->place.state, pair));
}

static struct str local_server(const struct host *h, struct arena *a)
{
    return arena_printf(a, "https://127.0.0.1:%u", h->port);
}

static bool write_client(const struct host *h, const char *pair, bool here, const char *path, struct err *err)
{
    struct arena a;
    struct client_config c;
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = client_of(h, &a, pair, here ? local_server(h, &a) : str_c(h->server_url), &c, err) &&
              kubeconfig_write(path, STR("coracle"), &c, err);
    arena_deinit(&a);
    return ok;
}

static bool share_kubeconfig(const struct host *h, const char *pair, uid_t uid, struct err *err)
{
    char path[PATH_MAX];
    return write_client(h, pair, true, path_of(path, "%s/kube/%s/kubeconfig", h->place.state, pair), err) &&
           files_hand_over(path, uid, err);
}

static bool share_tunnel(const struct host *h, struct err *err)
{
    char path[PATH_MAX];
    if (!h->tunnels) {
        return true;
    }
    if (!share(h, "tunnel", ROLE_UID_TUNNEL, "ca.crt", "ca.crt", err) ||
        !share(h, "tunnel", ROLE_UID_TUNNEL, "tunnel-server.crt", "tunnel.crt", err) ||
        !share(h, "tunnel", ROLE_UID_TUNNEL, "tunnel-server.key", "tunnel.key", err) ||
        !share_kubeconfig(h, "tunnel", ROLE_UID_TUNNEL, err)) {
        return false;
    }
    path_of(path, "%s/kube/tunnel/known_hosts", h->place.state);
    return (access(path, F_OK) == 0 || fs_write_atomic(path, STR_EMPTY, 0644, err)) &&
           files_hand_over(path, ROLE_UID_TUNNEL, err);
}

static bool share_control_plane(const struct host *h, struct err *err)
{
    static const char *const apiserver[] = {
        "ca.crt", "apiserver.crt", "apiserver.key",      "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
        "sa.pub", "sa.key",        "front-proxy-ca.crt", "front-proxy-client.crt",       "front-proxy-client.key"
    };
    static const char *const manager[] = { "ca.crt", "ca.key", "sa.key" };
    char path[PATH_MAX];
    /* The folder above is everybody's way in; each folder inside is its user's. */
    if (!fs_mkdirs(path_of(path, "%s/kube", h->place.state), 0755, err) ||
        !fs_mkdirs(path_of(path, "%s/store", h->place.state), 0700, err) ||
        !files_hand_over(path, ROLE_UID_APISERVER, err)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(apiserver); i++) {
        if (!share(h, "apiserver", ROLE_UID_APISERVER, apiserver[i], apiserver[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(manager); i++) {
        if (!share(h, "controller-manager", ROLE_UID_CONTROLLER_MANAGER, manager[i], manager[i], err)) {
            return false;
        }
    }
    return (!h->etcd_ca[0] || share(h, "apiserver", ROLE_UID_APISERVER, h->etcd_ca, "etcd-ca.crt", err)) &&
           (!h->etcd_cert[0] || (share(h, "apiserver", ROLE_UID_APISERVER, h->etcd_cert, "etcd-client.crt", err) &&
                                 share(h, "apiserver", ROLE_UID_APISERVER, h->etcd_key, "etcd-client.key", err))) &&
           share(h, "scheduler", ROLE_UID_SCHEDULER, "ca.crt", "ca.crt", err) &&
           share_kubeconfig(h, "controller-manager", ROLE_UID_CONTROLLER_MANAGER, err) &&
           share_kubeconfig(h, "scheduler", ROLE_UID_SCHEDULER, err) && share_tunnel(h, err) &&
           write_client(h, "admin", false, HOST_ADMIN_CONF, err);
}

/* The node on the server itself needs no token. */
static bool share_node(const struct host *h, struct err *err)
{
    char pair[300], from[PATH_MAX], to[PATH_MAX];
    if (!h->node) {
        return true;
    }
    snprintf(pair, sizeof(pair), "nodes/%s/kubelet-client", h->name);
    return write_client(h, pair, false, path_of(to, "%s/conf/kubelet.conf", h->place.state), err) &&
           files_copy(path_of(from, "%s/pki/ca.crt", h->place.state), path_of(to, "%s/conf/ca.crt", h->place.state),
                      0644, FILES_SAME_OWNER, err) &&
           files_copy(path_of(from, "%s/pki/nodes/%s/kubelet.crt", h->place.state, h->name),
                      path_of(to, "%s/conf/kubelet.crt", h->place.state), 0644, FILES_SAME_OWNER, err) &&
           files_copy(path_of(from, "%s/pki/nodes/%s/kubelet.key", h->place.state, h->name),
                      path_of(to, "%s/conf/kubelet.key", h->place.state), 0600, FILES_SAME_OWNER, err);
}

bool host_renew(const struct host *h, bool *ret_renewed, struct err *err)
{
    unsigned made = 0;
    *ret_renewed = false;
    if (!h->server) {
        return true;
    }
    bool ok = write_pki(h, &made, err) && share_control_plane(h, err) && share_node(h, err);
    *ret_renewed = made > 0;
    return ok;
}

/* ---- the rest ---- */

static bool prepare_node(const struct host *h, const struct machine *m, struct err *err)
{
    char dir[PATH_MAX], cni[PATH_MAX], root[PATH_MAX], state[PATH_MAX], path[PATH_MAX];
    if (!fs_mkdirs(path_of(dir, "%s/conf", h->place.state), 0700, err) ||
        !fs_mkdirs(path_of(cni, "%s/cni", dir), 0755, err)) {
        return false;
    }
    struct buf b;
    buf_init(&b, 65536);
    containerd_config_write(m, path_of(root, "%s/containerd", h->place.state),
                            path_of(state, "%s/containerd", h->place.run), cni, &b);
    bool ok = fs_write_atomic(path_of(path, "%s/containerd.toml", dir), buf_str(&b), 0644, err);
    buf_deinit(&b);
    return ok;
}

bool host_prepare(const struct host *h, const struct machine *m, struct err *err)
{
    bool renewed;
    char path[PATH_MAX];
    if (!fs_mkdirs(h->place.state, 0755, err) || !fs_mkdirs(path_of(path, "%s/logs", h->place.state), 0755, err)) {
        return false;
    }
    /* A person may have made it, for the PKI of another server: the programs' users go through it. What is inside has
     * modes of its own. */
    if (chmod(h->place.state, 0755) < 0 || chmod(PLACE_STATE_ROOT, 0755) < 0) {
        return err_set_errno(err, errno, "cannot open %s to the programs' users", h->place.state);
    }
    time_floor_open(path_of(path, "%s/time-floor", h->place.state));
    return host_save(h, err) && prepare_programs(h->place.state, err) && (!h->node || prepare_node(h, m, err)) &&
           host_renew(h, &renewed, err);
}

static bool make_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err)
{
    return fs_mkdirs(path, 0700, err) && ((chown(path, uid, gid) == 0 && chmod(path, mode) == 0) ||
                                          err_set_errno(err, errno, "cannot hand %s over", path));
}

bool host_prepare_run(const struct host *h, struct err *err)
{
    char path[PATH_MAX];
    if (!fs_mkdirs(h->place.run, 0755, err)) {
        return false;
    }
    if (h->server && !make_dir(path_of(path, "%s/kube-apiserver", h->place.run), ROLE_UID_APISERVER, ROLE_UID_APISERVER,
                               0700, err)) {
        return false;
    }
    /* What is made in the tunnel's folder belongs to the API server's group: the two meet there, and nobody else. */
    return !h->tunnels ||
           make_dir(path_of(path, "%s/tunnel", h->place.run), ROLE_UID_TUNNEL, ROLE_UID_APISERVER, 02750, err);
}

bool host_admin_config(const struct host *h, struct arena *a, struct client_config *ret, struct err *err)
{
    if (!client_of(h, a, "admin", local_server(h, a), ret, err)) {
        return false;
    }
    ret->client_cert_file = arena_printf(a, "%s/pki/admin.crt", h->place.state);
    ret->client_key_file = arena_printf(a, "%s/pki/admin.key", h->place.state);
    return true;
}
