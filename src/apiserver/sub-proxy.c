/*
 * The proxy subresource of pods, services and nodes: /…/pods/[scheme:]NAME[:port]/proxy/PATH.
 *
 * The path behind "/proxy" and the query travel as the client wrote them. An address is taken from the object, checked, and dialled as
 * it is. Without a port a node's name means its kubelet, over TLS that is verified; another port is plain, or with "https:" TLS that
 * is verified by the kubelets' CA. Pods and services are plain, or with "https:" TLS that nobody verifies, as the original documents.
 */
#include "api/gen/core_v1.h"
#include "api/gen/discovery_v1.h"
#include "apiserver/backend.h"
#include "apiserver/egress.h"
#include "apiserver/kubelet.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/verbs.h"
#include "auth/kubelet-attributes.h"
#include "base/encoding.h"
#include "base/rand.h"
#include "net/addr.h"

struct named {
    struct str scheme, name, port;
};

/* Where a request goes. */
struct target {
    struct http_client *client;
    struct str host; /* "10.0.0.5:80" */
};

/* "https:web:443" is scheme, name, port; "web:80" name and port; "web" a name; "https:web" scheme and name. False: something else. */
static bool split_name(struct str s, struct named *ret)
{
    struct str a, b, c, rest;
    if (!str_cut(s, ':', &a, &rest)) {
        *ret = (struct named){ STR_EMPTY, s, STR_EMPTY };
    } else if (str_cut(rest, ':', &b, &c)) {
        *ret = (struct named){ a, b, c };
    } else if (str_eq_c(a, "http") || str_eq_c(a, "https")) {
        *ret = (struct named){ a, rest, STR_EMPTY };
    } else {
        *ret = (struct named){ STR_EMPTY, a, rest };
    }
    return !str_empty(ret->name) && str_find_char(ret->port, ':') < 0 &&
           (str_empty(ret->scheme) || str_eq_c(ret->scheme, "http") || str_eq_c(ret->scheme, "https"));
}

static bool missing(struct request *r, const char *resource, struct str name)
{
    status_not_found(&r->status, &r->arena, STR_EMPTY, str_c(resource), name);
    return false;
}

PRINTF_LIKE(2, 3) static bool unavailable(struct request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    r->status = (struct status){ .code = 503, .reason = STR("ServiceUnavailable"), .message = arena_vprintf(&r->arena, fmt, ap) };
    va_end(ap);
    return false;
}

static bool no_client(struct request *r, const struct err *err)
{
    if (err->code == ERR_UNAVAILABLE) {
        return unavailable(r, "%s", err->msg);
    }
    if (err->code == ERR_FORBIDDEN) {
        (void)request_bad(r, "%s", err->msg);
        return false;
    }
    status_internal(&r->status, &r->arena, "%s", err->msg);
    return false;
}

/* A port by number, or by the name that a container gives to it. 0: there is none. */
static uint16_t pod_port(const struct core_v1_pod *p, struct str port)
{
    uint64_t number;
    if (str_to_u64(port, &number)) {
        return number <= 65535 ? (uint16_t)number : 0;
    }
    for (size_t i = 0; i < p->spec.n_containers; i++) {
        const struct core_v1_container *c = &p->spec.containers[i];
        for (size_t k = 0; k < c->n_ports; k++) {
            if (str_empty(port) || str_eq(c->ports[k].name, port)) {
                return (uint16_t)c->ports[k].container_port;
            }
        }
    }
    return str_empty(port) ? 80 : 0;
}

/* Pods and endpoints: an address of the cluster, checked here too for the sake of upstream's answer. */
static bool plain_target(struct request *r, const char *what, struct str ip, uint16_t port, bool tls, struct target *ret)
{
    struct err err = { 0 };
    struct net_addr addr;
    char text[NET_ADDR_TEXT_SIZE];
    if (!net_addr_parse_ip(ip, port, &addr)) {
        (void)request_bad(r, "address not allowed");
        return false;
    }
    ret->client = kubelet_plain_client(r->srv, what, ip, port, tls, &err);
    ret->host = arena_str(&r->arena, net_addr_text(&addr, text));
    return ret->client || no_client(r, &err);
}

