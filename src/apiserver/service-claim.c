#include "apiserver/service-claim.h"

#include "api/decode-pb.h"
#include "api/encode-pb.h"
#include "api/gen/core_v1.h"
#include "api/gen/networking_v1.h"
#include "apiserver/feeds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"

#define RANGE_PREFIX "/registry/ranges/"
#define RANGE_KEY RANGE_PREFIX "servicenodeports"
#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define MANAGER "ipallocator.k8s.io"

enum { REPAIR_MS = 180000, FIRST_REPAIR_MS = 1000, GRACE_S = 60, MAX_RANGE = 65536 / 8 };

struct port_op {
    struct list link;
    uint32_t port;
    bool set, taken;
    service_claim_fn *done; /* NULL: nobody waits */
    void *arg;
};

struct service_claims {
    struct apiserver *srv;
    struct rest *services, *ips;
    struct store_resource *ranges;
    struct list queued, under_way; /* struct port_op */
    bool busy;
    uint32_t first, last; /* of the node ports */
    struct loop_timer repair;
    uint8_t suspect[MAX_RANGE]; /* ports that no Service had at the last repair */
    bool started, stopped;
};

struct service_claims *service_claims_new(struct apiserver *s)
{
    struct service_claims *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->srv = s;
    list_init(&c->queued);
    list_init(&c->under_way);
    return c;
}

/* ---- node ports ---- */

static void next_ports(struct service_claims *c);

static void end_ports(struct service_claims *c, enum store_status status)
{
    struct list done;
    list_init(&done);
    while (!list_empty(&c->under_way)) {
        list_push_back(&done, list_pop_front(&c->under_way));
    }
    c->busy = false;
    while (!list_empty(&done)) {
        struct port_op *op = LIST_ENTRY(list_pop_front(&done), struct port_op, link);
        if (op->done) {
            op->done(op->arg, status != STORE_OK ? status : op->taken ? STORE_E_CONFLICT : STORE_OK, 0);
        }
        free(op);
    }
    if (!c->stopped) {
        next_ports(c);
    }
}

static void read_ports(struct service_claims *c);

static void on_range_written(void *arg, const struct store_result *res)
{
    struct service_claims *c = arg;
    if (res->status == STORE_E_CONFLICT && !c->stopped) {
        read_ports(c); /* another server was faster */
        return;
    }
    end_ports(c, res->status == STORE_E_CONFLICT ? STORE_E_CLOSED : res->status);
}

/* The bits are a big-endian number without leading zeros: bit n is port first + n. */
static bool apply(struct service_claims *c, uint8_t bits[MAX_RANGE])
{
    bool changed = false;
    LIST_FOREACH(&c->under_way, struct port_op, link, op) {
        uint32_t n = op->port - c->first;
        bool is = bits[n / 8] >> (n % 8) & 1;
        op->taken = op->set && is;
        if (is != op->set) {
            bits[n / 8] = (uint8_t)(bits[n / 8] ^ 1u << (n % 8));
            changed = true;
        }
    }
    return changed;
}

