/* Does the node take a pod that was bound to it? The scheduler asked the same, but static pods pass nobody, and nodes change. */
#include "kubelet/kubelet-private.h"

#include "base/log.h"
#include "client/meta.h"

struct sum {
    int64_t cpu, memory, pods;
};

static void add_pod(struct sum *s, const struct core_v1_pod *o)
{
    int64_t cpu = resource_milli(o->spec.overhead, o->spec.n_overhead, "cpu"), memory = resource_value(o->spec.overhead, o->spec.n_overhead, "memory");
    int64_t init_cpu = 0, init_memory = 0;
    for (size_t i = 0; i < o->spec.n_containers; i++) {
        const struct core_v1_resource_requirements *r = &o->spec.containers[i].resources;
        cpu += resource_milli(r->requests, r->n_requests, "cpu");
        memory += resource_value(r->requests, r->n_requests, "memory");
    }
    for (size_t i = 0; i < o->spec.n_init_containers; i++) {
        const struct core_v1_resource_requirements *r = &o->spec.init_containers[i].resources;
        int64_t c = resource_milli(r->requests, r->n_requests, "cpu"), m = resource_value(r->requests, r->n_requests, "memory");
        if (str_eq_c(o->spec.init_containers[i].restart_policy, "Always")) {
            cpu += c;
            memory += m;
        } else {
            init_cpu = MAX(init_cpu, c);
            init_memory = MAX(init_memory, m);
        }
    }
    s->cpu += MAX(cpu, init_cpu);
    s->memory += MAX(memory, init_memory);
    s->pods++;
}

static bool host_ports_clash(const struct core_v1_pod *a, const struct core_v1_pod *b)
{
    for (size_t i = 0; i < a->spec.n_containers; i++) {
        for (size_t j = 0; j < a->spec.containers[i].n_ports; j++) {
            const struct core_v1_container_port *p = &a->spec.containers[i].ports[j];
            for (size_t m = 0; p->host_port && m < b->spec.n_containers; m++) {
                for (size_t n = 0; n < b->spec.containers[m].n_ports; n++) {
                    const struct core_v1_container_port *q = &b->spec.containers[m].ports[n];
                    if (q->host_port == p->host_port && str_eq(p->protocol, q->protocol) && str_eq(p->host_ip, q->host_ip)) {
                        return true;
                    }
                }
            }
        }
    }
    return false;
}

/* Sysctls that stay inside the pod's own namespaces (Kubernetes documentation, "Using sysctls in a Kubernetes Cluster"). */
static bool sysctl_is_allowed(const struct kubelet *k, struct str name)
{
    static const char *const safe[] = {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    };
    for (size_t i = 0; i < ARRAY_SIZE(safe); i++) {
        if (str_eq_c(name, safe[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < k->cfg->unsafe_sysctls.n; i++) {
        struct str p = k->cfg->unsafe_sysctls.items[i];
        if (p.len && p.ptr[p.len - 1] == '*' ? str_starts(name, str_sub(p, 0, p.len - 1)) : str_eq(name, p)) {
            return true;
        }
    }
    return false;
}

static bool reject(char *reason, size_t reason_size, char *message, size_t message_size, const char *why, const char *text)
{
    snprintf(reason, reason_size, "%s", why);
    snprintf(message, message_size, "%s", text);
    return false;
}

bool pod_admit(struct pod *p, char *ret_reason, size_t reason_size, char *ret_message, size_t message_size)
{
    struct kubelet *k = p->k;
    const struct core_v1_node *node = node_object(k);
    struct sum sum = { 0 };
    struct pod *other;
    char text[200];
    for (size_t i = 0; i < p->n_containers; i++) {
        if (p->containers[i]->has_run) {
            return true; /* taken in by an earlier kubelet */
        }
    }
    const struct core_v1_pod_security_context *ps = p->obj->spec.security_context;
    for (size_t i = 0; ps && i < ps->n_sysctls; i++) {
        if (!sysctl_is_allowed(k, ps->sysctls[i].name)) {
            snprintf(text, sizeof(text), "Pod was rejected: forbidden sysctl: \"%.*s\" not allowlisted", (int)MIN(ps->sysctls[i].name.len, (size_t)100),
                     ps->sysctls[i].name.ptr);
            return reject(ret_reason, reason_size, ret_message, message_size, "SysctlForbidden", text);
        }
    }
    if (p->obj->spec.os && !str_eq_c(p->obj->spec.os->name, "linux")) {
        return reject(ret_reason, reason_size, ret_message, message_size, "PodOSNotSupported",
                      "Failed to admit pod as the OS field doesn't match node OS");
    }
    for (size_t pos = 0; (other = pods_next(k, &pos));) {
        if (other != p && other->admitted && pod_holds_node(other)) {
            add_pod(&sum, other->obj);
            if (host_ports_clash(p->obj, other->obj)) {
                return reject(ret_reason, reason_size, ret_message, message_size, "NodePorts", "Predicate NodePorts failed");
            }
        }
    }
    struct sum with = sum;
    add_pod(&with, p->obj);
    static const char format[] = "Pod was rejected: Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld";
    if (with.pods > k->max_pods) {
        snprintf(text, sizeof(text), format, "pods", 1LL, (long long)sum.pods, (long long)k->max_pods);
        return reject(ret_reason, reason_size, ret_message, message_size, "OutOfpods", text);
    }
    if (with.cpu > k->cpu_milli && with.cpu > sum.cpu) {
        snprintf(text, sizeof(text), format, "cpu", (long long)(with.cpu - sum.cpu), (long long)sum.cpu, (long long)k->cpu_milli);
        return reject(ret_reason, reason_size, ret_message, message_size, "OutOfcpu", text);
    }
    if (with.memory > k->memory_bytes && with.memory > sum.memory) {
        snprintf(text, sizeof(text), format, "memory", (long long)(with.memory - sum.memory), (long long)sum.memory, (long long)k->memory_bytes);
        return reject(ret_reason, reason_size, ret_message, message_size, "OutOfmemory", text);
    }
    for (size_t i = 0; node && i < p->obj->spec.n_node_selector; i++) {
        if (!str_eq(meta_label(&node->metadata, p->obj->spec.node_selector[i].key), p->obj->spec.node_selector[i].value)) {
            return reject(ret_reason, reason_size, ret_message, message_size, "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed");
        }
    }
    return true;
}
