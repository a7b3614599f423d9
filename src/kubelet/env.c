/* The environment of a container: services, envFrom, env with references, $(VAR), and the downward API. */
#include "kubelet/objects.h"

#include <ctype.h>

#include "api/quantity.h"
#include "base/encoding.h"
#include "client/meta.h"

struct envs {
    struct arena *a;
    struct api_str_pair *items;
    size_t n, capacity;
};

static void put(struct envs *e, struct str key, struct str value)
{
    for (size_t i = 0; i < e->n; i++) {
        if (str_eq(e->items[i].key, key)) {
            e->items[i].value = value;
            return;
        }
    }
    if (e->n == e->capacity) {
        size_t capacity = e->capacity ? e->capacity * 2 : 32;
        struct api_str_pair *grown = arena_grow_n(e->a, e->items, e->n, capacity, sizeof(*grown));
        if (!grown) {
            return;
        }
        e->items = grown;
        e->capacity = capacity;
    }
    e->items[e->n++] = (struct api_str_pair){ key, value };
}

static struct str get(const struct api_str_pair *list, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, key)) {
            return list[i].value.ptr ? list[i].value : STR_EMPTY;
        }
    }
    return STR_NULL;
}

struct str env_expand(struct arena *a, struct str text, const struct api_str_pair *envs, size_t n_envs)
{
    if (str_find_char(text, '$') < 0) {
        return text.ptr ? text : STR_EMPTY;
    }
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_CRI_REQUEST);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != '$' || i + 1 == text.len) {
            buf_append_char(&b, c);
            continue;
        }
        char d = text.ptr[++i];
        if (d == '$') {
            buf_append_char(&b, '$');
            continue;
        }
        ptrdiff_t close = d == '(' ? str_find_char(str_sub(text, i, text.len), ')') : -1;
        if (close < 0) {
            buf_append_char(&b, '$');
            buf_append_char(&b, d);
            continue;
        }
        struct str name = str_sub(text, i + 1, (size_t)close - 1), value = get(envs, n_envs, name);
        if (value.ptr) {
            buf_append(&b, value);
        } else {
            buf_printf(&b, "$(%.*s)", STR_ARG(name));
        }
        i += (size_t)close;
    }
    return arena_str(a, buf_str(&b));
}

/* ---- services ---- */

static struct str env_name(struct arena *a, struct str name)
{
    char *s = arena_cstr(a, name);
    for (char *q = s; q && *q; q++) {
        *q = *q == '-' ? '_' : (char)toupper((unsigned char)*q);
    }
    return str_c(s);
}

static void put_service(struct envs *e, const struct core_v1_service *s)
{
    struct str name = env_name(e->a, s->metadata.name), ip = s->spec.cluster_ip;
    for (size_t i = 0; i < s->spec.n_ports; i++) {
        const struct core_v1_service_port *p = &s->spec.ports[i];
        struct str protocol = env_name(e->a, p->protocol);
        char *lower = arena_cstr(e->a, p->protocol);
        for (char *q = lower; q && *q; q++) {
            *q = (char)tolower((unsigned char)*q);
        }
        struct str port = arena_printf(e->a, "%d", p->port);
        struct str url = arena_printf(e->a, "%s://%.*s:%d", lower ? lower : "tcp", STR_ARG(ip), p->port);
        if (i == 0) {
            put(e, arena_printf(e->a, "%.*s_SERVICE_HOST", STR_ARG(name)), ip);
            put(e, arena_printf(e->a, "%.*s_SERVICE_PORT", STR_ARG(name)), port);
            put(e, arena_printf(e->a, "%.*s_PORT", STR_ARG(name)), url);
        }
        if (p->name.len) {
            put(e, arena_printf(e->a, "%.*s_SERVICE_PORT_%.*s", STR_ARG(name), STR_ARG(env_name(e->a, p->name))), port);
        }
        struct str prefix = arena_printf(e->a, "%.*s_PORT_%d_%.*s", STR_ARG(name), p->port, STR_ARG(protocol));
        put(e, prefix, url);
        put(e, arena_printf(e->a, "%.*s_PROTO", STR_ARG(prefix)), str_c(lower));
        put(e, arena_printf(e->a, "%.*s_PORT", STR_ARG(prefix)), port);
        put(e, arena_printf(e->a, "%.*s_ADDR", STR_ARG(prefix)), ip);
    }
}

