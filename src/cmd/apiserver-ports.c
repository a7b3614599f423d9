#include "cmd/apiserver-ports.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"

#define P struct apiserver_ports
const struct flag apiserver_port_flags[] = {
    FLAG_STRING(P, bind_address, "bind-address", "0.0.0.0", "The address of --secure-port; 0.0.0.0 or ::: all interfaces"),
    FLAG_STRINGS(P, listen_fds, "listen-fd", "", "Listening sockets handed in, in place of bind-address and secure-port"),
    FLAG_INT(P, insecure_port, "insecure-port", "8080",
             "The port for plain HTTP, where nobody is authenticated and everybody may do everything; 0 serves nothing", .secure = "0",
             .unsafe = "whoever reaches it, every process of this machine at least, is the cluster's administrator",
             .mend = "--insecure-port=0"),
    FLAG_STRING(P, insecure_bind_address, "insecure-bind-address", "127.0.0.1", "The address of --insecure-port: only loopback"),
    FLAG_BOOL(P, insecure_beyond_loopback, "unsafe-insecure-port-beyond-loopback", "false",
              "Let --insecure-bind-address be reached from other machines: whoever reaches it is the cluster's administrator"),
};
const size_t apiserver_n_port_flags = ARRAY_SIZE(apiserver_port_flags);
#undef P

static bool is_port(int64_t port)
{
    return port >= 0 && port <= 65535;
}

bool apiserver_ports_check(const struct apiserver_ports *p, int64_t secure_port, struct err *err)
{
    struct net_addr insecure, secure;
    if (!is_port(secure_port)) {
        return err_set(err, ERR_INVALID, "--secure-port=%lld is no port", (long long)secure_port);
    }
    if (!is_port(p->insecure_port)) {
        return err_set(err, ERR_INVALID, "--insecure-port=%lld is no port", (long long)p->insecure_port);
    }
    if (!net_addr_parse_ip(p->bind_address, (uint16_t)secure_port, &secure)) {
        return err_set(err, ERR_INVALID, "--bind-address: \"%.*s\" is no IP address", STR_ARG(p->bind_address));
    }
    if (!net_addr_parse_ip(p->insecure_bind_address, (uint16_t)p->insecure_port, &insecure)) {
        return err_set(err, ERR_INVALID, "--insecure-bind-address: \"%.*s\" is no IP address", STR_ARG(p->insecure_bind_address));
    }
    if (!secure_port && !p->insecure_port && !p->listen_fds.n) {
        return err_set(err, ERR_INVALID, "--secure-port=0 and --insecure-port=0 together serve nothing");
    }
    if (secure_port && secure_port == p->insecure_port) {
        return err_set(err, ERR_INVALID, "--secure-port and --insecure-port are both %lld", (long long)secure_port);
    }
    if (p->insecure_port && !net_addr_is_local(&insecure) && !p->insecure_beyond_loopback) {
        return err_set(err, ERR_INVALID, "--insecure-bind-address=%.*s is reached from other machines, and --insecure-port authenticates nobody: "
                       "it stays on loopback unless --unsafe-insecure-port-beyond-loopback says otherwise", STR_ARG(p->insecure_bind_address));
    }
    return true;
}

bool apiserver_ports_secure(const struct apiserver_ports *p, int64_t secure_port, int sockets[8], size_t *ret_n, struct err *err)
{
    const struct flag_strings *fds = &p->listen_fds;
    struct net_addr addr;
    *ret_n = 0;
    if (fds->n > 8) {
        return err_set(err, ERR_INVALID, "--listen-fd takes at most 8 sockets");
    }
    for (size_t i = 0; i < fds->n; i++) {
        int32_t fd;
        if (!str_to_i32(fds->items[i], &fd) || fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
            return err_set(err, ERR_INVALID, "--listen-fd: \"%.*s\" is no open socket", STR_ARG(fds->items[i]));
        }
        sockets[(*ret_n)++] = fd;
    }
    if (fds->n || !secure_port) {
        return true;
    }
    sockets[0] = net_addr_parse_ip(p->bind_address, (uint16_t)secure_port, &addr) ? net_listen(&addr, 0600, err) : -1;
    *ret_n = 1;
    return sockets[0] >= 0 || err_wrap(err, "--secure-port");
}

bool apiserver_ports_insecure(const struct apiserver_ports *p, int *ret_fd, struct err *err)
{
    struct net_addr addr;
    *ret_fd = -1;
    if (!p->insecure_port) {
        return true;
    }
    *ret_fd = net_addr_parse_ip(p->insecure_bind_address, (uint16_t)p->insecure_port, &addr) ? net_listen(&addr, 0600, err) : -1;
    return *ret_fd >= 0 || err_wrap(err, "--insecure-port");
}

/* The address that packets to the world would come from. Nothing is sent: a datagram socket is only told its peer, one of the
 * addresses kept for documentation (RFC 5737, RFC 3849). */
static bool own_address(const char *peer, char dst[NET_ADDR_TEXT_SIZE], struct str *ret)
{
    struct net_addr to, from = { .len = sizeof(from.in6) };
    if (!net_addr_parse_ip(str_c(peer), 9, &to)) {
        return false;
    }
    int fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, &to.sa, to.len) == 0 && getsockname(fd, &from.sa, &from.len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (ok) {
        *ret = net_addr_ip_text(&from, dst);
    }
    return ok;
}

struct str apiserver_ports_advertise(const struct apiserver_ports *p)
{
    static char text[NET_ADDR_TEXT_SIZE];
    struct str own;
    bool any = str_eq_c(p->bind_address, "0.0.0.0") || str_eq_c(p->bind_address, "::");
    if (!any) {
        return p->bind_address;
    }
    return own_address("192.0.2.1", text, &own) || own_address("2001:db8::1", text, &own) ? own : STR("127.0.0.1");
}
