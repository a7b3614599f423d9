#include "apiserver/startup.h"

#include <stdarg.h>

#include "api/decode-json.h"
#include "api/default.h"
#include "api/gen/core_v1.h"
#include "api/gen/rbac_v1.h"
#include "apiserver/auth-configmap.h"
#include "apiserver/feeds.h"
#include "apiserver/kubernetes-service.h"
#include "apiserver/server.h"
#include "apiserver/service-alloc.h"
#include "auth/rbac-bootstrap.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"

enum { POLL_MS = 2, RETRY_MS = 1000 };

struct startup {
    struct apiserver *srv;
    struct arena arena;
    unsigned pending;
    bool failed;
    bool feeds;
};

static void poll(void *arg);

static void again(struct startup *st, uint64_t ms)
{
    loop_timer_init(&st->srv->startup_timer, st->srv->loop, poll, st);
    loop_timer_start(&st->srv->startup_timer, ms);
}

static void finish(struct startup *st)
{
    struct apiserver *s = st->srv;
    if (st->failed) {
        st->failed = false;
        again(st, RETRY_MS);
        return;
    }
    s->started = true;
    arena_deinit(&st->arena); /* the server lives on, what its start was made of does not */
    log_info("apiserver: ready: %zu stored resources, %zu endpoints", s->n_rests, s->n_endpoints);
}

static void on_written(void *arg, const struct store_result *res)
{
    struct startup *st = arg;
    if (!st) {
        return;
    }
    if (res->status != STORE_OK && res->status != STORE_E_CONFLICT) {
        log_error("apiserver: an object of the start cannot be written: %s; it is tried again", store_status_text(res->status));
        st->failed = true;
    }
    if (--st->pending == 0) {
        if (st->srv->startup == st) {
            finish(st);
        }
    }
}

/* Writes 'obj' unless it is there. 'replace': what is there is replaced when its content differs. */
static void ensure(struct startup *st, struct str group, struct str resource, void *obj, int64_t expect)
{
    struct apiserver *s = st->srv;
    struct rest *rest = registry_rest(s, group, resource);
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 8u << 20);
    struct meta_v1_object_meta *m = rest_meta(rest, obj);
    const struct object *there = watch_cache_get(rest->cache, m->namespace, m->name);
    if (there && expect == STORE_ABSENT) {
        return;
    }
    if (expect == STORE_ABSENT) {
        char uid[RAND_UUID_SIZE];
        rand_uuid(uid);
        m->uid = arena_str(&st->arena, str_c(uid));
        m->creation_timestamp = (struct api_time){ .sec = clock_real_s(), .set = true };
        if (rest->ops->flags & KIND_GENERATION) {
            m->generation = 1;
        }
    }
    struct object *o = rest_publish(rest, &st->arena, obj, &err);
    if (!o || !rest_encode_stored(rest, obj, &value, &err)) {
        log_error("apiserver: cannot encode %.*s: %s", STR_ARG(m->name), err.msg);
        (void)object_unref(o);
        return;
    }
    watch_cache_key(rest->cache, m->namespace, m->name, &key);
    struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = expect, .object = o, .done = on_written, .arg = st };
    st->pending++;
    store_write(s->store, &w);
    (void)object_unref(o);
}

PRINTF_LIKE(4, 5) static void ensure_json(struct startup *st, const char *group, const char *resource, const char *fmt, ...)
{
    struct rest *rest = registry_rest(st->srv, str_c(group), str_c(resource));
    struct err err = { 0 };
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&st->arena, fmt, ap);
    va_end(ap);
    void *obj = rest ? arena_alloc(&st->arena, rest->hub->type->size) : NULL;
    if (!obj || !api_decode_json(&st->arena, rest->hub->type, text, NULL, obj, &err) ||
        !api_default(&st->arena, rest->hub->type, obj, NULL)) {
        log_error("apiserver: %s of the start: %s", resource, err.msg);
        return;
    }
    ensure(st, str_c(group), str_c(resource), obj, STORE_ABSENT);
}