/* The services of the pod's namespace, and the apiserver's. */
static void put_services(struct envs *e, struct pod *p)
{
    const struct core_v1_pod_spec *s = &p->obj->spec;
    bool links = !s->has_enable_service_links || s->enable_service_links;
    const struct core_v1_service *svc;
    if (!p->k->service_informer) {
        return;
    }
    svc = informer_get(p->k->service_informer, STR("default"), STR("kubernetes"));
    if (svc && svc->spec.cluster_ip.len && !str_eq_c(svc->spec.cluster_ip, "None")) {
        put_service(e, svc);
    }
    for (size_t pos = 0; links && (svc = informer_next_in(p->k->service_informer, str_c(p->ns), &pos));) {
        if (svc->spec.cluster_ip.len && !str_eq_c(svc->spec.cluster_ip, "None")) {
            put_service(e, svc);
        }
    }
}

/* ---- the downward API ---- */

/* A value in quotes, as Go's %q writes it: what is no printable text is escaped. */
static void quote(struct buf *b, struct str v)
{
    static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
    bool utf8 = str_is_utf8(v);
    buf_append_char(b, '"');
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        const char *known = c ? strchr(from, c) : NULL;
        if (known) {
            buf_append_char(b, '\\');
            buf_append_char(b, to[known - from]);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            buf_printf(b, "\\x%02x", c);
        } else {
            buf_append_char(b, (char)c);
        }
    }
    buf_append_char(b, '"');
}

static bool map_text(struct arena *a, const struct api_str_pair *list, size_t n, struct str *ret)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_POD_ARENA);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, "%s%.*s=", i ? "\n" : "", STR_ARG(list[i].key));
        quote(&b, list[i].value);
    }
    *ret = arena_str(a, buf_str(&b));
    return true;
}

bool downward_field(struct pod *p, struct arena *a, struct str path, struct str *ret, struct err *err)
{
    const struct core_v1_pod *o = p->obj;
    struct str prefix, key;
    if (str_cut(path, '[', &prefix, &key)) {
        bool label = str_eq_c(prefix, "metadata.labels");
        if (!label && !str_eq_c(prefix, "metadata.annotations")) {
            return err_set(err, ERR_INVALID, "unsupported fieldPath: %.*s", STR_ARG(path));
        }
        key = str_sub(key, 1, key.len >= 3 ? key.len - 3 : 0);
        *ret = label ? meta_label(&o->metadata, key) : meta_annotation(&o->metadata, key);
        *ret = ret->ptr ? *ret : STR_EMPTY;
        return true;
    }
    const struct pod_sandbox *sb = p->n_sandboxes ? &p->sandboxes[0] : NULL;
    bool host = o->spec.host_network;
    if (str_eq_c(path, "metadata.name")) {
        *ret = o->metadata.name;
    } else if (str_eq_c(path, "metadata.namespace")) {
        *ret = o->metadata.namespace;
    } else if (str_eq_c(path, "metadata.uid")) {
        *ret = o->metadata.uid;
    } else if (str_eq_c(path, "metadata.labels")) {
        return map_text(a, o->metadata.labels, o->metadata.n_labels, ret);
    } else if (str_eq_c(path, "metadata.annotations")) {
        return map_text(a, o->metadata.annotations, o->metadata.n_annotations, ret);
    } else if (str_eq_c(path, "spec.nodeName")) {
        *ret = str_c(p->k->node_name);
    } else if (str_eq_c(path, "spec.serviceAccountName")) {
        *ret = o->spec.service_account_name;
    } else if (str_eq_c(path, "status.hostIP") || str_eq_c(path, "status.hostIPs")) {
        *ret = str_c(p->k->node_ip);
    } else if (str_eq_c(path, "status.podIP")) {
        *ret = host ? str_c(p->k->node_ip) : sb && sb->n_ips ? str_c(sb->ips[0]) : STR_EMPTY;
    } else if (str_eq_c(path, "status.podIPs")) {
        *ret = host || !sb || !sb->n_ips ? str_c(host ? p->k->node_ip : "")
                                         : arena_printf(a, "%s%s%s", sb->ips[0], sb->n_ips > 1 ? "," : "", sb->n_ips > 1 ? sb->ips[1] : "");
    } else {
        return err_set(err, ERR_INVALID, "unsupported fieldPath: %.*s", STR_ARG(path));
    }
    *ret = ret->ptr ? *ret : STR_EMPTY;
    return true;
}

