/*
 * service-cidr: ServiceCIDRs get a finalizer and the condition Ready; one that is being deleted stays, not ready, while addresses of
 * it are in use that no other ServiceCIDR holds (KEP-1880). The API server gives out addresses of those that are ready.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "api/gen/networking_v1.h"
#include "base/clock.h"
#include "controllers/controllers.h"
#include "controllers/setup.h"

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"

/* So long after the deletion an API server may still think that it is ready. */
enum { GRACE_S = 10 };

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *cidrs, *ips;
};

/* Is the address in the range? */
static bool in_range(struct str ip, struct str cidr)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t a[16], b[16];
    struct str base, length;
    uint64_t bits;
    int family = str_find_char(ip, ':') >= 0 ? AF_INET6 : AF_INET;
    if (!str_cut(cidr, '/', &base, &length) || !str_to_u64(length, &bits) || bits > (family == AF_INET6 ? 128 : 32) ||
        !str_to_cstr(ip, text, sizeof(text)) || inet_pton(family, text, a) != 1 || !str_to_cstr(base, text, sizeof(text)) ||
        inet_pton(family, text, b) != 1) {
        return false;
    }
    for (uint64_t i = 0; i < bits; i++) {
        if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1) {
            return false;
        }
    }
    return true;
}

static bool holds(const struct networking_v1_service_cidr *c, struct str ip)
{
    for (size_t i = 0; i < c->spec.n_cidrs; i++) {
        if (in_range(ip, c->spec.cidrs[i])) {
            return true;
        }
    }
    return false;
}

/* All are looked at: they are few, and one's end may depend on another that holds the same addresses. */
static void enqueue_all(struct state *s)
{
    const struct networking_v1_service_cidr *c;
    size_t pos = 0;
    while ((c = informer_next(s->cidrs, &pos))) {
        controller_enqueue(s->controller, c->metadata.name);
    }
}

static void on_cidr(void *data, const void *old, const void *obj)
{
    const struct networking_v1_service_cidr *now = obj, *was = old;
    if (!now || !was || now->metadata.deletion_timestamp.set != was->metadata.deletion_timestamp.set) {
        enqueue_all(data);
    }
}

static void on_ip(void *data, const void *old, const void *obj)
{
    struct state *s = data;
    const struct networking_v1_ip_address *was = old;
    const struct networking_v1_service_cidr *c;
    size_t pos = 0;
    while (!obj && (c = informer_next(s->cidrs, &pos))) {
        if (c->metadata.deletion_timestamp.set && holds(c, was->metadata.name)) {
            controller_enqueue(s->controller, c->metadata.name);
        }
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const ip_fields[] = { "metadata.labels", NULL };
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    s->cidrs = informer_of_keys(c, informers, "networking.k8s.io", "servicecidrs", whole_objects);
    (void)informer_of(informers, "networking.k8s.io", "servicecidrs", whole_objects, on_cidr, s);
    s->ips = informer_of(informers, "networking.k8s.io", "ipaddresses", ip_fields, on_ip, s);
    s->resource = informer_resource(s->cidrs);
    return s;
}

/* An address of the allocator that has no other range to be in. */
static bool in_use(const struct state *s, const struct networking_v1_service_cidr *c)
{
    const struct networking_v1_ip_address *ip;
    size_t pos = 0;
    while ((ip = informer_next(s->ips, &pos))) {
        bool managed = false, elsewhere = false;
        const struct networking_v1_service_cidr *other;
        size_t at = 0;
        for (size_t i = 0; i < ip->metadata.n_labels; i++) {
            managed |= str_eq_c(ip->metadata.labels[i].key, MANAGED_BY) && str_eq_c(ip->metadata.labels[i].value, "ipallocator.k8s.io");
        }
        if (!managed || !holds(c, ip->metadata.name)) {
            continue;
        }
        while (!elsewhere && (other = informer_next(s->cidrs, &at))) {
            elsewhere = other != c && !other->metadata.deletion_timestamp.set && holds(other, ip->metadata.name);
        }
        if (!elsewhere) {
            return true;
        }
    }
    return false;
}

static bool has_finalizer(const struct networking_v1_service_cidr *c)
{
    for (size_t i = 0; i < c->metadata.n_finalizers; i++) {
        if (str_eq_c(c->metadata.finalizers[i], FINALIZER)) {
            return true;
        }
    }
    return false;
}

static const char *ready_of(const struct networking_v1_service_cidr *c)
{
    for (size_t i = 0; i < c->status.n_conditions; i++) {
        if (str_eq_c(c->status.conditions[i].type, "Ready")) {
            return str_eq_c(c->status.conditions[i].status, "True") ? "True" : "False";
        }
    }
    return "";
}

static void set_ready(struct state *s, struct actions *a, const struct networking_v1_service_cidr *c, bool ready)
{
    char when[CLOCK_RFC3339_SIZE];
    if (str_eq_c(str_c(ready_of(c)), ready ? "True" : "False")) {
        return;
    }
    (void)clock_format_rfc3339(act_now(a), 0, 0, when);
    struct str patch = arena_printf(act_arena(a),
        "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\",\"lastTransitionTime\":\"%s\"}]}}",
        ready ? "True" : "False", ready ? "" : "Terminating",
        ready ? "Kubernetes Service CIDR is ready"
              : "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
        when);
    act_patch(a, s->resource, STR_NULL, c->metadata.name, "status", CLIENT_PATCH_STRATEGIC, patch);
    act_tolerate(a, ERR_NOT_FOUND);
}

static void set_finalizer(struct state *s, struct actions *a, const struct networking_v1_service_cidr *c, const char *word)
{
    struct str patch = arena_printf(act_arena(a), "{\"metadata\":{\"%s\":[\"" FINALIZER "\"]}}", word);
    act_patch(a, s->resource, STR_NULL, c->metadata.name, NULL, CLIENT_PATCH_STRATEGIC, patch);
    act_tolerate(a, ERR_NOT_FOUND);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct networking_v1_service_cidr *c = informer_get(s->cidrs, STR_NULL, key);
    if (!c) {
        return;
    }
    if (!c->metadata.deletion_timestamp.set) {
        if (!has_finalizer(c)) {
            set_finalizer(s, a, c, "finalizers");
        }
        set_ready(s, a, c, true);
        return;
    }
    if (!has_finalizer(c)) {
        return;
    }
    if (in_use(s, c)) {
        set_ready(s, a, c, false);
        return;
    }
    int64_t wait = c->metadata.deletion_timestamp.sec + GRACE_S - act_now(a);
    if (wait > 0) {
        act_requeue_after(a, (uint64_t)wait * 1000);
        return;
    }
    set_finalizer(s, a, c, "$deleteFromPrimitiveList/finalizers");
}

const struct controller_ops controller_servicecidrs = {
    .name = "service-cidr",
    .service_account = "service-cidrs-controller",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = free,
    .concurrency = 1,
};