static void on_range(void *arg, const struct store_page *page)
{
    struct service_claims *c = arg;
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf value;
    struct core_v1_range_allocation range = { 0 };
    struct err err = { 0 };
    uint8_t bits[MAX_RANGE] = { 0 }, bytes[MAX_RANGE];
    char ports[32];
    arena_init(&a, 1u << 20);
    buf_init(&value, 1u << 20);
    if (page->status != STORE_OK) {
        end_ports(c, page->status);
        return;
    }
    (void)snprintf(ports, sizeof(ports), "%u-%u", c->first, c->last);
    if (page->n_items && !api_decode_pb_object(&a, &core_v1_range_allocation_type, page->items[0].value, NULL, &range, &err)) {
        log_error("apiserver: %s cannot be read: %s", RANGE_KEY, err.msg);
        end_ports(c, STORE_E_IO);
        return;
    }
    if (!str_empty(range.range) && !str_eq_c(range.range, ports)) {
        log_error("apiserver: another server gives out the node ports %.*s, this one %s: --service-node-port-range must be the same",
                  STR_ARG(range.range), ports);
        end_ports(c, STORE_E_IO);
        return;
    }
    for (size_t i = 0; i < range.data.len && i < MAX_RANGE; i++) {
        bits[i] = (uint8_t)range.data.ptr[range.data.len - 1 - i];
    }
    if (!apply(c, bits)) {
        end_ports(c, STORE_OK);
        return;
    }
    size_t n = MAX_RANGE;
    while (n > 0 && bits[n - 1] == 0) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        bytes[i] = bits[n - 1 - i];
    }
    range.range = str_c(ports);
    range.data = str_n((char *)bytes, n);
    struct api_pb_encode how = { .api_version = STR("v1"), .kind = STR("RangeAllocation"), .drop_resource_version = true };
    if (!api_encode_pb_object(&value, &core_v1_range_allocation_type, &range, &how)) {
        abort();
    }
    struct store_write w = { .resource = c->ranges, .key = STR(RANGE_KEY), .value = buf_str(&value),
                             .expect = page->n_items ? page->items[0].revision : STORE_ABSENT, .done = on_range_written, .arg = c };
    store_write(c->srv->store, &w);
}

static void read_ports(struct service_claims *c)
{
    store_range(c->srv->store, STR(RANGE_KEY), str_n(RANGE_KEY "\0", sizeof(RANGE_KEY)), 1, on_range, c);
}

static void next_ports(struct service_claims *c)
{
    if (c->busy || list_empty(&c->queued)) {
        return;
    }
    while (!list_empty(&c->queued)) {
        list_push_back(&c->under_way, list_pop_front(&c->queued));
    }
    c->busy = true;
    read_ports(c);
}

static void add_port(struct service_claims *c, uint32_t port, bool set, service_claim_fn *done, void *arg)
{
    struct port_op *op = calloc(1, sizeof(*op));
    if (!op) {
        abort();
    }
    *op = (struct port_op){ .port = port, .set = set, .done = done, .arg = arg };
    list_push_back(&c->queued, &op->link);
    next_ports(c);
}

void service_claim_port(struct service_claims *c, uint32_t port, service_claim_fn *done, void *arg)
{
    add_port(c, port, true, done, arg);
}

void service_release_port(struct service_claims *c, uint32_t port)
{
    if (!c->stopped && port >= c->first && port <= c->last) {
        add_port(c, port, false, NULL, NULL);
    }
}

/* ---- cluster IPs ---- */

struct ip_claim {
    service_claim_fn *done;
    void *arg;
};

static void on_ip_written(void *arg, const struct store_result *res)
{
    struct ip_claim *claim = arg;
    struct ip_claim copy = *claim;
    free(claim);
    if (copy.done) {
        copy.done(copy.arg, res->status, res->revision);
    }
}

