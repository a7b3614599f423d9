/*
 * Leader election on a coordination.k8s.io/v1 Lease (client-go leaderelection): 15 s lease, 10 s
 * renew deadline, 2 s retry. The holder renews with compare-and-put; others watch that the record
 * does not change for the lease's length by their own monotonic clock, so that clocks need not
 * agree. Losing the lease calls 'on_stopped' and is final for this object.
 */
#ifndef CLIENT_LEADER_H
#define CLIENT_LEADER_H

#include "client/client.h"

struct leader;

struct leader_options {
    struct str ns, name; /* of the Lease: "kube-system", "kube-scheduler" */
    struct str identity; /* "<hostname>_<uuid>" */
    uint32_t lease_ms, renew_deadline_ms, retry_ms; /* 0: 15000, 10000, 2000 */
    bool release_on_cancel;
};

struct leader *leader_new(struct client *c, const struct leader_options *o,
                          void (*on_started)(void *data), void (*on_stopped)(void *data),
                          void *data);
/* Releases the lease when asked to by the options. */
struct leader *leader_free(struct leader *l);
bool leader_is(const struct leader *l);

#endif
