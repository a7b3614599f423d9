/*
 * The proxy subresource of pods, services and nodes: /…/pods/[scheme:]NAME[:port]/proxy/PATH. The address is taken from the
 * object, checked, and dialled as it is; addresses of this machine and link-local ones are refused.
 */
#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "apiserver/backend.h"
#include "apiserver/kubelet.h"
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "base/rand.h"
#include "net/addr.h"

struct named {
    struct str scheme, name, port;
};

/* "https:web:443" is scheme, name, port; "web:80" name and port; "web" a name. */
static struct named split_name(struct str s)
{
    struct str a, b, c, rest;
    if (!str_cut(s, ':', &a, &rest)) {
        return (struct named){ STR_EMPTY, s, STR_EMPTY };
    }
    if (!str_cut(rest, ':', &b, &c)) {
        if (str_eq_c(a, "http") || str_eq_c(a, "https")) {
            return (struct named){ a, rest, STR_EMPTY };
        }
        return (struct named){ STR_EMPTY, a, rest };
    }
    return (struct named){ a, b, c };
}

static bool allowed(struct str ip)
{
    struct net_addr addr;
    return net_addr_parse_ip(ip, 1, &addr) && !net_addr_is_local(&addr) && !str_starts(ip, STR("169.254.")) &&
           !str_starts(ip, STR("fe80:"));
}

static enum stage_result missing(struct request *r, const char *resource, struct str name)
{
    status_not_found(&r->status, &r->arena, STR_EMPTY, str_c(resource), name);
    return STAGE_ERROR;
}

static bool pod_target(struct request *r, const struct named *n, struct str *ret_ip, uint16_t *ret_port)
{
    struct rest *pods = registry_rest(r->srv, STR_EMPTY, STR("pods"));
    const struct object *o = watch_cache_get(pods->cache, r->info.ns, n->name);
    const struct core_v1_pod *p = o ? rest_decode(pods, &r->arena, o) : NULL;
    uint64_t port = 80;
    if (!p) {
        (void)missing(r, "pods", n->name);
        return false;
    }
    if (!str_empty(n->port) && (!str_to_u64(n->port, &port) || port == 0 || port > 65535)) {
        (void)request_bad(r, "invalid pod request \"%.*s\"", STR_ARG(r->info.name));
        return false;
    }
    for (size_t i = 0; str_empty(n->port) && i < p->spec.n_containers; i++) {
        if (p->spec.containers[i].n_ports > 0) {
            port = (uint64_t)p->spec.containers[i].ports[0].container_port;
            break;
        }
    }
    if (str_empty(p->status.pod_ip)) {
        (void)request_bad(r, "address not allowed");
        return false;
    }
    *ret_ip = p->status.pod_ip;
    *ret_port = (uint16_t)port;
    return true;
}

struct slices {
    struct request *r;
    struct str service, port_name;
    struct str ip;
    uint16_t port;
    uint64_t seen;
};

/* One ready endpoint of the service, each with the same chance. */
static bool look(void *ctx, const void *obj)
{
    struct slices *s = ctx;
    const struct discovery_v1_endpoint_slice *e = obj;
    bool mine = false;
    for (size_t i = 0; i < e->metadata.n_labels; i++) {
        mine |= str_eq_c(e->metadata.labels[i].key, "kubernetes.io/service-name") && str_eq(e->metadata.labels[i].value, s->service);
    }
    for (size_t i = 0; mine && i < e->n_ports; i++) {
        if (!e->ports[i].has_port || !str_eq(e->ports[i].name.ptr ? e->ports[i].name : STR_EMPTY, s->port_name)) {
            continue;
        }
        for (size_t j = 0; j < e->n_endpoints; j++) {
            bool ready = !e->endpoints[j].conditions.has_ready || e->endpoints[j].conditions.ready;
            if (ready && e->endpoints[j].n_addresses > 0 && rand_below(++s->seen) == 0) {
                s->ip = e->endpoints[j].addresses[0];
                s->port = (uint16_t)e->ports[i].port;
            }
        }
    }
    return true;
}

