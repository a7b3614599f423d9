#include "controllers/service-endpoints.h"

#include <stdlib.h>

#include "api/equal.h"
#include "client/label-index.h"
#include "client/meta.h"
#include "controllers/pod-facts.h"
#include "controllers/setup.h"

/* A Service stands under one pair of its selector: what it selects has that label. */
static void by_selector(const struct api_type *type UNUSED, const void *obj,
                        void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct core_v1_service *svc = obj;
    char key[LABEL_INDEX_KEY_MAX];
    if (svc->spec.n_selector) {
        emit(ctx, label_index_key(key, sizeof(key), svc->metadata.namespace,
                                  svc->spec.selector[0].key, svc->spec.selector[0].value));
    }
}

void service_informers_init(struct service_informers *s, struct controller *c,
                            struct informers *informers, informer_event_fn *on_pod, void *data)
{
    static const char *const service_fields[] = { "metadata.labels",
                                                  "metadata.deletionTimestamp",
                                                  "metadata.annotations",
                                                  "spec.selector",
                                                  "spec.ports",
                                                  "spec.clusterIP",
                                                  "spec.clusterIPs",
                                                  "spec.type",
                                                  "spec.ipFamilies",
                                                  "spec.publishNotReadyAddresses",
                                                  NULL };
    static const char *const pod_fields[] = { POD_FACT_FIELDS,
                                              "metadata.labels",
                                              "spec.nodeName",
                                              "spec.hostname",
                                              "spec.subdomain",
                                              "spec.containers.ports",
                                              "spec.initContainers.ports",
                                              "spec.initContainers.restartPolicy",
                                              "status.podIP",
                                              "status.podIPs",
                                              NULL };
    s->controller = c;
    s->services = informer_of_keys(c, informers, "", "services", service_fields);
    s->by_selector = informer_index(s->services, "selector", by_selector);
    s->pods = informer_of(informers, "", "pods", pod_fields, on_pod, data);
    s->pods_by_label = label_index(s->pods);
}

static bool has_ended(const struct core_v1_pod *p)
{
    return str_eq(p->status.phase, STR("Succeeded")) || str_eq(p->status.phase, STR("Failed"));
}

static struct str ip_of(const struct core_v1_pod *p, bool ipv6)
{
    for (size_t i = 0; i < p->status.n_pod_ips; i++) {
        struct str ip = p->status.pod_ips[i].ip;
        if ((str_find_char(ip, ':') >= 0) == ipv6) {
            return ip;
        }
    }
    struct str ip = p->status.pod_ip;
    return ip.len && (str_find_char(ip, ':') >= 0) == ipv6 ? ip : STR_NULL;
}

/* A named target port is looked up in the pod's containers. */
static bool find_named(const struct core_v1_container *containers, size_t n, bool only_restartable,
                       struct str name, struct str protocol, int32_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (only_restartable && !str_eq(containers[i].restart_policy, STR("Always"))) {
            continue;
        }
        for (size_t k = 0; k < containers[i].n_ports; k++) {
            const struct core_v1_container_port *p = &containers[i].ports[k];
            struct str has = p->protocol.len ? p->protocol : STR("TCP");
            if (str_eq(p->name, name) && str_eq(has, protocol)) {
                *ret = p->container_port;
                return true;
            }
        }
    }
    return false;
}

static bool target_port(const struct core_v1_pod *pod, const struct core_v1_service_port *sp,
                        int32_t *ret)
{
    struct str protocol = sp->protocol.len ? sp->protocol : STR("TCP");
    switch (sp->target_port.kind) {
    case API_IOS_INT: *ret = sp->target_port.i ? sp->target_port.i : sp->port; return true;
    case API_IOS_STRING:
        return find_named(pod->spec.containers, pod->spec.n_containers, false, sp->target_port.s,
                          protocol, ret) ||
               find_named(pod->spec.init_containers, pod->spec.n_init_containers, true,
                          sp->target_port.s, protocol, ret);
    case API_IOS_UNSET: *ret = sp->port; return true;
    }
    return false;
}

struct service_endpoints service_endpoints_of(const struct service_informers *s, struct arena *a,
                                              const struct core_v1_service *svc, bool ipv6)
{
    struct service_endpoints ret = { .items = NULL };
    struct selector selector;
    struct label_walk w;
    const struct core_v1_pod *pod;
    size_t capacity = 0;
    if (!svc->spec.n_selector ||
        !selector_from_pairs(a, svc->spec.selector, svc->spec.n_selector, &selector)) {
        return ret;
    }
    label_walk_begin(&w, s->pods, s->pods_by_label, svc->metadata.namespace, &selector);
    while ((pod = label_walk_next(&w))) {
        struct str ip = ip_of(pod, ipv6);
        if (!ip.len || has_ended(pod)) {
            continue;
        }
        if (ret.n == capacity) {
            capacity = capacity ? capacity * 2 : 8;
            ret.items = arena_grow_n(a, ret.items, ret.n, capacity, sizeof(*ret.items));
        }
        struct service_endpoint *e = ret.items ? &ret.items[ret.n++] : NULL;
        struct service_port *ports = arena_new_n(a, struct service_port, svc->spec.n_ports + 1);
        if (!e || !ports) {
            abort();
        }
        bool ready = pod_is_ready(pod), terminating = pod->metadata.deletion_timestamp.set;
        *e = (struct service_endpoint){
            .pod = pod,
            .ip = ip,
            .ready = svc->spec.publish_not_ready_addresses || (ready && !terminating),
            .serving = ready,
            .terminating = terminating,
            .ports = ports,
        };
        for (size_t i = 0; i < svc->spec.n_ports; i++) {
            const struct core_v1_service_port *sp = &svc->spec.ports[i];
            int32_t port;
            if (target_port(pod, sp, &port)) {
                ports[e->n_ports++] =
                    (struct service_port){ .name = sp->name,
                                           .protocol = sp->protocol.len ? sp->protocol : STR("TCP"),
                                           .app_protocol = sp->app_protocol,
                                           .port = port };
            }
        }
    }
    return ret;
}