static bool pod_target(struct request *r, const struct named *n, struct target *ret)
{
    struct rest *pods = registry_rest(r->srv, STR_EMPTY, STR("pods"));
    const struct object *o = watch_cache_get(pods->cache, r->info.ns, n->name);
    const struct core_v1_pod *p = o ? rest_decode(pods, &r->arena, o) : NULL;
    if (!p) {
        return missing(r, "pods", n->name);
    }
    uint16_t port = pod_port(p, n->port);
    if (port == 0) {
        (void)request_bad(r, "no port \"%.*s\" found for pod \"%.*s\"", STR_ARG(n->port), STR_ARG(n->name));
        return false;
    }
    return plain_target(r, "pods", p->status.pod_ip, port, str_eq_c(n->scheme, "https"), ret);
}

static bool node_target(struct request *r, const struct named *n, struct target *ret)
{
    struct rest *nodes = registry_rest(r->srv, STR_EMPTY, STR("nodes"));
    const struct object *o = watch_cache_get(nodes->cache, STR_EMPTY, n->name);
    const struct core_v1_node *node = o ? rest_decode(nodes, &r->arena, o) : NULL;
    struct err err = { 0 };
    uint64_t port = 0;
    if (!node) {
        return missing(r, "nodes", n->name);
    }
    uint16_t kubelet = kubelet_port(r->srv, node);
    if (!str_empty(n->port) && (!str_to_u64(n->port, &port) || port == 0 || port > 65535)) {
        (void)request_bad(r, "invalid node request \"%.*s\"", STR_ARG(r->info.name));
        return false;
    }
    bool is_kubelet = port == 0 || port == kubelet;
    ret->client = is_kubelet ? kubelet_client(r->srv, node, false, &err)
                             : kubelet_node_client(r->srv, node, (uint16_t)port, str_eq_c(n->scheme, "https"), &err);
    ret->host = STR_EMPTY;
    return ret->client || no_client(r, &err);
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

static bool service_target(struct request *r, const struct named *n, struct target *ret)
{
    struct rest *services = registry_rest(r->srv, STR_EMPTY, STR("services"));
    const struct object *o = watch_cache_get(services->cache, r->info.ns, n->name);
    const struct core_v1_service *svc = o ? rest_decode(services, &r->arena, o) : NULL;
    const struct core_v1_service_port *port = NULL;
    uint64_t number = 0;
    if (!svc) {
        return missing(r, "services", n->name);
    }
    bool numeric = str_to_u64(n->port, &number);
    for (size_t i = 0; i < svc->spec.n_ports && !port; i++) {
        const struct core_v1_service_port *p = &svc->spec.ports[i];
        bool fits = numeric ? (uint64_t)p->port == number : !str_empty(n->port) ? str_eq(p->name, n->port)
                                                                                : svc->spec.n_ports == 1 || str_empty(p->name);
        port = fits ? p : NULL;
    }
    if (!port) {
        return unavailable(r, numeric ? "no service port %.*s found for service \"%.*s\"" : "no service port \"%.*s\" found for service \"%.*s\"",
                           STR_ARG(n->port), STR_ARG(n->name));
    }
    struct slices s = { .r = r, .service = n->name, .port_name = port->name.ptr ? port->name : STR_EMPTY };
    r->srv->world.each(&r->srv->world, &r->arena, STR("discovery.k8s.io"), STR("endpointslices"), r->info.ns, look, &s);
    if (!s.ip.ptr) {
        return unavailable(r, "no endpoints available for service \"%.*s\"", STR_ARG(n->name));
    }
    return plain_target(r, "services", s.ip, s.port, str_eq_c(n->scheme, "https"), ret);
}

/* ---- paths ---- */

/* Cuts the raw target: '*ret_prefix' up to and with "/proxy", '*ret_rest' behind it, without the query. The segments are counted as
 * request-info.c counts them, so that a pod or namespace named "proxy" is not taken for it; a name with an encoded slash fails. */
static bool cut_path(const struct request *r, struct str *ret_prefix, struct str *ret_rest, struct str *ret_query)
{
    struct str path;
    size_t at = 0, names = str_eq_c(r->info.resource, "nodes") ? 4 : 6;
    if (!str_cut(r->in->target, '?', &path, ret_query)) {
        path = r->in->target;
        *ret_query = STR_NULL;
    }
    while (at < path.len && path.ptr[at] == '/') {
        at++;
    }
    for (size_t i = 0; i < names; i++) {
        ptrdiff_t slash = str_find_char(str_sub(path, at, path.len), '/');
        if (slash < 0) {
            return false;
        }
        at += (size_t)slash + 1;
    }
    struct str mark = STR("proxy"), tail = str_sub(path, at, path.len);
    if (!str_starts(tail, mark) || (tail.len > mark.len && tail.ptr[mark.len] != '/')) {
        return false;
    }
    *ret_prefix = str_sub(path, 0, at + mark.len);
    *ret_rest = str_sub(tail, mark.len, tail.len);
    return true;
}

/* GET of ".../proxy" itself goes to ".../proxy/", so that relative links of the page work: upstream's answer. */
static enum stage_result redirect_to_root(struct request *r, struct str prefix, struct str query)
{
    struct http_header location = { STR("location"), query.ptr ? arena_printf(&r->arena, "%.*s/?%.*s", STR_ARG(prefix), STR_ARG(query))
                                                               : arena_printf(&r->arena, "%.*s/", STR_ARG(prefix)) };
    http_stream_reply(r->http, 301, &location, 1, NULL, 0);
    return STAGE_ANSWERED;
}

/* Does the request make the kubelet run something or open a stream (then reading is not enough)? Every upgrade does. */
bool proxy_opens_stream(struct request *r)
{
    struct str prefix, rest, query, decoded;
    struct authz_attributes attrs[KUBELET_ATTRIBUTES_MAX];
    if (!str_eq_c(r->info.resource, "nodes") || http_stream_wants_upgrade(r->http)) {
        return str_eq_c(r->info.resource, "nodes");
    }
    if (!cut_path(r, &prefix, &rest, &query) || !percent_decode(&r->arena, rest, false, &decoded)) {
        return true;
    }
    (void)kubelet_attributes(&r->user, STR("GET"), decoded, r->info.name, attrs);
    return str_eq_c(attrs[0].verb, "create");
}

enum stage_result stage_proxy(struct request *r)
{
    struct named n;
    struct target t;
    struct str prefix, rest, query;
    struct str what = r->info.resource;
    if (!split_name(r->info.name, &n)) {
        return request_bad(r, "invalid %.*s request \"%.*s\"", (int)(what.len - 1), what.ptr, STR_ARG(r->info.name));
    }
    if (!cut_path(r, &prefix, &rest, &query)) {
        return request_bad(r, "the path of the request is not valid");
    }
    bool reads = str_eq_c(r->in->method, "GET") || r->is_head;
    if (str_empty(rest) && reads) {
        return redirect_to_root(r, prefix, query);
    }
    bool found = str_eq_c(what, "nodes") ? node_target(r, &n, &t) : str_eq_c(what, "pods") ? pod_target(r, &n, &t) : service_target(r, &n, &t);
    if (!found) {
        return STAGE_ERROR;
    }
    bool upgrade = http_stream_wants_upgrade(r->http);
    struct http_header *headers;
    struct backend_call call = { .client = t.client, .style = BACKEND_PROXY, .method = r->in->method, .authority = r->in->authority,
                                 .prefix = prefix, .backend = t.host, .with_body = true };
    if (!backend_request_headers(r, arena_printf(&r->arena, "%.*s%.*s", STR_ARG(prefix), STR_ARG(rest)), upgrade, &headers, &call.n_headers)) {
        r->status = (struct status){ .code = 431, .reason = STR("RequestHeaderFieldsTooLarge"), .message = STR("too many headers to pass on") };
        return STAGE_ERROR;
    }
    call.headers = headers;
    rest = str_empty(rest) ? STR("/") : rest;
    call.target = query.ptr ? arena_printf(&r->arena, "%.*s?%.*s", STR_ARG(rest), STR_ARG(query)) : rest;
    return upgrade ? backend_upgrade(r, &call, UPGRADE_PASS, 0) : backend_stream(r, &call);
}
