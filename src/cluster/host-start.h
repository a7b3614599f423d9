/* What server and join do the same: look at the host, prepare it, and start it by systemd or in the foreground. */
#ifndef CLUSTER_HOST_START_H
#define CLUSTER_HOST_START_H

#include "cluster/host.h"
#include "cluster/progress.h"

/* Root, programs, kernel; nobody else's kubelet. '*ret_known': this host is one of ours already, and 'h' is what it is.
 */
MUST_CHECK bool host_start_check(struct host *h, bool *ret_known, struct err *err);
/* What a node needs besides machine.h: pods leave by rules that nft makes. */
MUST_CHECK bool host_start_needs_nft(struct err *err);
/* systemd or --foreground? */
MUST_CHECK bool host_start_can(bool foreground, struct err *err);
/* Runs in the foreground, or has systemd do so; returns the exit status. 'ready' as in host-run.h, also with systemd.
 */
int host_start(const struct host *h, const struct machine *m, bool foreground, struct progress *p, int64_t wait_ms,
               void (*ready)(const struct host *h));

#endif
