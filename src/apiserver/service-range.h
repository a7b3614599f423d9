/*
 * The numbers that are given out to Services: a pool is a bitmap of which are taken, a range a pool of addresses. There are one or two
 * ranges of --service-cluster-ip-range (the first one's family is that of Services that do not say), and those of ServiceCIDR objects.
 * Ranges may overlap: an address is marked in every range that holds it.
 */
#ifndef APISERVER_SERVICE_RANGE_H
#define APISERVER_SERVICE_RANGE_H

#include <arpa/inet.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

struct service_pool {
    uint8_t *bits;
    uint32_t size;
    uint32_t band; /* numbers below are given out by choice only when nothing above is free */
};

void service_pool_init(struct service_pool *p, uint32_t size);
bool service_pool_has(const struct service_pool *p, uint32_t n);
void service_pool_set(struct service_pool *p, uint32_t n, bool on);
/* Any free number, from above the band first; UINT32_MAX when all are taken. It is marked as taken. */
uint32_t service_pool_take_any(struct service_pool *p);

struct service_ip {
    uint8_t bytes[16]; /* IPv4 in the first four */
    bool v6;
};

bool service_ip_parse(struct str text, struct service_ip *ret);
struct str service_ip_text(const struct service_ip *ip, char dst[INET6_ADDRSTRLEN]);

struct service_range {
    struct list link;
    struct service_ip base;
    unsigned prefix;
    struct service_pool ips; /* offsets; of a range of more than 2^20 addresses, the first 2^20 */
    bool flag;               /* of --service-cluster-ip-range: it stays */
    bool open;               /* addresses are given out of it */
    bool seen;               /* at the last look at the ServiceCIDRs */
};

/* NULL with a reason when the text is no CIDR, or one without two addresses to give. The network's own address and broadcast are taken. */
struct service_range *service_range_new(struct str cidr, struct err *err);
struct service_range *service_range_free(struct service_range *r);
/* Is it the range of this text? */
bool service_range_is(const struct service_range *r, struct str cidr);

/* Over a list of struct service_range. */
bool service_ranges_taken(struct list *ranges, const struct service_ip *ip);
void service_ranges_mark(struct list *ranges, const struct service_ip *ip, bool taken);
/* Is it an address of an open range? */
bool service_ranges_hold(struct list *ranges, const struct service_ip *ip);
/* False when every open range of the family is full. It is marked as taken. */
bool service_ranges_take_any(struct list *ranges, bool v6, struct service_ip *ret);

#endif