static bool service_target(struct request *r, const struct named *n, struct str *ret_ip, uint16_t *ret_port)
{
    struct rest *services = registry_rest(r->srv, STR_EMPTY, STR("services"));
    const struct object *o = watch_cache_get(services->cache, r->info.ns, n->name);
    const struct core_v1_service *svc = o ? rest_decode(services, &r->arena, o) : NULL;
    const struct core_v1_service_port *port = NULL;
    uint64_t number = 0;
    if (!svc) {
        (void)missing(r, "services", n->name);
        return false;
    }
    bool numeric = str_to_u64(n->port, &number);
    for (size_t i = 0; i < svc->spec.n_ports && !port; i++) {
        const struct core_v1_service_port *p = &svc->spec.ports[i];
        bool fits = numeric ? (uint64_t)p->port == number : !str_empty(n->port) ? str_eq(p->name, n->port)
                                                                                : svc->spec.n_ports == 1 || str_empty(p->name);
        port = fits ? p : NULL;
    }
    if (!port) {
        r->status = (struct status){ .code = 503, .reason = STR("ServiceUnavailable"),
            .message = arena_printf(&r->arena, "no service port \"%.*s\" found for service \"%.*s\"", STR_ARG(n->port), STR_ARG(n->name)) };
        return false;
    }
    struct slices s = { .r = r, .service = n->name, .port_name = port->name.ptr ? port->name : STR_EMPTY };
    r->srv->world.each(&r->srv->world, &r->arena, STR("discovery.k8s.io"), STR("endpointslices"), r->info.ns, look, &s);
    if (!s.ip.ptr) {
        r->status = (struct status){ .code = 503, .reason = STR("ServiceUnavailable"),
            .message = arena_printf(&r->arena, "no endpoints available for service \"%.*s\"", STR_ARG(n->name)) };
        return false;
    }
    *ret_ip = s.ip;
    *ret_port = s.port;
    return true;
}

/* Headers that travel on: no credentials, nothing of this hop. */
static size_t forward_headers(struct request *r, struct http_header *out, size_t max)
{
    static const char *const dropped[] = { "authorization", "connection", "keep-alive", "upgrade", "transfer-encoding", "content-length",
                                           "host", "te", "trailer", "proxy-authorization", "cookie2" };
    size_t n = 0;
    for (size_t i = 0; i < r->in->headers.n && n < max; i++) {
        struct http_header h = r->in->headers.items[i];
        bool drop = str_starts(h.name, STR("impersonate-")) || str_starts(h.name, STR("x-remote-"));
        for (size_t j = 0; j < ARRAY_SIZE(dropped); j++) {
            drop |= str_eq_c(h.name, dropped[j]);
        }
        if (!drop) {
            out[n++] = h;
        }
    }
    return n;
}

/* The raw path behind "/proxy", so that its escapes stay as the client wrote them. */
static struct str raw_rest(struct request *r)
{
    struct str path, query, target = r->in->target, mark = STR("/proxy");
    if (!str_cut(target, '?', &path, &query)) {
        path = target;
    }
    ptrdiff_t at = str_find(path, mark);
    struct str rest = at >= 0 ? str_sub(path, (size_t)at + mark.len, path.len) : STR_EMPTY;
    struct str p = str_empty(rest) ? STR("/") : rest;
    return query.ptr ? arena_printf(&r->arena, "%.*s?%.*s", STR_ARG(p), STR_ARG(query)) : p;
}

enum stage_result stage_proxy(struct request *r)
{
    struct err err = { 0 };
    struct http_client *c = NULL;
    struct named n = split_name(r->info.name);
    bool tls = str_eq_c(n.scheme, "https");
    if (str_eq_c(r->info.resource, "nodes")) {
        struct rest *nodes = registry_rest(r->srv, STR_EMPTY, STR("nodes"));
        const struct object *o = watch_cache_get(nodes->cache, STR_EMPTY, n.name);
        const struct core_v1_node *node = o ? rest_decode(nodes, &r->arena, o) : NULL;
        if (!node) {
            return missing(r, "nodes", n.name);
        }
        c = kubelet_client(r->srv, node, &err);
    } else {
        struct str ip;
        uint16_t port;
        if (!(str_eq_c(r->info.resource, "pods") ? pod_target(r, &n, &ip, &port) : service_target(r, &n, &ip, &port))) {
            return STAGE_ERROR;
        }
        if (!allowed(ip)) {
            return request_bad(r, "address not allowed");
        }
        c = kubelet_plain_client(r->srv, ip, port, tls, &err);
    }
    if (!c) {
        status_internal(&r->status, &r->arena, "%s", err.msg);
        return STAGE_ERROR;
    }
    if (http_stream_wants_upgrade(r->http)) {
        return backend_upgrade(r, c, raw_rest(r), UPGRADE_PASS, 0);
    }
    struct http_header headers[64];
    struct backend_call call = { .client = c, .method = r->in->method, .target = raw_rest(r), .headers = headers,
                                 .n_headers = forward_headers(r, headers, ARRAY_SIZE(headers)), .with_body = true, .pass_headers = true };
    return backend_stream(r, &call);
}
