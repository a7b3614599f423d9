#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

bool net_addr_parse_ip(struct str ip, uint16_t port, struct net_addr *ret)
{
    char text[INET6_ADDRSTRLEN + 1];
    if (ip.len >= 2 && ip.ptr[0] == '[' && ip.ptr[ip.len - 1] == ']') {
        ip = str_sub(ip, 1, ip.len - 2);
    }
    if (!str_to_cstr(ip, text, sizeof(text))) {
        return false;
    }
    struct net_addr a = { 0 };
    if (inet_pton(AF_INET, text, &a.in4.sin_addr) == 1) {
        a.in4.sin_family = AF_INET;
        a.in4.sin_port = htons(port);
        a.len = sizeof(a.in4);
    } else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        a.len = sizeof(a.in6);
    } else {
        return false;
    }
    *ret = a;
    return true;
}

bool net_split_host_port(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    struct str host = text, port = STR_NULL;
    if (text.len > 0 && text.ptr[0] == '[') {
        ptrdiff_t end = str_find_char(text, ']');
        if (end < 0) {
            return false;
        }
        host = str_sub(text, 1, (size_t)end - 1);
        struct str rest = str_sub(text, (size_t)end + 1, SIZE_MAX);
        if (rest.len > 0) {
            if (rest.ptr[0] != ':') {
                return false;
            }
            port = str_sub(rest, 1, SIZE_MAX);
        }
    } else {
        ptrdiff_t first = str_find_char(text, ':'), last = str_rfind_char(text, ':');
        if (first >= 0 && first == last) { /* more than one colon: a bare IPv6 address */
            host = str_sub(text, 0, (size_t)first);
            port = str_sub(text, (size_t)first + 1, SIZE_MAX);
        }
    }
    if (port.ptr) {
        uint64_t v;
        if (!str_to_u64(port, &v) || v > 65535) {
            return false;
        }
        *ret_port = (uint16_t)v;
    }
    *ret_host = host;
    return true;
}

bool net_addr_parse(struct str text, struct net_addr *ret)
{
    struct str host;
    uint16_t port = 0;
    return net_split_host_port(text, &host, &port) && net_addr_parse_ip(host, port, ret);
}

bool net_addr_unix(struct str path, struct net_addr *ret)
{
    struct net_addr a = { 0 };
    if (path.len == 0 || path.len >= sizeof(a.un.sun_path)) {
        return false;
    }
    a.un.sun_family = AF_UNIX;
    memcpy(a.un.sun_path, path.ptr, path.len);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    if (path.ptr[0] == '@') {
        a.un.sun_path[0] = 0;
        a.len--;
    }
    *ret = a;
    return true;
}

struct str net_addr_ip_text(const struct net_addr *a, char dst[NET_ADDR_TEXT_SIZE])
{
    dst[0] = 0;
    if (a->len && a->sa.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a->in4.sin_addr, dst, NET_ADDR_TEXT_SIZE);
    } else if (a->len && a->sa.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
            (void)inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], dst, NET_ADDR_TEXT_SIZE);
        } else {
            (void)inet_ntop(AF_INET6, &a->in6.sin6_addr, dst, NET_ADDR_TEXT_SIZE);
        }
    }
    return str_c(dst);
}

struct str net_addr_text(const struct net_addr *a, char dst[NET_ADDR_TEXT_SIZE])
{
    char ip[NET_ADDR_TEXT_SIZE];
    int n = 0;
    dst[0] = 0;
    if (a->len && a->sa.sa_family == AF_UNIX) {
        int path_len = (int)a->len - (int)offsetof(struct sockaddr_un, sun_path);
        if (path_len > 0 && a->un.sun_path[0] == 0) {
            n = snprintf(dst, NET_ADDR_TEXT_SIZE, "unix:@%.*s", path_len - 1, a->un.sun_path + 1);
        } else {
            n = snprintf(dst, NET_ADDR_TEXT_SIZE, "unix:%.*s", path_len > 0 ? path_len : 0, a->un.sun_path);
        }
    } else if (a->len) {
        struct str text = net_addr_ip_text(a, ip);
        bool v6 = str_find_char(text, ':') >= 0;
        n = snprintf(dst, NET_ADDR_TEXT_SIZE, v6 ? "[%s]:%u" : "%s:%u", ip, net_addr_port(a));
    }
    return n > 0 ? str_c(dst) : STR_EMPTY;
}

uint16_t net_addr_port(const struct net_addr *a)
{
    if (a->len && a->sa.sa_family == AF_INET) {
        return ntohs(a->in4.sin_port);
    }
    return a->len && a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

bool net_addr_is_local(const struct net_addr *a)
{
    if (!a->len) {
        return false;
    }
    if (a->sa.sa_family == AF_INET) {
        return (ntohl(a->in4.sin_addr.s_addr) >> 24) == 127;
    }
    if (a->sa.sa_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) && a->in6.sin6_addr.s6_addr[12] == 127);
    }
    return a->sa.sa_family == AF_UNIX;
}

/* Removes a socket file that nobody listens on (its owner was killed). */
static void remove_stale_socket(const struct net_addr *a)
{
    struct stat st;
    if (a->un.sun_path[0] == 0 || lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, &a->sa, a->len) < 0 && errno == ECONNREFUSED) {
        (void)unlink(a->un.sun_path);
    }
    (void)close(fd);
}

int net_listen(const struct net_addr *a, mode_t unix_mode, struct err *err)
{
    char text[NET_ADDR_TEXT_SIZE];
    struct str name = net_addr_text(a, text);
    bool is_unix = a->sa.sa_family == AF_UNIX;
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err_set_errno(err, errno, "cannot make a socket for %.*s", STR_ARG(name));
        return -1;
    }
    int one = 1, only6 = 1;
    if (a->sa.sa_family == AF_INET6) {
        only6 = !IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6));
    }
    if (is_unix) {
        remove_stale_socket(a);
    } else {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, &a->sa, a->len) < 0 || (is_unix && a->un.sun_path[0] && chmod(a->un.sun_path, unix_mode) < 0) ||
        listen(fd, 1024) < 0) {
        err_set_errno(err, errno, "cannot listen on %.*s", STR_ARG(name));
        (void)close(fd);
        return -1;
    }
    return fd;
}
