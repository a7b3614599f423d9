/*
 * What the allocator gives out is claimed in the store before the Service is written, in upstream's way and form, so that no two
 * servers that share it, ours or upstream's, give out the same; node ports only where there may be others:
 *   a cluster IP   an IPAddress object of its name, made only if there is none
 *   a node port    a bit of the RangeAllocation at /registry/ranges/servicenodeports, by compare-and-put
 * A claim of a Service that was not written is given back; what a crash leaves behind is found by a repair every three minutes.
 */
#ifndef APISERVER_SERVICE_CLAIM_H
#define APISERVER_SERVICE_CLAIM_H

#include "apiserver/server.h"

struct service_claims;

struct service_claims *service_claims_new(struct apiserver *s);
/* When the caches are loaded. Writes the ServiceCIDR "kubernetes" when there is none. */
void service_claims_start(struct service_claims *c);
/* Before the store is closed. */
void service_claims_stop(struct service_claims *c);
struct service_claims *service_claims_free(struct service_claims *c);

/* A callback comes later, once. STORE_E_CONFLICT: somebody else has it. '*ret_revision' goes with the IP's release. */
typedef void service_claim_fn(void *arg, enum store_status status, int64_t revision);
void service_claim_ip(struct service_claims *c, struct str ip, struct str namespace, struct str name, service_claim_fn *done, void *arg);
void service_claim_port(struct service_claims *c, uint32_t port, service_claim_fn *done, void *arg);
/* 'revision' 0: that of the cache, if its owner is this Service. Nobody waits. */
void service_release_ip(struct service_claims *c, struct str ip, struct str namespace, struct str name, int64_t revision);
void service_release_port(struct service_claims *c, uint32_t port);

#endif
