#include "proxy/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/rand.h"

#define BACKLOG 1024

bool port_range_parse(struct str s, struct port_range *ret, struct err *err)
{
    struct str first, second;
    uint64_t from = 0, to = 0;
    bool ok;
    *ret = (struct port_range){ 0 };
    s = str_trim(s);
    if (!s.len) {
        return true;
    }
    if (str_cut(s, '-', &first, &second)) {
        ok = str_to_u64(str_trim(first), &from) && str_to_u64(str_trim(second), &to);
    } else if (str_cut(s, '+', &first, &second)) {
        ok = str_to_u64(str_trim(first), &from) && str_to_u64(str_trim(second), &to) && to <= 65535;
        to += from;
    } else {
        ok = str_to_u64(s, &from);
        to = from;
    }
    if (!ok || to < from || to > 65535 || (!from && to)) {
        return err_set(err, ERR_BAD_REQUEST, "\"%.*s\" is no range of ports: FIRST-LAST, FIRST+N or one port, of 1 to 65535",
                       STR_ARG(s));
    }
    if (to) {
        *ret = (struct port_range){ .first = (uint16_t)from, .n = (uint32_t)(to - from + 1) };
    }
    return true;
}

static int open_socket(uint8_t family, uint8_t protocol)
{
    const int one = 1;
    bool v6 = family == NFPROTO_IPV6, udp = protocol == IPPROTO_UDP;
    int fd = socket(v6 ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Connections of the port's last owner that linger on keep nobody out. */
    if (fd < 0 || (!udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) || (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
        (udp && setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &one, sizeof(one)) < 0)) {
        int e = errno;
        if (fd >= 0) {
            close(fd);
        }
        errno = e;
        return -1;
    }
    return fd;
}

/* A socket on the port, or -errno. Whether somebody else listens there may be found out by listen() alone, not by bind(). */
static int try_port(uint8_t family, const struct proxy_addr *addr, uint8_t protocol, uint16_t port)
{
    struct sockaddr_storage sa;
    socklen_t len = proxy_addr_to_sockaddr(family, addr, htons(port), &sa);
    int fd = open_socket(family, protocol);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, len) < 0 || (protocol == IPPROTO_TCP && listen(fd, BACKLOG) < 0)) {
        int e = errno;
        if (fd >= 0) {
            close(fd);
        }
        return -e;
    }
    return fd;
}

int port_open(const struct port_range *range, uint8_t family, const struct proxy_addr *addr, uint8_t protocol,
              uint16_t *ret_port, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    uint32_t n = MAX(range->n, 1u), at = (uint32_t)(rand_below(n));
    uint8_t f;
    struct proxy_addr a;
    int fd = -EADDRINUSE;
    for (uint32_t i = 0; i < n && (fd == -EADDRINUSE || fd == -EACCES); i++) {
        uint32_t port = range->n ? range->first + (at + i) % n : 0;
        fd = try_port(family, addr, protocol, (uint16_t)port);
    }
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
        proxy_addr_of_sockaddr((const struct sockaddr *)&sa, &f, &a, ret_port)) {
        *ret_port = ntohs(*ret_port);
        return fd;
    }
    if (fd == -EADDRINUSE && range->n) {
        err_set(err, ERR_UNAVAILABLE, "all ports of --proxy-port-range=%u-%u are taken", range->first, range->first + range->n - 1);
    } else {
        err_set_errno(err, -fd, "no proxy port");
    }
    return -1;
}
