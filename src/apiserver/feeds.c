#include "apiserver/feeds.h"

#include <assert.h>

#include "api/gen/core_v1.h"
#include "api/gen/rbac_v1.h"
#include "api/gen/storage_v1.h"
#include "api/mask.h"
#include "auth/node-graph.h"
#include "auth/rbac.h"
#include "base/log.h"

struct feed_kind {
    const char *group, *resource;
    void (*put)(struct apiserver *s, const void *obj);
    void (*drop)(struct apiserver *s, struct str ns, struct str name);
    void (*forget)(struct apiserver *s); /* all of the kind */
    const char *const *fields;           /* what put() reads, ended by NULL; NULL: everything */
    const char *needs;                   /* selectable field without which the object counts as gone; NULL: none */
};

struct feed {
    struct list link;
    struct apiserver *srv;
    struct rest *rest;
    const struct feed_kind *kind;
    struct arena arena; /* the mask's */
    const struct api_mask *mask;
    ptrdiff_t needs; /* index of kind->needs among the class's fields; -1: none */
    struct watcher *watcher;
    struct loop_task task;
    /* What feeds_committed() brings, while it runs. */
    const struct object *committed;
    const void *committed_as;
};

static void put_role(struct apiserver *s, const void *o)
{
    rbac_put_role(s->rbac, o);
}
static void drop_role(struct apiserver *s, struct str ns, struct str name)
{
    rbac_delete_role(s->rbac, ns, name);
}
static void put_cluster_role(struct apiserver *s, const void *o)
{
    rbac_put_cluster_role(s->rbac, o);
}
static void drop_cluster_role(struct apiserver *s, struct str ns, struct str name)
{
    (void)ns;
    rbac_delete_cluster_role(s->rbac, name);
}
static void put_role_binding(struct apiserver *s, const void *o)
{
    rbac_put_role_binding(s->rbac, o);
}
static void drop_role_binding(struct apiserver *s, struct str ns, struct str name)
{
    rbac_delete_role_binding(s->rbac, ns, name);
}
static void put_cluster_role_binding(struct apiserver *s, const void *o)
{
    rbac_put_cluster_role_binding(s->rbac, o);
}
static void drop_cluster_role_binding(struct apiserver *s, struct str ns, struct str name)
{
    (void)ns;
    rbac_delete_cluster_role_binding(s->rbac, name);
}
static void put_pod(struct apiserver *s, const void *o)
{
    node_graph_put_pod(s->node_graph, o);
}
static void drop_pod(struct apiserver *s, struct str ns, struct str name)
{
    node_graph_delete_pod(s->node_graph, ns, name);
}
static void put_volume(struct apiserver *s, const void *o)
{
    node_graph_put_volume(s->node_graph, o);
}
static void drop_volume(struct apiserver *s, struct str ns, struct str name)
{
    (void)ns;
    node_graph_delete_volume(s->node_graph, name);
}
static void put_attachment(struct apiserver *s, const void *o)
{
    node_graph_put_attachment(s->node_graph, o);
}
static void drop_attachment(struct apiserver *s, struct str ns, struct str name)
{
    (void)ns;
    node_graph_delete_attachment(s->node_graph, name);
}

static void forget_roles(struct apiserver *s)
{
    rbac_forget(s->rbac, RBAC_ROLES);
}
static void forget_cluster_roles(struct apiserver *s)
{
    rbac_forget(s->rbac, RBAC_CLUSTER_ROLES);
}
static void forget_role_bindings(struct apiserver *s)
{
    rbac_forget(s->rbac, RBAC_ROLE_BINDINGS);
}
static void forget_cluster_role_bindings(struct apiserver *s)
{
    rbac_forget(s->rbac, RBAC_CLUSTER_ROLE_BINDINGS);
}
static void forget_pods(struct apiserver *s)
{
    node_graph_forget_pods(s->node_graph);
}
static void forget_volumes(struct apiserver *s)
{
    node_graph_forget_volumes(s->node_graph);
}
static void forget_attachments(struct apiserver *s)
{
    node_graph_forget_attachments(s->node_graph);
}

/* What the node graph reads of a pod. Pods change often and are large. */
static const char *const pod_fields[] = { "metadata.namespace",
                                          "metadata.name",
                                          "metadata.annotations",
                                          "spec.nodeName",
                                          "spec.serviceAccountName",
                                          "spec.imagePullSecrets",
                                          "spec.initContainers.env",
                                          "spec.initContainers.envFrom",
                                          "spec.containers.env",
                                          "spec.containers.envFrom",
                                          "spec.ephemeralContainers.env",
                                          "spec.ephemeralContainers.envFrom",
                                          "spec.volumes",
                                          "spec.resourceClaims",
                                          "status.resourceClaimStatuses",
                                          NULL };

