#include "apiserver/kubernetes-service.h"

#include <stdarg.h>
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/default.h"
#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "apiserver/limits.h"
#include "apiserver/server.h"
#include "apiserver/service-alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "net/addr.h"

/* Upstream's interval and time to live. */
enum { RENEW_MS = 10000, LEASE_TTL_S = 15, REPAIR_MS = 1000 };

#define LEASES "/registry/masterleases/"
#define NS STR("default")
#define NAME STR("kubernetes")

enum { SERVICE, ENDPOINTS, SLICE, KINDS };

struct kubernetes_service {
    struct apiserver *srv;
    struct store_resource *leases;
    struct map ips;           /* addresses that hold a lease; values are of no use */
    struct watcher *watchers[KINDS];
    struct loop_timer renew, repair;
    struct arena arena;       /* of one reconciliation */
    uint64_t reconciled_ms;
    unsigned pending;         /* writes under way */
    bool loaded, dirty, failed, leaving, stopped;
    int64_t generation;       /* of our lease's value: it must differ each time to be a change */
    void (*done)(void *arg);
    void *done_arg;
};

static void reconcile(struct kubernetes_service *k);

static struct rest *rest_of(const struct kubernetes_service *k, int kind)
{
    return kind == SLICE ? registry_rest(k->srv, STR("discovery.k8s.io"), STR("endpointslices"))
                         : registry_rest(k->srv, STR_EMPTY, kind == SERVICE ? STR("services") : STR("endpoints"));
}

static bool with_endpoints(const struct kubernetes_service *k)
{
    return !str_eq_c(k->srv->cfg.endpoint_reconciler_type, "none") && k->srv->cfg.secure_port > 0;
}

static void repair_soon(struct kubernetes_service *k, uint64_t ms)
{
    if (!k->stopped && !loop_timer_runs(&k->repair)) {
        loop_timer_start(&k->repair, ms);
    }
}

/* ---- writing ---- */

static void settled(struct kubernetes_service *k)
{
    if (k->stopped || k->pending > 0) {
        return;
    }
    bool failed = k->failed;
    if (failed || k->dirty) {
        k->failed = k->dirty = false;
        repair_soon(k, REPAIR_MS);
    }
    if (failed) {
        return;
    }
    void (*done)(void *arg) = k->done;
    k->done = NULL;
    if (done) {
        done(k->done_arg);
    }
}

static void on_written(void *arg, const struct store_result *res)
{
    struct kubernetes_service *k = arg;
    k->pending--;
    if (res->status != STORE_OK) {
        k->failed = true;
        if (res->status != STORE_E_CONFLICT && res->status != STORE_E_CLOSED) {
            log_error("apiserver: the kubernetes Service cannot be written: %s; it is tried again", store_status_text(res->status));
        }
    }
    settled(k);
}

/* Writes a hub object over what was there ('there' NULL: nothing). */
static void put(struct kubernetes_service *k, int kind, void *obj, const struct object *there)
{
    struct rest *rest = rest_of(k, kind);
    struct meta_v1_object_meta *m = rest_meta(rest, obj);
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 1u << 20);
    if (!there) {
        char uid[RAND_UUID_SIZE];
        rand_uuid(uid);
        m->uid = arena_str(&k->arena, str_c(uid));
        m->creation_timestamp = (struct api_time){ .sec = clock_real_s(), .set = true };
    }
    if (rest->ops->flags & KIND_GENERATION) {
        m->generation++;
    }
    struct object *o = rest_publish(rest, &k->arena, obj, &err);
    if (!o || !rest_encode_stored(rest, obj, &value, &err)) {
        log_error("apiserver: the kubernetes Service cannot be encoded: %s", err.msg);
        (void)object_unref(o);
        return;
    }
    watch_cache_key(rest->cache, NS, NAME, &key);
    struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = there ? object_revision(there) : STORE_ABSENT, .object = o, .done = on_written, .arg = k };
    k->pending++;
    store_write(k->srv->store, &w);
    (void)object_unref(o);
}

