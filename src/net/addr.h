/* Socket addresses as values, in text and in sockaddr form. No name look-up happens here (dial.h). */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

struct net_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len; /* 0: no address */
};

#define NET_ADDR_TEXT_SIZE 128

/* "10.0.0.1" or "fd00::1" (also in brackets) with a port. False when it is not a numeric address. */
MUST_CHECK bool net_addr_parse_ip(struct str ip, uint16_t port, struct net_addr *ret);
/* "10.0.0.1:443", "[::1]:443". */
MUST_CHECK bool net_addr_parse(struct str text, struct net_addr *ret);
/* A unix socket; a leading '@' means the abstract name space. False when the path is too long. */
MUST_CHECK bool net_addr_unix(struct str path, struct net_addr *ret);
/* Cuts "host:port", "[v6]:port" or "host" (then '*ret_port' keeps its value). False on a bad port. */
MUST_CHECK bool net_split_host_port(struct str text, struct str *ret_host, uint16_t *ret_port);
/* "10.0.0.1:443", "[::1]:443", "unix:/run/x.sock", "unix:" (unnamed). Writes a NUL; returns the text. */
struct str net_addr_text(const struct net_addr *a, char dst[NET_ADDR_TEXT_SIZE]);
/* The same without the port; "" for unix sockets. IPv4-mapped IPv6 addresses are written as IPv4. */
struct str net_addr_ip_text(const struct net_addr *a, char dst[NET_ADDR_TEXT_SIZE]);
/* 0 for unix sockets. */
uint16_t net_addr_port(const struct net_addr *a);
/* Is it 127.0.0.0/8, ::1 or a unix socket? */
bool net_addr_is_local(const struct net_addr *a);

/* A listening, non-blocking, close-on-exec socket. TCP: SO_REUSEADDR, IPv6 sockets take IPv6 only unless the address is
 * "::". Unix: a stale socket file (nobody listens) is replaced, and the file gets 'unix_mode'. Returns the fd, or -1. */
MUST_CHECK int net_listen(const struct net_addr *a, mode_t unix_mode, struct err *err);

#endif
