#include "cluster/config.h"

#include "base/fs.h"

void cluster_node_name(unsigned node, char dst[16])
{
    snprintf(dst, 16, "node-%u", node);
}

uint32_t cluster_node_addr(unsigned node)
{
    return CLUSTER_NODE_NET + 1 + node;
}

char *cluster_ip_text(uint32_t addr, char dst[CLUSTER_IP_SIZE])
{
    snprintf(dst, CLUSTER_IP_SIZE, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255);
    return dst;
}

void cluster_cgroup(const struct cluster_config *c, unsigned node, char dst[CLUSTER_CGROUP_SIZE])
{
    if (node == 0) {
        snprintf(dst, CLUSTER_CGROUP_SIZE, "coracle-%s", c->place.name);
    } else {
        snprintf(dst, CLUSTER_CGROUP_SIZE, "coracle-%s/node-%u", c->place.name, node);
    }
}

char *cluster_node_dir(const struct cluster_config *c, unsigned node, char dst[PATH_MAX])
{
    return path_of(dst, "%s/nodes/node-%u", c->place.state, node);
}

bool cluster_published_parse(struct str text, struct cluster_published *ret)
{
    struct str host, node;
    uint64_t a, b;
    if (!str_cut(text, ':', &host, &node) || !str_to_u64(host, &a) || !str_to_u64(node, &b) || a < 1 || a > 65535 ||
        b < 1 || b > 65535) {
        return false;
    }
    *ret = (struct cluster_published){ .host = (uint16_t)a, .node = (uint16_t)b };
    return true;
}

const char *cluster_store_name(const struct cluster_config *c)
{
    return c->etcd_store ? "etcd" : c->memory_store ? "memory" : "sqlite";
}

bool cluster_store_parse(struct cluster_config *c, struct str name)
{
    c->memory_store = str_eq_c(name, "memory");
    c->etcd_store = str_eq_c(name, "etcd");
    return c->memory_store || c->etcd_store || str_eq_c(name, "sqlite");
}

bool cluster_config_save(const struct cluster_config *c, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "nodes=%u\noffline=%d\nstore=%s\nport=%u\n", c->n_nodes, c->offline, cluster_store_name(c), c->api_port);
    if (c->n_masters > 1) {
        buf_printf(&b, "masters=%u\n", c->n_masters);
    }
    if (c->docker) {
        buf_append_c(&b, "runtime=docker\n");
    }
    if (c->kubeconfig[0]) {
        buf_printf(&b, "kubeconfig=%s\n", c->kubeconfig);
    }
    if (c->without[0]) {
        buf_printf(&b, "without=%s\n", c->without);
    }
    if (c->certificate_s) {
        buf_printf(&b, "certificate-seconds=%lld\n", (long long)c->certificate_s);
    }
    if (c->verbosity) {
        buf_printf(&b, "verbosity=%u\n", c->verbosity);
    }
    for (size_t i = 0; i < c->n_published; i++) {
        buf_printf(&b, "publish=%u:%u\n", c->published[i].host, c->published[i].node);
    }
    bool ok = fs_mkdirs(c->place.state, 0755, err) &&
              fs_write_atomic(path_of(path, "%s/config", c->place.state), buf_str(&b), 0644, err);
    buf_deinit(&b);
    return ok;
}

static bool read_line(struct cluster_config *c, struct str key, struct str value)
{
    uint64_t number;
    bool is_number = str_to_u64(value, &number);
    if (str_eq_c(key, "nodes")) {
        c->n_nodes = (unsigned)number;
        return is_number && number >= 1 && number <= CLUSTER_MAX_NODES;
    }
    if (str_eq_c(key, "masters")) {
        c->n_masters = (unsigned)number;
        return is_number && number >= 1 && number <= CLUSTER_MAX_MASTERS;
    }
    if (str_eq_c(key, "offline")) {
        c->offline = number == 1;
        return is_number;
    }
    if (str_eq_c(key, "store")) {
        return cluster_store_parse(c, value);
    }
    if (str_eq_c(key, "runtime")) {
        c->docker = str_eq_c(value, "docker");
        return c->docker;
    }
    if (str_eq_c(key, "port")) {
        c->api_port = (uint16_t)number;
        return is_number && number <= 65535;
    }
    if (str_eq_c(key, "certificate-seconds")) {
        c->certificate_s = (int64_t)number;
        return is_number && number <= INT32_MAX;
    }
    if (str_eq_c(key, "verbosity")) {
        c->verbosity = (unsigned)number;
        return is_number && number <= 10;
    }
    if (str_eq_c(key, "kubeconfig")) {
        return str_to_cstr(value, c->kubeconfig, sizeof(c->kubeconfig));
    }
    if (str_eq_c(key, "without")) {
        return str_to_cstr(value, c->without, sizeof(c->without));
    }
    if (str_eq_c(key, "publish") && c->n_published < CLUSTER_MAX_PUBLISHED) {
        return cluster_published_parse(value, &c->published[c->n_published++]);
    }
    return false;
}

bool cluster_config_load(struct cluster_config *c, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    path_of(path, "%s/config", c->place.state);
    c->n_published = 0;
    c->n_masters = 1;
    c->certificate_s = 0;
    c->docker = false;
    c->verbosity = 0;
    c->without[0] = c->kubeconfig[0] = '\0';
    buf_init(&b, 4096);
    bool ok = fs_read(path, 4096, &b, err);
    struct str rest = buf_str(&b), line, key, value;
    while (ok && str_split(&rest, '\n', &line)) {
        if (!str_empty(line) && (!str_cut(line, '=', &key, &value) || !read_line(c, key, value))) {
            ok = err_set(err, ERR_INVALID, "%s: cannot read the line \"%.*s\"", path, STR_ARG(line));
        }
    }
    buf_deinit(&b);
    return ok;
}