static void namespaces(struct startup *st)
{
    static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        ensure_json(st, "", "namespaces",
                    "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/metadata.name\":\"%s\"}},"
                    "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}", names[i], names[i]);
    }
}

static void priority_classes(struct startup *st)
{
    ensure_json(st, "scheduling.k8s.io", "priorityclasses",
                "{\"metadata\":{\"name\":\"system-cluster-critical\"},\"value\":2000000000,\"description\":"
                "\"For what the cluster needs and what may move to another node.\"}");
    ensure_json(st, "scheduling.k8s.io", "priorityclasses",
                "{\"metadata\":{\"name\":\"system-node-critical\"},\"value\":2000001000,\"description\":"
                "\"For what a node needs and what may not move away from it.\"}");
}

static void rbac_roles(struct startup *st)
{
    struct rbac_bootstrap b;
    struct err err = { 0 };
    struct str group = STR("rbac.authorization.k8s.io");
    if (!rbac_bootstrap_decode(&st->arena, &b, &err)) {
        log_error("apiserver: the default roles cannot be read: %s", err.msg);
        st->failed = true;
        return;
    }
    struct rest *rest = registry_rest(st->srv, group, STR("clusterroles"));
    for (size_t i = 0; i < b.n_cluster_roles; i++) {
        struct rbac_v1_cluster_role *want = &b.cluster_roles[i], merged;
        const struct object *there = watch_cache_get(rest->cache, STR_EMPTY, want->metadata.name);
        const void *have = there ? rest_decode(rest, &st->arena, there) : NULL;
        if (!have) {
            ensure(st, group, STR("clusterroles"), want, STORE_ABSENT);
        } else if (rbac_bootstrap_merge_role(have, want, &st->arena, &merged)) {
            ensure(st, group, STR("clusterroles"), &merged, object_revision(there));
        }
    }
    for (size_t i = 0; i < b.n_cluster_role_bindings; i++) {
        ensure(st, group, STR("clusterrolebindings"), &b.cluster_role_bindings[i], STORE_ABSENT);
    }
    for (size_t i = 0; i < b.n_roles; i++) {
        ensure(st, group, STR("roles"), &b.roles[i], STORE_ABSENT);
    }
    for (size_t i = 0; i < b.n_role_bindings; i++) {
        ensure(st, group, STR("rolebindings"), &b.role_bindings[i], STORE_ABSENT);
    }
}

/* The kubernetes Service and its endpoints are there. */
static void on_service(void *arg)
{
    struct store_result ok = { .status = STORE_OK };
    on_written(arg, &ok);
}

static void work(struct startup *st)
{
    st->pending++; /* this function's own */
    namespaces(st);
    priority_classes(st);
    rbac_roles(st);
    if (!st->srv->kubernetes_service) {
        st->pending++;
        kubernetes_service_start(st->srv, on_service, st);
    }
    auth_configmap_sync(st->srv);
    struct store_result ok = { .status = STORE_OK };
    on_written(st, &ok);
}

static void poll(void *arg)
{
    struct startup *st = arg;
    struct apiserver *s = st->srv;
    if (!registry_ready(s)) {
        again(st, POLL_MS);
        return;
    }
    if (!st->feeds) {
        st->feeds = true;
        feeds_start(s);
        service_alloc_start(s->services);
    }
    arena_clear(&st->arena);
    work(st);
}

void startup_begin(struct apiserver *s)
{
    struct startup *st = calloc(1, sizeof(*st));
    if (!st) {
        abort();
    }
    st->srv = s;
    arena_init(&st->arena, 64u << 20);
    s->startup = st;
    again(st, 0);
}

void startup_end(struct apiserver *s)
{
    struct startup *st = s->startup;
    loop_timer_stop(&s->startup_timer);
    if (st) {
        s->startup = NULL;
        s->startup_ended = st; /* writes under way still find it; freed with the server */
    }
}

void startup_free(struct apiserver *s)
{
    struct startup *st = s->startup_ended;
    if (st) {
        arena_deinit(&st->arena);
        free(st);
        s->startup_ended = NULL;
    }
}
