/* What pods and node use, for those who ask: /stats/summary (stats.c), /metrics/resource and /metrics/cadvisor (stats-metrics.c), and a
 * page for people (stats-page.c). Figures are the runtime's of containers, and the kernel's of everything else. */
#ifndef KUBELET_STATS_H
#define KUBELET_STATS_H

#include "kubelet/cgroup-usage.h"
#include "kubelet/server-core.h"

/* Called with the runtime's figures of all containers. */
typedef void stats_fn(struct core_request *r, const struct cri_v1_list_container_stats_response *list);
/* Asks the runtime; an error of it is the answer to 'r'. */
void stats_ask(struct core_request *r, stats_fn *fn);
/* The container of a run, or NULL. */
struct pod_container *stats_container(struct kubelet *k, struct str id);
const struct cri_v1_container_stats *stats_of(const struct cri_v1_list_container_stats_response *list, const struct pod_container *c);
static inline uint64_t stats_value(const struct cri_v1_uint64_value *v)
{
    return v ? v->value : 0;
}

/* Of the pod's control group and network; false when it has none that can be read. */
bool stats_pod_usage(struct pod *p, struct cgroup_usage *ret);
/* A pod in the node's own network has no figures of its own. */
bool stats_pod_network(struct pod *p, struct net_usage *ret);
bool stats_pod_is_shown(struct pod *p);
uint64_t stats_node_cpu_ns(void);

#endif
