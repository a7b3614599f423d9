#include "cloud/l2-frame.h"


enum { ETHERTYPE_V4_ARP = 0x0806, ETHERTYPE_V6 = 0x86dd, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { ICMP6 = 58, SOLICITATION = 135, ADVERTISEMENT = 136, OPTION_SOURCE = 1, OPTION_TARGET = 2 };
enum { HOPS = 255, FLAG_SOLICITED = 0x40, FLAG_OVERRIDE = 0x20 };
#define ETHERNET 14
#define V6_HEADER 40

static const struct l2_mac everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static struct ip v4(const uint8_t *p)
{
    struct ip ip = { .family = 4 };
    memcpy(ip.b, p, 4);
    return ip;
}

static struct ip v6(const uint8_t *p)
{
    struct ip ip = { .family = 6 };
    memcpy(ip.b, p, 16);
    return ip;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    while (n && !p[n - 1]) {
        n--;
    }
    return n == 0;
}

static unsigned u16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* ---- ARP ---- */

static bool parse_arp(const uint8_t *p, size_t len, struct l2_message *ret)
{
    static const uint8_t head[6] = { 0, 1, 8, 0, 6, 4 }; /* Ethernet, IPv4, and their lengths */
    if (len < 28 || memcmp(p, head, sizeof(head)) != 0 || u16(p + 6) < ARP_REQUEST || u16(p + 6) > ARP_REPLY) {
        return false;
    }
    const uint8_t *sender = p + 14, *target = p + 24;
    memcpy(ret->sender.b, p + 8, 6);
    if (!is_zero(sender, 4)) {
        ret->claimed = v4(sender);
    }
    if (u16(p + 6) == ARP_REQUEST && memcmp(sender, target, 4) != 0 && !is_zero(target, 4)) {
        ret->asked = v4(target);
        ret->asker = ret->claimed;
    }
    return ret->claimed.family || ret->asked.family;
}

static size_t write_arp(uint8_t *dst, unsigned op, const struct l2_mac *own, const struct ip *ip, const struct l2_mac *to,
                        const struct ip *to_ip, bool broadcast)
{
    static const uint8_t head[6] = { 0, 1, 8, 0, 6, 4 };
    memset(dst, 0, 60); /* the shortest frame */
    memcpy(dst, broadcast ? everybody.b : to->b, 6);
    memcpy(dst + 6, own->b, 6);
    dst[12] = ETHERTYPE_V4_ARP >> 8;
    dst[13] = ETHERTYPE_V4_ARP & 255;
    uint8_t *p = dst + ETHERNET;
    memcpy(p, head, sizeof(head));
    p[7] = (uint8_t)op;
    memcpy(p + 8, own->b, 6);
    memcpy(p + 14, ip->b, 4);
    memcpy(p + 18, to->b, 6);
    memcpy(p + 24, to_ip->b, 4);
    return 60;
}

/* ---- neighbour discovery ---- */

/* Of the ICMPv6 message and its pseudo header (RFC 8200, 8.1); 0 over a message that carries the right one. */
static unsigned checksum(const uint8_t *src, const uint8_t *dst, const uint8_t *p, size_t len)
{
    uint32_t sum = (uint32_t)len + ICMP6;
    for (size_t i = 0; i < 16; i += 2) {
        sum += u16(src + i) + u16(dst + i);
    }
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += u16(p + i);
    }
    sum += len % 2 ? (uint32_t)p[len - 1] << 8 : 0;
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

/* The link-layer address among the options. False when the options are not valid. */
static bool parse_options(const uint8_t *p, size_t len, unsigned wanted, bool *ret_there, struct l2_mac *ret)
{
    *ret_there = false;
    while (len) {
        size_t n = len >= 2 ? (size_t)p[1] * 8 : 0;
        if (!n || n > len) {
            return false;
        }
        if (p[0] == wanted && n == 8) {
            memcpy(ret->b, p + 2, 6);
            *ret_there = true;
        }
        p += n;
        len -= n;
    }
    return true;
}

static bool parse_nd(const uint8_t *ethernet_source, const uint8_t *p, size_t len, struct l2_message *ret)
{
    bool there;
    if (len < V6_HEADER + 24 || p[0] >> 4 != 6 || p[6] != ICMP6 || p[7] != HOPS) {
        return false;
    }
    size_t n = u16(p + 4);
    const uint8_t *source = p + 8, *dest = p + 24, *icmp = p + V6_HEADER, *target = icmp + 8;
    /* RFC 4861, 7.1.1 and 7.1.2. */
    if (n < 24 || n > len - V6_HEADER || (icmp[0] != SOLICITATION && icmp[0] != ADVERTISEMENT) || icmp[1] != 0 || target[0] == 0xff || is_zero(target, 16) ||
        checksum(source, dest, icmp, n) != 0) {
        return false;
    }
    memcpy(ret->sender.b, ethernet_source, 6);
    if (!parse_options(icmp + 24, n - 24, icmp[0] == SOLICITATION ? OPTION_SOURCE : OPTION_TARGET, &there, &ret->sender)) {
        return false;
    }
    if (icmp[0] == ADVERTISEMENT) {
        ret->claimed = v6(target);
        return dest[0] != 0xff || !(icmp[4] & FLAG_SOLICITED);
    }
    ret->asked = v6(target);
    if (!is_zero(source, 16)) {
        ret->asker = v6(source);
        return source[0] != 0xff;
    }
    struct ip group = l2_solicited_node(&ret->asked);
    return !there && memcmp(dest, group.b, 16) == 0;
}

/* Headers and the message without its options and checksum. Returns where the message is. */
static uint8_t *start_nd(uint8_t *dst, const struct l2_mac *own, const struct l2_mac *to, const struct ip *from_ip, const struct ip *to_ip,
                         unsigned type, const struct ip *target, size_t n)
{
    memset(dst, 0, L2_FRAME_MAX);
    memcpy(dst, to->b, 6);
    memcpy(dst + 6, own->b, 6);
    dst[12] = ETHERTYPE_V6 >> 8;
    dst[13] = ETHERTYPE_V6 & 255;
    uint8_t *p = dst + ETHERNET, *icmp = p + V6_HEADER;
    p[0] = 6 << 4;
    p[5] = (uint8_t)n;
    p[6] = ICMP6;
    p[7] = HOPS;
    memcpy(p + 8, from_ip->b, 16);
    memcpy(p + 24, to_ip->b, 16);
    icmp[0] = (uint8_t)type;
    memcpy(icmp + 8, target->b, 16);
    return icmp;
}

static size_t end_nd(uint8_t *dst, uint8_t *icmp, size_t n)
{
    const uint8_t *p = dst + ETHERNET;
    unsigned sum = checksum(p + 8, p + 24, icmp, n);
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    return ETHERNET + V6_HEADER + n;
}

static size_t write_advertisement(uint8_t *dst, const struct l2_mac *own, const struct ip *ip, const struct l2_mac *to, const struct ip *to_ip,
                                  unsigned flags)
{
    uint8_t *icmp = start_nd(dst, own, to, ip, to_ip, ADVERTISEMENT, ip, 32);
    icmp[4] = (uint8_t)flags;
    icmp[24] = OPTION_TARGET;
    icmp[25] = 1;
    memcpy(icmp + 26, own->b, 6);
    return end_nd(dst, icmp, 32);
}

static const struct ip all_nodes = { .family = 6, .b = { 0xff, 0x02, [15] = 1 } };
static const struct l2_mac all_nodes_mac = { { 0x33, 0x33, 0, 0, 0, 1 } };

struct ip l2_solicited_node(const struct ip *ip)
{
    struct ip group = { .family = 6, .b = { 0xff, 0x02, [11] = 1, [12] = 0xff } };
    memcpy(group.b + 13, ip->b + 13, 3);
    return group;
}

/* ---- both ---- */

bool l2_parse(const uint8_t *frame, size_t len, struct l2_message *ret)
{
    struct l2_message m = { 0 };
    if (len < ETHERNET) {
        return false;
    }
    unsigned type = u16(frame + 12);
    bool ok = type == ETHERTYPE_V4_ARP ? parse_arp(frame + ETHERNET, len - ETHERNET, &m)
                                       : type == ETHERTYPE_V6 && parse_nd(frame + 6, frame + ETHERNET, len - ETHERNET, &m);
    if (ok) {
        *ret = m;
    }
    return ok;
}

size_t l2_answer(const struct l2_message *q, const struct l2_mac *own, uint8_t dst[L2_FRAME_MAX])
{
    if (q->asked.family == 4) {
        struct ip nobody = { .family = 4 };
        return write_arp(dst, ARP_REPLY, own, &q->asked, &q->sender, q->asker.family ? &q->asker : &nobody, false);
    }
    /* One who asks without an address of its own is told so among everybody (RFC 4861, 7.2.4). */
    return q->asker.family ? write_advertisement(dst, own, &q->asked, &q->sender, &q->asker, FLAG_SOLICITED | FLAG_OVERRIDE)
                           : write_advertisement(dst, own, &q->asked, &all_nodes_mac, &all_nodes, FLAG_OVERRIDE);
}

size_t l2_announce(const struct ip *ip, const struct l2_mac *own, bool reply, uint8_t dst[L2_FRAME_MAX])
{
    static const struct l2_mac nobody;
    if (ip->family == 4) {
        return write_arp(dst, reply ? ARP_REPLY : ARP_REQUEST, own, ip, reply ? &everybody : &nobody, ip, true);
    }
    return write_advertisement(dst, own, ip, &all_nodes_mac, &all_nodes, FLAG_OVERRIDE);
}

size_t l2_probe(const struct ip *ip, const struct l2_mac *own, uint8_t dst[L2_FRAME_MAX])
{
    static const struct l2_mac nobody;
    struct ip none = { .family = ip->family };
    if (ip->family == 4) {
        return write_arp(dst, ARP_REQUEST, own, &none, &nobody, ip, true);
    }
    struct ip group = l2_solicited_node(ip);
    struct l2_mac to = { { 0x33, 0x33, group.b[12], group.b[13], group.b[14], group.b[15] } };
    return end_nd(dst, start_nd(dst, own, &to, &none, &group, SOLICITATION, ip, 24), 24);
}