static const struct feed_kind kinds[] = {
    { "rbac.authorization.k8s.io", "roles", put_role, drop_role, forget_roles, NULL, NULL },
    { "rbac.authorization.k8s.io", "clusterroles", put_cluster_role, drop_cluster_role, forget_cluster_roles, NULL, NULL },
    { "rbac.authorization.k8s.io", "rolebindings", put_role_binding, drop_role_binding, forget_role_bindings, NULL, NULL },
    { "rbac.authorization.k8s.io", "clusterrolebindings", put_cluster_role_binding, drop_cluster_role_binding,
      forget_cluster_role_bindings, NULL, NULL },
    { "", "pods", put_pod, drop_pod, forget_pods, pod_fields, "spec.nodeName" },
    { "", "persistentvolumes", put_volume, drop_volume, forget_volumes, NULL, NULL },
    { "storage.k8s.io", "volumeattachments", put_attachment, drop_attachment, forget_attachments, NULL, NULL },
};

static enum store_status feed_open(struct feed *f);

static void feed_put(struct feed *f, const struct object *o)
{
    if (f->needs >= 0 && str_empty(object_field(o, (size_t)f->needs))) {
        f->kind->drop(f->srv, object_namespace(o), object_name(o));
        return;
    }
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 256u << 20);
    const void *obj = o == f->committed ? f->committed_as : rest_decode_part(f->rest, &a, o, f->mask);
    if (obj) {
        f->kind->put(f->srv, obj);
    }
}

static void feed_pump(void *arg)
{
    struct feed *f = arg;
    struct watch_item item;
    for (;;) {
        enum watch_got got = watch_next(f->watcher, &item);
        if (got == WATCH_GOT_NOTHING) {
            return;
        }
        if (got == WATCH_GOT_EXPIRED) {
            /* Everything is fed again within this turn. Deletions were missed, and a right that was taken away must be gone. */
            log_warning("apiserver: the feed of %s fell behind and starts again", f->kind->resource);
            f->watcher = watcher_free(f->watcher);
            f->kind->forget(f->srv);
            if (feed_open(f) != STORE_OK) {
                return;
            }
            continue;
        }
        if (got != WATCH_GOT_ITEM) {
            continue;
        }
        if (item.type == WATCH_DELETED) {
            f->kind->drop(f->srv, object_namespace(item.object), object_name(item.object));
        } else if (item.object) {
            feed_put(f, item.object);
        }
    }
}

void feeds_committed(struct apiserver *s, const struct rest *rest, const struct object *o, const void *obj)
{
    LIST_FOREACH(&s->feeds, struct feed, link, f)
    {
        if (f->rest == rest && f->watcher) {
            f->committed = o;
            f->committed_as = obj;
            feed_pump(f);
            f->committed = NULL;
            f->committed_as = NULL;
        }
    }
}

static ptrdiff_t field_index(const struct rest *rest, const char *name)
{
    for (size_t i = 0; name && i < rest->class.n_fields; i++) {
        if (str_eq_c(rest->class.fields[i], name)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static void feed_ready(void *arg)
{
    struct feed *f = arg;
    loop_task_defer(&f->task);
}

static enum store_status feed_open(struct feed *f)
{
    struct watch_options opt = { .start = WATCH_FROM_NOW, .field = -1, .ready = feed_ready, .arg = f };
    return watcher_new(f->rest->cache, &opt, &f->watcher);
}

void feeds_start(struct apiserver *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct rest *rest = registry_rest(s, str_c(kinds[i].group), str_c(kinds[i].resource));
        struct feed *f = rest ? calloc(1, sizeof(*f)) : NULL;
        if (!f) {
            continue;
        }
        f->srv = s;
        f->rest = rest;
        f->kind = &kinds[i];
        arena_init(&f->arena, ARENA_NO_BUDGET);
        size_t n = 0;
        while (f->kind->fields && f->kind->fields[n]) {
            n++;
        }
        struct err err;
        f->mask = n ? api_mask_new(&f->arena, rest->hub->type, f->kind->fields, n, &err) : NULL;
        assert(f->mask || !n);
        f->needs = field_index(rest, f->kind->needs);
        loop_task_init(&f->task, s->loop, feed_pump, f);
        list_push_back(&s->feeds, &f->link);
        if (feed_open(f) == STORE_OK) {
            feed_pump(f);
        }
    }
}

void feeds_stop(struct apiserver *s)
{
    LIST_FOREACH(&s->feeds, struct feed, link, f)
    {
        list_remove(&f->link);
        loop_task_cancel(&f->task);
        f->watcher = watcher_free(f->watcher);
        arena_deinit(&f->arena);
        free(f);
    }
}
