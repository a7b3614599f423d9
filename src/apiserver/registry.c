/* The table of what is served, made once from schema/: stored resources with their caches, and endpoints in every version. */
#include "apiserver/server.h"

#include <stdarg.h>

#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/gen/meta_v1.h"
#include "base/log.h"
#include "store/limits.h"

/* Upstream keeps these as JSON text (they belong to API servers of their own inside kube-apiserver). */
static bool is_stored_as_json(const struct api_resource *r)
{
    return str_eq_c(r->group, "apiextensions.k8s.io") || str_eq_c(r->group, "apiregistration.k8s.io");
}

static bool is_served(const struct api_resource *r)
{
    return r->default_on && r->type;
}

static struct str group_version(struct str group, struct str version)
{
    char text[256];
    int n = str_empty(group) ? snprintf(text, sizeof(text), "%.*s", STR_ARG(version))
                             : snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(group), STR_ARG(version));
    char *copy = n > 0 ? strndup(text, (size_t)n) : NULL;
    if (!copy) {
        abort();
    }
    return str_c(copy);
}

PRINTF_LIKE(1, 2) static struct str kept(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        abort();
    }
    return str_n(text, (size_t)n);
}

/* Is 'r' the row that hooks and caches work in? The storage version where it is served, else the first served row. */
static bool is_hub(const struct api_resource *r)
{
    struct str gv = group_version(r->group, r->version);
    bool exact = str_eq(gv, r->storage_version);
    free((void *)(uintptr_t)gv.ptr);
    if (exact) {
        return true;
    }
    for (size_t i = 0; i < api_n_resources; i++) {
        const struct api_resource *o = &api_resources[i];
        if (o == r || !is_served(o) || !str_eq(o->etcd_prefix, r->etcd_prefix)) {
            continue;
        }
        struct str ogv = group_version(o->group, o->version);
        bool other = str_eq(ogv, r->storage_version);
        free((void *)(uintptr_t)ogv.ptr);
        if (other || o < r) {
            return false;
        }
    }
    return true;
}

static struct object *build(void *arg, struct str key, struct str value, struct err *err)
{
    struct rest *rest = arg;
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 256u << 20);
    void *obj = arena_alloc(&a, rest->hub->type->size);
    (void)key;
    if (!obj) {
        err_set(err, ERR_NO_MEMORY, "object is too large");
        return NULL;
    }
    bool ok = api_pb_is_envelope(value) ? api_decode_pb_object(&a, rest->hub->type, value, NULL, obj, err)
                                        : api_decode_json(&a, rest->hub->type, value, NULL, obj, err);
    if (ok && rest->ops->read_back) {
        rest->ops->read_back(obj);
    }
    return ok ? rest_publish(rest, &a, obj, err) : NULL;
}

static const struct watch_cache_ops cache_ops = { .build = build };

static void rest_open(struct apiserver *s, struct rest *rest, const struct api_resource *hub)
{
    rest->srv = s;
    rest->hub = hub;
    rest->ops = kind_ops_find(hub->group, hub->resource);
    rest->prefix = kept("%.*s/", STR_ARG(hub->etcd_prefix));
    rest->stored_as_json = is_stored_as_json(hub) || str_eq_c(s->cfg.storage_media_type, "application/json");

    size_t n = 0;
    uint32_t indexed = 0;
    while (rest->ops->fields && rest->ops->fields[n].label.ptr) {
        n++;
    }
    rest->field_names = calloc(n ? n : 1, sizeof(*rest->field_names));
    if (!rest->field_names) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        rest->field_names[i] = rest->ops->fields[i].label;
        indexed |= str_eq_c(rest->field_names[i], "spec.nodeName") ? 1u << i : 0;
    }
    struct str gv = group_version(hub->group, hub->version);
    rest->class = (struct object_class){
        .prefix = kept("{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\",", STR_ARG(hub->kind), STR_ARG(gv)),
        .item_prefix = STR("{"), .fields = rest->field_names, .n_fields = (uint16_t)n,
        /* Nothing of a Secret is held by others when it is gone. */
        .shapes = str_eq_c(hub->resource, "secrets") ? NULL : s->shapes,
    };
    free((void *)(uintptr_t)gv.ptr);

    const struct api_field *f = api_field_find(hub->type, STR("metadata"), &rest->meta_offset);
    if (!f) {
        abort();
    }
    f = api_field_find(hub->type, STR("status"), &rest->status_offset);
    rest->status_size = f && f->ftype == API_MESSAGE && f->card == API_SINGLE && !(f->flags & API_F_POINTER)
                            ? f->message->size : 0;

    struct watch_cache_config cfg = { .store = s->store, .prefix = rest->prefix, .namespaced = hub->namespaced,
                                      .has_volatile = (rest->ops->flags & KIND_VOLATILE) != 0, .indexed_fields = indexed,
                                      .ops = &cache_ops, .arg = rest };
    rest->cache = watch_cache_new(&cfg);
}

