#include "kinds/core/quota-usage.h"

#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "api/volume-match.h"
#include "kinds/core/pod-spec.h"

#define CLASS_SUFFIX ".storageclass.storage.k8s.io/"

static bool is_core(const struct api_resource *r, const char *resource)
{
    return str_empty(r->group) && str_eq_c(r->resource, resource);
}

bool quota_is_counted(const struct api_resource *r)
{
    return r->namespaced && !str_eq_c(r->resource, "events");
}

/* ---- names ---- */

static bool is_one_of(struct str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(name, list[i])) {
            return true;
        }
    }
    return false;
}

/* "count/deployments.apps", "count/pods". */
static bool is_count_of(const struct api_resource *r, struct str name)
{
    if (!str_starts(name, STR("count/"))) {
        return false;
    }
    struct str rest = str_sub(name, 6, name.len - 6);
    if (!str_starts(rest, r->resource)) {
        return false;
    }
    struct str tail = str_sub(rest, r->resource.len, rest.len - r->resource.len);
    return str_empty(r->group) ? str_empty(tail) : tail.len == r->group.len + 1 && tail.ptr[0] == '.' && str_ends(tail, r->group);
}

/* What has a slash and is not Kubernetes's own. */
static bool is_extended(struct str name)
{
    return str_find_char(name, '/') >= 0 && str_find(name, STR("kubernetes.io/")) < 0;
}

static bool is_of_pods(struct str name)
{
    static const char *const names[] = { "pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory",
                                         "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage" };
    return is_one_of(name, names, ARRAY_SIZE(names)) || str_starts(name, STR("hugepages-")) || str_starts(name, STR("requests.hugepages-")) ||
           (str_starts(name, STR("requests.")) && is_extended(name));
}

bool quota_counts(const struct api_resource *r, struct str name)
{
    static const char *const services[] = { "services", "services.nodeports", "services.loadbalancers" };
    static const char *const claims[] = { "persistentvolumeclaims", "requests.storage" };
    static const char *const plain[] = { "configmaps", "secrets", "resourcequotas", "replicationcontrollers" };
    if (is_count_of(r, name)) {
        return true;
    }
    if (is_core(r, "pods")) {
        return is_of_pods(name);
    }
    if (is_core(r, "services")) {
        return is_one_of(name, services, ARRAY_SIZE(services));
    }
    if (is_core(r, "persistentvolumeclaims")) {
        return is_one_of(name, claims, ARRAY_SIZE(claims)) || str_ends(name, STR(CLASS_SUFFIX "persistentvolumeclaims")) ||
               str_ends(name, STR(CLASS_SUFFIX "requests.storage"));
    }
    return str_empty(r->group) && str_eq(name, r->resource) && is_one_of(name, plain, ARRAY_SIZE(plain));
}

/* ---- scopes ---- */

/* A requirement on a set of at most a few values, as label selectors have them. */
static bool holds(const struct core_v1_scoped_resource_selector_requirement *q, struct str value)
{
    bool in = false;
    for (size_t i = 0; i < q->n_values; i++) {
        in |= !str_empty(value) && str_eq(q->values[i], value);
    }
    return str_eq_c(q->operator, "Exists")         ? !str_empty(value)
           : str_eq_c(q->operator, "DoesNotExist") ? str_empty(value)
           : str_eq_c(q->operator, "In")           ? in
           : str_eq_c(q->operator, "NotIn")        ? !in
                                                   : false;
}

static bool crosses(const struct core_v1_pod_affinity_term *t)
{
    return t->n_namespaces > 0 || t->namespace_selector;
}

static bool any_crosses(const struct core_v1_pod_affinity_term *required, size_t n_required, const struct core_v1_weighted_pod_affinity_term *preferred,
                        size_t n_preferred)
{
    bool yes = false;
    for (size_t i = 0; i < n_required; i++) {
        yes |= crosses(&required[i]);
    }
    for (size_t i = 0; i < n_preferred; i++) {
        yes |= crosses(&preferred[i].pod_affinity_term);
    }
    return yes;
}

