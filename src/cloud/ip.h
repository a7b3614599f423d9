/* IP addresses, ranges and prefixes of both families as values. Pure. */
#ifndef CLOUD_IP_H
#define CLOUD_IP_H

#include "base/str.h"

struct ip {
    uint8_t family; /* 4 or 6; 0: none */
    uint8_t b[16];  /* network order; four bytes in IPv4, the rest zero */
};

#define IP_TEXT_SIZE 46

static inline size_t ip_len(const struct ip *a)
{
    return a->family == 4 ? 4 : 16;
}
/* Numeric text. False on anything else; IPv4-mapped IPv6 addresses are not taken. */
MUST_CHECK bool ip_parse(struct str text, struct ip *ret);
/* Writes a NUL; the text as Kubernetes writes it (RFC 5952). */
struct str ip_text(const struct ip *a, char dst[IP_TEXT_SIZE]);
/* A total order: IPv4 first. */
int ip_cmp(const struct ip *a, const struct ip *b);
/* The next address; false behind the last of the family. */
MUST_CHECK bool ip_next(const struct ip *a, struct ip *ret);
/* May a load balancer have it? Not unspecified, loopback, multicast, link-local or broadcast. */
bool ip_is_unicast(const struct ip *a);

struct ip_prefix {
    struct ip net; /* bits beyond 'bits' are zero */
    unsigned bits;
};

/* "10.0.0.0/8"; with host bits set it is the network that is meant when 'loose', and an error otherwise. */
MUST_CHECK bool ip_prefix_parse(struct str text, bool loose, struct ip_prefix *ret);
bool ip_prefix_has(const struct ip_prefix *p, const struct ip *a);
/* The last address of the prefix. */
struct ip ip_prefix_last(const struct ip_prefix *p);

#endif
