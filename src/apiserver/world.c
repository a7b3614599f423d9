/* What kinds and admission may look up of the rest of the cluster: the watch caches, answered at once. */
#include "apiserver/world.h"

#include "api/gen/core_v1.h"

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
    }
    return true;
}
