/*
 * The links of this host, spoken on by raw sockets: answers questions for addresses that are stood for, and tells everybody of them.
 *
 * An address that is stood for is never given to an interface. So nothing on this host listens at it but what kube-proxy sends on to
 * a Service; nothing has to be taken away again when this process is killed; and a killed process answers no more, so that two nodes
 * never answer for one address for longer than a lease lasts.
 */
#ifndef CLOUD_L2_H
#define CLOUD_L2_H

#include "base/err.h"
#include "cloud/l2-frame.h"
#include "net/loop.h"

struct l2;

struct l2_ops {
    /* Another machine says that it has an address that we stand for. True: it is to be told that it is here. False: it may have it;
     * the address may have been left meanwhile. */
    bool (*claimed)(void *data, const struct ip *ip);
    /* A claim that was answered so. Once in CLOUD_DEFEND_MS for an address. */
    void (*conflict)(void *data, const struct ip *ip, const struct l2_mac *who, const char *link);
};

/* NULL with a reason: it needs CAP_NET_RAW. */
MUST_CHECK struct l2 *l2_new(struct loop *l, const struct l2_ops *ops, void *data, struct err *err);
struct l2 *l2_free(struct l2 *l);
/* Reads again which links there are. */
void l2_refresh(struct l2 *l);
/* Is there a link for the address: one of those named, or with none named one whose network it is of? */
bool l2_has_link(const struct l2 *l, const struct ip *ip, const struct str *names, size_t n_names);
/* From now on questions for it are answered on its links; names are copied. Again for one that is stood for: nothing. */
void l2_stand(struct l2 *l, const struct ip *ip, const struct str *names, size_t n_names);
void l2_leave(struct l2 *l, const struct ip *ip);
/* Asks whether another machine has it: one that says so is a conflict. Only for one that is stood for. */
void l2_ask(struct l2 *l, const struct ip *ip);
/* Tells everybody on its links. Only for one that is stood for. */
void l2_tell(struct l2 *l, const struct ip *ip);

#endif
