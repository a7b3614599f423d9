/* What kinds and admission may look up of the rest of the cluster: the watch caches, answered at once. */
#include "apiserver/world.h"

#include "api/copy.h"
#include "api/gen/core_v1.h"
#include "apiserver/limits.h"
#include "apiserver/service-alloc.h"
#include "base/clock.h"
#include "base/log.h"

static struct apiserver *server_of(const struct kind_world *w)
{
    return (struct apiserver *)(uintptr_t)((const char *)w - offsetof(struct apiserver, world));
}

/*
 * What is looked up at every write of some kind is kept decoded beside the published object, and copied for whoever asks, because what
 * he gets is to live as long as his arena. Published objects never change, so an entry is good for the very object it was made of,
 * and that one is held. An object comes in when it is asked for a second time in a row, so that what is looked up once costs nothing.
 */
struct world_known {
    uintptr_t seen; /* the object asked for last that is not the one below */
    const struct object *o;
    struct arena arena;
    const void *obj;
};

static void known_clear(struct world_known *k)
{
    if (k->o) {
        k->o = object_unref(k->o);
        arena_deinit(&k->arena);
        k->obj = NULL;
    }
}

static const void *decoded(struct apiserver *s, const struct rest *rest, struct arena *a, const struct object *o)
{
    uint64_t spread = (uint64_t)(uintptr_t)o * UINT64_C(0x9e3779b97f4a7c15);
    struct world_known *k = &s->world_known[(spread >> 32) % WORLD_KNOWN];
    /* As for shapes: nothing of a Secret is held by others. */
    bool may = object_json_size(o) <= WORLD_KNOWN_JSON && rest->class.shapes;
    if (k->o != o && (k->seen != (uintptr_t)o || !may)) {
        k->seen = (uintptr_t)o;
        return rest_decode(rest, a, o);
    }
    if (k->o != o) {
        known_clear(k);
        arena_init(&k->arena, WORLD_KNOWN_BYTES);
        k->obj = rest_decode(rest, &k->arena, o);
        k->o = object_ref((struct object *)(uintptr_t)o);
    }
    /* Short JSON can make a large struct: [{},{},…]. */
    return k->obj ? api_copy(a, rest->hub->type, k->obj) : rest_decode(rest, a, o);
}

void world_free(struct apiserver *s)
{
    for (size_t i = 0; s->world_known && i < WORLD_KNOWN; i++) {
        known_clear(&s->world_known[i]);
    }
    free(s->world_known);
    s->world_known = NULL;
}

static const void *get(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                       struct str name)
{
    struct rest *rest = registry_rest(server_of(w), group, resource);
    const struct object *o = rest ? watch_cache_get(rest->cache, ns, name) : NULL;
    return o ? decoded(server_of(w), rest, a, o) : NULL;
}

static void each(const struct kind_world *w, struct arena *a, struct str group, struct str resource, struct str ns,
                 bool (*fn)(void *ctx, const void *obj), void *ctx)
{
    struct rest *rest = registry_rest(server_of(w), group, resource);
    if (!rest || watch_cache_n_objects(rest->cache) == 0) {
        return;
    }
    struct snapshot *s = watch_cache_snapshot(rest->cache);
    struct snapshot_iter it;
    const struct object *o;
    snapshot_iter_init(&it, s, ns, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        const void *obj = decoded(server_of(w), rest, a, o);
        if (!obj || !fn(ctx, obj)) {
            break;
        }
    }
    (void)snapshot_unref(s);
}

static bool has_ip_family(const struct kind_world *w, struct str family)
{
    return service_alloc_has_family(server_of(w)->services, str_eq_c(family, "IPv6"));
}

static struct str first_ip_family(const struct kind_world *w)
{
    return str_find_char(service_alloc_first_ip(server_of(w)->services), ':') >= 0 ? STR("IPv6") : STR("IPv4");
}

void world_init(struct apiserver *s)
{
    s->world_known = calloc(WORLD_KNOWN, sizeof(*s->world_known));
    if (!s->world_known) {
        abort();
    }
    s->world = (struct kind_world){ .get = get, .each = each, .has_ip_family = has_ip_family,
                                    .first_ip_family = first_ip_family };
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
