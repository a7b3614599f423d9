/* What a Service says that every mode must know. Pure. */
#ifndef PROXY_SERVICE_H
#define PROXY_SERVICE_H

#include "api/gen/core_v1.h"
#include "proxy/addr.h"

/* Is it for this kube-proxy: none that names another proxy, and no ExternalName? */
bool service_is_ours(const struct core_v1_service *s);
bool service_has_cluster_ip(const struct core_v1_service_spec *spec, uint8_t family);
/* How long a client stays with its endpoint; 0: no session affinity. */
uint32_t service_affinity_seconds(const struct core_v1_service_spec *spec);
/* IPPROTO_TCP, _UDP or _SCTP. */
uint8_t service_protocol(const struct core_v1_service_port *port);
/* externalTrafficPolicy or internalTrafficPolicy: endpoints of this node alone? */
bool service_is_local(struct str policy);
/* The healthCheckNodePort that is to be answered, or 0. */
uint16_t service_health_port(const struct core_v1_service_spec *spec);

#endif