PRINTF_LIKE(3, 4) static void *from_json(struct kubernetes_service *k, int kind, const char *fmt, ...)
{
    struct rest *rest = rest_of(k, kind);
    struct err err = { 0 };
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&k->arena, fmt, ap);
    va_end(ap);
    void *obj = arena_alloc(&k->arena, rest->hub->type->size);
    if (!obj || !api_decode_json(&k->arena, rest->hub->type, text, NULL, obj, &err) ||
        !api_default(&k->arena, rest->hub->type, obj, NULL)) {
        log_error("apiserver: the kubernetes Service cannot be made: %s", err.msg);
        return NULL;
    }
    return obj;
}

/* ---- the objects ---- */

static void put_service(struct kubernetes_service *k)
{
    const struct apiserver_config *cfg = &k->srv->cfg;
    struct rest *rest = rest_of(k, SERVICE);
    const struct object *there = watch_cache_get(rest->cache, NS, NAME);
    struct str ip = service_alloc_first_ip(k->srv->services);
    int32_t port = (int32_t)cfg->secure_port, node_port = (int32_t)cfg->kubernetes_service_node_port;
    const char *policy = node_port ? ",\"externalTrafficPolicy\":\"Cluster\"" : "";
    struct core_v1_service *want = from_json(k, SERVICE,
        "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"component\":\"apiserver\","
        "\"provider\":\"kubernetes\"}},\"spec\":{\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":443,"
        "\"targetPort\":%d,\"nodePort\":%d}],\"clusterIP\":\"%.*s\",\"clusterIPs\":[\"%.*s\"],\"type\":\"%s\","
        "\"sessionAffinity\":\"None\",\"ipFamilies\":[\"%s\"],\"ipFamilyPolicy\":\"SingleStack\",\"internalTrafficPolicy\":\"Cluster\"%s}}",
        port, node_port, STR_ARG(ip), STR_ARG(ip), node_port ? "NodePort" : "ClusterIP", str_find_char(ip, ':') >= 0 ? "IPv6" : "IPv4", policy);
    if (!want) {
        return;
    }
    struct core_v1_service *have = there ? rest_decode(rest, &k->arena, there) : NULL;
    if (!have) {
        put(k, SERVICE, want, there);
        return;
    }
    const struct core_v1_service_port *p = have->spec.n_ports == 1 ? &have->spec.ports[0] : NULL;
    bool same = p && str_eq_c(p->name, "https") && p->port == 443 && p->node_port == node_port && str_eq(have->spec.type, want->spec.type) &&
                p->target_port.kind == API_IOS_INT && p->target_port.i == port && str_eq_c(p->protocol, "TCP");
    if (!same) {
        have->spec.ports = want->spec.ports;
        have->spec.n_ports = want->spec.n_ports;
        have->spec.type = want->spec.type;
        have->spec.external_traffic_policy = want->spec.external_traffic_policy;
        put(k, SERVICE, have, there);
    }
}

/* The leases' addresses of our own family, sorted. */
static struct str *addresses(struct kubernetes_service *k, size_t *ret_n)
{
    bool v6 = str_find_char(k->srv->cfg.advertise_address, ':') >= 0;
    struct str *list = arena_new_n(&k->arena, struct str, k->ips.n + 1), ip;
    size_t n = 0, pos = 0;
    void *value;
    while (list && map_next(&k->ips, &pos, &ip, &value)) {
        if ((str_find_char(ip, ':') >= 0) == v6) {
            list[n++] = arena_str(&k->arena, ip);
        }
    }
    if (n > 1) {
        qsort(list, n, sizeof(*list), str_cmp_qsort);
    }
    *ret_n = n;
    return list;
}

static bool has_label(const struct meta_v1_object_meta *m, const char *key, const char *value)
{
    for (size_t i = 0; i < m->n_labels; i++) {
        if (str_eq_c(m->labels[i].key, key)) {
            return str_eq_c(m->labels[i].value, value);
        }
    }
    return false;
}

