/*
 * The provider "bare-metal": machines that nobody rents out. What a node is comes from a file, or from labels and annotations of the
 * Node; a load balancer is an address of a pool, which one node after the other stands for on its network (agent.h); routes to the
 * other nodes' pods are the kernel's.
 */
#ifndef CLOUD_BARE_METAL_H
#define CLOUD_BARE_METAL_H

#include "base/map.h"
#include "cloud/bare-metal-config.h"
#include "cloud/cloud.h"
#include "net/rtnl.h"

extern const struct cloud_provider cloud_bare_metal;

/* What the kubelet was told with --node-ip. */
#define BARE_METAL_PROVIDED_IP "alpha.kubernetes.io/provided-node-ip"
/* Of a Node, as label or annotation (IPv6 addresses fit annotations alone): what the file does not say. */
#define BARE_METAL_PREFIX "bare-metal.coracle.local/"
#define BARE_METAL_INTERNAL_IP BARE_METAL_PREFIX "internal-ip"
#define BARE_METAL_EXTERNAL_IP BARE_METAL_PREFIX "external-ip"
#define BARE_METAL_ZONE BARE_METAL_PREFIX "zone"
#define BARE_METAL_REGION BARE_METAL_PREFIX "region"
#define BARE_METAL_TYPE BARE_METAL_PREFIX "instance-type"
/* Of a Service, as annotation. */
#define BARE_METAL_POOL BARE_METAL_PREFIX "pool"
#define BARE_METAL_IPS BARE_METAL_PREFIX "load-balancer-ips"

struct bare_metal {
    struct arena arena;
    struct bare_metal_config config;
    struct informer *services; /* NULL: nobody asked for them */
    struct map used;           /* address as text -> "ns/name" (allocated): of a status, or just chosen */
    struct rtnl rtnl;          /* opened when first needed */
};

/* An informer_event_fn of Services, with the struct bare_metal as data: keeps 'used'. */
void bare_metal_pools_see(void *data, const void *old, const void *obj);
extern const struct cloud_load_balancers bare_metal_load_balancers;
extern const struct cloud_routes bare_metal_routes;

#endif