static bool crosses_namespaces(const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *f = pod->spec.affinity;
    const struct core_v1_pod_affinity *to = f ? f->pod_affinity : NULL;
    const struct core_v1_pod_anti_affinity *away = f ? f->pod_anti_affinity : NULL;
    return (to && any_crosses(to->required_during_scheduling_ignored_during_execution, to->n_required_during_scheduling_ignored_during_execution,
                              to->preferred_during_scheduling_ignored_during_execution, to->n_preferred_during_scheduling_ignored_during_execution)) ||
           (away && any_crosses(away->required_during_scheduling_ignored_during_execution, away->n_required_during_scheduling_ignored_during_execution,
                                away->preferred_during_scheduling_ignored_during_execution,
                                away->n_preferred_during_scheduling_ignored_during_execution));
}

static bool selects_pod(const struct core_v1_scoped_resource_selector_requirement *q, const struct core_v1_pod *pod)
{
    bool terminating = pod->spec.has_active_deadline_seconds && pod->spec.active_deadline_seconds >= 0;
    if (str_eq_c(q->scope_name, "Terminating")) {
        return terminating;
    }
    if (str_eq_c(q->scope_name, "NotTerminating")) {
        return !terminating;
    }
    if (str_eq_c(q->scope_name, "BestEffort")) {
        return str_eq_c(pod_qos(&pod->spec), "BestEffort");
    }
    if (str_eq_c(q->scope_name, "NotBestEffort")) {
        return !str_eq_c(pod_qos(&pod->spec), "BestEffort");
    }
    if (str_eq_c(q->scope_name, "PriorityClass")) {
        return holds(q, pod->spec.priority_class_name);
    }
    return str_eq_c(q->scope_name, "CrossNamespacePodAffinity") && crosses_namespaces(pod);
}

/* A claim on its way from one class to another is in both. */
static bool selects_claim(const struct core_v1_scoped_resource_selector_requirement *q, const struct core_v1_persistent_volume_claim *c)
{
    struct str names[] = { c->spec.volume_attributes_class_name, c->status.current_volume_attributes_class_name,
                           c->status.modify_volume_status ? c->status.modify_volume_status->target_volume_attributes_class_name : STR_EMPTY };
    bool any = false;
    if (!str_eq_c(q->scope_name, "VolumeAttributesClass")) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!str_empty(names[i])) {
            any = true;
            if (holds(q, names[i])) {
                return true;
            }
        }
    }
    return !any && holds(q, STR_EMPTY);
}

static bool selects(const struct core_v1_scoped_resource_selector_requirement *q, const struct api_resource *r, const void *obj)
{
    return is_core(r, "pods") ? selects_pod(q, obj) : is_core(r, "persistentvolumeclaims") && selects_claim(q, obj);
}

bool quota_selects(const struct core_v1_resource_quota *q, const struct api_resource *r, const void *obj)
{
    for (size_t i = 0; i < q->spec.n_scopes; i++) {
        struct core_v1_scoped_resource_selector_requirement one = { .scope_name = q->spec.scopes[i], .operator = STR("Exists") };
        if (!selects(&one, r, obj)) {
            return false;
        }
    }
    for (size_t i = 0; q->spec.scope_selector && i < q->spec.scope_selector->n_match_expressions; i++) {
        if (!selects(&q->spec.scope_selector->match_expressions[i], r, obj)) {
            return false;
        }
    }
    return true;
}

/* ---- usage ---- */

static struct quantity count(int64_t n)
{
    return quantity_from_i64(n, QUANTITY_DECIMAL);
}

/* A pod that has ended, or is past its time to end, holds nothing but its place in the store. */
static bool is_alive(const struct core_v1_pod *pod, int64_t now)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    bool past = m->deletion_timestamp.set && m->has_deletion_grace_period_seconds &&
                now > m->deletion_timestamp.sec + m->deletion_grace_period_seconds;
    return !past && !str_eq_c(pod->status.phase, "Failed") && !str_eq_c(pod->status.phase, "Succeeded");
}

