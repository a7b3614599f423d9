/*
 * namespace: when a Namespace is deleted, deletes everything in it and then takes the finalizer
 * "kubernetes" off
 * ("Namespaces Walkthrough", finalization). What is left is seen in the informers of all resources;
 * Events, which have no informer, are deleted as a collection in each pass.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "api/gen/core_v1.h"
#include "base/buf.h"
#include "controllers/all-resources.h"
#include "controllers/controllers.h"

/* How often a namespace is looked at again whose contents go slowly. */
#define RETRY_MS 5000

struct state {
    struct controller *controller;
    const struct api_resource *namespaces_resource, *events_resource;
    struct informer *namespaces;
    struct all_resources all;
};

/* Something went away: its namespace may be empty now. */
static void on_content(void *data, const void *old, const void *obj)
{
    /* Every root type begins with kind, apiVersion, metadata; any of them reads the namespace. */
    struct state *s = data;
    const struct meta_v1_partial_object_metadata *m = old;
    if (obj || !old || !m->metadata.namespace.len) {
        return;
    }
    const struct core_v1_namespace *ns =
        informer_get(s->namespaces, STR_NULL, m->metadata.namespace);
    if (ns && ns->metadata.deletion_timestamp.set) {
        controller_enqueue(s->controller, m->metadata.namespace);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "-metadata.managedFields", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->namespaces_resource = api_resource_find(STR(""), STR("v1"), STR("namespaces"));
    s->events_resource = api_resource_find(STR(""), STR("v1"), STR("events"));
    struct informer_spec namespaces = { .resource = s->namespaces_resource, .fields = fields };
    s->namespaces = controller_watch(c, informers, &namespaces);
    all_resources_init(&s->all, informers, on_content, NULL, s);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    all_resources_deinit(&s->all);
    free(s);
}

struct left {
    size_t n, n_finalizing;
    struct buf resources, finalizers; /* "pods. has 2 resource instances" */
};

/* Counts what is there and deletes what is not being deleted yet. */
static void empty(struct state *s, struct str ns, struct actions *a, struct left *left)
{
    for (size_t i = 0; i < s->all.n; i++) {
        const struct api_resource *r = s->all.items[i].resource;
        const void *obj;
        size_t n = 0, n_new = 0;
        if (!r->namespaced || !informer_served(s->all.items[i].informer)) {
            continue;
        }
        for (size_t pos = 0; (obj = informer_next_in(s->all.items[i].informer, ns, &pos));) {
            const struct meta_v1_object_meta *m = meta_of(r->type, obj);
            n++;
            n_new += !m->deletion_timestamp.set;
            for (size_t k = 0; k < m->n_finalizers; k++) {
                left->n_finalizing++;
                buf_printf(&left->finalizers, "%s%.*s in 1 resource instances",
                           left->finalizers.len ? ", " : "", STR_ARG(m->finalizers[k]));
            }
        }
        if (!n) {
            continue;
        }
        left->n += n;
        buf_printf(&left->resources, "%s%.*s.%.*s has %zu resource instances",
                   left->resources.len ? ", " : "", STR_ARG(r->resource), STR_ARG(r->group), n);
        if (n_new && resource_has_verb(r, STR("deletecollection"))) {
            act_delete_collection(a, r, ns);
        } else if (n_new) {
            for (size_t pos = 0; (obj = informer_next_in(s->all.items[i].informer, ns, &pos));) {
                const struct meta_v1_object_meta *m = meta_of(r->type, obj);
                act_delete(a, r, ns, m->name, m->uid, NULL);
            }
        }
    }
}

static void set_condition(struct actions *a, struct core_v1_namespace_status *s, const char *type,
                          bool yes, const char *reason, struct str message)
{
    struct core_v1_namespace_condition *all =
        arena_new_n(act_arena(a), struct core_v1_namespace_condition, s->n_conditions + 1);
    struct core_v1_namespace_condition fresh = { .type = str_c(type),
                                                 .status = yes ? STR("True") : STR("False"),
                                                 .reason = str_c(reason),
                                                 .message = message };
    size_t n = 0;
    bool known = false;
    if (!all) {
        abort();
    }
    fresh.last_transition_time = (struct api_time){ .sec = act_now(a), .set = true };
    for (size_t i = 0; i < s->n_conditions; i++) {
        all[n] = s->conditions[i];
        if (str_eq(all[n].type, fresh.type)) {
            known = true;
            fresh.last_transition_time = str_eq(all[n].status, fresh.status)
                                             ? all[n].last_transition_time
                                             : fresh.last_transition_time;
            all[n] = fresh;
        }
        n++;
    }
    if (!known) {
        all[n++] = fresh;
    }
    s->conditions = all;
    s->n_conditions = n;
}

static void write_status(struct state *s, struct actions *a, const struct core_v1_namespace *ns,
                         const struct left *left)
{
    struct core_v1_namespace *copy = arena_new(act_arena(a), struct core_v1_namespace);
    if (!copy || !api_copy_into(act_arena(a), &core_v1_namespace_type, ns, copy, false)) {
        abort();
    }
    copy->status.phase = STR("Terminating");
    set_condition(a, &copy->status, "NamespaceDeletionDiscoveryFailure", false,
                  "ResourcesDiscovered", STR("All resources successfully discovered"));
    set_condition(a, &copy->status, "NamespaceDeletionGroupVersionParsingFailure", false,
                  "ParsedGroupVersions", STR("All legacy kube types successfully parsed"));
    set_condition(a, &copy->status, "NamespaceDeletionContentFailure", false, "ContentDeleted",
                  STR("All content successfully deleted, may be waiting on finalization"));
    if (left->n) {
        set_condition(a, &copy->status, "NamespaceContentRemaining", true, "SomeResourcesRemain",
                      arena_printf(act_arena(a), "Some resources are remaining: %.*s",
                                   STR_ARG(buf_str(&left->resources))));
    } else {
        set_condition(a, &copy->status, "NamespaceContentRemaining", false, "ContentRemoved",
                      STR("All content successfully removed"));
    }
    if (left->n_finalizing) {
        set_condition(a, &copy->status, "NamespaceFinalizersRemaining", true,
                      "SomeFinalizersRemain",
                      arena_printf(act_arena(a),
                                   "Some content in the namespace has finalizers remaining: %.*s",
                                   STR_ARG(buf_str(&left->finalizers))));
    } else {
        set_condition(a, &copy->status, "NamespaceFinalizersRemaining", false,
                      "ContentHasNoFinalizers", STR("All content-preserving finalizers finished"));
    }
    if (!api_equal_field(&core_v1_namespace_type, "status", ns, copy)) {
        act_update_sub(a, s->namespaces_resource, "status", copy);
    }
}

/* PUT /finalize without our finalizer; the apiserver removes the object when none is left. */
static void finalize(struct state *s, struct actions *a, const struct core_v1_namespace *ns)
{
    struct core_v1_namespace copy = *ns;
    struct str *rest = arena_new_n(act_arena(a), struct str, ns->spec.n_finalizers + 1);
    if (!rest) {
        abort();
    }
    copy.spec.finalizers = rest;
    copy.spec.n_finalizers = 0;
    for (size_t i = 0; i < ns->spec.n_finalizers; i++) {
        if (!str_eq(ns->spec.finalizers[i], STR("kubernetes"))) {
            rest[copy.spec.n_finalizers++] = ns->spec.finalizers[i];
        }
    }
    act_update_sub(a, s->namespaces_resource, "finalize", &copy);
    act_tolerate(a, ERR_NOT_FOUND);
}

static bool has_finalizer(const struct core_v1_namespace *ns)
{
    for (size_t i = 0; i < ns->spec.n_finalizers; i++) {
        if (str_eq(ns->spec.finalizers[i], STR("kubernetes"))) {
            return true;
        }
    }
    return false;
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct left left = { .n = 0 };
    const struct core_v1_namespace *ns = informer_get(s->namespaces, STR_NULL, key);
    if (!ns || !ns->metadata.deletion_timestamp.set || !has_finalizer(ns)) {
        return;
    }
    buf_init(&left.resources, 65536);
    buf_init(&left.finalizers, 65536);
    empty(s, key, a, &left);
    act_delete_collection(a, s->events_resource, key);
    if (left.n) {
        write_status(s, a, ns, &left);
        act_requeue_after(a, RETRY_MS);
    } else {
        act_barrier(a);
        finalize(s, a, ns);
    }
    buf_deinit(&left.resources);
    buf_deinit(&left.finalizers);
}

const struct controller_ops controller_namespace = {
    .name = "namespace",
    .service_account = "namespace-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
};
