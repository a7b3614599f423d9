/*
 * What a cloud provider is: the one who knows the machines that the nodes are, makes load balancers and routes. The controllers of
 * cloud-controller-manager ask it through three tables of functions; a provider that lacks one (NULL) has no such thing, and the
 * controller that needs it does not run.
 *
 * Asking is asynchronous: a function is handed a call, and answers it with cloud_call_done() or cloud_call_failed(), exactly once,
 * before it returns or later on the loop's thread. Objects handed in live only until the function returns. What the answer points at
 * lives in cloud_call_arena(). How many calls are under way, and how long they may take, is bounded (limits.h); a call that took too
 * long has failed for the controller, and its late answer is dropped.
 */
#ifndef CLOUD_CLOUD_H
#define CLOUD_CLOUD_H

#include "api/gen/core_v1.h"
#include "base/err.h"
#include "client/controller.h"

struct arena;
struct component;
struct loop;

/* ---- calls ---- */

struct cloud_call;

struct arena *cloud_call_arena(struct cloud_call *c);
/* 'answer' is what the function's comment says; NULL where it says nothing. */
void cloud_call_done(struct cloud_call *c, const void *answer);
PRINTF_LIKE(3, 4) void cloud_call_failed(struct cloud_call *c, enum err_code code, const char *fmt, ...);

/* ---- what a provider can have ---- */

struct cloud_instance {
    bool shutdown; /* it exists, and does not run */
    struct str provider_id, instance_type, zone, region; /* absent or empty: not known */
    struct core_v1_node_address *addresses;
    size_t n_addresses;
    struct api_str_pair *labels; /* further labels */
    size_t n_labels;
};

struct cloud_instances {
    /* Answers a struct cloud_instance. ERR_NOT_FOUND says that the machine exists no more: its Node is deleted once it is not
     * ready. */
    void (*get)(void *provider, const struct core_v1_node *node, struct cloud_call *call);
};

struct cloud_load_balancers {
    /* The loadBalancerClass that is served beside Services without one; absent: only those. */
    struct str (*class)(void *provider);
    /* Answers the struct core_v1_load_balancer_status there is. ERR_NOT_FOUND: none. */
    void (*get)(void *provider, const struct core_v1_service *service, struct cloud_call *call);
    /* Makes it, or makes it what the Service now says. Answers its struct core_v1_load_balancer_status. */
    void (*ensure)(void *provider, const struct core_v1_service *service, const struct core_v1_node *const *nodes, size_t n_nodes,
                   struct cloud_call *call);
    /* Other nodes are behind it; the Service is the same. NULL: it needs not be told. */
    void (*update)(void *provider, const struct core_v1_service *service, const struct core_v1_node *const *nodes, size_t n_nodes,
                   struct cloud_call *call);
    /* Removes it. One that is not there is fine. */
    void (*remove)(void *provider, const struct core_v1_service *service, struct cloud_call *call);
};

struct cloud_route {
    struct str node; /* whose pods are there; empty when the provider cannot tell (a route that is too many) */
    struct str cidr; /* the pods' addresses */
    struct str via;  /* the address it goes by; empty when the provider cannot tell */
    bool blackhole;  /* it leads nowhere any more */
};
struct cloud_route_list {
    struct cloud_route *items;
    size_t n;
};

struct cloud_routes {
    /* Is it for us to make routes at all? With 'own' the routes are those of this host alone: each host's agent makes its own. */
    bool (*wanted)(void *provider, bool own);
    /* Answers the struct cloud_route_list of the routes that are ours. */
    void (*list)(void *provider, struct cloud_call *call);
    /* The way to 'cidr' is by this node. */
    void (*create)(void *provider, const struct core_v1_node *node, struct str cidr, struct cloud_call *call);
    void (*remove)(void *provider, const struct cloud_route *route, struct cloud_call *call);
};

struct cloud_provider {
    const char *name; /* --cloud-provider */
    /* 'config' is the text of --cloud-config (absent: none was given); it lives until close(). NULL with a reason. */
    void *(*open)(struct str config, struct err *err);
    void (*close)(void *provider);
    /* Asks for informers; NULL: none are needed. */
    void (*watch)(void *provider, struct informers *informers);
    const struct cloud_instances *instances;
    const struct cloud_load_balancers *load_balancers;
    const struct cloud_routes *routes;
    /* What runs on every node with --node-agent; NULL: nothing does. agent_start() is called before the informers begin. */
    void *(*agent_start)(void *provider, struct component *c, struct str node, struct err *err);
    void (*agent_synced)(void *agent);
    void (*agent_stop)(void *agent);
};

/* The providers of this build. */
extern const struct cloud_provider *const cloud_providers[];
extern const size_t cloud_providers_n;
/* NULL: there is none of that name. */
const struct cloud_provider *cloud_provider_find(struct str name);

/* ---- what the controllers are told, one for the process, set before the first is made ---- */

struct cloud_settings {
    const struct cloud_provider *provider;
    void *state; /* of the provider */
    struct str cluster_cidr;      /* --cluster-cidr: routes outside of it are left alone */
    int64_t node_monitor_ms;      /* --node-monitor-period */
    int64_t node_status_ms;       /* --node-status-update-frequency */
    int64_t route_ms;             /* --route-reconciliation-period */
    struct str own_node;          /* the agent's node: routes of this host alone. Absent: all nodes' */
};
extern struct cloud_settings cloud_settings;

extern const struct controller_ops cloud_node_controller, cloud_node_lifecycle_controller, cloud_service_controller,
    cloud_route_controller;
extern const struct controller_ops *const cloud_controllers[];
extern const size_t cloud_controllers_n;
/* Is the controller meant by this name of --controllers? Upstream's names end with "-controller" since 1.28; the older ones are
 * known, too. */
bool cloud_controller_has_name(const struct controller_ops *ops, struct str name);

#endif
