#include "cloud/ip.h"

#include <arpa/inet.h>

bool ip_parse(struct str text, struct ip *ret)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    char s[INET6_ADDRSTRLEN];
    struct ip a = { 0 };
    if (!str_to_cstr(text, s, sizeof(s))) {
        return false;
    }
    if (inet_pton(AF_INET, s, a.b) == 1) {
        a.family = 4;
    } else if (inet_pton(AF_INET6, s, a.b) == 1 && memcmp(a.b, mapped, sizeof(mapped)) != 0) {
        a.family = 6;
    } else {
        return false;
    }
    *ret = a;
    return true;
}

struct str ip_text(const struct ip *a, char dst[IP_TEXT_SIZE])
{
    if (!a->family || !inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->b, dst, IP_TEXT_SIZE)) {
        dst[0] = '\0';
    }
    return str_c(dst);
}

int ip_cmp(const struct ip *a, const struct ip *b)
{
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return memcmp(a->b, b->b, sizeof(a->b));
}

bool ip_next(const struct ip *a, struct ip *ret)
{
    struct ip x = *a;
    for (size_t i = ip_len(a); i-- > 0;) {
        if (++x.b[i]) {
            *ret = x;
            return true;
        }
    }
    return false;
}

bool ip_is_unicast(const struct ip *a)
{
    static const uint8_t zero[15] = { 0 };
    if (a->family == 4) {
        return a->b[0] != 0 && a->b[0] != 127 && a->b[0] < 224 && !(a->b[0] == 169 && a->b[1] == 254);
    }
    bool low = memcmp(a->b, zero, 15) == 0 && a->b[15] <= 1; /* :: and ::1 */
    return a->family == 6 && !low && a->b[0] != 0xff && !(a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80);
}

static void mask(struct ip *a, unsigned bits, bool ones)
{
    for (unsigned i = bits; i < ip_len(a) * 8; i++) {
        uint8_t bit = (uint8_t)(0x80 >> (i % 8));
        a->b[i / 8] = ones ? (uint8_t)(a->b[i / 8] | bit) : (uint8_t)(a->b[i / 8] & ~bit);
    }
}

bool ip_prefix_parse(struct str text, bool loose, struct ip_prefix *ret)
{
    struct str addr, len;
    struct ip a, net;
    uint64_t bits;
    if (!str_cut(text, '/', &addr, &len) || !ip_parse(addr, &a) || !str_to_u64(len, &bits) || bits > ip_len(&a) * 8) {
        return false;
    }
    net = a;
    mask(&net, (unsigned)bits, false);
    if (!loose && ip_cmp(&net, &a) != 0) {
        return false;
    }
    *ret = (struct ip_prefix){ .net = net, .bits = (unsigned)bits };
    return true;
}

bool ip_prefix_has(const struct ip_prefix *p, const struct ip *a)
{
    struct ip net = *a;
    mask(&net, p->bits, false);
    return a->family == p->net.family && ip_cmp(&net, &p->net) == 0;
}

struct ip ip_prefix_last(const struct ip_prefix *p)
{
    struct ip last = p->net;
    mask(&last, p->bits, true);
    return last;
}
