/* What endpointslice.c and endpoints.c share: which pods stand behind a Service, and on which ports
 * ("Service", EndpointSlice API). */
#ifndef CONTROLLERS_SERVICE_ENDPOINTS_H
#define CONTROLLERS_SERVICE_ENDPOINTS_H

#include "api/gen/core_v1.h"
#include "client/controller.h"

struct service_port {
    struct str name, protocol, app_protocol;
    int32_t port;
};

/* A pod behind the Service. */
struct service_endpoint {
    const struct core_v1_pod *pod;
    struct str ip;
    bool ready, serving, terminating;
    struct service_port
        *ports; /* the Service's ports as this pod has them, in the Service's order */
    size_t n_ports;
};

struct service_endpoints {
    struct service_endpoint *items; /* by namespace and name of the pod */
    size_t n;
};

/* The informers of Services (the controller's keys) and Pods with the fields that are read here, and how one finds the other;
 * both controllers share the copies. */
struct service_informers {
    struct controller *controller;
    struct informer *services, *pods;
    struct informer_index *by_selector, *pods_by_label;
};
/* 'on_pod' gets the pods. */
void service_informers_init(struct service_informers *s, struct controller *c,
                            struct informers *informers, informer_event_fn *on_pod, void *data);

/* The endpoints of one address family; without a selector none. In the arena. */
struct service_endpoints service_endpoints_of(const struct service_informers *s, struct arena *a,
                                              const struct core_v1_service *svc, bool ipv6);
/* Does a change of this pod matter to Services? */
bool service_endpoints_pod_changed(const struct core_v1_pod *old, const struct core_v1_pod *new);
/* Enqueues every Service of the pod's namespace that selects either state of it. */
void service_endpoints_enqueue(const struct service_informers *s, const struct core_v1_pod *old,
                               const struct core_v1_pod *new);
bool service_endpoints_same_ports(const struct service_endpoint *a,
                                  const struct service_endpoint *b);

/* The labels of what is made for the Service: the Service's own, 'own' (at most 4) in their place,
 * and the mark of a headless one; sorted. In the arena. */
void service_endpoints_labels(struct arena *a, const struct core_v1_service *svc,
                              const struct api_str_pair *own, size_t n_own,
                              struct meta_v1_object_meta *ret);

#endif