static void put_endpoints(struct kubernetes_service *k, const struct str *ips, size_t n)
{
    struct rest *rest = rest_of(k, ENDPOINTS);
    const struct object *there = watch_cache_get(rest->cache, NS, NAME);
    struct core_v1_endpoints *have = there ? rest_decode(rest, &k->arena, there) : NULL;
    int32_t port = (int32_t)k->srv->cfg.secure_port;
    CLEANUP(buf_deinit) struct buf list;
    buf_init(&list, 64u << 10);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&list, "%s{\"ip\":\"%.*s\"}", i ? "," : "", STR_ARG(ips[i]));
    }
    struct core_v1_endpoints *want = from_json(k, ENDPOINTS,
        "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}},"
        "\"subsets\":[{\"addresses\":[%.*s],\"ports\":[{\"name\":\"https\",\"port\":%d,\"protocol\":\"TCP\"}]}]}", STR_ARG(buf_str(&list)), port);
    const struct core_v1_endpoint_subset *s = have && have->n_subsets == 1 ? &have->subsets[0] : NULL;
    bool same = s && s->n_addresses == n && s->n_not_ready_addresses == 0 && s->n_ports == 1 && s->ports[0].port == port &&
                str_eq_c(s->ports[0].name, "https") && str_eq_c(s->ports[0].protocol, "TCP") &&
                has_label(&have->metadata, "endpointslice.kubernetes.io/skip-mirror", "true");
    for (size_t i = 0; same && i < n; i++) {
        same = str_eq(s->addresses[i].ip, ips[i]);
    }
    if (want && !have) {
        put(k, ENDPOINTS, want, there);
    } else if (want && !same) {
        have->subsets = want->subsets;
        have->n_subsets = want->n_subsets;
        have->metadata.labels = want->metadata.labels;
        have->metadata.n_labels = want->metadata.n_labels;
        put(k, ENDPOINTS, have, there);
    }
}

static void put_slice(struct kubernetes_service *k, const struct str *ips, size_t n)
{
    struct rest *rest = rest_of(k, SLICE);
    const struct object *there = watch_cache_get(rest->cache, NS, NAME);
    struct discovery_v1_endpoint_slice *have = there ? rest_decode(rest, &k->arena, there) : NULL;
    int32_t port = (int32_t)k->srv->cfg.secure_port;
    const char *family = str_find_char(ips[0], ':') >= 0 ? "IPv6" : "IPv4";
    CLEANUP(buf_deinit) struct buf list;
    buf_init(&list, 64u << 10);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&list, "%s{\"addresses\":[\"%.*s\"],\"conditions\":{\"ready\":true}}", i ? "," : "", STR_ARG(ips[i]));
    }
    struct discovery_v1_endpoint_slice *want = from_json(k, SLICE,
        "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"kubernetes\"}},"
        "\"addressType\":\"%s\",\"endpoints\":[%.*s],\"ports\":[{\"name\":\"https\",\"port\":%d,\"protocol\":\"TCP\"}]}",
        family, STR_ARG(buf_str(&list)), port);
    bool same = have && have->n_endpoints == n && have->n_ports == 1 && have->ports[0].port == port && str_eq_c(have->ports[0].name, "https") &&
                str_eq_c(have->address_type, family) && has_label(&have->metadata, "kubernetes.io/service-name", "kubernetes");
    for (size_t i = 0; same && i < n; i++) {
        const struct discovery_v1_endpoint *e = &have->endpoints[i];
        same = e->n_addresses == 1 && str_eq(e->addresses[0], ips[i]) && e->conditions.has_ready && e->conditions.ready;
    }
    if (want && !have) {
        put(k, SLICE, want, there);
    } else if (want && !same) {
        have->endpoints = want->endpoints;
        have->n_endpoints = want->n_endpoints;
        have->ports = want->ports;
        have->n_ports = want->n_ports;
        have->address_type = want->address_type;
        have->metadata.labels = want->metadata.labels;
        have->metadata.n_labels = want->metadata.n_labels;
        put(k, SLICE, have, there);
    }
}

static void reconcile(struct kubernetes_service *k)
{
    size_t n = 0;
    if (k->stopped || !k->loaded) {
        return;
    }
    if (k->pending > 0) {
        k->dirty = true;
        return;
    }
    k->pending++; /* this function's own */
    k->reconciled_ms = loop_now_ms(k->srv->loop);
    arena_clear(&k->arena);
    if (!k->leaving) {
        put_service(k);
    }
    struct str *ips = with_endpoints(k) ? addresses(k, &n) : NULL;
    if (n > 0) {
        put_endpoints(k, ips, n);
        put_slice(k, ips, n);
    }
    k->pending--;
    settled(k);
}

/* ---- seeing changes ---- */

static void changed(struct kubernetes_service *k)
{
    uint64_t now = loop_now_ms(k->srv->loop), next = k->reconciled_ms + REPAIR_MS;
    repair_soon(k, now >= next ? 0 : next - now);
}

