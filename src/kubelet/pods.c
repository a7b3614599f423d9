/* The pods of the node, by uid, whatever source they come from. */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "api/copy.h"
#include "api/equal.h"
#include "base/log.h"
#include "client/meta.h"

_Static_assert(sizeof(struct core_v1_ephemeral_container_common) == sizeof(struct core_v1_container),
               "an ephemeral container is a container with a target");

struct pod *pods_find(struct kubelet *k, struct str uid)
{
    return map_get(&k->pods, uid);
}

struct pod *pods_next(struct kubelet *k, size_t *pos)
{
    void *p;
    struct str key;
    return map_next(&k->pods, pos, &key, &p) ? p : NULL;
}

struct pod *pods_find_name(struct kubelet *k, struct str ns, struct str name)
{
    struct pod *p;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        if (!p->mirror_only && p->source != POD_GHOST && !p->gone && str_eq_c(ns, p->ns) && str_eq_c(name, p->name)) {
            return p;
        }
    }
    return NULL;
}

static void set_text(char *dst, size_t size, struct str s)
{
    snprintf(dst, size, "%.*s", STR_ARG(s));
}

static struct pod *pod_new(struct kubelet *k, struct str uid, struct str ns, struct str name, enum pod_source source)
{
    struct pod *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->k = k;
    p->source = source;
    set_text(p->uid, sizeof(p->uid), uid);
    set_text(p->ns, sizeof(p->ns), ns);
    set_text(p->name, sizeof(p->name), name);
    arena_init(&p->arena, KUBELET_MAX_POD_ARENA);
    p->stale = true;
    p->grace_s = 30;
    pod_machine_init(p);
    map_put(&k->pods, str_c(p->uid), p);
    return p;
}

static void container_free(struct pod_container *c)
{
    container_kill_cancel(c);
    probes_stop(c);
    free(c->run.message);
    free(c->last.message);
    free(c);
}

static void pod_free(struct pod *p)
{
    pod_machine_stop(p);
    for (size_t i = 0; i < p->n_containers; i++) {
        container_free(p->containers[i]);
    }
    free(p->containers);
    while (p->dead) {
        struct dead_container *d = p->dead;
        p->dead = d->next;
        free(d);
    }
    for (size_t i = 0; i < p->n_strangers; i++) {
        free(p->strangers[i]);
    }
    pod_status_stop(p);
    arena_deinit(&p->arena);
    free(p);
}

void pods_forget(struct pod *p)
{
    struct pod *other;
    map_remove(&p->k->pods, str_c(p->uid));
    if (p->mirror) {
        pod_wake(p->mirror); /* nothing is left for it to show */
    }
    for (size_t pos = 0; (other = pods_next(p->k, &pos));) {
        if (p->mirror_only && other->source == POD_FROM_FILE && strcmp(other->name, p->name) == 0 && strcmp(other->ns, p->ns) == 0) {
            other->mirror = NULL;
            other->mirror_asked_ms = 0;
            pod_wake(other); /* another one is made */
        }
    }
    pod_free(p);
}

static struct pod_container *container_at(struct pod *p, struct str name)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        if (str_eq_c(name, p->containers[i]->name)) {
            return p->containers[i];
        }
    }
    struct pod_container **grown = realloc(p->containers, (p->n_containers + 1) * sizeof(*grown));
    struct pod_container *c = calloc(1, sizeof(*c));
    if (!grown || !c) {
        abort();
    }
    p->containers = grown;
    p->containers[p->n_containers++] = c;
    c->pod = p;
    set_text(c->name, sizeof(c->name), name);
    return c;
}

/* Points the records at the present spec. */
static void bind_containers(struct pod *p)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    for (size_t i = 0; i < s->n_init_containers; i++) {
        struct pod_container *c = container_at(p, s->init_containers[i].name);
        c->kind = str_eq_c(s->init_containers[i].restart_policy, "Always") ? CONTAINER_SIDECAR : CONTAINER_INIT;
        c->index = i;
        c->spec = &s->init_containers[i];
    }
    for (size_t i = 0; i < s->n_containers; i++) {
        struct pod_container *c = container_at(p, s->containers[i].name);
        c->kind = CONTAINER_MAIN;
        c->index = i;
        c->spec = &s->containers[i];
    }
    for (size_t i = 0; i < s->n_ephemeral_containers; i++) {
        const void *common = &s->ephemeral_containers[i].ephemeral_container_common;
        struct pod_container *c = container_at(p, s->ephemeral_containers[i].ephemeral_container_common.name);
        c->kind = CONTAINER_EPHEMERAL;
        c->index = i;
        c->spec = common;
    }
}

static bool same_time(struct api_time a, struct api_time b)
{
    return a.set == b.set && a.sec == b.sec;
}

