#include "proxy/service.h"

#define AFFINITY_SECONDS 10800 /* DefaultClientIPServiceAffinitySeconds */

bool service_is_ours(const struct core_v1_service *s)
{
    for (size_t i = 0; i < s->metadata.n_labels; i++) {
        if (str_eq(s->metadata.labels[i].key, STR("service.kubernetes.io/service-proxy-name"))) {
            return false;
        }
    }
    return !str_eq(s->spec.type, STR("ExternalName"));
}

bool service_has_cluster_ip(const struct core_v1_service_spec *spec, uint8_t family)
{
    struct proxy_addr addr;
    bool any = !spec->n_cluster_ips && proxy_addr_parse(family, spec->cluster_ip, &addr);
    for (size_t i = 0; i < spec->n_cluster_ips && !any; i++) {
        any = proxy_addr_parse(family, spec->cluster_ips[i], &addr);
    }
    return any;
}

uint32_t service_affinity_seconds(const struct core_v1_service_spec *spec)
{
    const struct core_v1_session_affinity_config *c = spec->session_affinity_config;
    if (!str_eq(spec->session_affinity, STR("ClientIP"))) {
        return 0;
    }
    return c && c->client_ip && c->client_ip->has_timeout_seconds && c->client_ip->timeout_seconds > 0
               ? (uint32_t)c->client_ip->timeout_seconds
               : AFFINITY_SECONDS;
}

uint8_t service_protocol(const struct core_v1_service_port *port)
{
    return str_eq(port->protocol, STR("UDP"))    ? IPPROTO_UDP
           : str_eq(port->protocol, STR("SCTP")) ? IPPROTO_SCTP
                                                 : IPPROTO_TCP;
}

bool service_is_local(struct str policy)
{
    return str_eq(policy, STR("Local"));
}

uint16_t service_health_port(const struct core_v1_service_spec *spec)
{
    return str_eq(spec->type, STR("LoadBalancer")) && service_is_local(spec->external_traffic_policy) ? (uint16_t)spec->health_check_node_port
                                                                                                     : 0;
}
