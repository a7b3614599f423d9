#include "api/default-rules.h"
#include "api/gen/core_v1.h"
#include "api/quantity.h"

/* Always for images without a tag or with :latest, which may change under us; IfNotPresent else. */
static struct str pull_policy(struct str image)
{
    ptrdiff_t at = str_find_char(image, '@'), colon;
    struct str name = at >= 0 ? str_sub(image, 0, (size_t)at) : image, last, tag;

    if (at >= 0) {
        return STR("IfNotPresent");
    }
    /* A colon before the last slash belongs to the registry's port. */
    last = str_sub(name, (size_t)(str_rfind_char(name, '/') + 1), name.len);
    colon = str_find_char(last, ':');
    tag = colon >= 0 ? str_sub(last, (size_t)colon + 1, last.len) : STR("latest");
    return str_eq(tag, STR("latest")) ? STR("Always") : STR("IfNotPresent");
}

bool default_container(struct defaulting *d UNUSED, void *obj)
{
    struct core_v1_container *c = obj;

    default_str(&c->image_pull_policy, pull_policy(c->image));
    return true;
}

bool default_ephemeral_container(struct defaulting *d UNUSED, void *obj)
{
    struct core_v1_ephemeral_container_common *c = &((struct core_v1_ephemeral_container *)obj)->ephemeral_container_common;

    default_str(&c->image_pull_policy, pull_policy(c->image));
    default_str(&c->termination_message_path, STR("/dev/termination-log"));
    default_str(&c->termination_message_policy, STR("File"));
    return true;
}

bool default_image_volume(struct defaulting *d, void *obj)
{
    struct core_v1_image_volume_source *v = obj;

    if (default_gate(d, STR("ImageVolume"))) {
        default_str(&v->pull_policy, pull_policy(v->reference));
    }
    return true;
}

bool default_volume(struct defaulting *d, void *obj)
{
    struct core_v1_volume_source *v = &((struct core_v1_volume *)obj)->volume_source;
    static const struct core_v1_volume_source none;

    /* Every member is a pointer. */
    if (memcmp(v, &none, sizeof(none)) == 0) {
        return DEFAULT_NEW(d, v->empty_dir) != NULL;
    }
    return true;
}

bool default_service_port(struct defaulting *d UNUSED, void *obj)
{
    struct core_v1_service_port *p = obj;
    struct api_int_or_string *t = &p->target_port;

    if (t->kind == API_IOS_UNSET || (t->kind == API_IOS_INT && t->i == 0) || (t->kind == API_IOS_STRING && t->s.len == 0)) {
        *t = (struct api_int_or_string){ .kind = API_IOS_INT, .i = p->port };
    }
    return true;
}

bool default_service_spec(struct defaulting *d, void *obj)
{
    struct core_v1_service_spec *s = obj;
    bool cluster, node, balancer;

    default_str(&s->session_affinity, STR("None"));
    default_str(&s->type, STR("ClusterIP"));
    cluster = str_eq(s->type, STR("ClusterIP"));
    node = str_eq(s->type, STR("NodePort"));
    balancer = str_eq(s->type, STR("LoadBalancer"));
    if (str_eq(s->session_affinity, STR("None"))) {
        s->session_affinity_config = NULL;
    } else if (str_eq(s->session_affinity, STR("ClientIP"))) {
        struct core_v1_client_ip_config *c;

        if (!DEFAULT_NEW(d, s->session_affinity_config) || !DEFAULT_NEW(d, s->session_affinity_config->client_ip)) {
            return false;
        }
        c = s->session_affinity_config->client_ip;
        if (!c->has_timeout_seconds) {
            c->has_timeout_seconds = true;
            c->timeout_seconds = 10800;
        }
    }
    if (node || balancer || (cluster && s->n_external_ips > 0)) {
        default_str(&s->external_traffic_policy, STR("Cluster"));
    }
    if (!s->internal_traffic_policy.ptr && (cluster || node || balancer)) {
        s->internal_traffic_policy = STR("Cluster");
    }
    if (balancer && !s->has_allocate_load_balancer_node_ports) {
        s->has_allocate_load_balancer_node_ports = true;
        s->allocate_load_balancer_node_ports = true;
    }
    return true;
}

