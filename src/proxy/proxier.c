#include "proxy/proxier.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/loop.h"
#include "nft/conntrack.h"
#include "nft/socket.h"
#include "proxy/engine.h"
#include "proxy/http.h"
#include "proxy/userspace.h"

/* Changes that come together are one transaction: an EndpointSlice and its Service, the many slices
 * of a rollout. */
#define GATHER_MS 3
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 30000
/* After an unanswered change for so long we are not healthy (upstream: twice the sync period, at
 * least a minute). */
#define UNHEALTHY_MS 60000
#define LOCAL_MAX 256

static const double sync_buckets[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                       0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                       1,      2.5,     5,      10,    0 };
static struct metric metric_sync =
    METRIC_HISTOGRAM("kubeproxy_sync_proxy_rules_duration_seconds",
                     "Time that a change of the rules takes.", sync_buckets);
static struct metric metric_full =
    METRIC_HISTOGRAM("kubeproxy_sync_full_proxy_rules_duration_seconds",
                     "Time to make all rules anew.", sync_buckets);
static struct metric metric_partial =
    METRIC_HISTOGRAM("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                     "Time to change some rules.", sync_buckets);
static struct metric metric_programming = METRIC_HISTOGRAM(
    "kubeproxy_network_programming_duration_seconds",
    "Time from a change of pods or Services to the rules that follow it.", metric_buckets_seconds);
static struct metric metric_last_sync = METRIC_GAUGE(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the rules were last changed.");
static struct metric metric_last_queued =
    METRIC_GAUGE("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                 "When a change of the rules was last asked for.");
static struct metric metric_service_changes =
    METRIC_COUNTER("kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services.");
static struct metric metric_endpoint_changes =
    METRIC_COUNTER("kubeproxy_sync_proxy_rules_endpoint_changes_total", "Changes of endpoints.");
static struct metric metric_failures = METRIC_COUNTER(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Changes that the kernel refused.");
static struct metric metric_flows =
    METRIC_COUNTER("kubeproxy_conntrack_reconciler_deleted_entries_total",
                   "Tracked connections that were deleted.");
static struct metric metric_refused =
    METRIC_COUNTER("kubeproxy_endpoints_refused_total", "Endpoints with addresses that no Service may lead to.");
static struct metric metric_ports =
    METRIC_GAUGE("kubeproxy_service_ports", "Service ports in the rules.");
static struct metric metric_endpoints =
    METRIC_GAUGE("kubeproxy_endpoints", "Endpoints in the rules.");

struct proxier {
    struct component *component;
    struct loop *loop;
    struct engine *engine;
    struct nft_socket *nl;
    struct proxy_http *http;
    struct informer *services, *slices, *nodes;
    struct informer_index *by_service;
    char *node;
    struct map dirty; /* keys of Services; values are not used */
    struct loop_timer timer, check;
    uint64_t check_ms;
    bool synced;
    bool make_anew;         /* the whole table, at the next sync */
    uint64_t retry_ms;      /* 0: the last transaction was taken */
    uint64_t failing_since; /* ms; 0: all is well */
    bool node_goes;         /* is being deleted, or about to be by the autoscaler */
    /* Addresses of this node, for one sweep. */
    struct {
        uint8_t family;
        struct proxy_addr addr;
    } local[LOCAL_MAX];
    size_t n_local;
    uint8_t families[2]; /* 0: not served */
};

/* ---- events ---- */

static void schedule(struct proxier *p)
{
    if (p->synced && !p->retry_ms && !loop_timer_runs(&p->timer)) {
        loop_timer_start(&p->timer, GATHER_MS);
        metric_set(metric_cell(&metric_last_queued), (double)clock_real_s());
    }
}

static void mark(struct proxier *p, struct str ns, struct str name)
{
    char key[600];
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    map_put(&p->dirty, str_n(key, MIN((size_t)n, sizeof(key) - 1)), p);
    schedule(p);
}

static void on_service(void *data, const void *old, const void *obj)
{
    const struct core_v1_service *s = obj ? obj : old;
    metric_add(metric_cell(&metric_service_changes), 1);
    mark(data, s->metadata.namespace, s->metadata.name);
}

static struct str service_of(const struct discovery_v1_endpoint_slice *s)
{
    for (size_t i = 0; i < s->metadata.n_labels; i++) {
        if (str_eq(s->metadata.labels[i].key, STR("kubernetes.io/service-name"))) {
            return s->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}

static void on_slice(void *data, const void *old, const void *obj)
{
    const struct discovery_v1_endpoint_slice *const both[] = { old, obj };
    metric_add(metric_cell(&metric_endpoint_changes), 1);
    for (int i = 0; i < 2; i++) {
        struct str service = both[i] ? service_of(both[i]) : STR_NULL;
        if (service.len) {
            mark(data, both[i]->metadata.namespace, service);
        }
    }
}

static void by_service_name(const struct api_type *type UNUSED, const void *obj,
                            void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct discovery_v1_endpoint_slice *s = obj;
    struct str service = service_of(s);
    char key[600];
    if (service.len) {
        int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(s->metadata.namespace),
                         STR_ARG(service));
        emit(ctx, str_n(key, MIN((size_t)n, sizeof(key) - 1)));
    }
}

static void mark_all(struct proxier *p)
{
    const struct core_v1_service *s;
    for (size_t pos = 0; (s = informer_next(p->services, &pos));) {
        mark(p, s->metadata.namespace, s->metadata.name);
    }
}

static void on_node(void *data, const void *old UNUSED, const void *obj)
{
    struct proxier *p = data;
    const struct core_v1_node *n = obj;
    struct str zone = STR_NULL;
    p->node_goes = false;
    for (size_t i = 0; n && i < n->metadata.n_labels; i++) {
        if (str_eq(n->metadata.labels[i].key, STR("topology.kubernetes.io/zone"))) {
            zone = n->metadata.labels[i].value;
        }
    }
    for (size_t i = 0; n && i < n->spec.n_taints; i++) {
        p->node_goes =
            p->node_goes || str_eq(n->spec.taints[i].key, STR("ToBeDeletedByClusterAutoscaler"));
    }
    p->node_goes = p->node_goes || (n && n->metadata.deletion_timestamp.set);
    if (p->engine->ops->set_zone(p->engine, zone) && p->synced) {
        mark_all(p);
    }
}

/* ---- transactions ---- */

static void set_one(struct proxier *p, struct str key)
{
    const struct discovery_v1_endpoint_slice *few[64], **slices = few, *s;
    size_t n = 0, most = ARRAY_SIZE(few);
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    for (size_t pos = 0; (s = informer_index_next(p->by_service, key, &pos));) {
        if (n == most) {
            const struct discovery_v1_endpoint_slice **more = calloc(most * 2, sizeof(*more));
            if (!more) {
                abort();
            }
            memcpy(more, slices, n * sizeof(*more));
            if (slices != few) {
                free(slices);
            }
            slices = more;
            most *= 2;
        }
        slices[n++] = s;
    }
    size_t refused = p->engine->ops->set_service(p->engine, key, informer_get(p->services, ns, name), slices, n);
    if (refused) {
        metric_add(metric_cell(&metric_refused), (double)refused);
        log_warning("Service %.*s: %zu endpoints are left out: their addresses are loopback, link-local or no host's", STR_ARG(key),
                    refused);
    }
    if (slices != few) {
        free(slices);
    }
}

static void mark_waiting(void *data, struct str key)
{
    struct proxier *p = data;
    map_put(&p->dirty, key, p);
}

/* What is dirty goes into the ruleset; then those that waited for ports which that made free. */
static void take_dirty(struct proxier *p)
{
    struct str key;
    void *value;
    for (int round = 0; round < 2; round++) {
        for (size_t pos = 0; map_next(&p->dirty, &pos, &key, &value);) {
            set_one(p, key);
        }
        map_clear(&p->dirty);
        p->engine->ops->take_waiting(p->engine, mark_waiting, p);
    }
    map_clear(&p->dirty);
}

static void collect_local(struct proxier *p)
{
    struct ifaddrs *all = NULL;
    p->n_local = 0;
    if (getifaddrs(&all) < 0) {
        return;
    }
    for (const struct ifaddrs *i = all; i && p->n_local < LOCAL_MAX; i = i->ifa_next) {
        uint16_t port;
        p->n_local +=
            i->ifa_addr && proxy_addr_of_sockaddr(i->ifa_addr, &p->local[p->n_local].family, &p->local[p->n_local].addr, &port);
    }
    freeifaddrs(all);
}

static bool is_good(void *data, const struct conntrack_flow *f)
{
    const struct proxier *p = data;
    bool local = false;
    for (size_t i = 0; i < p->n_local; i++) {
        local = local || (p->local[i].family == f->family && memcmp(p->local[i].addr.b, f->destination, sizeof(f->destination)) == 0);
    }
    return p->engine->ops->is_good(p->engine, f, local);
}

/* A UDP client that goes on sending keeps its connection in the kernel, and so its endpoint, even
 * one that is gone. */
static void sweep_udp(struct proxier *p)
{
    struct err err;
    size_t deleted = 0;
    collect_local(p);
    for (size_t i = 0; i < ARRAY_SIZE(p->families); i++) {
        if (p->families[i] && !conntrack_sweep(p->families[i], IPPROTO_UDP, is_good, p, &deleted, &err)) {
            log_warning("%s", err.msg);
        }
        metric_add(metric_cell(&metric_flows), (double)deleted);
        deleted = 0;
    }
}

static void failed(struct proxier *p, const struct err *err)
{
    uint64_t now = clock_mono_ms();
    metric_add(metric_cell(&metric_failures), 1);
    p->make_anew = true;
    p->retry_ms = p->retry_ms ? MIN(p->retry_ms * 2, (uint64_t)RETRY_MAX_MS) : RETRY_MIN_MS;
    p->failing_since = p->failing_since ? p->failing_since : now;
    log_error("%s; all rules are made anew in %llu ms", err->msg, (unsigned long long)p->retry_ms);
    loop_timer_start(&p->timer, p->retry_ms);
}

static void sync_now(void *arg)
{
    struct proxier *p = arg;
    struct err err;
    struct nft_batch x;
    uint64_t begin = clock_mono_ns();
    bool whole = p->make_anew;
    size_t n_dirty = p->dirty.n;
    take_dirty(p);
    nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(p->nl));
    bool any = p->engine->ops->write(p->engine, &x, whole);
    nft_batch_end(&x);
    unsigned n_messages = x.n_messages;
    bool ok = !any || nft_socket_send(p->nl, &x, NULL, &err);
    nft_batch_deinit(&x);
    if (!ok) {
        failed(p, &err);
        return;
    }
    p->make_anew = false;
    p->retry_ms = p->failing_since = 0;
    if (p->engine->ops->take_udp_changed(p->engine)) {
        sweep_udp(p);
    }
    proxy_http_set_checks(p->http, p->engine);
    double took = (double)(clock_mono_ns() - begin) / 1e9;
    struct ruleset_stats stats;
    p->engine->ops->stats(p->engine, &stats);
    metric_set(metric_cell(&metric_ports), (double)stats.service_ports);
    metric_set(metric_cell(&metric_endpoints), (double)stats.endpoints);
    metric_set(metric_cell(&metric_last_sync), (double)clock_real_s());
    metric_observe(metric_cell(&metric_sync), took);
    metric_observe(metric_cell(whole ? &metric_full : &metric_partial), took);
    metric_observe(metric_cell(&metric_programming), took + GATHER_MS / 1e3);
    if (whole) {
        log_info("all rules made: %zu Services, %zu endpoints, %zu elements in %.1f ms",
                 stats.services, stats.endpoints, stats.elements, took * 1e3);
    } else {
        log_debug("rules changed: %zu Services, %u messages in %.2f ms", n_dirty, n_messages,
                  took * 1e3);
    }
}

/* Somebody may have flushed the ruleset. */
static void check_table(void *arg)
{
    struct proxier *p = arg;
    for (size_t i = 0; i < ARRAY_SIZE(p->families) && !p->retry_ms && !p->make_anew; i++) {
        if (p->families[i] && !nft_socket_has_table(p->nl, p->families[i], PROXY_TABLE)) {
            log_warning("the table %s " PROXY_TABLE " is gone: it is made anew", p->families[i] == NFPROTO_IPV6 ? "ip6" : "ip");
            p->make_anew = true;
            schedule(p);
        }
    }
    loop_timer_start(&p->check, p->check_ms);
}

/* ---- life ---- */

static bool is_healthy(void *data)
{
    const struct proxier *p = data;
    return p->synced && (!p->failing_since || clock_mono_ms() - p->failing_since < UNHEALTHY_MS);
}

static bool is_eligible(void *data)
{
    return !((const struct proxier *)data)->node_goes;
}

/* Does this kernel rewrite addresses of the family? Tried with a table that goes in the same transaction. */
static bool has_family(struct nft_socket *nl, uint8_t family)
{
    struct nft_batch x;
    struct err err;
    nft_batch_init(&x, family, PROXY_TABLE "-probe", 0, nft_socket_seq(nl));
    nft_add_table(&x);
    nft_add_base_chain(&x, "nat", "nat", NF_INET_PRE_ROUTING, -100);
    nft_delete_table(&x, true);
    nft_batch_end(&x);
    bool ok = nft_socket_send(nl, &x, NULL, &err);
    nft_batch_deinit(&x);
    return ok;
}

/* The userspace mode takes descriptors by the thousand: as many as the process may have. */
static size_t raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) {
        return 1024;
    }
    if (files.rlim_cur < files.rlim_max) {
        rlim_t before = files.rlim_cur;
        files.rlim_cur = MIN(files.rlim_max, (rlim_t)1 << 20);
        if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
            files.rlim_cur = before;
        }
    }
    return (size_t)MIN(files.rlim_cur, (rlim_t)1 << 20);
}

static void tell(void *data, const struct core_v1_service *service, const char *reason, const char *text)
{
    struct proxier *p = data;
    struct event_subject s = event_subject_of(api_resource_find(STR(""), STR("v1"), STR("services")), service);
    event_record(component_events(p->component), &s, "Warning", reason, "%s", text);
}

static void set_again(void *data, struct str key)
{
    mark_waiting(data, key);
    schedule(data);
}

static void make_engine(struct proxier *p, const struct proxier_config *config)
{
    struct userspace_config u = { .node = str_c(p->node),
                                  .range = config->range,
                                  .udp_timeout_ms = config->udp_timeout_ms,
                                  .again = set_again,
                                  .tell = tell,
                                  .data = p };
    for (size_t i = 0; i < 2; i++) {
        u.tables[i] = config->tables[i];
        u.bind[i] = config->bind[i];
        if (u.tables[i].family == NFPROTO_IPV6 && !has_family(p->nl, NFPROTO_IPV6)) {
            log_info("this kernel rewrites no IPv6 addresses: Services have IPv4 alone here");
            u.tables[i].family = 0;
        }
        p->families[i] = u.tables[i].family;
    }
    if (config->userspace) {
        u.files = raise_files();
        p->engine = engine_userspace_new(p->loop, &u);
    } else {
        p->engine = engine_nftables_new(u.tables, str_c(p->node));
    }
}

struct proxier *proxier_new(struct component *c, const struct proxier_config *config,
                            struct err *err)
{
    static const char *const service_fields[] = { "metadata.labels",
                                                  "spec.ports",
                                                  "spec.clusterIP",
                                                  "spec.clusterIPs",
                                                  "spec.type",
                                                  "spec.externalIPs",
                                                  "spec.sessionAffinity",
                                                  "spec.sessionAffinityConfig",
                                                  "spec.externalTrafficPolicy",
                                                  "spec.internalTrafficPolicy",
                                                  "spec.healthCheckNodePort",
                                                  "spec.loadBalancerSourceRanges",
                                                  "status.loadBalancer",
                                                  NULL };
    static const char *const slice_fields[] = {
        "metadata.labels",      "addressType",        "ports",           "endpoints.addresses",
        "endpoints.conditions", "endpoints.nodeName", "endpoints.hints", NULL
    };
    static const char *const node_fields[] = { "metadata.labels", "metadata.deletionTimestamp",
                                               "spec.taints", NULL };
    char field[600];
    struct proxier *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->component = c;
    p->loop = component_loop(c);
    p->node = strndup(config->node.ptr, config->node.len);
    p->check_ms = config->check_ms;
    p->make_anew = true;
    map_init(&p->dirty);
    loop_timer_init(&p->timer, p->loop, sync_now, p);
    loop_timer_init(&p->check, p->loop, check_table, p);
    if (!(p->nl = nft_socket_open(err))) {
        return proxier_free(p);
    }
    make_engine(p, config);
    struct proxy_http_config http = { .mode = p->engine->ops->mode,
                                      .healthz_address = config->healthz_address,
                                      .check_address = config->check_address,
                                      .soft_bind = config->soft_bind,
                                      .metrics_address = config->metrics_address,
                                      .is_healthy = is_healthy,
                                      .is_eligible = is_eligible,
                                      .data = p };
    if (!(p->http = proxy_http_new(p->loop, &http, err))) {
        return proxier_free(p);
    }
    struct informers *set = component_informers(c);
    snprintf(field, sizeof(field), "metadata.name=%s", p->node);
    struct informer_spec services = { .resource =
                                          api_resource_find(STR(""), STR("v1"), STR("services")),
                                      .fields = service_fields };
    struct informer_spec slices = {
        .resource = api_resource_find(STR("discovery.k8s.io"), STR("v1"), STR("endpointslices")),
        .label_selector = STR("kubernetes.io/service-name,!service.kubernetes.io/headless"),
        .fields = slice_fields
    };
    struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                   .field_selector = str_c(field),
                                   .fields = node_fields };
    p->services = informers_get(set, &services, on_service, p);
    p->slices = informers_get(set, &slices, on_slice, p);
    p->by_service = informer_index(p->slices, "service", by_service_name);
    p->nodes = informers_get(set, &nodes, on_node, p);
    return p;
}

