/* Which addresses of others are never dialled. */
#include <stdlib.h>

#include "apiserver/egress.h"
#include "apiserver/limits.h"

/* Prefixes, IPv4 as ::ffff:a.b.c.d. */
struct range {
    const char *net;
    unsigned bits;
    const char *what;
};

static const struct range loopback[] = {
    { "127.0.0.0", 8, "loopback" },
    { "::1", 128, "loopback" },
};

static const struct range never[] = {
    { "0.0.0.0", 8, "unspecified" }, /* Linux connects to itself by it */
    { "::", 128, "unspecified" },
    { "169.254.0.0", 16, "link-local" }, /* clouds' metadata 169.254.169.254 among them */
    { "fe80::", 10, "link-local" },
    { "224.0.0.0", 4, "multicast" },
    { "ff00::", 8, "multicast" },
    { "255.255.255.255", 32, "broadcast" },
    /* Where clouds answer any caller with credentials, outside of link-local addresses. */
    { "168.63.129.16", 32, "cloud metadata" },
    { "100.100.100.200", 32, "cloud metadata" },
    { "192.0.0.192", 32, "cloud metadata" },
    { "fd00:ec2::254", 128, "cloud metadata" },
};

static bool to_bytes(const struct net_addr *a, uint8_t ret[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
    static const uint8_t compatible[12];
    if (a->sa.sa_family == AF_INET) {
        memcpy(ret, mapped, 12);
        memcpy(ret + 12, &a->in4.sin_addr, 4);
        return true;
    }
    if (a->sa.sa_family != AF_INET6) {
        return false;
    }
    memcpy(ret, &a->in6.sin6_addr, 16);
    /* An IPv4 address inside an IPv6 one leads where the IPv4 address leads: RFC 6052, RFC 4291 2.5.5.1. */
    bool embedded = memcmp(ret, nat64, 12) == 0 || (memcmp(ret, compatible, 12) == 0 && (ret[12] || ret[13] || ret[14]));
    if (embedded) {
        memcpy(ret, mapped, 12);
    }
    return true;
}

static bool in_net(const uint8_t addr[16], const uint8_t net[16], unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    return memcmp(addr, net, bytes) == 0 && (rest == 0 || ((addr[bytes] ^ net[bytes]) >> (8 - rest)) == 0);
}

static bool in_range(const uint8_t addr[16], const struct range *r)
{
    struct net_addr a;
    uint8_t net[16];
    bool v4 = str_find_char(str_c(r->net), ':') < 0;
    if (!net_addr_parse_ip(str_c(r->net), 0, &a) || (v4 && !to_bytes(&a, net))) {
        return false;
    }
    if (!v4) {
        memcpy(net, &a.in6.sin6_addr, sizeof(net));
    }
    return in_net(addr, net, r->bits + (v4 ? 96 : 0));
}

bool egress_rules_allow(const struct egress_rules *r, enum egress_rule rule, const struct net_addr *a, struct err *err)
{
    uint8_t addr[16];
    const char *why = NULL;
    if (rule == EGRESS_ANY) {
        return true;
    }
    if (!to_bytes(a, addr)) {
        why = "no IP address";
    }
    for (size_t i = 0; !why && i < ARRAY_SIZE(never); i++) {
        why = in_range(addr, &never[i]) ? never[i].what : NULL;
    }
    for (size_t i = 0; !why && rule != EGRESS_VERIFIED && i < ARRAY_SIZE(loopback); i++) {
        why = in_range(addr, &loopback[i]) ? loopback[i].what : NULL;
    }
    for (size_t i = 0; !why && i < r->n_denied; i++) {
        why = in_net(addr, r->denied[i].addr, r->denied[i].bits) ? "refused by --proxy-denied-cidrs" : NULL;
    }
    return !why || err_set(err, ERR_FORBIDDEN, "address not allowed: %s", why);
}

bool egress_rules_allow_name(enum egress_rule rule, struct str name, struct err *err)
{
    while (str_ends(name, STR("."))) {
        name.len--;
    }
    ptrdiff_t dot = str_rfind_char(name, '.');
    struct str last = dot < 0 ? name : str_sub(name, (size_t)dot + 1, name.len);
    bool number = last.len > 0 && last.ptr[0] >= '0' && last.ptr[0] <= '9';
    for (size_t i = 0; number && i < last.len; i++) {
        char c = last.ptr[i];
        number = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (i == 1 && (c == 'x' || c == 'X'));
    }
    bool local = str_eq_nocase(last, STR("localhost")) || str_eq_nocase(last, STR("localdomain"));
    if (rule != EGRESS_FOREIGN || (!number && !local && name.len > 0)) {
        return true;
    }
    return err_set(err, ERR_FORBIDDEN, "address not allowed: \"%.*s\" %s", STR_ARG(str_sub(name, 0, 100)),
                   local ? "is whatever host it is asked on" : "is no name");
}

bool egress_rules_parse(struct egress_rules *r, struct str cidrs, struct err *err)
{
    struct str rest = cidrs, piece;
    *r = (struct egress_rules){ 0 };
    while (!str_empty(rest) && str_split(&rest, ',', &piece)) {
        struct str ip, tail;
        struct net_addr a;
        uint64_t bits;
        piece = str_trim(piece);
        bool v6 = str_find_char(piece, ':') >= 0;
        if (r->n_denied == EGRESS_MAX_DENIED || !str_cut(piece, '/', &ip, &tail) || !net_addr_parse_ip(ip, 0, &a) ||
            !str_to_u64(tail, &bits) || bits > (v6 ? 128u : 32u)) {
            egress_rules_free(r);
            return err_set(err, ERR_INVALID, "--proxy-denied-cidrs: \"%.*s\" is no network such as 10.0.0.0/24", STR_ARG(piece));
        }
        r->denied = realloc(r->denied, (r->n_denied + 1) * sizeof(*r->denied));
        if (!r->denied) {
            abort();
        }
        struct egress_net *n = &r->denied[r->n_denied++];
        if (v6) {
            memcpy(n->addr, &a.in6.sin6_addr, 16);
        } else {
            (void)to_bytes(&a, n->addr);
        }
        n->bits = (unsigned)bits + (v6 ? 0 : 96);
    }
    return true;
}

void egress_rules_free(struct egress_rules *r)
{
    free(r->denied);
    *r = (struct egress_rules){ 0 };
}
