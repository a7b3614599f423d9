/* One request of the server's process, in the core: server-core.c, core-*.c, stats.c, paths.c. */
#ifndef KUBELET_SERVER_CORE_H
#define KUBELET_SERVER_CORE_H

#include "auth/authn.h"
#include "auth/authz.h"
#include "auth/kubelet-attributes.h"
#include "kubelet/kubelet-private.h"
#include "net/http-client.h"

struct core_request {
    struct list link;
    struct server_core *core;
    struct kubelet *k;
    uint32_t id;
    struct arena a;
    struct str method;
    struct http_target target;
    struct authn_request authn;
    struct authz_request authz;
    bool authenticating, authorizing;
    struct authz_attributes attributes[KUBELET_ATTRIBUTES_MAX];
    size_t n_attributes, asked;
    struct runtime_call *call;
    struct http_client *proxy;     /* paths.c: kube-proxy is asked */
    struct http_call *proxy_call;
    struct buf proxy_report;
    unsigned channels;
    bool port_forward;
};

/* Each ends the request. */
void core_request_reply(struct core_request *r, int status, const char *type, struct str body);
PRINTF_LIKE(3, 4) void core_request_error(struct core_request *r, int status, const char *fmt, ...);
void core_request_free(struct core_request *r);
/* NULL after having answered 404. */
struct pod *core_request_pod(struct core_request *r, struct str ns, struct str name);
struct pod_container *core_request_container(struct core_request *r, struct pod *p, struct str name);

/* paths.c */
void paths_report(struct core_request *r);

/* stats.c, stats-metrics.c */
void stats_summary(struct core_request *r);
void stats_resource_metrics(struct core_request *r);
/* Those names of cAdvisor's that dashboards are built on, as far as the runtime knows the figures. */
void stats_cadvisor_metrics(struct core_request *r);
/* stats-page.c: a page for people: the machine and its containers with what they use. */
void stats_page(struct core_request *r);
/* /spec: the machine, in the words of cAdvisor's MachineInfo. */
void stats_machine(struct core_request *r);

#endif