bool default_service(struct defaulting *d UNUSED, void *obj)
{
    struct core_v1_service *s = obj;
    struct core_v1_load_balancer_status *lb = &s->status.load_balancer;

    for (size_t i = 0; i < lb->n_ingress && str_eq(s->spec.type, STR("LoadBalancer")); i++) {
        if (lb->ingress[i].ip.len && !lb->ingress[i].ip_mode.ptr) {
            lb->ingress[i].ip_mode = STR("VIP");
        }
    }
    return true;
}

/* ---- pods ---- */

static bool requests_from_limits(struct defaulting *d, struct core_v1_container *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct core_v1_resource_requirements *r = &c[i].resources;

        if (!default_pairs_merge(d, &r->requests, &r->n_requests, r->limits, r->n_limits)) {
            return false;
        }
    }
    return true;
}

static void host_ports(struct core_v1_container *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < c[i].n_ports; k++) {
            if (c[i].ports[k].host_port == 0) {
                c[i].ports[k].host_port = c[i].ports[k].container_port;
            }
        }
    }
}

/* Sets each quantity of '*sum' to the sum, or the larger one, of it and 'more'. */
static bool combine(struct defaulting *d, struct api_str_pair **sum, size_t *n, const struct api_str_pair *more, size_t n_more, bool larger)
{
    for (size_t i = 0; i < n_more; i++) {
        struct str *have = default_pairs_get(*sum, *n, more[i].key);

        if (!have) {
            if (!default_pairs_add(d, sum, n, more[i].key, more[i].value)) {
                return false;
            }
            continue;
        }
        if (larger) {
            if (quantity_cmp(quantity_of(more[i].value), quantity_of(*have)) > 0) {
                *have = more[i].value;
            }
        } else {
            *have = quantity_str(d->arena, quantity_add(quantity_of(*have), quantity_of(more[i].value)));
            if (!have->ptr) {
                return false;
            }
        }
    }
    return true;
}

/* What the containers need together (KEP-753: init containers that stay count like containers, the others one at a time). */
static bool containers_together(struct defaulting *d, const struct core_v1_pod_spec *s, bool limits, struct api_str_pair **ret, size_t *ret_n)
{
    struct api_str_pair *sum = NULL, *stay = NULL, *most = NULL;
    size_t n_sum = 0, n_stay = 0, n_most = 0;

    for (size_t i = 0; i < s->n_containers; i++) {
        const struct core_v1_resource_requirements *r = &s->containers[i].resources;

        if (!combine(d, &sum, &n_sum, limits ? r->limits : r->requests, limits ? r->n_limits : r->n_requests, false)) {
            return false;
        }
    }
    for (size_t i = 0; i < s->n_init_containers; i++) {
        const struct core_v1_container *c = &s->init_containers[i];
        const struct api_str_pair *own = limits ? c->resources.limits : c->resources.requests;
        size_t n_own = limits ? c->resources.n_limits : c->resources.n_requests, n_now = 0;
        struct api_str_pair *now = NULL;

        if (str_eq(c->restart_policy, STR("Always"))) {
            if (!combine(d, &sum, &n_sum, own, n_own, false) || !combine(d, &stay, &n_stay, own, n_own, false) ||
                !combine(d, &most, &n_most, stay, n_stay, true)) {
                return false;
            }
            continue;
        }
        if (!combine(d, &now, &n_now, own, n_own, false) || !combine(d, &now, &n_now, stay, n_stay, false) ||
            !combine(d, &most, &n_most, now, n_now, true)) {
            return false;
        }
    }
    if (!combine(d, &sum, &n_sum, most, n_most, true)) {
        return false;
    }
    *ret = sum;
    *ret_n = n_sum;
    return true;
}

static bool is_huge_pages(struct str key)
{
    return str_starts(key, STR("hugepages-"));
}

static bool is_pod_level(struct str key)
{
    return str_eq(key, STR("cpu")) || str_eq(key, STR("memory")) || is_huge_pages(key);
}

