/* The status of the Node: addresses, sizes, conditions, images. */
#include "kubelet/node-private.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "kubelet/machine-info.h"

#define MEMORY_PRESSURE (100ll << 20) /* less than this is left: the documented hard eviction threshold */
#define DISK_PRESSURE_PERCENT 10

static int64_t reserved(const struct kubelet *k, const char *what, bool milli)
{
    struct str a = flags_map_get(&k->cfg->system_reserved, str_c(what)), b = flags_map_get(&k->cfg->kube_reserved, str_c(what));
    int64_t n = 0;
    n += a.len ? (milli ? quantity_milli(quantity_of(a)) : quantity_value(quantity_of(a))) : 0;
    n += b.len ? (milli ? quantity_milli(quantity_of(b)) : quantity_value(quantity_of(b))) : 0;
    return n;
}

void node_sizes(struct kubelet *k)
{
    int cpus = machine_cpus();
    k->max_pods = k->cfg->max_pods;
    if (k->cfg->pods_per_core > 0) {
        k->max_pods = MIN(k->max_pods, (int64_t)k->cfg->pods_per_core * cpus);
    }
    k->cpu_milli = (int64_t)cpus * 1000 - reserved(k, "cpu", true);
    k->memory_bytes = machine_memory() - MEMORY_PRESSURE - reserved(k, "memory", false);
}

static struct api_str_pair *sizes(struct node_agent *n, struct arena *a, bool capacity, size_t *ret_n)
{
    struct kubelet *k = n->k;
    struct disk_space disk = { 0 };
    struct api_str_pair *p = arena_new_n(a, struct api_str_pair, 6);
    (void)machine_disk(k->root, &disk);
    if (!p) {
        return NULL;
    }
    size_t i = 0;
    p[i++] = (struct api_str_pair){ STR("cpu"), quantity_str(a, quantity_from_milli(capacity ? machine_cpus() * 1000LL : k->cpu_milli, QUANTITY_DECIMAL)) };
    p[i++] = (struct api_str_pair){ STR("ephemeral-storage"), capacity ? arena_printf(a, "%lldKi", (long long)disk.total / 1024)
                                                                       : arena_printf(a, "%lld", (long long)(disk.total / 10 * 9)) };
    p[i++] = (struct api_str_pair){ STR("hugepages-1Gi"), STR("0") };
    p[i++] = (struct api_str_pair){ STR("hugepages-2Mi"), STR("0") };
    p[i++] = (struct api_str_pair){ STR("memory"), arena_printf(a, "%lldKi", (long long)(capacity ? machine_memory() : k->memory_bytes) / 1024) };
    p[i++] = (struct api_str_pair){ STR("pods"), arena_printf(a, "%lld", (long long)k->max_pods) };
    *ret_n = i;
    return p;
}

static void condition(struct node_agent *n, int which, const char *type, bool value, const char *reason, struct str message,
                      struct core_v1_node_condition *ret)
{
    struct api_time now = { .sec = clock_real_s(), .set = true };
    char state = value ? 'T' : 'F';
    const struct core_v1_node *live = node_object(n->k);
    if (n->states[which] != state) {
        n->transitions[which] = now;
        for (size_t i = 0; live && !n->states[which] && i < live->status.n_conditions; i++) {
            const struct core_v1_node_condition *c = &live->status.conditions[i];
            if (str_eq_c(c->type, type) && str_eq_c(c->status, value ? "True" : "False")) {
                n->transitions[which] = c->last_transition_time;
            }
        }
        n->states[which] = state;
    }
    *ret = (struct core_v1_node_condition){ .type = str_c(type), .status = value ? STR("True") : STR("False"), .last_heartbeat_time = now,
                                            .last_transition_time = n->transitions[which], .reason = str_c(reason), .message = message };
}