struct proxier *proxier_free(struct proxier *p)
{
    if (p) {
        loop_timer_stop(&p->timer);
        loop_timer_stop(&p->check);
        proxy_http_free(p->http);
        nft_socket_close(p->nl);
        if (p->engine) {
            p->engine->ops->free(p->engine);
        }
        map_deinit(&p->dirty);
        free(p->node);
        free(p);
    }
    return NULL;
}

void proxier_synced(struct proxier *p)
{
    p->synced = true;
    mark_all(p);
    schedule(p);
    if (p->check_ms) {
        loop_timer_start(&p->check, p->check_ms);
    }
}

bool proxier_cleanup(struct err *err)
{
    struct nft_batch x;
    struct nft_socket *nl = nft_socket_open(err);
    bool ok = nl != NULL;
    if (nl) {
        bool v6 = has_family(nl, NFPROTO_IPV6);
        nft_batch_init(&x, NFPROTO_IPV4, PROXY_TABLE, 0, nft_socket_seq(nl));
        nft_delete_table(&x, false);
        if (v6) {
            x.family = NFPROTO_IPV6;
            nft_delete_table(&x, false);
        }
        nft_batch_end(&x);
        ok = nft_socket_send(nl, &x, NULL, err);
        nft_batch_deinit(&x);
        nft_socket_close(nl);
    }
    return ok;
}
