#include "scheduler/resources.h"

#include <stdlib.h>

#include "api/quantity.h"
#include "base/map.h"

/* What a container that asks for nothing counts as when nodes are scored. */
#define NON_ZERO_MILLI_CPU 100
#define NON_ZERO_MEMORY (200LL << 20)

/* One copy of each name: the number of distinct names is bounded by the nodes' and pods' resources,
 * which administrators name. */
static const struct str *intern(struct str name)
{
    static struct map names;
    struct str *s = map_get(&names, name);
    if (!s) {
        char *copy = strndup(name.ptr, name.len);
        s = malloc(sizeof(*s));
        if (!s || !copy) {
            abort();
        }
        *s = str_n(copy, name.len);
        map_put(&names, name, s);
    }
    return s;
}

void resources_deinit(struct resources *r)
{
    free(r->extended);
    *r = (struct resources){ 0 };
}

static int64_t *extended_slot(struct resources *r, const struct str *name)
{
    for (uint32_t i = 0; i < r->n_extended; i++) {
        if (r->extended[i].name == name) {
            return &r->extended[i].value;
        }
    }
    if (r->n_extended == RESOURCES_EXTENDED_MAX) {
        r->overflow = true;
        return NULL;
    }
    r->extended = reallocarray(r->extended, r->n_extended + 1, sizeof(*r->extended));
    if (!r->extended) {
        abort();
    }
    r->extended[r->n_extended] = (struct extended_resource){ .name = name };
    return &r->extended[r->n_extended++].value;
}

void resources_add(struct resources *to, const struct resources *what, int sign)
{
    to->milli_cpu += sign * what->milli_cpu;
    to->memory += sign * what->memory;
    to->ephemeral += sign * what->ephemeral;
    to->pods += sign * what->pods;
    for (uint32_t i = 0; i < what->n_extended; i++) {
        int64_t *slot = extended_slot(to, what->extended[i].name);
        if (slot) {
            *slot += sign * what->extended[i].value;
        }
    }
}

int64_t resources_extended(const struct resources *r, const struct str *name)
{
    for (uint32_t i = 0; i < r->n_extended; i++) {
        if (r->extended[i].name == name) {
            return r->extended[i].value;
        }
    }
    return 0;
}

static void set_one(struct resources *r, struct str name, struct str quantity)
{
    struct quantity q = quantity_of(quantity);
    if (str_eq(name, STR("cpu"))) {
        r->milli_cpu = quantity_milli(q);
    } else if (str_eq(name, STR("memory"))) {
        r->memory = quantity_value(q);
    } else if (str_eq(name, STR("ephemeral-storage"))) {
        r->ephemeral = quantity_value(q);
    } else if (str_eq(name, STR("pods"))) {
        r->pods = quantity_value(q);
    } else {
        int64_t *slot = extended_slot(r, intern(name));
        if (slot) {
            *slot = quantity_value(q);
        }
    }
}

void resources_of_list(struct resources *ret, const struct api_str_pair *list, size_t n)
{
    *ret = (struct resources){ 0 };
    for (size_t i = 0; i < n; i++) {
        set_one(ret, list[i].key, list[i].value);
    }
}

/* Raises 'to' to 'what' where that is larger. */
static void raise_to(struct resources *to, const struct resources *what)
{
    to->milli_cpu = MAX(to->milli_cpu, what->milli_cpu);
    to->memory = MAX(to->memory, what->memory);
    to->ephemeral = MAX(to->ephemeral, what->ephemeral);
    for (uint32_t i = 0; i < what->n_extended; i++) {
        int64_t *slot = extended_slot(to, what->extended[i].name);
        if (slot) {
            *slot = MAX(*slot, what->extended[i].value);
        }
    }
}

static void container_requests(struct resources *ret, const struct core_v1_container *c,
                               bool non_zero)
{
    resources_of_list(ret, c->resources.requests, c->resources.n_requests);
    if (non_zero) {
        bool cpu = false, memory = false;
        for (size_t i = 0; i < c->resources.n_requests; i++) {
            cpu = cpu || str_eq(c->resources.requests[i].key, STR("cpu"));
            memory = memory || str_eq(c->resources.requests[i].key, STR("memory"));
        }
        ret->milli_cpu = cpu ? ret->milli_cpu : NON_ZERO_MILLI_CPU;
        ret->memory = memory ? ret->memory : NON_ZERO_MEMORY;
    }
}

static void sum_pod(struct resources *ret, const struct core_v1_pod_spec *spec, bool non_zero)
{
    struct resources sidecars = { 0 }, init = { 0 }, one;
    *ret = (struct resources){ 0 };
    for (size_t i = 0; i < spec->n_containers; i++) {
        container_requests(&one, &spec->containers[i], non_zero);
        resources_add(ret, &one, 1);
        resources_deinit(&one);
    }
    for (size_t i = 0; i < spec->n_init_containers; i++) {
        const struct core_v1_container *c = &spec->init_containers[i];
        container_requests(&one, c, non_zero);
        if (str_eq(c->restart_policy, STR("Always"))) {
            resources_add(ret, &one, 1);
            resources_add(&sidecars, &one, 1);
            raise_to(&init, &sidecars);
        } else {
            resources_add(&one, &sidecars, 1);
            raise_to(&init, &one);
        }
        resources_deinit(&one);
    }
    raise_to(ret, &init);
    if (spec->resources) {
        /* Pod-level requests take the place of what the containers ask for together. */
        for (size_t i = 0; i < spec->resources->n_requests; i++) {
            set_one(ret, spec->resources->requests[i].key, spec->resources->requests[i].value);
        }
    }
    resources_of_list(&one, spec->overhead, spec->n_overhead);
    resources_add(ret, &one, 1);
    resources_deinit(&one);
    resources_deinit(&sidecars);
    resources_deinit(&init);
}

void resources_of_pod(struct resources *ret, struct resources *non_zero,
                      const struct core_v1_pod_spec *spec)
{
    sum_pod(ret, spec, false);
    ret->pods = 1;
    if (non_zero) {
        sum_pod(non_zero, spec, true);
    }
}
