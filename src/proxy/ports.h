/* Ports of the host: --proxy-port-range, and sockets on a port of it. */
#ifndef PROXY_PORTS_H
#define PROXY_PORTS_H

#include "base/err.h"
#include "proxy/addr.h"

struct port_range {
    uint16_t first;
    uint32_t n; /* 0: the kernel chooses */
};

/* "FIRST-LAST", "FIRST+N" (N more than the first) or one port; "", "0" and "0-0": any. */
MUST_CHECK bool port_range_parse(struct str s, struct port_range *ret, struct err *err);

/* A non-blocking socket of 'protocol' (IPPROTO_TCP: it listens; IPPROTO_UDP: it tells where datagrams were sent to) on 'addr' and
 * a port of the range that is free, the first tried being any of it. -1 with the reason: ERR_UNAVAILABLE when all are taken. */
MUST_CHECK int port_open(const struct port_range *range, uint8_t family, const struct proxy_addr *addr, uint8_t protocol,
                         uint16_t *ret_port, struct err *err);

#endif