static bool of_requests(struct arena *a, const struct amounts *requests, struct amounts *ret)
{
    for (size_t i = 0; i < requests->n; i++) {
        struct str name = requests->items[i].name;
        struct quantity q = requests->items[i].q;
        bool own = str_eq_c(name, "cpu") || str_eq_c(name, "memory") || str_eq_c(name, "ephemeral-storage") || str_starts(name, STR("hugepages-"));
        if (!own && !is_extended(name)) {
            continue;
        }
        struct str asked = arena_printf(a, "requests.%.*s", STR_ARG(name));
        if (!asked.ptr || !amounts_set(a, ret, asked, q) || (own && !amounts_set(a, ret, name, q))) {
            return false;
        }
    }
    return true;
}

static bool of_limits(struct arena *a, const struct amounts *limits, struct amounts *ret)
{
    static const char *const names[][2] = { { "cpu", "limits.cpu" }, { "memory", "limits.memory" }, { "ephemeral-storage", "limits.ephemeral-storage" } };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct amount *l = amounts_find(limits, str_c(names[i][0]));
        if (l && !amounts_set(a, ret, str_c(names[i][1]), l->q)) {
            return false;
        }
    }
    return true;
}

static bool of_pod(struct arena *a, const struct core_v1_pod *pod, int64_t now, struct amounts *ret)
{
    const unsigned flags = POD_RESOURCES_STATUS | POD_RESOURCES_OVERHEAD;
    struct amounts requests, limits;
    if (!is_alive(pod, now)) {
        return true;
    }
    return amounts_set(a, ret, STR("pods"), count(1)) && pod_resources(a, pod, flags, &requests) &&
           pod_resources(a, pod, flags | POD_RESOURCES_LIMITS, &limits) && of_requests(a, &requests, ret) && of_limits(a, &limits, ret);
}

static bool of_service(struct arena *a, const struct core_v1_service *s, struct amounts *ret)
{
    bool balanced = str_eq_c(s->spec.type, "LoadBalancer");
    int64_t ports = balanced || str_eq_c(s->spec.type, "NodePort") ? (int64_t)s->spec.n_ports : 0;
    if (balanced && s->spec.has_allocate_load_balancer_node_ports && !s->spec.allocate_load_balancer_node_ports) {
        ports = 0;
        for (size_t i = 0; i < s->spec.n_ports; i++) {
            ports += s->spec.ports[i].node_port != 0;
        }
    }
    return amounts_set(a, ret, STR("services"), count(1)) && amounts_set(a, ret, STR("services.nodeports"), count(ports)) &&
           amounts_set(a, ret, STR("services.loadbalancers"), count(balanced));
}

static bool of_claim(struct arena *a, const struct core_v1_persistent_volume_claim *c, struct amounts *ret)
{
    struct str class = volume_claim_class(c);
    struct quantity asked = { 0 };
    bool has = false;
    for (size_t i = 0; i < c->spec.resources.n_requests; i++) {
        if (str_eq_c(c->spec.resources.requests[i].key, "storage")) {
            asked = quantity_of(c->spec.resources.requests[i].value);
            has = true;
        }
    }
    for (size_t i = 0; has && i < c->status.n_allocated_resources; i++) {
        struct quantity q = quantity_of(c->status.allocated_resources[i].value);
        if (str_eq_c(c->status.allocated_resources[i].key, "storage") && quantity_cmp(q, asked) > 0) {
            asked = q;
        }
    }
    if (!quantity_is_whole(asked)) {
        asked = quantity_from_i64(quantity_value(asked), asked.format);
    }
    if (!amounts_set(a, ret, STR("persistentvolumeclaims"), count(1)) || (has && !amounts_set(a, ret, STR("requests.storage"), asked))) {
        return false;
    }
    if (str_empty(class)) {
        return true;
    }
    struct str n = arena_printf(a, "%.*s" CLASS_SUFFIX "persistentvolumeclaims", STR_ARG(class));
    struct str b = arena_printf(a, "%.*s" CLASS_SUFFIX "requests.storage", STR_ARG(class));
    return n.ptr && b.ptr && amounts_set(a, ret, n, count(1)) && (!has || amounts_set(a, ret, b, asked));
}

