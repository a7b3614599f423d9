/*
 * Cluster IPs and node ports of Services: which are taken, and which are given out next. Kept in memory from a watch of all
 * Services; what a request takes is held until its write is seen or fails.
 *
 * Upstream's order is kept: IPs given out by choice come from the upper part of the range, so that the lower part is left for
 * those asked for by address (KEP-3070); node ports likewise (KEP-3668).
 */
#ifndef APISERVER_SERVICE_ALLOC_H
#define APISERVER_SERVICE_ALLOC_H

#include "base/err.h"
#include "base/str.h"

struct apiserver;
struct core_v1_service;
struct field_errs;
struct request;
struct service_alloc;

/* The ranges are those of the configuration. NULL with a reason when they are no ranges. */
struct service_alloc *service_alloc_new(struct apiserver *s, struct err *err);
/* Begins to follow the Services; when the caches are loaded. */
void service_alloc_start(struct service_alloc *a);
void service_alloc_stop(struct service_alloc *a);
/* Before the store is closed; releases that come later are left to the next repair. */
void service_alloc_end(struct service_alloc *a);
struct service_alloc *service_alloc_free(struct service_alloc *a);

/* The first address of the range: the kubernetes Service's. Lives as long as the allocator. */
struct str service_alloc_first_ip(const struct service_alloc *a);

/* Has --service-cluster-ip-range a range of this family? */
bool service_alloc_has_family(const struct service_alloc *a, bool v6);

/* Fills in clusterIP(s) and node ports of a Service that is created or updated ('old' NULL on create), appending to 'errs' what
 * cannot be had. What was taken is given back when the request ends without having been written. */
void service_alloc_assign(struct request *r, struct core_v1_service *svc, const struct core_v1_service *old);

/* The request is over: what it took is kept when it was written, else given back. */
void service_alloc_settle(struct request *r);

#endif
