/*
 * resourcequota-controller: what a ResourceQuota says is used. The apiserver charges what is made (apiserver/admission/resource-quota.c);
 * this recounts a namespace's objects when the quota is new or its spec changed, when something that it counts goes or uses less, and
 * after --resource-quota-sync-period. A change of the status alone is no reason to count: the apiserver makes one with each charge, often
 * before the object itself is seen here.
 *
 * Pods, services and claims are counted by what they say, everything else by number.
 */
#include <stdlib.h>

#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "controllers/all-resources.h"
#include "controllers/controllers.h"
#include "controllers/setup.h"
#include "base/clock.h"
#include "kinds/core/quota-usage.h"

typedef struct core_v1_resource_quota quota_t;

struct listener {
    struct state *state;
    size_t index;
};

struct state {
    struct controller *controller;
    struct informer *quotas;
    struct all_resources all;
    struct listener *listeners;
};

static void on_quota(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    if (obj && (!old || !api_equal_field(&core_v1_resource_quota_type, "spec", old, obj))) {
        controller_enqueue_obj(s->controller, &core_v1_resource_quota_type, obj);
    }
}

static bool has_counted_name(const quota_t *q, const struct api_resource *r)
{
    for (size_t i = 0; i < q->spec.n_hard; i++) {
        if (quota_counts(r, q->spec.hard[i].key)) {
            return true;
        }
    }
    return false;
}

/* Something went, or uses less. */
static void on_object(void *data, const void *old, const void *obj)
{
    struct listener *l = data;
    struct state *s = l->state;
    const struct api_resource *r = s->all.items[l->index].resource;
    const quota_t *q;
    if (!old || !r->namespaced || informer_count(s->quotas) == 0) {
        return;
    }
    struct str ns = meta_of(r->type, old)->namespace;
    bool asked = false;
    for (size_t pos = 0; (q = informer_next_in(s->quotas, ns, &pos));) {
        if (!has_counted_name(q, r)) {
            continue;
        }
        if (obj && !asked && !quota_gives_back(r, old, obj, clock_real_s())) {
            return;
        }
        asked = true;
        controller_enqueue_obj(s->controller, &core_v1_resource_quota_type, q);
    }
}

static void *data_of(void *ctx, size_t index)
{
    struct state *s = ctx;
    s->listeners[index] = (struct listener){ s, index };
    return &s->listeners[index];
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const pod_fields[] = {
        "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds", "spec.activeDeadlineSeconds", "spec.containers.name",
        "spec.containers.resources", "spec.initContainers.name", "spec.initContainers.resources", "spec.initContainers.restartPolicy", "spec.resources", "spec.overhead",
        "spec.priorityClassName", "spec.affinity", "status.phase", "status.containerStatuses.name", "status.containerStatuses.resources",
        "status.containerStatuses.allocatedResources", "status.initContainerStatuses.name", "status.initContainerStatuses.resources",
        "status.initContainerStatuses.allocatedResources", NULL };
    static const char *const service_fields[] = { "spec.type", "spec.ports", "spec.allocateLoadBalancerNodePorts", NULL };
    static const char *const claim_fields[] = {
        "metadata.annotations", "spec.resources", "spec.storageClassName", "spec.volumeAttributesClassName", "status.allocatedResources",
        "status.currentVolumeAttributesClassName", "status.modifyVolumeStatus", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->listeners = calloc(api_n_resources, sizeof(*s->listeners));
    if (!s->listeners) {
        abort();
    }
    s->quotas = informer_of(informers, "", "resourcequotas", whole_objects, on_quota, s);
    controller_needs(c, s->quotas);
    (void)informer_of(informers, "", "pods", pod_fields, NULL, NULL);
    (void)informer_of(informers, "", "services", service_fields, NULL, NULL);
    (void)informer_of(informers, "", "persistentvolumeclaims", claim_fields, NULL, NULL);
    all_resources_init(&s->all, informers, on_object, data_of, s);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    all_resources_deinit(&s->all);
    free(s->listeners);
    free(s);
}

/* ---- counting ---- */

/* Adds what the namespace's objects of one resource use, under the names that the quota has. */
static bool count_resource(struct arena *a, const quota_t *q, const struct api_resource *r, const struct informer *informer, int64_t now,
                           struct amounts *used)
{
    const void *obj;
    struct amounts sum = { 0 };
    for (size_t pos = 0; (obj = informer_next_in(informer, q->metadata.namespace, &pos));) {
        struct amounts one;
        if (!quota_selects(q, r, obj)) {
            continue;
        }
        if (!quota_usage(a, r, obj, now, &one)) {
            return false;
        }
        for (size_t i = 0; i < one.n; i++) {
            bool has = false;
            for (size_t k = 0; k < q->spec.n_hard && !has; k++) {
                has = str_eq(q->spec.hard[k].key, one.items[i].name);
            }
            if (has && !amounts_add(a, &sum, one.items[i].name, one.items[i].q)) {
                return false;
            }
        }
    }
    for (size_t k = 0; k < q->spec.n_hard; k++) {
        struct str name = q->spec.hard[k].key;
        if (quota_counts(r, name)) {
            const struct amount *n = amounts_find(&sum, name);
            if (!amounts_set(a, used, name, n ? n->q : quantity_from_i64(0, QUANTITY_DECIMAL))) {
                return false;
            }
        }
    }
    return true;
}

/* What is not served any more, or not yet, keeps what was said of it. */
static bool keep_known(struct arena *a, const quota_t *q, struct amounts *used)
{
    for (size_t i = 0; i < q->status.n_used; i++) {
        for (size_t k = 0; k < q->spec.n_hard; k++) {
            if (str_eq(q->spec.hard[k].key, q->status.used[i].key) &&
                !amounts_set(a, used, q->status.used[i].key, quantity_of(q->status.used[i].value))) {
                return false;
            }
        }
    }
    return true;
}

static void reconcile(void *state, struct str key, struct actions *acts)
{
    struct state *s = state;
    struct arena *a = act_arena(acts);
    struct str ns, name;
    struct amounts used = { 0 };
    str_cut(key, '/', &ns, &name);
    const quota_t *q = informer_get(s->quotas, ns, name);
    if (!q) {
        return;
    }
    bool fits = keep_known(a, q, &used);
    for (size_t i = 0; fits && i < s->all.n; i++) {
        const struct api_resource *r = s->all.items[i].resource;
        if (quota_is_counted(r) && informer_served(s->all.items[i].informer) && has_counted_name(q, r)) {
            fits = count_resource(a, q, r, s->all.items[i].informer, act_now(acts), &used);
        }
    }
    quota_t changed = *q;
    changed.status.hard = q->spec.hard;
    changed.status.n_hard = q->spec.n_hard;
    if (!fits || !amounts_pairs(a, &used, &changed.status.used, &changed.status.n_used)) {
        act_fail(acts, "the namespace is too large to be counted");
        return;
    }
    if (!api_equal_field(&core_v1_resource_quota_type, "status", q, &changed)) {
        act_update_sub(acts, informer_resource(s->quotas), "status", &changed);
    }
    if (controllers_config.quota.sync_ms > 0) {
        act_requeue_after(acts, (uint64_t)controllers_config.quota.sync_ms);
    }
}

const struct controller_ops controller_resource_quota = {
    .name = "resourcequota-controller",
    .service_account = "resourcequota-controller",
    .concurrency_flag = &controllers_config.quota.syncs,
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
