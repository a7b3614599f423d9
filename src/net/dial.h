/*
 * Dialling: from a name to a connected socket. All dialling of nodes, pods and services goes through a net_dialer, so that a
 * tunnel can stand in its place. A name is resolved once, on a worker, checked, and the address found is the one dialled.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "net/addr.h"
#include "net/loop.h"

struct net_dial;   /* one attempt under way */
struct net_dialer;

/* 'fd' is a connected, non-blocking, close-on-exec socket (yours), or -1 with the reason. Called once, never inside start(). */
typedef void net_dial_fn(int fd, const struct err *err, void *arg);

struct net_dialer_ops {
    /* 'host' is a name, an IP address, or a path with 'port' 0 for a unix socket. Never NULL. */
    struct net_dial *(*start)(struct net_dialer *d, struct loop *l, struct str host, uint16_t port, uint32_t timeout_ms,
                              net_dial_fn *done, void *arg);
    /* Stops the attempt; done is not called. */
    void (*cancel)(struct net_dial *attempt);
};

struct net_dialer {
    const struct net_dialer_ops *ops;
};

/* getaddrinfo and connect, addresses in turn. Has no state; one for all. */
struct net_dialer *net_dialer_direct(void);

/* May this address be dialled? False with the reason. Asked with each address that a look-up gave, and with numeric ones. */
typedef bool net_dial_check_fn(const struct net_addr *a, void *arg, struct err *err);

/* The direct dialer with a check between look-up and connect: what was checked is what is dialled, so a name that changes its
 * address in between gains nothing. An address that is refused is not tried; when none is left the attempt fails with the
 * check's reason. */
struct net_dialer_checked {
    struct net_dialer dialer;
    net_dial_check_fn *check;
    void *arg;
};
void net_dialer_checked_init(struct net_dialer_checked *d, net_dial_check_fn *check, void *arg);

static inline struct net_dial *net_dial_start(struct net_dialer *d, struct loop *l, struct str host, uint16_t port,
                                              uint32_t timeout_ms, net_dial_fn *done, void *arg)
{
    return d->ops->start(d, l, host, port, timeout_ms, done, arg);
}

#endif