static struct rest *rest_of(struct apiserver *s, const struct api_resource *r)
{
    for (size_t i = 0; i < s->n_rests; i++) {
        if (str_eq(s->rests[i].hub->etcd_prefix, r->etcd_prefix)) {
            return &s->rests[i];
        }
    }
    return NULL;
}

static void endpoint_open(struct apiserver *s, struct endpoint *ep, const struct api_resource *r)
{
    ep->res = r;
    ep->rest = r->etcd_prefix.len ? rest_of(s, r) : NULL;
    ep->conversion = kind_conversion_find(r->group, r->version, r->kind);
    ep->api_version = group_version(r->group, r->version);
    ep->prefix = kept("{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\",", STR_ARG(r->kind), STR_ARG(ep->api_version));
    ep->list_kind = kept("%.*sList", STR_ARG(r->kind));
    struct str key = kept("%.*s/%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version), STR_ARG(r->resource));
    (void)map_put(&s->endpoint_by_key, key, ep);
    free((void *)(uintptr_t)key.ptr);
    if (ep->rest) {
        key = kept("%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->resource));
        (void)map_put(&s->rest_by_key, key, ep->rest);
        free((void *)(uintptr_t)key.ptr);
    }
}

bool registry_open(struct apiserver *s, struct err *err)
{
    (void)err;
    /* Once more when superseded objects have left the rings. */
    net_trim_init(&s->trim, s->loop, WATCH_RING_AGE_MS + 15000);
    s->shapes = shapes_new();
    s->rests = calloc(api_n_resources, sizeof(*s->rests));
    s->endpoints = calloc(api_n_resources, sizeof(*s->endpoints));
    if (!s->rests || !s->endpoints) {
        abort();
    }
    map_init(&s->endpoint_by_key);
    map_init(&s->rest_by_key);
    for (size_t i = 0; i < api_n_resources; i++) {
        const struct api_resource *r = &api_resources[i];
        if (is_served(r) && r->etcd_prefix.len && is_hub(r)) {
            rest_open(s, &s->rests[s->n_rests++], r);
        }
    }
    for (size_t i = 0; i < api_n_resources; i++) {
        const struct api_resource *r = &api_resources[i];
        struct rest *rest = is_served(r) && r->etcd_prefix.len ? rest_of(s, r) : NULL;
        if (rest && rest->hub->type != r->type && !kind_conversion_find(r->group, r->version, r->kind)) {
            log_error("apiserver: %.*s/%.*s %.*s is not served: its shape is not the stored one and nothing converts it", STR_ARG(r->group),
                      STR_ARG(r->version), STR_ARG(r->resource));
            continue;
        }
        if (is_served(r)) {
            endpoint_open(s, &s->endpoints[s->n_endpoints++], &api_resources[i]);
        }
    }
    return true;
}

static void drop(struct str s)
{
    free((void *)(uintptr_t)s.ptr);
}

void registry_close(struct apiserver *s)
{
    for (size_t i = 0; i < s->n_rests; i++) {
        s->rests[i].cache = watch_cache_free(s->rests[i].cache);
        drop(s->rests[i].prefix);
        drop(s->rests[i].class.prefix);
        free(s->rests[i].field_names);
    }
    for (size_t i = 0; i < s->n_endpoints; i++) {
        drop(s->endpoints[i].api_version);
        drop(s->endpoints[i].prefix);
        drop(s->endpoints[i].list_kind);
    }
    map_deinit(&s->endpoint_by_key);
    map_deinit(&s->rest_by_key);
    free(s->rests);
    s->shapes = shapes_free(s->shapes);
    net_trim_deinit(&s->trim);
    free(s->endpoints);
    s->rests = NULL;
    s->endpoints = NULL;
    s->n_rests = s->n_endpoints = 0;
}

/* Puts the parts together with slashes between them. Absent: they are too long to name anything that is served. */
static struct str joined(char dst[512], const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len >= 512 - len) {
            return STR_NULL;
        }
        if (parts[i].len) {
            memcpy(dst + len, parts[i].ptr, parts[i].len);
        }
        len += parts[i].len;
        dst[len++] = '/';
    }
    return str_n(dst, len - 1);
}

const struct endpoint *registry_endpoint(const struct apiserver *s, struct str group, struct str version, struct str resource)
{
    char dst[512];
    const struct str parts[] = { group, version, resource };
    struct str key = joined(dst, parts, ARRAY_SIZE(parts));
    return key.ptr ? map_get(&s->endpoint_by_key, key) : NULL;
}

struct rest *registry_rest(const struct apiserver *s, struct str group, struct str resource)
{
    char dst[512];
    const struct str parts[] = { group, resource };
    struct str key = joined(dst, parts, ARRAY_SIZE(parts));
    return key.ptr ? map_get(&s->rest_by_key, key) : NULL;
}

const struct endpoint *registry_endpoint_of_kind(const struct apiserver *s, struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; i < s->n_endpoints; i++) {
        const struct api_resource *r = s->endpoints[i].res;
        if (str_eq(r->kind, kind) && str_eq(r->version, version) && str_eq(r->group, group)) {
            return &s->endpoints[i];
        }
    }
    return NULL;
}

