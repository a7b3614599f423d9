#include "proxy/addr.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <netinet/in.h>

static int domain(uint8_t family)
{
    return family == NFPROTO_IPV6 ? AF_INET6 : AF_INET;
}

bool proxy_addr_parse(uint8_t family, struct str s, struct proxy_addr *ret)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    char text[PROXY_ADDR_TEXT_SIZE];
    *ret = (struct proxy_addr){ 0 };
    return s.len && str_to_cstr(s, text, sizeof(text)) && inet_pton(domain(family), text, ret->b) == 1 &&
           !(family == NFPROTO_IPV6 && memcmp(ret->b, mapped, sizeof(mapped)) == 0);
}

const char *proxy_addr_text(uint8_t family, const struct proxy_addr *a, char dst[PROXY_ADDR_TEXT_SIZE])
{
    return inet_ntop(domain(family), a->b, dst, PROXY_ADDR_TEXT_SIZE);
}

bool proxy_addr_is_loopback(uint8_t family, const struct proxy_addr *a)
{
    static const uint8_t v6[16] = { [15] = 1 };
    return family == NFPROTO_IPV6 ? memcmp(a->b, v6, 16) == 0 : a->b[0] == 127;
}

bool proxy_addr_is_routable(uint8_t family, const struct proxy_addr *a)
{
    static const uint8_t zero[16];
    if (proxy_addr_is_loopback(family, a)) {
        return false;
    }
    if (family == NFPROTO_IPV6) {
        return memcmp(a->b, zero, 16) != 0 && a->b[0] != 0xff && !(a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80);
    }
    return a->b[0] != 0 && !(a->b[0] == 169 && a->b[1] == 254) && (a->b[0] & 0xf0) != 0xe0 && a->b[0] != 0xff;
}

socklen_t proxy_addr_to_sockaddr(uint8_t family, const struct proxy_addr *a, uint16_t port, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (family == NFPROTO_IPV6) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = port };
        memcpy(&in6.sin6_addr, a->b, 16);
        memcpy(ret, &in6, sizeof(in6));
        return sizeof(in6);
    }
    struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = port };
    memcpy(&in4.sin_addr, a->b, 4);
    memcpy(ret, &in4, sizeof(in4));
    return sizeof(in4);
}

bool proxy_addr_of_sockaddr(const struct sockaddr *sa, uint8_t *ret_family, struct proxy_addr *ret, uint16_t *ret_port)
{
    *ret = (struct proxy_addr){ 0 };
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)sa;
        memcpy(ret->b, &in4->sin_addr, 4);
        *ret_port = in4->sin_port;
        *ret_family = NFPROTO_IPV4;
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        memcpy(ret->b, &in6->sin6_addr, 16);
        *ret_port = in6->sin6_port;
        *ret_family = NFPROTO_IPV6;
        return true;
    }
    return false;
}

bool proxy_cidr_parse(struct str s, struct proxy_cidr *ret)
{
    struct str addr, bits;
    bool has_bits = str_cut(s, '/', &addr, &bits);
    *ret = (struct proxy_cidr){ .family = str_find_char(s, ':') >= 0 ? NFPROTO_IPV6 : NFPROTO_IPV4 };
    uint64_t most = 8u * proxy_addr_len(ret->family), n = most;
    if ((has_bits && (!str_to_u64(bits, &n) || n > most)) || !proxy_addr_parse(ret->family, addr, &ret->addr)) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        ret->mask.b[i / 8] = (uint8_t)(ret->mask.b[i / 8] | 0x80 >> i % 8);
    }
    for (size_t i = 0; i < sizeof(ret->addr.b); i++) {
        ret->addr.b[i] &= ret->mask.b[i];
    }
    return true;
}

bool proxy_cidr_contains(const struct proxy_cidr *c, const struct proxy_addr *a)
{
    for (size_t i = 0; i < proxy_addr_len(c->family); i++) {
        if ((a->b[i] & c->mask.b[i]) != c->addr.b[i]) {
            return false;
        }
    }
    return true;
}
