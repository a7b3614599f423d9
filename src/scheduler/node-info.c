#include "scheduler/node-info.h"

#include <stdlib.h>

#include "api/equal.h"

static void pod_info_clear(struct pod_info *p)
{
    resources_deinit(&p->requests);
    resources_deinit(&p->non_zero);
    free(p->ports);
    p->ports = NULL;
    p->n_ports = 0;
}

static void add_ports(struct pod_info *p, const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct core_v1_container_port *port = &c->ports[i];
        if (port->host_port <= 0) {
            continue;
        }
        p->ports = reallocarray(p->ports, p->n_ports + 1, sizeof(*p->ports));
        if (!p->ports) {
            abort();
        }
        p->ports[p->n_ports++] = (struct host_port){
            .ip = port->host_ip.len ? port->host_ip : STR("0.0.0.0"),
            .protocol = port->protocol.len ? port->protocol : STR("TCP"),
            .port = port->host_port,
        };
    }
}

static struct str controller_of(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.n_owner_references; i++) {
        if (pod->metadata.owner_references[i].controller) {
            return pod->metadata.owner_references[i].uid;
        }
    }
    return STR_NULL;
}

void pod_info_set(struct pod_info *p, const struct core_v1_pod *pod)
{
    pod_info_clear(p);
    p->pod = pod;
    p->priority = pod->spec.has_priority ? pod->spec.priority : 0;
    p->started_s = pod->status.start_time.sec;
    p->controller = controller_of(pod);
    resources_of_pod(&p->requests, &p->non_zero, &pod->spec);
    for (size_t i = 0; i < pod->spec.n_containers; i++) {
        add_ports(p, &pod->spec.containers[i]);
    }
    /* Only init containers that go on running hold a port beside the others. */
    for (size_t i = 0; i < pod->spec.n_init_containers; i++) {
        if (str_eq(pod->spec.init_containers[i].restart_policy, STR("Always"))) {
            add_ports(p, &pod->spec.init_containers[i]);
        }
    }
}

struct pod_info *pod_info_new(const struct core_v1_pod *pod)
{
    struct pod_info *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    list_init(&p->on_node);
    list_init(&p->unschedulable);
    list_init(&p->on_promised);
    pod_info_set(p, pod);
    return p;
}

struct pod_info *pod_info_free(struct pod_info *p)
{
    if (p) {
        pod_info_clear(p);
        list_remove(&p->on_promised);
        free((void *)(uintptr_t)p->nominated.ptr);
        free((void *)(uintptr_t)p->told_reason.ptr);
        free(p);
    }
    return NULL;
}

bool pod_info_is(const struct pod_info *p, struct str ns, struct str name)
{
    return str_eq(p->pod->metadata.name, name) && str_eq(p->pod->metadata.namespace, ns);
}

bool pods_alike(const struct core_v1_pod *a, const struct core_v1_pod *b)
{
    struct core_v1_pod_spec spec = a->spec;
    spec.node_name = b->spec.node_name;
    return a->metadata.deletion_timestamp.set == b->metadata.deletion_timestamp.set &&
           api_equal_field(&meta_v1_object_meta_type, "labels", &a->metadata, &b->metadata) &&
           api_equal_field(&meta_v1_object_meta_type, "ownerReferences", &a->metadata, &b->metadata) &&
           api_equal(&core_v1_pod_spec_type, &spec, &b->spec);
}

struct str node_label(const struct core_v1_node *n, struct str key)
{
    for (size_t i = 0; i < n->metadata.n_labels; i++) {
        if (str_eq(n->metadata.labels[i].key, key)) {
            return n->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}
