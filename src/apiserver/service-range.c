#include "apiserver/service-range.h"

#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

enum { MAX_BITS = 20 };

/* ---- pools ---- */

bool service_pool_has(const struct service_pool *p, uint32_t n)
{
    return n < p->size && (p->bits[n / 8] >> (n % 8) & 1);
}

void service_pool_set(struct service_pool *p, uint32_t n, bool on)
{
    if (n < p->size) {
        p->bits[n / 8] = (uint8_t)(on ? p->bits[n / 8] | 1u << (n % 8) : p->bits[n / 8] & ~(1u << (n % 8)));
    }
}

void service_pool_init(struct service_pool *p, uint32_t size)
{
    p->size = size;
    p->bits = calloc(size / 8 + 1, 1);
    if (!p->bits) {
        abort();
    }
    /* Upstream's static band: a sixteenth of the range, between 16 and 256. */
    p->band = size / 16 < 16 ? 16 : size / 16 > 256 ? 256 : size / 16;
    if (size <= p->band) {
        p->band = 0;
    }
}

uint32_t service_pool_take_any(struct service_pool *p)
{
    uint32_t upper = p->size - p->band, start = (uint32_t)rand_below(upper ? upper : 1);
    for (uint32_t i = 0; i < upper; i++) {
        uint32_t n = p->band + (start + i) % upper;
        if (!service_pool_has(p, n)) {
            service_pool_set(p, n, true);
            return n;
        }
    }
    for (uint32_t n = 0; n < p->band; n++) {
        if (!service_pool_has(p, n)) {
            service_pool_set(p, n, true);
            return n;
        }
    }
    return UINT32_MAX;
}

/* ---- addresses ---- */

bool service_ip_parse(struct str text, struct service_ip *ret)
{
    char host[INET6_ADDRSTRLEN];
    *ret = (struct service_ip){ .v6 = str_find_char(text, ':') >= 0 };
    return str_to_cstr(text, host, sizeof(host)) && inet_pton(ret->v6 ? AF_INET6 : AF_INET, host, ret->bytes) == 1;
}

struct str service_ip_text(const struct service_ip *ip, char dst[INET6_ADDRSTRLEN])
{
    return str_c(inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->bytes, dst, INET6_ADDRSTRLEN));
}

/* ---- ranges ---- */

static bool parse(struct str cidr, struct service_ip *ret_base, unsigned *ret_prefix)
{
    struct str ip, bits_text;
    uint64_t bits;
    if (!str_cut(cidr, '/', &ip, &bits_text) || !service_ip_parse(ip, ret_base) || !str_to_u64(bits_text, &bits) ||
        bits > (ret_base->v6 ? 128 : 32)) {
        return false;
    }
    for (unsigned i = (unsigned)bits; i < (ret_base->v6 ? 128u : 32u); i++) {
        ret_base->bytes[i / 8] &= (uint8_t)~(0x80u >> (i % 8));
    }
    *ret_prefix = (unsigned)bits;
    return true;
}

struct service_range *service_range_new(struct str cidr, struct err *err)
{
    struct service_range *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    if (!parse(cidr, &r->base, &r->prefix) || r->prefix > (r->base.v6 ? 126 : 30)) {
        free(r);
        (void)err_set(err, ERR_INVALID, "\"%.*s\" is no CIDR of Services", STR_ARG(cidr));
        return NULL;
    }
    unsigned bits = (r->base.v6 ? 128 : 32) - r->prefix;
    service_pool_init(&r->ips, 1u << (bits > MAX_BITS ? MAX_BITS : bits));
    service_pool_set(&r->ips, 0, true);
    if (!r->base.v6 && bits <= MAX_BITS) {
        service_pool_set(&r->ips, r->ips.size - 1, true);
    }
    return r;
}

struct service_range *service_range_free(struct service_range *r)
{
    if (r) {
        free(r->ips.bits);
        free(r);
    }
    return NULL;
}

bool service_range_is(const struct service_range *r, struct str cidr)
{
    struct service_ip base;
    unsigned prefix;
    return parse(cidr, &base, &prefix) && base.v6 == r->base.v6 && prefix == r->prefix && memcmp(base.bytes, r->base.bytes, 16) == 0;
}

/* The offset of an address in the range; false when it is outside. */
static bool offset_of(const struct service_range *r, const struct service_ip *ip, uint32_t *ret)
{
    size_t last = ip->v6 ? 15 : 3;
    uint32_t n = 0;
    if (ip->v6 != r->base.v6) {
        return false;
    }
    for (size_t i = 0; i <= last; i++) {
        uint8_t diff = (uint8_t)(ip->bytes[i] ^ r->base.bytes[i]);
        if (i + 4 <= last && diff) {
            return false;
        }
        n = n << 8 | diff;
    }
    *ret = n;
    return n < r->ips.size; /* bits of the base above the range's own agree, then */
}

static struct service_ip at(const struct service_range *r, uint32_t n)
{
    struct service_ip ip = r->base;
    size_t last = ip.v6 ? 15 : 3;
    for (size_t i = 0; i < 4; i++) {
        ip.bytes[last - i] = (uint8_t)(ip.bytes[last - i] | (n >> (8 * i) & 0xff));
    }
    return ip;
}

bool service_ranges_taken(struct list *ranges, const struct service_ip *ip)
{
    uint32_t n;
    LIST_FOREACH(ranges, struct service_range, link, r) {
        if (offset_of(r, ip, &n) && service_pool_has(&r->ips, n)) {
            return true;
        }
    }
    return false;
}

void service_ranges_mark(struct list *ranges, const struct service_ip *ip, bool taken)
{
    uint32_t n;
    LIST_FOREACH(ranges, struct service_range, link, r) {
        if (offset_of(r, ip, &n)) {
            service_pool_set(&r->ips, n, taken);
        }
    }
}

bool service_ranges_hold(struct list *ranges, const struct service_ip *ip)
{
    uint32_t n;
    LIST_FOREACH(ranges, struct service_range, link, r) {
        if (r->open && offset_of(r, ip, &n)) {
            return true;
        }
    }
    return false;
}

bool service_ranges_take_any(struct list *ranges, bool v6, struct service_ip *ret)
{
    LIST_FOREACH(ranges, struct service_range, link, r) {
        uint32_t n = UINT32_MAX;
        while (r->open && r->base.v6 == v6 && (n = service_pool_take_any(&r->ips)) != UINT32_MAX) {
            *ret = at(r, n);
            /* It was free here: is it in an overlapping range, too, as another's network or broadcast address? */
            service_pool_set(&r->ips, n, false);
            bool taken = service_ranges_taken(ranges, ret);
            service_ranges_mark(ranges, ret, true);
            if (!taken) {
                return true;
            }
        }
    }
    return false;
}