void service_claim_ip(struct service_claims *c, struct str ip, struct str namespace, struct str name, service_claim_fn *done, void *arg)
{
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf key, value;
    char uid[RAND_UUID_SIZE];
    struct err err = { 0 };
    struct ip_claim *claim = malloc(sizeof(*claim));
    if (!claim) {
        abort();
    }
    *claim = (struct ip_claim){ .done = done, .arg = arg };
    arena_init(&a, 1u << 20);
    buf_init(&key, 2048);
    buf_init(&value, 1u << 16);
    rand_uuid(uid);
    struct api_str_pair labels[] = {
        { .key = STR("ipaddress.kubernetes.io/ip-family"), .value = str_find_char(ip, ':') >= 0 ? STR("IPv6") : STR("IPv4") },
        { .key = STR(MANAGED_BY), .value = STR(MANAGER) },
    };
    struct networking_v1_parent_reference parent = { .group = STR_EMPTY, .resource = STR("services"), .namespace = namespace, .name = name };
    struct networking_v1_ip_address obj = {
        .metadata = { .name = ip, .uid = str_c(uid), .creation_timestamp = { .sec = clock_real_s(), .set = true }, .labels = labels,
                      .n_labels = 2, .generation = 1 },
        .spec = { .parent_ref = &parent },
    };
    struct object *o = rest_publish(c->ips, &a, &obj, &err);
    if (!o || !rest_encode_stored(c->ips, &obj, &value, &err)) {
        log_error("apiserver: the IPAddress %.*s cannot be encoded: %s", STR_ARG(ip), err.msg);
        abort();
    }
    watch_cache_key(c->ips->cache, STR_EMPTY, ip, &key);
    struct store_write w = { .resource = watch_cache_resource(c->ips->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = STORE_ABSENT, .flags = STORE_UNIQUE, .object = o, .done = on_ip_written, .arg = claim };
    store_write(c->srv->store, &w);
    object_unref(o);
}

/* Whose is it? False when it is no IPAddress of an allocator. */
static bool owner_of(struct service_claims *c, struct arena *a, const struct object *o, struct str *ret_namespace, struct str *ret_name,
                     int64_t *ret_created)
{
    const struct networking_v1_ip_address *ip = rest_decode(c->ips, a, o);
    if (!ip || !ip->spec.parent_ref || !str_eq_c(ip->spec.parent_ref->resource, "services") ||
        !str_eq_c(object_label(o, STR(MANAGED_BY)), MANAGER)) {
        return false;
    }
    *ret_namespace = ip->spec.parent_ref->namespace;
    *ret_name = ip->spec.parent_ref->name;
    *ret_created = ip->metadata.creation_timestamp.sec;
    return true;
}

static void drop_ip(struct service_claims *c, struct str ip, int64_t revision)
{
    CLEANUP(buf_deinit) struct buf key;
    buf_init(&key, 2048);
    watch_cache_key(c->ips->cache, STR_EMPTY, ip, &key);
    struct store_write w = { .resource = watch_cache_resource(c->ips->cache), .key = buf_str(&key), .expect = revision };
    store_write(c->srv->store, &w);
}

void service_release_ip(struct service_claims *c, struct str ip, struct str namespace, struct str name, int64_t revision)
{
    CLEANUP(arena_deinit) struct arena a;
    struct str ns, n;
    int64_t created;
    arena_init(&a, 1u << 20);
    const struct object *o = watch_cache_get(c->ips->cache, STR_EMPTY, ip);
    if (c->stopped || (!revision && (!o || !owner_of(c, &a, o, &ns, &n, &created) || !str_eq(ns, namespace) || !str_eq(n, name)))) {
        return;
    }
    drop_ip(c, ip, revision ? revision : object_revision(o));
}

/* ---- repair ---- */

static void each_service(struct service_claims *c, struct arena *a, void (*fn)(struct service_claims *, const struct core_v1_service *, void *),
                         void *arg)
{
    struct snapshot *s = watch_cache_snapshot(c->services->cache);
    struct snapshot_iter it;
    const struct object *o;
    snapshot_iter_init(&it, s, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        arena_clear(a);
        const struct core_v1_service *svc = rest_decode(c->services, a, o);
        if (svc) {
            fn(c, svc, arg);
        }
    }
    snapshot_unref(s);
}

static void use_port(struct service_claims *c, uint8_t *used, int32_t port)
{
    if (port >= (int32_t)c->first && port <= (int32_t)c->last) {
        uint32_t n = (uint32_t)port - c->first;
        used[n / 8] = (uint8_t)(used[n / 8] | 1u << (n % 8));
    }
}

static void look_at_service(struct service_claims *c, const struct core_v1_service *svc, void *arg)
{
    for (size_t i = 0; i < svc->spec.n_ports; i++) {
        use_port(c, arg, svc->spec.ports[i].node_port);
    }
    use_port(c, arg, svc->spec.health_check_node_port);
    for (size_t i = 0; i < svc->spec.n_cluster_ips; i++) {
        struct str ip = svc->spec.cluster_ips[i];
        if (!str_empty(ip) && !str_eq_c(ip, "None") && !watch_cache_get(c->ips->cache, STR_EMPTY, ip)) {
            service_claim_ip(c, ip, svc->metadata.namespace, svc->metadata.name, NULL, NULL);
        }
    }
}

static bool has_ip(struct service_claims *c, struct arena *a, struct str namespace, struct str name, struct str ip)
{
    const struct object *o = watch_cache_get(c->services->cache, namespace, name);
    const struct core_v1_service *svc = o ? rest_decode(c->services, a, o) : NULL;
    for (size_t i = 0; svc && i < svc->spec.n_cluster_ips; i++) {
        if (str_eq(svc->spec.cluster_ips[i], ip)) {
            return true;
        }
    }
    return false;
}

/* An address whose Service is gone, or has another: but a claim comes before its Service, so young ones are left alone. */
static void repair_ips(struct service_claims *c)
{
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, 16u << 20);
    struct snapshot *s = watch_cache_snapshot(c->ips->cache);
    struct snapshot_iter it;
    const struct object *o;
    snapshot_iter_init(&it, s, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        struct str namespace, name;
        int64_t created;
        arena_clear(&a);
        if (owner_of(c, &a, o, &namespace, &name, &created) && created + GRACE_S < clock_real_s() &&
            !has_ip(c, &a, namespace, name, object_name(o))) {
            log_warning("apiserver: the address %.*s belongs to no Service any more and is given back", STR_ARG(object_name(o)));
            drop_ip(c, object_name(o), object_revision(o));
        }
    }
    snapshot_unref(s);
}