bool downward_resource(struct pod *p, struct arena *a, const struct core_v1_container *own,
                       const struct core_v1_resource_field_selector *sel, struct str *ret, struct err *err)
{
    const struct core_v1_container *c = own;
    for (size_t i = 0; sel->container_name.len && i < p->n_containers; i++) {
        if (str_eq_c(sel->container_name, p->containers[i]->name)) {
            c = p->containers[i]->spec;
        }
    }
    struct str which, name;
    if (!c || !str_cut(sel->resource, '.', &which, &name)) {
        return err_set(err, ERR_INVALID, "unsupported resource: %.*s", STR_ARG(sel->resource));
    }
    bool limit = str_eq_c(which, "limits");
    const struct api_str_pair *list = limit ? c->resources.limits : c->resources.requests;
    size_t n = limit ? c->resources.n_limits : c->resources.n_requests;
    char key[128];
    if (!str_to_cstr(name, key, sizeof(key))) {
        return err_set(err, ERR_INVALID, "unsupported resource: %.*s", STR_ARG(sel->resource));
    }
    bool cpu = strcmp(key, "cpu") == 0;
    quantity_nano value = 0, divisor = 0;
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i].key, name)) {
            value = quantity_of(list[i].value).nano;
        }
    }
    if (limit && value == 0) {
        /* Without a limit it is what the node has. */
        value = cpu ? (quantity_nano)p->k->cpu_milli * 1000000 : strcmp(key, "memory") == 0 ? (quantity_nano)p->k->memory_bytes * 1000000000 : 0;
    }
    divisor = sel->divisor.len ? quantity_of(sel->divisor).nano : 0;
    if (divisor <= 0) {
        divisor = 1000000000;
    }
    *ret = arena_printf(a, "%lld", (long long)((value + divisor - 1) / divisor));
    return true;
}

/* ---- references ---- */

static size_t add_need(struct object_need *needs, size_t n, size_t max, enum object_kind kind, struct str name, bool optional)
{
    if (n < max && name.len) {
        needs[n++] = (struct object_need){ .kind = kind, .name = name, .optional = optional };
    }
    return n;
}

size_t env_needs(const struct core_v1_container *c, struct object_need *needs, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_env_from; i++) {
        const struct core_v1_env_from_source *f = &c->env_from[i];
        if (f->config_map_ref) {
            n = add_need(needs, n, max, OBJECT_CONFIG_MAP, f->config_map_ref->local_object_reference.name,
                         f->config_map_ref->has_optional && f->config_map_ref->optional);
        } else if (f->secret_ref) {
            n = add_need(needs, n, max, OBJECT_SECRET, f->secret_ref->local_object_reference.name,
                         f->secret_ref->has_optional && f->secret_ref->optional);
        }
    }
    for (size_t i = 0; i < c->n_env; i++) {
        const struct core_v1_env_var_source *f = c->env[i].value_from;
        if (f && f->config_map_key_ref) {
            n = add_need(needs, n, max, OBJECT_CONFIG_MAP, f->config_map_key_ref->local_object_reference.name,
                         f->config_map_key_ref->has_optional && f->config_map_key_ref->optional);
        } else if (f && f->secret_key_ref) {
            n = add_need(needs, n, max, OBJECT_SECRET, f->secret_key_ref->local_object_reference.name,
                         f->secret_key_ref->has_optional && f->secret_key_ref->optional);
        }
    }
    return n;
}

static bool put_all(struct envs *e, struct str prefix, const struct api_str_pair *list, size_t n, struct err *err UNUSED)
{
    for (size_t i = 0; i < n; i++) {
        put(e, prefix.len ? arena_printf(e->a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(list[i].key)) : list[i].key, list[i].value);
    }
    return true;
}

