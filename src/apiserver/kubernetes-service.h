/*
 * The kubernetes Service of the namespace default, by which pods reach the API servers, and its Endpoints and EndpointSlice.
 *
 * Each API server holds a lease on its own address: a key /registry/masterleases/<ip> that is written again every 10 seconds and that
 * the store deletes 15 seconds after the last time. Whoever sees the set of leases change writes it into Endpoints and EndpointSlice;
 * so a server that ended or hangs leaves them, and several servers on one store agree. (The keys, their value and the times are
 * upstream's, so originals can run beside.) What somebody deletes or changes of the three objects is put right at once, though not more
 * often than once a second. When no lease is left, the last set stays: nobody is there who could serve, or change it.
 *
 * With --endpoint-reconciler-type=none only the Service is looked after.
 */
#ifndef APISERVER_KUBERNETES_SERVICE_H
#define APISERVER_KUBERNETES_SERVICE_H

#include "base/err.h"

struct apiserver;
struct apiserver_config;
struct kubernetes_service;
struct store_resource;

/* Are --endpoint-reconciler-type, --kubernetes-service-node-port and --advertise-address usable? */
MUST_CHECK bool kubernetes_service_check(const struct apiserver_config *cfg, struct err *err);
/* Begins, when the caches are loaded; 'done' is called once, when the objects are there for the first time. */
void kubernetes_service_start(struct apiserver *s, void (*done)(void *arg), void *arg);
/* Gives the lease up and takes our address out, unless it is the last one. Safe twice. */
void kubernetes_service_leave(struct apiserver *s);
/* No more writes are begun; before the registry is closed. */
void kubernetes_service_stop(struct apiserver *s);
/* Where the leases are in the store; for tests that play another server. */
struct store_resource *kubernetes_service_leases(struct apiserver *s);
/* After the store was closed. */
void kubernetes_service_free(struct apiserver *s);

#endif