bool quota_usage(struct arena *a, const struct api_resource *r, const void *obj, int64_t now, struct amounts *ret)
{
    *ret = (struct amounts){ 0 };
    struct str name = arena_printf(a, "count/%.*s%s%.*s", STR_ARG(r->resource), str_empty(r->group) ? "" : ".", STR_ARG(r->group));
    if (!name.ptr || !amounts_set(a, ret, name, count(1))) {
        return false;
    }
    if (is_core(r, "pods")) {
        return of_pod(a, obj, now, ret);
    }
    if (is_core(r, "services")) {
        return of_service(a, obj, ret);
    }
    if (is_core(r, "persistentvolumeclaims")) {
        return of_claim(a, obj, ret);
    }
    return !str_empty(r->group) || amounts_set(a, ret, r->resource, count(1));
}

bool quota_gives_back(const struct api_resource *r, const void *old, const void *obj, int64_t now)
{
    struct arena a;
    struct amounts before, after;
    if (!is_core(r, "pods") && !is_core(r, "services") && !is_core(r, "persistentvolumeclaims")) {
        return false;
    }
    arena_init(&a, 4u << 20);
    bool back = true;
    if (quota_usage(&a, r, old, now, &before) && quota_usage(&a, r, obj, now, &after)) {
        back = false;
        for (size_t i = 0; i < before.n && !back; i++) {
            const struct amount *x = amounts_find(&after, before.items[i].name);
            back = !x || quantity_cmp(x->q, before.items[i].q) < 0;
        }
    }
    arena_deinit(&a);
    return back;
}

/* ---- what must be said ---- */

static bool has_key(const struct api_str_pair *list, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            return true;
        }
    }
    return false;
}

static bool says(const struct core_v1_resource_requirements *r, struct str name)
{
    if (str_starts(name, STR("limits."))) {
        return has_key(r->limits, r->n_limits, str_sub(name, 7, name.len - 7));
    }
    return has_key(r->requests, r->n_requests, str_starts(name, STR("requests.")) ? str_sub(name, 9, name.len - 9) : name);
}

struct str quota_missing(struct arena *a, const void *obj, const struct str *names, size_t n)
{
    static const char *const demanded[] = { "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory" };
    const struct core_v1_pod *pod = obj;
    size_t n_all = pod->spec.n_containers + pod->spec.n_init_containers;
    struct str *bad = arena_new_n(a, struct str, n_all + 1), text = STR_EMPTY;
    for (size_t i = 0; bad && i < n; i++) {
        size_t n_bad = 0;
        if (!is_one_of(names[i], demanded, ARRAY_SIZE(demanded)) || (pod->spec.resources && says(pod->spec.resources, names[i]))) {
            continue;
        }
        for (size_t k = 0; k < n_all; k++) {
            const struct core_v1_container *c = k < pod->spec.n_containers ? &pod->spec.containers[k] : &pod->spec.init_containers[k - pod->spec.n_containers];
            if (!says(&c->resources, names[i])) {
                bad[n_bad++] = c->name;
            }
        }
        qsort(bad, n_bad, sizeof(*bad), str_cmp_qsort);
        for (size_t k = 0; k < n_bad; k++) {
            text = k ? arena_printf(a, "%.*s,%.*s", STR_ARG(text), STR_ARG(bad[k]))
                     : arena_printf(a, "%.*s%s%.*s for: %.*s", STR_ARG(text), str_empty(text) ? "" : "; ", STR_ARG(names[i]), STR_ARG(bad[k]));
        }
    }
    return text;
}