static void on_repair(void *arg)
{
    reconcile(arg);
}

/* Drains a watcher: what changed is looked up again anyway. */
static void on_object(void *arg)
{
    struct kubernetes_service *k = arg;
    for (int i = 0; i < KINDS; i++) {
        struct watch_item item;
        enum watch_got got = WATCH_GOT_ITEM;
        while (k->watchers[i] && got != WATCH_GOT_NOTHING && got != WATCH_GOT_EXPIRED) {
            got = watch_next(k->watchers[i], &item);
        }
        if (got == WATCH_GOT_EXPIRED) {
            k->watchers[i] = watcher_free(k->watchers[i]); /* the renewal looks too */
        }
    }
    changed(k);
}

static void watch_objects(struct kubernetes_service *k)
{
    for (int i = 0; i < KINDS; i++) {
        struct watch_options opt = { .start = WATCH_ONLY_NEW, .namespace = NS, .name = NAME, .field = -1, .ready = on_object, .arg = k };
        if (!k->watchers[i] && watcher_new(rest_of(k, i)->cache, &opt, &k->watchers[i]) == STORE_OK) {
            struct watch_item item;
            while (watch_next(k->watchers[i], &item) == WATCH_GOT_ITEM) {
            }
        }
    }
}

/* ---- leases ---- */

static struct str ip_of_key(struct str key)
{
    struct net_addr a;
    struct str ip = str_sub(key, sizeof(LEASES) - 1, key.len);
    return net_addr_parse_ip(ip, 0, &a) ? ip : STR_NULL;
}

static void on_lease(void *arg, const struct store_event *ev)
{
    struct kubernetes_service *k = arg;
    struct str ip = ip_of_key(ev->key);
    if (!ip.ptr || k->ips.n >= MASTERS_MAX) {
        return;
    }
    bool there = map_has(&k->ips, ip);
    if (ev->type == STORE_EVENT_PUT) {
        (void)map_put(&k->ips, ip, k);
    } else {
        (void)map_remove(&k->ips, ip);
    }
    if (k->loaded && there != (ev->type == STORE_EVENT_PUT)) {
        log_info("apiserver: %.*s %s the endpoints of the kubernetes Service", STR_ARG(ip), there ? "leaves" : "joins");
        changed(k);
    }
}

static void on_renewed(void *arg, const struct store_result *res)
{
    struct kubernetes_service *k = arg;
    k->pending--;
    if (k->stopped) {
        return;
    }
    if (res->status != STORE_OK) {
        log_warning("apiserver: the lease of this server's address cannot be written: %s", store_status_text(res->status));
    }
    reconcile(k);
}

static void renew(struct kubernetes_service *k)
{
    struct str ip = k->srv->cfg.advertise_address;
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 256);
    buf_init(&value, 1u << 16);
    struct arena a;
    arena_init(&a, 1u << 20);
    struct core_v1_endpoint_address address = { .ip = ip };
    struct core_v1_endpoint_subset subset = { .addresses = &address, .n_addresses = 1 };
    struct core_v1_endpoints lease = { .metadata.generation = ++k->generation, .subsets = &subset, .n_subsets = 1 };
    buf_printf(&key, LEASES "%.*s", STR_ARG(ip));
    if (rest_encode_stored(rest_of(k, ENDPOINTS), &lease, &value, &err)) {
        struct store_write w = { .resource = k->leases, .key = buf_str(&key), .value = buf_str(&value), .expect = STORE_ANY,
                                 .flags = STORE_VOLATILE, .ttl_s = LEASE_TTL_S, .done = on_renewed, .arg = k };
        k->pending++;
        store_write(k->srv->store, &w);
    } else {
        log_error("apiserver: the lease of this server's address cannot be encoded: %s", err.msg);
    }
    arena_deinit(&a);
}

static void on_renew(void *arg)
{
    struct kubernetes_service *k = arg;
    watch_objects(k);
    if (with_endpoints(k)) {
        renew(k); /* and then everything is looked at */
    } else {
        reconcile(k);
    }
    loop_timer_start(&k->renew, RENEW_MS);
}