bool registry_ready(const struct apiserver *s)
{
    for (size_t i = 0; i < s->n_rests; i++) {
        if (!watch_cache_ready(s->rests[i].cache)) {
            return false;
        }
    }
    return true;
}

struct meta_v1_object_meta *rest_meta(const struct rest *rest, void *obj)
{
    return (struct meta_v1_object_meta *)(void *)((char *)obj + rest->meta_offset);
}

const struct meta_v1_object_meta *rest_meta_const(const struct rest *rest, const void *obj)
{
    return (const struct meta_v1_object_meta *)(const void *)((const char *)obj + rest->meta_offset);
}

void *rest_decode(const struct rest *rest, struct arena *a, const struct object *o)
{
    return rest_decode_part(rest, a, o, NULL);
}

void *rest_decode_part(const struct rest *rest, struct arena *a, const struct object *o, const struct api_mask *mask)
{
    const struct api_json_decode how = { .mask = mask, .own = true };
    UNINITIALIZED struct err err;
    void *obj = arena_alloc(a, rest->hub->type->size);
    char *text = arena_alloc(a, object_json_size(o));
    if (!obj || !text) {
        return NULL;
    }
    struct iovec iov[OBJECT_IOV];
    size_t len = 0;
    int n = object_json_iov(o, iov);
    for (int i = 0; i < n; i++) {
        memcpy(text + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    if (!api_decode_json(a, rest->hub->type, str_n(text, len), &how, obj, &err)) {
        log_error("apiserver: cannot read a published %.*s again: %s", STR_ARG(rest->hub->kind), err.msg);
        return NULL;
    }
    return obj;
}

struct object *rest_publish(const struct rest *rest, struct arena *a, const void *obj, struct err *err)
{
    const struct meta_v1_object_meta *m = rest_meta_const(rest, obj);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    (void)!buf_reserve(&b, PUBLISH_FIRST_BYTES);
    struct api_json_offsets at;
    struct api_json_encode how = { .kind = rest->hub->kind, .api_version = STR("x"), .rv_gap = true };
    if (!api_encode_json(&b, rest->hub->type, obj, &how, &at)) {
        err_set(err, ERR_TOO_LARGE, "object is too large");
        return NULL;
    }
    struct object_label *labels = arena_new_n(a, struct object_label, m->n_labels);
    struct str *fields = arena_new_n(a, struct str, rest->class.n_fields);
    struct str *owners = arena_new_n(a, struct str, m->n_owner_references);
    if (!labels || !fields || !owners) {
        err_set(err, ERR_NO_MEMORY, "object is too large");
        return NULL;
    }
    for (size_t i = 0; i < m->n_labels; i++) {
        labels[i] = (struct object_label){ .key = m->labels[i].key, .value = m->labels[i].value };
    }
    for (size_t i = 0; i < rest->class.n_fields; i++) {
        fields[i] = rest->ops->fields[i].get(a, obj);
    }
    for (size_t i = 0; i < m->n_owner_references; i++) {
        owners[i] = m->owner_references[i].uid;
    }
    struct object_init init = {
        .class = &rest->class, .json = str_n(b.ptr + at.body_at, b.len - at.body_at), .rv_at = at.rv_at - at.body_at,
        .namespace = m->namespace, .name = m->name, .uid = m->uid, .labels = labels, .n_labels = m->n_labels,
        .fields = fields, .owner_uids = owners, .n_owner_uids = m->n_owner_references,
        .flags = m->deletion_timestamp.set ? OBJECT_DELETING : 0,
    };
    return object_new(&init, err);
}

static bool encode_stored(const struct rest *rest, const void *obj, bool settle, struct buf *b, struct err *err)
{
    bool ok;
    if (rest->stored_as_json) {
        const struct meta_v1_object_meta *m = rest_meta_const(rest, obj);
        struct meta_v1_object_meta keep = *m;
        struct meta_v1_object_meta *mut = (struct meta_v1_object_meta *)(uintptr_t)m;
        struct str gv = group_version(rest->hub->group, rest->hub->version);
        struct api_json_encode how = { .kind = rest->hub->kind, .api_version = gv };
        mut->resource_version = STR_NULL;
        ok = api_encode_json(b, rest->hub->type, obj, &how, NULL);
        *mut = keep;
        drop(gv);
    } else {
        struct api_pb_encode how = { .api_version = rest->hub->storage_version, .kind = rest->hub->kind,
                                     .drop_resource_version = true, .settle = settle };
        ok = api_encode_pb_object(b, rest->hub->type, obj, &how);
    }
    return ok || err_set(err, ERR_TOO_LARGE, "object is too large");
}

bool rest_encode_stored(const struct rest *rest, const void *obj, struct buf *b, struct err *err)
{
    return encode_stored(rest, obj, false, b, err);
}

bool rest_encode_settled(const struct rest *rest, void *obj, struct buf *b, struct err *err)
{
    return encode_stored(rest, obj, true, b, err);
}