bool service_endpoints_same_ports(const struct service_endpoint *a,
                                  const struct service_endpoint *b)
{
    if (a->n_ports != b->n_ports) {
        return false;
    }
    for (size_t i = 0; i < a->n_ports; i++) {
        if (!str_eq(a->ports[i].name, b->ports[i].name) || a->ports[i].port != b->ports[i].port ||
            !str_eq(a->ports[i].protocol, b->ports[i].protocol)) {
            return false;
        }
    }
    return true;
}

static bool same_ips(const struct core_v1_pod_status *a, const struct core_v1_pod_status *b)
{
    bool same = str_eq(a->pod_ip, b->pod_ip) && a->n_pod_ips == b->n_pod_ips;
    for (size_t i = 0; same && i < a->n_pod_ips; i++) {
        same = str_eq(a->pod_ips[i].ip, b->pod_ips[i].ip);
    }
    return same;
}

bool service_endpoints_pod_changed(const struct core_v1_pod *old, const struct core_v1_pod *new)
{
    return !old || !new ||
           old->metadata.deletion_timestamp.set != new->metadata.deletion_timestamp.set ||
           pod_is_ready(old) != pod_is_ready(new) || has_ended(old) != has_ended(new) ||
           !same_ips(&old->status, &new->status) ||
           !str_eq(old->spec.node_name, new->spec.node_name) ||
           !meta_same_labels(&old->metadata, &new->metadata);
}

static bool selects(const struct core_v1_service *svc, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < svc->spec.n_selector; i++) {
        struct str v = meta_label(&pod->metadata, svc->spec.selector[i].key);
        if (!v.ptr || !str_eq(v, svc->spec.selector[i].value)) {
            return false;
        }
    }
    return str_eq(svc->metadata.namespace, pod->metadata.namespace);
}

/* Enqueues the Services that select this state of a pod: they stand under one of its labels. */
static void enqueue_selecting(const struct service_informers *s, const struct core_v1_pod *pod)
{
    const struct core_v1_service *svc;
    char text[LABEL_INDEX_KEY_MAX];
    for (size_t i = 0; i < pod->metadata.n_labels; i++) {
        struct str key = label_index_key(text, sizeof(text), pod->metadata.namespace,
                                         pod->metadata.labels[i].key, pod->metadata.labels[i].value);
        for (size_t pos = 0; (svc = informer_index_next(s->by_selector, key, &pos));) {
            if (selects(svc, pod)) {
                controller_enqueue_obj(s->controller, &core_v1_service_type, svc);
            }
        }
    }
}

void service_endpoints_enqueue(const struct service_informers *s, const struct core_v1_pod *old,
                               const struct core_v1_pod *new)
{
    if (service_endpoints_pod_changed(old, new)) {
        if (old) {
            enqueue_selecting(s, old);
        }
        if (new && (!old || !meta_same_labels(&old->metadata, &new->metadata))) {
            enqueue_selecting(s, new);
        }
    }
}

static int by_key(const void *a, const void *b)
{
    const struct api_str_pair *x = a, *y = b;
    return str_cmp(x->key, y->key);
}

static bool is_own(struct str key, const struct api_str_pair *own, size_t n_own)
{
    for (size_t i = 0; i < n_own; i++) {
        if (str_eq(key, own[i].key)) {
            return true;
        }
    }
    return false;
}

void service_endpoints_labels(struct arena *a, const struct core_v1_service *svc,
                              const struct api_str_pair *own, size_t n_own,
                              struct meta_v1_object_meta *ret)
{
    static const struct str headless = STR_INIT("service.kubernetes.io/headless");
    const struct meta_v1_object_meta *sm = &svc->metadata;
    struct api_str_pair *labels = arena_new_n(a, struct api_str_pair, sm->n_labels + n_own + 1);
    size_t n = 0;
    if (!labels) {
        abort();
    }
    for (size_t i = 0; i < sm->n_labels; i++) {
        if (!is_own(sm->labels[i].key, own, n_own) && !str_eq(sm->labels[i].key, headless)) {
            labels[n++] = sm->labels[i];
        }
    }
    for (size_t i = 0; i < n_own; i++) {
        labels[n++] = own[i];
    }
    if (!svc->spec.cluster_ip.len || str_eq(svc->spec.cluster_ip, STR("None"))) {
        labels[n++] = (struct api_str_pair){ headless, STR_EMPTY };
    }
    qsort(labels, n, sizeof(labels[0]), by_key);
    ret->labels = labels;
    ret->n_labels = n;
}