struct port_repair {
    struct service_claims *claims;
    uint8_t used[MAX_RANGE];
};

static void on_repair_range(void *arg, const struct store_page *page)
{
    struct port_repair *p = arg;
    struct service_claims *c = p->claims;
    CLEANUP(arena_deinit) struct arena a;
    struct core_v1_range_allocation range = { 0 };
    struct err err = { 0 };
    arena_init(&a, 1u << 20);
    if (page->status == STORE_OK && !c->stopped &&
        (!page->n_items || api_decode_pb_object(&a, &core_v1_range_allocation_type, page->items[0].value, NULL, &range, &err))) {
        for (uint32_t port = c->first; port <= c->last; port++) {
            uint32_t n = port - c->first;
            bool used = p->used[n / 8] >> (n % 8) & 1, was = c->suspect[n / 8] >> (n % 8) & 1;
            bool set = n / 8 < range.data.len && (uint8_t)range.data.ptr[range.data.len - 1 - n / 8] >> (n % 8) & 1;
            if (used && !set) {
                add_port(c, port, true, NULL, NULL);
            } else if (set && !used && was) {
                log_warning("apiserver: the node port %u belongs to no Service any more and is given back", port);
                add_port(c, port, false, NULL, NULL);
            }
            /* Given back when no Service has it two times in a row: a claim comes before its Service. */
            bool suspect = set && !used && !was;
            c->suspect[n / 8] = (uint8_t)((c->suspect[n / 8] & ~(1u << (n % 8))) | (unsigned)suspect << (n % 8));
        }
    }
    free(p);
}

static void on_repair(void *arg)
{
    struct service_claims *c = arg;
    CLEANUP(arena_deinit) struct arena a;
    struct port_repair *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->claims = c;
    arena_init(&a, 16u << 20);
    each_service(c, &a, look_at_service, p->used);
    repair_ips(c);
    if (c->ranges) {
        store_range(c->srv->store, STR(RANGE_KEY), str_n(RANGE_KEY "\0", sizeof(RANGE_KEY)), 1, on_repair_range, p);
    } else {
        free(p);
    }
    loop_timer_start(&c->repair, REPAIR_MS + rand_below(REPAIR_MS / 10));
}