static bool same_goal(const struct core_v1_pod *a, const struct core_v1_pod *b)
{
    const struct meta_v1_object_meta *m = &a->metadata, *n = &b->metadata;
    return same_time(m->deletion_timestamp, n->deletion_timestamp) &&
           m->deletion_grace_period_seconds == n->deletion_grace_period_seconds &&
           api_equal_field(&meta_v1_object_meta_type, "labels", m, n) &&
           api_equal_field(&meta_v1_object_meta_type, "annotations", m, n) && api_equal_field(&core_v1_pod_type, "spec", a, b);
}

static void take_goal(struct pod *p, const struct core_v1_pod *obj)
{
    const struct meta_v1_object_meta *m = &obj->metadata;
    if (m->deletion_timestamp.set) {
        p->deleting = true;
        p->grace_s = m->has_deletion_grace_period_seconds ? m->deletion_grace_period_seconds : p->grace_s;
    } else if (obj->spec.has_termination_grace_period_seconds) {
        p->grace_s = obj->spec.termination_grace_period_seconds;
    }
    if (obj->status.start_time.set && !p->start_time.set) {
        p->start_time = obj->status.start_time;
    }
    /* Ended before this kubelet was started: nothing of it is started again. */
    if (!p->obj && (str_eq_c(obj->status.phase, "Succeeded") || str_eq_c(obj->status.phase, "Failed"))) {
        p->finished = true;
        set_text(p->end_reason, sizeof(p->end_reason), obj->status.reason);
        set_text(p->end_message, sizeof(p->end_message), obj->status.message);
    }
}

void pods_set(struct kubelet *k, const struct core_v1_pod *obj, enum pod_source source)
{
    const struct meta_v1_object_meta *m = &obj->metadata;
    struct pod *p = pods_find(k, m->uid);
    if (!p) {
        p = pod_new(k, m->uid, m->namespace, m->name, source);
    }
    if (p->source == POD_GHOST || p->source == POD_FROM_DISK) {
        p->source = source;
    }
    if (source == POD_FROM_API && p->obj) {
        pod_status_seen(p, &obj->status);
    }
    if (p->obj && same_goal(p->obj, obj)) {
        return;
    }
    struct arena fresh;
    arena_init(&fresh, KUBELET_MAX_POD_ARENA);
    struct core_v1_pod *copy = api_copy(&fresh, &core_v1_pod_type, obj);
    if (!copy) {
        arena_deinit(&fresh);
        log_error("pod %s/%s is too large to be run", p->ns, p->name);
        return;
    }
    bool first = p->obj == NULL;
    copy->metadata.managed_fields = NULL;
    copy->metadata.n_managed_fields = 0;
    take_goal(p, copy);
    arena_deinit(&p->arena);
    p->arena = fresh;
    p->obj = copy;
    p->gone = false;
    p->mirror_only = source == POD_FROM_API && meta_annotation(m, STR("kubernetes.io/config.mirror")).ptr != NULL;
    bind_containers(p);
    if (source == POD_FROM_API && !p->mirror_only && !p->deleting) {
        checkpoint_write(p);
    }
    if (first) {
        p->status_dirty = true;
    }
    p->volumes_checked_ms = 0;
    pod_wake(p);
}

void pods_gone(struct kubelet *k, struct str uid, enum pod_source source)
{
    struct pod *p = pods_find(k, uid);
    if (!p || (source == POD_FROM_API && p->source == POD_FROM_FILE)) {
        return;
    }
    p->gone = true;
    pod_wake(p);
}

struct pod *pods_ghost(struct kubelet *k, struct str uid, struct str ns, struct str name)
{
    struct pod *p = pod_new(k, uid, ns, name, POD_GHOST);
    p->gone = true;
    p->grace_s = 30;
    log_info("pod %s/%s (%s) is in no source any more: what is left of it is removed", p->ns, p->name, p->uid);
    pod_wake(p);
    return p;
}

void pods_synced(struct kubelet *k)
{
    struct pod *p;
    k->pods_synced = true;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        if (p->source == POD_FROM_DISK) {
            p->gone = true;
        }
        p->volumes_checked_ms = 0; /* what was not to be had before */
    }
    pods_wake_all(k);
}

void pods_wake_all(struct kubelet *k)
{
    struct pod *p;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        pod_wake(p);
    }
}

void pods_free(struct kubelet *k)
{
    void *p;
    struct str key;
    for (size_t pos = 0; map_next(&k->pods, &pos, &key, &p);) {
        pod_free(p);
    }
    map_deinit(&k->pods);
}

bool pod_holds_node(const struct pod *p)
{
    return p->obj && !p->mirror_only && !p->finished && !p->rejected && !p->gone;
}