static void on_loaded(void *arg, const struct store_page *page)
{
    struct kubernetes_service *k = arg;
    k->pending--;
    if (k->stopped) {
        return;
    }
    for (size_t i = 0; page->status == STORE_OK && i < page->n_items && k->ips.n < MASTERS_MAX; i++) {
        struct str ip = ip_of_key(page->items[i].key);
        if (ip.ptr) {
            (void)map_put(&k->ips, ip, k);
        }
    }
    if (page->status != STORE_OK) {
        log_warning("apiserver: the leases of API servers cannot be read: %s; others are seen when they renew theirs",
                    store_status_text(page->status));
    }
    k->loaded = true;
    on_renew(k);
}

/* ---- life ---- */

bool kubernetes_service_check(const struct apiserver_config *cfg, struct err *err)
{
    struct net_addr a;
    if (str_eq_c(cfg->endpoint_reconciler_type, "master-count")) {
        return err_set(err, ERR_INVALID, "--endpoint-reconciler-type=master-count is gone (it left dead servers in the endpoints): use lease");
    }
    if (!str_eq_c(cfg->endpoint_reconciler_type, "lease") && !str_eq_c(cfg->endpoint_reconciler_type, "none")) {
        return err_set(err, ERR_INVALID, "--endpoint-reconciler-type: \"%.*s\" is neither lease nor none", STR_ARG(cfg->endpoint_reconciler_type));
    }
    if (cfg->kubernetes_service_node_port < 0 || cfg->kubernetes_service_node_port > 65535) {
        return err_set(err, ERR_INVALID, "--kubernetes-service-node-port %lld must be between 0 and 65535, inclusive. If 0, the Kubernetes "
                       "master service will be of type ClusterIP", (long long)cfg->kubernetes_service_node_port);
    }
    return net_addr_parse_ip(cfg->advertise_address, 0, &a) ||
           err_set(err, ERR_INVALID, "--advertise-address: \"%.*s\" is no IP address", STR_ARG(cfg->advertise_address));
}

void kubernetes_service_start(struct apiserver *s, void (*done)(void *arg), void *arg)
{
    struct kubernetes_service *k = calloc(1, sizeof(*k));
    char end[sizeof(LEASES)];
    if (!k) {
        abort();
    }
    k->srv = s;
    k->done = done;
    k->done_arg = arg;
    k->generation = clock_real_s(); /* differs from what an earlier process wrote */
    s->kubernetes_service = k;
    map_init(&k->ips);
    arena_init(&k->arena, 16u << 20);
    loop_timer_init(&k->renew, s->loop, on_renew, k);
    loop_timer_init(&k->repair, s->loop, on_repair, k);
    struct store_resource_config cfg = { .prefix = STR(LEASES), .has_volatile = true, .on_event = on_lease, .arg = k };
    k->leases = store_resource_open(s->store, &cfg);
    k->pending++;
    store_range(s->store, STR(LEASES), store_prefix_end(STR(LEASES), end), MASTERS_MAX, on_loaded, k);
}

void kubernetes_service_leave(struct apiserver *s)
{
    struct kubernetes_service *k = s->kubernetes_service;
    if (!k || k->leaving || k->stopped) {
        return;
    }
    k->leaving = true;
    loop_timer_stop(&k->renew);
    if (with_endpoints(k)) {
        CLEANUP(buf_deinit) struct buf key;
        buf_init(&key, 256);
        buf_printf(&key, LEASES "%.*s", STR_ARG(s->cfg.advertise_address));
        struct store_write w = { .resource = k->leases, .key = buf_str(&key), .expect = STORE_ANY, .flags = STORE_VOLATILE,
                                 .done = on_renewed, .arg = k };
        k->pending++;
        store_write(s->store, &w);
    }
}

void kubernetes_service_stop(struct apiserver *s)
{
    struct kubernetes_service *k = s->kubernetes_service;
    if (k && !k->stopped) {
        k->stopped = true;
        loop_timer_stop(&k->renew);
        loop_timer_stop(&k->repair);
        for (int i = 0; i < KINDS; i++) {
            k->watchers[i] = watcher_free(k->watchers[i]);
        }
        k->leases = store_resource_close(k->leases);
    }
}

void kubernetes_service_free(struct apiserver *s)
{
    struct kubernetes_service *k = s->kubernetes_service;
    if (k) {
        map_deinit(&k->ips);
        arena_deinit(&k->arena);
        free(k);
        s->kubernetes_service = NULL;
    }
}

struct store_resource *kubernetes_service_leases(struct apiserver *s)
{
    return s->kubernetes_service->leases;
}
