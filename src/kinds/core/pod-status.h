/* Addresses of a pod, as a status says them. */
#ifndef KINDS_CORE_POD_STATUS_H
#define KINDS_CORE_POD_STATUS_H

#include "api/gen/core_v1.h"
#include "kinds/kind.h"

/* Makes podIP and podIPs agree: where they differ podIP counts, since a client that knows only podIP sends the other as it was. */
void pod_status_prepare(struct kind_ctx *ctx, struct core_v1_pod_status *s);
/* podIPs and hostIPs: addresses (or what 'old' has), one of each family at most, the first host's equal to hostIP. */
void pod_status_validate(struct kind_ctx *ctx, const struct core_v1_pod_status *s, const struct core_v1_pod_status *old);

#endif
