#include "kinds/core/pod-resources.h"

#include "api/gen/core_v1.h"

/* Where the name is, or where it belongs. */
static size_t place(const struct amounts *l, struct str name)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(l->items[mid].name, name) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct amount *at_name(const struct amounts *l, struct str name)
{
    size_t i = place(l, name);
    return i < l->n && str_eq(l->items[i].name, name) ? &l->items[i] : NULL;
}

const struct amount *amounts_find(const struct amounts *l, struct str name)
{
    return at_name(l, name);
}

bool amounts_set(struct arena *a, struct amounts *l, struct str name, struct quantity q)
{
    struct amount *there = at_name(l, name);
    if (there) {
        there->q = q;
        return true;
    }
    if (l->n == l->capacity) {
        size_t more = l->capacity ? l->capacity * 2 : 8;
        struct amount *grown = arena_grow_n(a, l->items, l->n, more, sizeof(*grown));
        if (!grown) {
            return false;
        }
        l->items = grown;
        l->capacity = more;
    }
    size_t i = place(l, name);
    memmove(&l->items[i + 1], &l->items[i], (l->n - i) * sizeof(l->items[0]));
    l->items[i] = (struct amount){ name, q };
    l->n++;
    return true;
}

bool amounts_add(struct arena *a, struct amounts *l, struct str name, struct quantity q)
{
    const struct amount *there = at_name(l, name);
    return amounts_set(a, l, name, there ? quantity_add(there->q, q) : q);
}

bool amounts_add_pairs(struct arena *a, struct amounts *l, const struct api_str_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!amounts_add(a, l, pairs[i].key, quantity_of(pairs[i].value))) {
            return false;
        }
    }
    return true;
}

bool amounts_add_all(struct arena *a, struct amounts *l, const struct amounts *more)
{
    for (size_t i = 0; i < more->n; i++) {
        if (!amounts_add(a, l, more->items[i].name, more->items[i].q)) {
            return false;
        }
    }
    return true;
}

static bool at_least(struct arena *a, struct amounts *l, struct str name, struct quantity q)
{
    const struct amount *there = at_name(l, name);
    return (there && quantity_cmp(there->q, q) >= 0) || amounts_set(a, l, name, q);
}

bool amounts_max(struct arena *a, struct amounts *l, const struct amounts *other)
{
    for (size_t i = 0; i < other->n; i++) {
        if (!at_least(a, l, other->items[i].name, other->items[i].q)) {
            return false;
        }
    }
    return true;
}

bool amounts_pairs(struct arena *a, const struct amounts *l, struct api_str_pair **ret, size_t *ret_n)
{
    struct api_str_pair *pairs = arena_new_n(a, struct api_str_pair, l->n + 1);
    if (!pairs) {
        return false;
    }
    for (size_t i = 0; i < l->n; i++) {
        pairs[i] = (struct api_str_pair){ .key = l->items[i].name, .value = quantity_str(a, l->items[i].q) };
    }
    *ret = pairs;
    *ret_n = l->n;
    return true;
}

/* ---- pods ---- */

static bool max_pairs(struct arena *a, struct amounts *l, const struct api_str_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!at_least(a, l, pairs[i].key, quantity_of(pairs[i].value))) {
            return false;
        }
    }
    return true;
}

static bool of_requirements(struct arena *a, const struct core_v1_resource_requirements *r, unsigned flags, struct amounts *l)
{
    return (flags & POD_RESOURCES_LIMITS) ? max_pairs(a, l, r->limits, r->n_limits) : max_pairs(a, l, r->requests, r->n_requests);
}

static bool of_container(struct arena *a, const struct core_v1_container *c, const struct core_v1_container_status *statuses, size_t n,
                         unsigned flags, struct amounts *l)
{
    if (!of_requirements(a, &c->resources, flags, l)) {
        return false;
    }
    for (size_t i = 0; (flags & POD_RESOURCES_STATUS) && i < n; i++) {
        const struct core_v1_container_status *s = &statuses[i];
        if (!str_eq(s->name, c->name)) {
            continue;
        }
        if ((s->resources && !of_requirements(a, s->resources, flags, l)) ||
            (!(flags & POD_RESOURCES_LIMITS) && !max_pairs(a, l, s->allocated_resources, s->n_allocated_resources))) {
            return false;
        }
    }
    return true;
}

/* Init containers run one after the other, each beside the sidecars that were started before it. */
static bool of_init_containers(struct arena *a, const struct core_v1_pod *pod, unsigned flags, struct amounts *ret)
{
    struct amounts sidecars = { 0 }, largest = { 0 };
    for (size_t i = 0; i < pod->spec.n_init_containers; i++) {
        const struct core_v1_container *c = &pod->spec.init_containers[i];
        struct amounts own = { 0 };
        if (!of_container(a, c, pod->status.init_container_statuses, pod->status.n_init_container_statuses, flags, &own)) {
            return false;
        }
        if (str_eq_c(c->restart_policy, "Always")) {
            if (!amounts_add_all(a, ret, &own) || !amounts_add_all(a, &sidecars, &own) || !amounts_max(a, &largest, &sidecars)) {
                return false;
            }
        } else if (!amounts_add_all(a, &own, &sidecars) || !amounts_max(a, &largest, &own)) {
            return false;
        }
    }
    return amounts_max(a, ret, &largest);
}

/* What the pod says for itself replaces the sum, for the resources that can be said there. */
static bool of_pod_level(struct arena *a, const struct core_v1_resource_requirements *r, unsigned flags, struct amounts *ret)
{
    const struct api_str_pair *pairs = (flags & POD_RESOURCES_LIMITS) ? r->limits : r->requests;
    size_t n = (flags & POD_RESOURCES_LIMITS) ? r->n_limits : r->n_requests;
    for (size_t i = 0; i < n; i++) {
        struct str name = pairs[i].key;
        bool may = str_eq_c(name, "cpu") || str_eq_c(name, "memory") || str_starts(name, STR("hugepages-"));
        if (may && !amounts_set(a, ret, name, quantity_of(pairs[i].value))) {
            return false;
        }
    }
    return true;
}

bool pod_resources(struct arena *a, const struct core_v1_pod *pod, unsigned flags, struct amounts *ret)
{
    *ret = (struct amounts){ 0 };
    for (size_t i = 0; i < pod->spec.n_containers; i++) {
        struct amounts own = { 0 };
        if (!of_container(a, &pod->spec.containers[i], pod->status.container_statuses, pod->status.n_container_statuses, flags, &own) ||
            !amounts_add_all(a, ret, &own)) {
            return false;
        }
    }
    if (!of_init_containers(a, pod, flags, ret) || (pod->spec.resources && !of_pod_level(a, pod->spec.resources, flags, ret))) {
        return false;
    }
    for (size_t i = 0; (flags & POD_RESOURCES_OVERHEAD) && i < pod->spec.n_overhead; i++) {
        /* A limit that nobody set stays unset. */
        const struct api_str_pair *o = &pod->spec.overhead[i];
        const struct amount *there = amounts_find(ret, o->key);
        if ((!(flags & POD_RESOURCES_LIMITS) || (there && !quantity_is_zero(there->q))) && !amounts_add(a, ret, o->key, quantity_of(o->value))) {
            return false;
        }
    }
    return true;
}