/* Resources of the pod as a whole (KEP-2837): what is missing comes from the containers, then from the pod's own limits. */
static bool pod_level_resources(struct defaulting *d, struct core_v1_pod_spec *s)
{
    struct core_v1_resource_requirements *r = s->resources;
    struct api_str_pair *sum;
    size_t n;

    if (!r || (r->n_limits == 0 && r->n_requests == 0)) {
        return true;
    }
    if (!containers_together(d, s, true, &sum, &n)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_huge_pages(sum[i].key) && !default_pairs_get(r->limits, r->n_limits, sum[i].key) &&
            !default_pairs_add(d, &r->limits, &r->n_limits, sum[i].key, sum[i].value)) {
            return false;
        }
    }
    if (r->n_limits == 0) {
        return true;
    }
    if (!containers_together(d, s, false, &sum, &n)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_pod_level(sum[i].key) && !default_pairs_get(r->requests, r->n_requests, sum[i].key) &&
            !default_pairs_add(d, &r->requests, &r->n_requests, sum[i].key, sum[i].value)) {
            return false;
        }
    }
    for (size_t i = 0; i < r->n_limits; i++) {
        if (is_pod_level(r->limits[i].key) && !default_pairs_get(r->requests, r->n_requests, r->limits[i].key) &&
            !default_pairs_add(d, &r->requests, &r->n_requests, r->limits[i].key, r->limits[i].value)) {
            return false;
        }
    }
    return true;
}

bool default_pod(struct defaulting *d, void *obj)
{
    struct core_v1_pod_spec *s = &((struct core_v1_pod *)obj)->spec;

    if (!requests_from_limits(d, s->containers, s->n_containers) ||
        !requests_from_limits(d, s->init_containers, s->n_init_containers)) {
        return false;
    }
    if (default_gate(d, STR("PodLevelResources")) && !pod_level_resources(d, s)) {
        return false;
    }
    if (!s->has_enable_service_links) {
        s->has_enable_service_links = true;
        s->enable_service_links = true;
    }
    if (s->host_network) {
        host_ports(s->containers, s->n_containers);
        host_ports(s->init_containers, s->n_init_containers);
    }
    return true;
}

bool default_pod_log_options(struct defaulting *d, void *obj)
{
    struct core_v1_pod_log_options *o = obj;

    if (!o->stream.ptr && default_gate(d, STR("PodLogsQuerySplitStreams"))) {
        o->stream = STR("All");
    }
    return true;
}

/* ---- the rest of the group ---- */

bool default_replication_controller(struct defaulting *d UNUSED, void *obj)
{
    struct core_v1_replication_controller *rc = obj;
    struct core_v1_pod_template_spec *t = rc->spec.template;

    if (!t || t->metadata.n_labels == 0) {
        return true;
    }
    if (rc->spec.n_selector == 0) {
        rc->spec.selector = t->metadata.labels;
        rc->spec.n_selector = t->metadata.n_labels;
    }
    if (rc->metadata.n_labels == 0) {
        rc->metadata.labels = t->metadata.labels;
        rc->metadata.n_labels = t->metadata.n_labels;
    }
    return true;
}

bool default_persistent_volume(struct defaulting *d UNUSED, void *obj)
{
    default_str(&((struct core_v1_persistent_volume *)obj)->status.phase, STR("Pending"));
    return true;
}

bool default_persistent_volume_claim(struct defaulting *d UNUSED, void *obj)
{
    default_str(&((struct core_v1_persistent_volume_claim *)obj)->status.phase, STR("Pending"));
    return true;
}

bool default_namespace(struct defaulting *d, void *obj)
{
    struct meta_v1_object_meta *m = &((struct core_v1_namespace *)obj)->metadata;
    struct str *label;

    if (m->name.len == 0) {
        return true;
    }
    label = default_pairs_get(m->labels, m->n_labels, STR("kubernetes.io/metadata.name"));
    if (label) {
        *label = m->name;
        return true;
    }
    return default_pairs_add(d, &m->labels, &m->n_labels, STR("kubernetes.io/metadata.name"), m->name);
}

bool default_node_status(struct defaulting *d, void *obj)
{
    struct core_v1_node_status *s = obj;

    return s->allocatable != NULL || default_pairs_merge(d, &s->allocatable, &s->n_allocatable, s->capacity, s->n_capacity);
}

bool default_limit_range_item(struct defaulting *d, void *obj)
{
    struct core_v1_limit_range_item *l = obj;

    if (!str_eq(l->type, STR("Container"))) {
        return true;
    }
    return default_pairs_merge(d, &l->default_, &l->n_default_, l->max, l->n_max) &&
           default_pairs_merge(d, &l->default_request, &l->n_default_request, l->default_, l->n_default_) &&
           default_pairs_merge(d, &l->default_request, &l->n_default_request, l->min, l->n_min);
}
