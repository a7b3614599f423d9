/* What kinds and admission may look up of the rest of the cluster: the watch caches, answered at once. */
#include "apiserver/world.h"

#include "api/gen/core_v1.h"
#include "base/clock.h"
#include "base/log.h"

static struct apiserver *server_of(const struct kind_world *w)
{
    return (struct apiserver *)(uintptr_t)((const char *)w - offsetof(struct apiserver, world));
}

static const void *get(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                       struct str name)
{
    struct rest *rest = registry_rest(server_of(w), group, resource);
    const struct object *o = rest ? watch_cache_get(rest->cache, ns, name) : NULL;
    return o ? rest_decode(rest, a, o) : NULL;
}

static void each(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                 bool (*fn)(void *ctx, const void *obj), void *ctx)
{
    struct rest *rest = registry_rest(server_of(w), group, resource);
    if (!rest) {
        return;
    }
    struct snapshot *s = watch_cache_snapshot(rest->cache);
    struct snapshot_iter it;
    const struct object *o;
    snapshot_iter_init(&it, s, ns, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        const void *obj = rest_decode(rest, a, o);
        if (!obj || !fn(ctx, obj)) {
            break;
        }
    }
    (void)snapshot_unref(s);
}

static bool has_ip_family(const struct kind_world *w, struct str family)
{
    bool v6 = str_find_char(server_of(w)->cfg.service_cluster_ip_range, ':') >= 0;
    return str_eq_c(family, v6 ? "IPv6" : "IPv4");
}

void world_init(struct apiserver *s)
{
    s->world = (struct kind_world){ .get = get, .each = each, .has_ip_family = has_ip_family };
}

bool world_sa_get(void *ctx, struct str resource, struct str ns, struct str name, struct arena *a, struct sa_object *ret)
{
    struct apiserver *s = ctx;
    struct rest *rest = registry_rest(s, STR_EMPTY, resource);
    const struct object *o = rest ? watch_cache_get(rest->cache, str_eq_c(resource, "nodes") ? STR_EMPTY : ns, name) : NULL;
    *ret = (struct sa_object){ 0 };
    if (!o) {
        return false;
    }
    ret->uid = object_uid(o);
    ret->deleting = (o->flags & OBJECT_DELETING) != 0;
    if (!ret->deleting && !str_eq_c(resource, "secrets")) {
        return true;
    }
    const void *obj = rest_decode(rest, a, o);
    if (!obj) {
        return false;
    }
    ret->deletion_s = rest_meta_const(rest, obj)->deletion_timestamp.sec;
    if (str_eq_c(resource, "secrets")) {
        const struct core_v1_secret *secret = obj;
        for (size_t i = 0; i < secret->n_data; i++) {
            if (str_eq_c(secret->data[i].key, "token")) {
                ret->token = secret->data[i].value;
            }
        }
        for (size_t i = 0; i < secret->metadata.n_labels; i++) {
            ret->invalid |= str_eq(secret->metadata.labels[i].key, SA_LABEL_INVALID_SINCE);
        }
    }
    return true;
}

static void on_used_written(void *arg, const struct store_result *res)
{
    (void)arg;
    if (res->status != STORE_OK && res->status != STORE_E_CONFLICT) {
        log_warning("apiserver: the last use of a legacy token cannot be written: %s", store_status_text(res->status));
    }
}

void world_sa_used(void *ctx, struct str ns, struct str name, int64_t now)
{
    struct apiserver *s = ctx;
    struct rest *rest = registry_rest(s, STR_EMPTY, STR("secrets"));
    const struct object *there = watch_cache_get(rest->cache, ns, name);
    char day[CLOCK_RFC3339_SIZE];
    struct str today = str_n(day, MIN(clock_format_rfc3339(now, 0, 0, day), (size_t)10)), label = SA_LABEL_LAST_USED;
    struct err err = { 0 };
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf key, value;
    arena_init(&a, 64u << 20);
    buf_init(&key, 2048);
    buf_init(&value, 8u << 20);
    struct core_v1_secret *secret = there ? rest_decode(rest, &a, there) : NULL;
    struct api_str_pair *labels = secret ? arena_new_n(&a, struct api_str_pair, secret->metadata.n_labels + 1) : NULL;
    if (!labels) {
        return;
    }
    size_t n = 0, at;
    for (size_t i = 0; i < secret->metadata.n_labels; i++) {
        if (!str_eq(secret->metadata.labels[i].key, label)) {
            labels[n++] = secret->metadata.labels[i];
        } else if (str_eq(secret->metadata.labels[i].value, today)) {
            return; /* once a day is enough */
        }
    }
    for (at = n++; at > 0 && str_cmp(labels[at - 1].key, label) > 0; at--) {
        labels[at] = labels[at - 1];
    }
    labels[at] = (struct api_str_pair){ .key = label, .value = today };
    secret->metadata.labels = labels;
    secret->metadata.n_labels = n;
    struct object *o = rest_publish(rest, &a, secret, &err);
    if (o && rest_encode_stored(rest, secret, &value, &err)) {
        watch_cache_key(rest->cache, ns, name, &key);
        struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                                 .expect = object_revision(there), .object = o, .done = on_used_written };
        store_write(s->store, &w);
    }
    (void)object_unref(o);
    if (value.ptr) {
        explicit_bzero(value.ptr, value.capacity);
    }
}
