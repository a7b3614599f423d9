/*
 * Addresses of one family as the table holds them: NFPROTO_IPV4 in four bytes, NFPROTO_IPV6 in sixteen. Pure.
 */
#ifndef PROXY_ADDR_H
#define PROXY_ADDR_H

#include <netinet/in.h> /* before any of linux/, which have the same structs */
#include <sys/socket.h>

#include "base/str.h"

#define PROXY_ADDR_TEXT_SIZE 48

struct proxy_addr {
    uint8_t b[16]; /* network order; of IPv4 the first four, the others are zero */
};

/* Bytes of an address: 4 or 16. */
static inline uint8_t proxy_addr_len(uint8_t family)
{
    return family == 10 /* NFPROTO_IPV6 */ ? 16 : 4;
}
/* A literal address of this family. IPv4 inside of IPv6 is none. */
bool proxy_addr_parse(uint8_t family, struct str s, struct proxy_addr *ret);
const char *proxy_addr_text(uint8_t family, const struct proxy_addr *a, char dst[PROXY_ADDR_TEXT_SIZE]);
/* May packets of Services go to it (or be addressed to it)? Not unspecified, loopback, link-local and multicast ones: these mean
 * the node itself or its neighbours, whom no Service speaks for. */
bool proxy_addr_is_routable(uint8_t family, const struct proxy_addr *a);
bool proxy_addr_is_loopback(uint8_t family, const struct proxy_addr *a);
/* AF_INET or AF_INET6, with the port in network order; returns the length. */
socklen_t proxy_addr_to_sockaddr(uint8_t family, const struct proxy_addr *a, uint16_t port, struct sockaddr_storage *ret);
/* False for other families. An IPv4 address inside of IPv6 stays what it is. */
bool proxy_addr_of_sockaddr(const struct sockaddr *sa, uint8_t *ret_family, struct proxy_addr *ret, uint16_t *ret_port);

struct proxy_cidr {
    uint8_t family;
    struct proxy_addr addr, mask; /* mask of zeros: everything */
};
/* "10.0.0.0/8", "fd00::/8" or an address; the family is the address's. */
bool proxy_cidr_parse(struct str s, struct proxy_cidr *ret);
bool proxy_cidr_contains(const struct proxy_cidr *c, const struct proxy_addr *a);

/* An endpoint as it is in the maps; the port in network order. */
struct proxy_endpoint {
    struct proxy_addr addr;
    uint16_t port, zero;
};

#endif