/* The range itself as an object, as upstream's servers look for it. */
static void write_cidr(struct service_claims *c)
{
    CLEANUP(arena_deinit) struct arena a;
    CLEANUP(buf_deinit) struct buf key, value;
    char uid[RAND_UUID_SIZE];
    struct err err = { 0 };
    struct rest *rest = registry_rest(c->srv, STR("networking.k8s.io"), STR("servicecidrs"));
    arena_init(&a, 1u << 20);
    buf_init(&key, 2048);
    buf_init(&value, 1u << 16);
    if (!rest || watch_cache_get(rest->cache, STR_EMPTY, STR("kubernetes"))) {
        return;
    }
    rand_uuid(uid);
    struct api_time now = { .sec = clock_real_s(), .set = true };
    struct str cidrs[2], range = c->srv->cfg.service_cluster_ip_range;
    size_t n = 0;
    while (n < 2 && str_split(&range, ',', &cidrs[n])) {
        n++;
    }
    struct meta_v1_condition ready = { .type = STR("Ready"), .status = STR("True"), .last_transition_time = now,
                                       .message = STR("Kubernetes default Service CIDR is ready") };
    struct networking_v1_service_cidr obj = {
        .metadata = { .name = STR("kubernetes"), .uid = str_c(uid), .creation_timestamp = now, .generation = 1 },
        .spec = { .cidrs = cidrs, .n_cidrs = n }, .status = { .conditions = &ready, .n_conditions = 1 },
    };
    struct object *o = rest_publish(rest, &a, &obj, &err);
    if (o && rest_encode_stored(rest, &obj, &value, &err)) {
        watch_cache_key(rest->cache, STR_EMPTY, STR("kubernetes"), &key);
        struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                                 .expect = STORE_ABSENT, .flags = STORE_UNIQUE, .object = o };
        store_write(c->srv->store, &w);
    }
    object_unref(o);
}

/* ---- life ---- */

void service_claims_start(struct service_claims *c)
{
    struct apiserver *s = c->srv;
    struct str from, to;
    uint64_t first = 0, last = 0;
    if (c->started) {
        return;
    }
    c->started = true;
    if (!str_cut(s->cfg.service_node_port_range, '-', &from, &to) || !str_to_u64(from, &first) || !str_to_u64(to, &last)) {
        abort(); /* the allocator has parsed it */
    }
    c->first = (uint32_t)first;
    c->last = (uint32_t)last;
    c->services = registry_rest(s, STR_EMPTY, STR("services"));
    c->ips = registry_rest(s, STR("networking.k8s.io"), STR("ipaddresses"));
    struct store_resource_config cfg = { .prefix = STR(RANGE_PREFIX) };
    c->ranges = s->store->sole_writer ? NULL : store_resource_open(s->store, &cfg);
    write_cidr(c);
    loop_timer_init(&c->repair, s->loop, on_repair, c);
    loop_timer_start(&c->repair, FIRST_REPAIR_MS);
}

void service_claims_stop(struct service_claims *c)
{
    if (c) {
        c->stopped = true;
        loop_timer_stop(&c->repair);
        c->ranges = c->ranges ? store_resource_close(c->ranges) : NULL;
    }
}

struct service_claims *service_claims_free(struct service_claims *c)
{
    if (c) {
        c->busy = false;
        while (!list_empty(&c->queued)) {
            free(LIST_ENTRY(list_pop_front(&c->queued), struct port_op, link));
        }
        while (!list_empty(&c->under_way)) {
            free(LIST_ENTRY(list_pop_front(&c->under_way), struct port_op, link));
        }
        free(c);
    }
    return NULL;
}