static bool put_from(struct envs *e, struct pod_container *c, const struct core_v1_env_from_source *f, struct err *err)
{
    struct objects *o = c->pod->k->objects;
    if (f->config_map_ref) {
        const struct core_v1_config_map *m = objects_config_map(o, str_c(c->pod->ns), f->config_map_ref->local_object_reference.name);
        if (!m) {
            return (f->config_map_ref->has_optional && f->config_map_ref->optional) ||
                   err_set(err, ERR_NOT_FOUND, "configmap \"%.*s\" not found", STR_ARG(f->config_map_ref->local_object_reference.name));
        }
        return put_all(e, f->prefix, m->data, m->n_data, err);
    }
    if (f->secret_ref) {
        const struct core_v1_secret *s = objects_secret(o, str_c(c->pod->ns), f->secret_ref->local_object_reference.name);
        if (!s) {
            return (f->secret_ref->has_optional && f->secret_ref->optional) ||
                   err_set(err, ERR_NOT_FOUND, "secret \"%.*s\" not found", STR_ARG(f->secret_ref->local_object_reference.name));
        }
        return put_all(e, f->prefix, s->data, s->n_data, err);
    }
    return true;
}

/* Sets '*ret' absent when an optional source is missing: then the variable is not set. */
static bool value_from(struct envs *e, struct pod_container *c, const struct core_v1_env_var_source *f, struct str *ret, struct err *err)
{
    struct objects *o = c->pod->k->objects;
    struct str ns = str_c(c->pod->ns);
    *ret = STR_NULL;
    if (f->field_ref) {
        return downward_field(c->pod, e->a, f->field_ref->field_path, ret, err);
    }
    if (f->resource_field_ref) {
        return downward_resource(c->pod, e->a, c->spec, f->resource_field_ref, ret, err);
    }
    if (f->config_map_key_ref) {
        const struct core_v1_config_map_key_selector *s = f->config_map_key_ref;
        const struct core_v1_config_map *m = objects_config_map(o, ns, s->local_object_reference.name);
        bool optional = s->has_optional && s->optional;
        *ret = m ? get(m->data, m->n_data, s->key) : STR_NULL;
        if (!m) {
            return optional || err_set(err, ERR_NOT_FOUND, "configmap \"%.*s\" not found", STR_ARG(s->local_object_reference.name));
        }
        return ret->ptr || optional ||
               err_set(err, ERR_NOT_FOUND, "couldn't find key %.*s in ConfigMap %.*s/%.*s", STR_ARG(s->key), STR_ARG(ns),
                       STR_ARG(s->local_object_reference.name));
    }
    if (f->secret_key_ref) {
        const struct core_v1_secret_key_selector *s = f->secret_key_ref;
        const struct core_v1_secret *m = objects_secret(o, ns, s->local_object_reference.name);
        bool optional = s->has_optional && s->optional;
        *ret = m ? get(m->data, m->n_data, s->key) : STR_NULL;
        if (!m) {
            return optional || err_set(err, ERR_NOT_FOUND, "secret \"%.*s\" not found", STR_ARG(s->local_object_reference.name));
        }
        return ret->ptr || optional ||
               err_set(err, ERR_NOT_FOUND, "couldn't find key %.*s in Secret %.*s/%.*s", STR_ARG(s->key), STR_ARG(ns),
                       STR_ARG(s->local_object_reference.name));
    }
    return err_set(err, ERR_INVALID, "environment variable takes its value from a source that this kubelet does not know");
}

bool env_build(struct pod_container *c, struct arena *a, struct api_str_pair **ret, size_t *ret_n, struct err *err)
{
    const struct core_v1_container *s = c->spec;
    struct envs e = { .a = a };
    put_services(&e, c->pod); /* first: everything else overrides them */
    for (size_t i = 0; i < s->n_env_from; i++) {
        if (!put_from(&e, c, &s->env_from[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < s->n_env; i++) {
        const struct core_v1_env_var *v = &s->env[i];
        struct str value;
        if (v->value_from) {
            if (!value_from(&e, c, v->value_from, &value, err)) {
                return false;
            }
            if (!value.ptr) {
                continue;
            }
        } else {
            value = env_expand(a, v->value, e.items, e.n); /* a reference sees what stands before it */
        }
        put(&e, v->name, value);
    }
    *ret = e.items;
    *ret_n = e.n;
    return true;
}
