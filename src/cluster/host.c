#include "cluster/host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "net/addr.h"

#define MAX_FILE 16384

enum entry_kind { ENTRY_BOOL, ENTRY_PORT, ENTRY_TEXT, ENTRY_REACH };

static const struct entry {
    const char *key;
    enum entry_kind kind;
    size_t offset, size;
} entries[] = {
#define BOOL(key, member)                                                                                              \
    {                                                                                                                  \
        key, ENTRY_BOOL, offsetof(struct host, member), sizeof(bool)                                                   \
    }
#define PORT(key, member)                                                                                              \
    {                                                                                                                  \
        key, ENTRY_PORT, offsetof(struct host, member), sizeof(uint16_t)                                               \
    }
#define TEXT(key, member)                                                                                              \
    {                                                                                                                  \
        key, ENTRY_TEXT, offsetof(struct host, member), sizeof(((struct host *)0)->member)                             \
    }
    BOOL("server", server),
    BOOL("node", node),
    TEXT("name", name),
    TEXT("address", address),
    PORT("port", port),
    TEXT("server-url", server_url),
    TEXT("names", names),
    TEXT("cluster-cidr", pod_cidr),
    TEXT("service-cidr", service_cidr),
    TEXT("cluster-domain", domain),
    TEXT("etcd-servers", etcd_servers),
    TEXT("etcd-cafile", etcd_ca),
    TEXT("etcd-certfile", etcd_cert),
    TEXT("etcd-keyfile", etcd_key),
    BOOL("tunnels", tunnels),
    TEXT("ssh-user", ssh_user),
    PORT("ssh-port", ssh_port),
    PORT("reverse-port", reverse_port),
    { "reach", ENTRY_REACH, offsetof(struct host, reach), sizeof(enum host_reach) },
    TEXT("reverse-server", reverse_server),
    BOOL("made-ssh-user", made_ssh_user),
#undef BOOL
#undef PORT
#undef TEXT
};

static const char *const reach_words[] = { "direct", "ssh", "reverse" };

const char *host_reach_word(enum host_reach r)
{
    return reach_words[r];
}

void host_init(struct host *h)
{
    *h = (struct host){ .port = CLUSTER_API_PORT,
                        .pod_cidr = CLUSTER_POD_CIDR,
                        .service_cidr = CLUSTER_SERVICE_CIDR,
                        .domain = CLUSTER_DOMAIN,
                        .ssh_user = HOST_SSH_USER,
                        .ssh_port = 22,
                        .reverse_port = HOST_REVERSE_PORT };
    place_of_host(&h->place);
}

static bool read_entry(struct host *h, struct str key, struct str value)
{
    uint64_t number;
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        const struct entry *e = &entries[i];
        char *p = (char *)h + e->offset;
        if (!str_eq_c(key, e->key)) {
            continue;
        }
        switch (e->kind) {
        case ENTRY_BOOL:
            *(bool *)p = str_eq_c(value, "true");
            return str_eq_c(value, "true") || str_eq_c(value, "false");
        case ENTRY_PORT:
            if (!str_to_u64(value, &number) || number > 65535) {
                return false;
            }
            *(uint16_t *)p = (uint16_t)number;
            return true;
        case ENTRY_REACH:
            for (size_t k = 0; k < ARRAY_SIZE(reach_words); k++) {
                if (str_eq_c(value, reach_words[k])) {
                    h->reach = (enum host_reach)k;
                    return true;
                }
            }
            return false;
        case ENTRY_TEXT:
        default: return str_to_cstr(value, p, e->size);
        }
    }
    return false;
}

bool host_parse(struct host *h, struct str text, struct err *err)
{
    struct str line, key, value;
    host_init(h);
    while (str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (!str_empty(line) && line.ptr[0] != '#' &&
            (!str_cut(line, '=', &key, &value) || !read_entry(h, str_trim(key), str_trim(value)))) {
            return err_set(err, ERR_INVALID, HOST_CONF_FILE ": cannot read the line \"%.*s\"", STR_ARG(line));
        }
    }
    return h->server || h->node || err_set(err, ERR_INVALID, HOST_CONF_FILE ": this is neither a server nor a node");
}

bool host_load(struct host *h, struct err *err)
{
    struct buf b;
    buf_init(&b, MAX_FILE);
    bool ok = fs_read(HOST_CONF_FILE, MAX_FILE, &b, err) && host_parse(h, buf_str(&b), err);
    buf_deinit(&b);
    return ok;
}

void host_write(const struct host *h, struct buf *b)
{
    buf_append_c(b, "# Written by coracle; after a change: systemctl restart coracle. See docs/coracle.md.\n");
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        const struct entry *e = &entries[i];
        const char *p = (const char *)h + e->offset;
        switch (e->kind) {
        case ENTRY_BOOL: buf_printf(b, "%s=%s\n", e->key, *(const bool *)p ? "true" : "false"); break;
        case ENTRY_PORT: buf_printf(b, "%s=%u\n", e->key, *(const uint16_t *)p); break;
        case ENTRY_REACH: buf_printf(b, "%s=%s\n", e->key, reach_words[h->reach]); break;
        case ENTRY_TEXT:
        default:
            if (p[0]) {
                buf_printf(b, "%s=%s\n", e->key, p);
            }
        }
    }
}

bool host_save(const struct host *h, struct err *err)
{
    struct buf b;
    buf_init(&b, MAX_FILE);
    host_write(h, &b);
    bool ok = fs_mkdirs(HOST_CONF_DIR, 0755, err) && fs_write_atomic(HOST_CONF_FILE, buf_str(&b), 0644, err);
    buf_deinit(&b);
    return ok;
}

/* ---- what this host is ---- */

bool host_find_address(struct str towards, char ret[64], struct err *err)
{
    struct net_addr to, own;
    char text[NET_ADDR_TEXT_SIZE];
    /* No packet is sent: connecting a datagram socket chooses the way. 192.0.2.1 is nobody (RFC 5737). */
    if (!net_addr_parse_ip(str_empty(towards) ? STR("192.0.2.1") : towards, 9, &to)) {
        return err_set(err, ERR_INVALID, "\"%.*s\" is no address", STR_ARG(towards));
    }
    CLEANUP(fs_closep) int fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    own.len = sizeof(own.in6);
    if (fd < 0 || connect(fd, &to.sa, to.len) < 0 || getsockname(fd, &own.sa, &own.len) < 0) {
        return err_set_errno(err, errno, "this host's address cannot be told; say it");
    }
    struct str ip = net_addr_ip_text(&own, text);
    return str_to_cstr(ip, ret, 64) || err_set(err, ERR_INVALID, "this host's address cannot be told; say it");
}

bool host_find_name(char ret[254], struct err *err)
{
    if (gethostname(ret, 253) < 0) {
        return err_set_errno(err, errno, "cannot read the host's name");
    }
    ret[253] = '\0';
    for (char *p = ret; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return true;
}

bool host_first_address(const char *cidr, char ret[64], struct err *err)
{
    struct str net, bits;
    struct net_addr a;
    uint64_t prefix;
    if (!str_cut(str_c(cidr), '/', &net, &bits) || !str_to_u64(bits, &prefix) || prefix < 8 || prefix > 28 ||
        !net_addr_parse_ip(net, 0, &a) || a.sa.sa_family != AF_INET) {
        return err_set(err, ERR_INVALID, "\"%s\" is no IPv4 range such as 10.96.0.0/16", cidr);
    }
    cluster_ip_text((ntohl(a.in4.sin_addr.s_addr) & ~(0xffffffffu >> prefix)) + 1, ret);
    return true;
}