static bool conditions(struct node_agent *n, struct arena *a, struct core_v1_node_status *s)
{
    struct kubelet *k = n->k;
    struct disk_space disk = { 0 };
    char text[64];
    int64_t pids = 0, max = 0, available = meminfo("MemAvailable");
    s->conditions = arena_new_n(a, struct core_v1_node_condition, NODE_CONDITIONS);
    if (!s->conditions) {
        return false;
    }
    (void)machine_disk(k->root, &disk);
    bool memory = available > 0 && available < MEMORY_PRESSURE;
    bool full = disk.total > 0 && disk.available * 100 / disk.total < DISK_PRESSURE_PERCENT && disk.available < (512ll << 20);
    if (read_small("/proc/loadavg", text, sizeof(text))) {
        const char *slash = strchr(text, '/');
        pids = slash ? strtoll(slash + 1, NULL, 10) : 0;
    }
    if (read_small("/proc/sys/kernel/pid_max", text, sizeof(text))) {
        (void)!str_to_i64(str_c(text), &max);
    }
    bool many = max > 0 && pids > max / 10 * 9;
    condition(n, NODE_MEMORY, "MemoryPressure", memory, memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
              memory ? STR("kubelet has insufficient memory available") : STR("kubelet has sufficient memory available"), &s->conditions[s->n_conditions++]);
    condition(n, NODE_DISK, "DiskPressure", full, full ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
              full ? STR("kubelet has disk pressure") : STR("kubelet has no disk pressure"), &s->conditions[s->n_conditions++]);
    condition(n, NODE_PID, "PIDPressure", many, many ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
              many ? STR("kubelet has insufficient PID available") : STR("kubelet has sufficient PID available"), &s->conditions[s->n_conditions++]);
    bool up = node_runtime_lately(n);
    struct str why = !up ? arena_printf(a, "container runtime is down: %s", k->runtime_error)
                     : !n->network_ready ? arena_printf(a, "container runtime network not ready: %s", n->network_message)
                                         : STR("kubelet is posting ready status");
    bool ready = up && n->network_ready;
    condition(n, NODE_READY, "Ready", ready, ready ? "KubeletReady" : "KubeletNotReady", why, &s->conditions[s->n_conditions++]);
    return true;
}

bool node_status(struct node_agent *n, struct arena *a, struct core_v1_node_status *s)
{
    struct kubelet *k = n->k;
    struct utsname u;
    char text[256];
    *s = (struct core_v1_node_status){ 0 };
    node_sizes(k);
    s->capacity = sizes(n, a, true, &s->n_capacity);
    s->allocatable = sizes(n, a, false, &s->n_allocatable);
    s->addresses = arena_new_n(a, struct core_v1_node_address, 2);
    if (!s->capacity || !s->allocatable || !s->addresses || !conditions(n, a, s)) {
        return false;
    }
    /* With a cloud's provider the addresses are its own to say. Until it has, an address that the kubelet was told to have counts. */
    const struct core_v1_node *live = node_object(k);
    if (!k->cfg->cloud_provider.len || (k->cfg->node_ip.len && !(live && live->status.n_addresses))) {
        s->addresses[s->n_addresses++] = (struct core_v1_node_address){ STR("InternalIP"), str_c(k->node_ip) };
        s->addresses[s->n_addresses++] = (struct core_v1_node_address){ STR("Hostname"), str_c(k->node_name) };
    }
    s->daemon_endpoints.kubelet_endpoint.port = k->cfg->port;
    struct core_v1_node_system_info *i = &s->node_info;
    uname(&u);
    i->machine_id = read_small("/etc/machine-id", text, sizeof(text)) ? arena_str(a, str_c(text)) : STR_EMPTY;
    i->system_uuid = read_small("/sys/class/dmi/id/product_uuid", text, sizeof(text)) ? arena_str(a, str_c(text)) : i->machine_id;
    i->boot_id = read_small("/proc/sys/kernel/random/boot_id", text, sizeof(text)) ? arena_str(a, str_c(text)) : STR_EMPTY;
    i->kernel_version = arena_str(a, str_c(u.release));
    machine_os(text);
    i->os_image = arena_str(a, str_c(text));
    i->container_runtime_version = str_c(n->runtime_version);
    i->kubelet_version = STR("v1.36.0+coracle");
    i->kube_proxy_version = STR_EMPTY;
    i->operating_system = STR("linux");
    i->architecture = str_c(machine_arch());
    struct core_v1_container_image *images = arena_new_n(a, struct core_v1_container_image, n->n_images + 1);
    for (size_t j = 0; images && j < n->n_images; j++) {
        images[j] = n->images[j];
    }
    s->images = images;
    s->n_images = images ? n->n_images : 0;
    return true;
}
