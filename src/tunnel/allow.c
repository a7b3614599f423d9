#include "tunnel/allow.h"

#include <ifaddrs.h>
#include <string.h>

static bool to_bytes(const struct sockaddr *sa, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (sa->sa_family == AF_INET) {
        ret[10] = ret[11] = 0xff;
        memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    }
    return sa->sa_family == AF_INET || sa->sa_family == AF_INET6;
}

static bool within(const uint8_t a[16], const uint8_t at[16], unsigned bits)
{
    for (unsigned i = 0; i < bits; i++) {
        if (((a[i / 8] ^ at[i / 8]) >> (7 - i % 8)) & 1) {
            return false;
        }
    }
    return true;
}

static bool is_v4(const uint8_t a[16])
{
    static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
    return memcmp(a, prefix, sizeof(prefix)) == 0;
}

static bool is_loopback(const uint8_t a[16])
{
    static const uint8_t v6[16] = { [15] = 1 };
    return is_v4(a) ? a[12] == 127 : memcmp(a, v6, 16) == 0;
}

/* Addresses that are nobody's or everybody's on a link: no range and no interface makes them a target. */
static bool is_special(const uint8_t a[16])
{
    static const uint8_t any[16] = { 0 };
    if (is_v4(a)) {
        return a[12] == 0 || a[12] >= 224 || (a[12] == 169 && a[13] == 254);
    }
    return memcmp(a, any, 16) == 0 || a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

bool allow_ports(struct tunnel_allow *a, struct str list, struct err *err)
{
    struct str rest = list, one;
    a->n_ports = 0;
    while (!str_empty(list) && str_split(&rest, ',', &one)) {
        uint64_t port;
        if (!str_to_u64(str_trim(one), &port) || port == 0 || port > 65535 || a->n_ports == ALLOW_MAX_PORTS) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no list of at most %d ports", STR_ARG(list), ALLOW_MAX_PORTS);
        }
        a->ports[a->n_ports++] = (uint16_t)port;
    }
    return true;
}

bool allow_ranges(struct tunnel_allow *a, const struct str *cidrs, size_t n, struct err *err)
{
    struct tunnel_allow fresh = { 0 };
    for (size_t i = 0; i < n; i++) {
        struct str ip, bits_text;
        struct net_addr addr;
        uint64_t bits;
        bool ok = n <= ALLOW_MAX_RANGES && str_cut(cidrs[i], '/', &ip, &bits_text) && net_addr_parse_ip(ip, 1, &addr) &&
                  str_to_u64(bits_text, &bits) && bits > 0 && bits <= (addr.sa.sa_family == AF_INET ? 32 : 128);
        if (!ok) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no range of addresses", STR_ARG(cidrs[i]));
        }
        (void)to_bytes(&addr.sa, fresh.ranges[i].at);
        fresh.ranges[i].bits = (unsigned)bits + (addr.sa.sa_family == AF_INET ? 96 : 0);
    }
    memcpy(a->ranges, fresh.ranges, sizeof(a->ranges));
    a->n_ranges = n;
    return true;
}

void allow_own_addresses(struct tunnel_allow *a)
{
    struct ifaddrs *list = NULL;
    a->n_own = 0;
    if (getifaddrs(&list) < 0) {
        return;
    }
    for (struct ifaddrs *i = list; i && a->n_own < ALLOW_MAX_OWN; i = i->ifa_next) {
        uint8_t bytes[16];
        if (i->ifa_addr && to_bytes(i->ifa_addr, bytes) && !is_loopback(bytes) && !is_special(bytes)) {
            memcpy(a->own[a->n_own++], bytes, 16);
        }
    }
    freeifaddrs(list);
}

bool allow_target(const struct tunnel_allow *a, const struct net_addr *target, struct err *err)
{
    uint8_t bytes[16];
    char text[NET_ADDR_TEXT_SIZE];
    uint16_t port = net_addr_port(target);
    (void)net_addr_text(target, text);
    if (!to_bytes(&target->sa, bytes) || is_special(bytes)) {
        return err_set(err, ERR_FORBIDDEN, "%s is no address of this node or its pods", text);
    }
    if (is_loopback(bytes)) {
        bool first = !is_v4(bytes) || (bytes[13] == 0 && bytes[14] == 0 && bytes[15] == 1);
        for (size_t i = 0; first && i < a->n_ports; i++) {
            if (a->ports[i] == port) {
                return true;
            }
        }
        return err_set(err, ERR_FORBIDDEN, "%s: this port of loopback is not open to tunnels", text);
    }
    for (size_t i = 0; i < a->n_own; i++) {
        if (memcmp(a->own[i], bytes, 16) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < a->n_ranges; i++) {
        if (within(bytes, a->ranges[i].at, a->ranges[i].bits)) {
            return true;
        }
    }
    return err_set(err, ERR_FORBIDDEN, "%s is no address of this node or its pods", text);
}
