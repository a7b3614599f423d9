#include "cluster/host-routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/gen/core_v1.h"
#include "api/type.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/informer.h"
#include "cluster/host-prepare.h"
#include "net/addr.h"
#include "net/rtnl.h"

enum { CREDENTIALS_MS = 200, AGAIN_MS = 10000, MAX_ROUTES = 16384 };

struct host_routes {
    const struct host *host;
    struct loop *loop;
    struct loop_timer begin;
    struct rtnl rtnl;
    struct client *client;
    struct informers *informers;
    struct informer *nodes;
    struct loop_timer again; /* routes that the kernel refused: a link may have been down */
    struct arena arena;
    struct rtnl_route range; /* of all pods */
};

static bool take_ip(struct str ip, int *ret_family, uint8_t ret[16])
{
    struct net_addr a;
    if (!net_addr_parse_ip(ip, 0, &a)) {
        return false;
    }
    *ret_family = a.sa.sa_family;
    if (a.sa.sa_family == AF_INET) {
        memcpy(ret, &a.in4.sin_addr, 4);
    } else {
        memcpy(ret, &a.in6.sin6_addr, 16);
    }
    return true;
}

/* "10.244.0.0/16" into the range of a route, without the bits behind its prefix. */
static bool parse_cidr(struct str cidr, struct rtnl_route *ret)
{
    struct str net, bits;
    uint64_t prefix;
    *ret = (struct rtnl_route){ .protocol = RTNL_PROTO_HOST };
    if (!str_cut(cidr, '/', &net, &bits) || !str_to_u64(bits, &prefix) || !take_ip(net, &ret->family, ret->dst) ||
        prefix < 1 || prefix > (ret->family == AF_INET ? 32u : 128u)) {
        return false;
    }
    ret->prefix = (unsigned)prefix;
    for (unsigned bit = ret->prefix; bit < 128; bit++) {
        ret->dst[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    }
    return true;
}

static bool is_within(const struct rtnl_route *range, const struct rtnl_route *x)
{
    bool within = x->family == range->family && x->prefix >= range->prefix;
    for (unsigned bit = 0; within && bit < range->prefix; bit++) {
        within = ((x->dst[bit / 8] ^ range->dst[bit / 8]) & (0x80u >> bit % 8)) == 0;
    }
    return within;
}

static struct str label(const struct core_v1_node *n, const char *key)
{
    for (size_t i = 0; i < n->metadata.n_labels; i++) {
        if (str_eq_c(n->metadata.labels[i].key, key)) {
            return n->metadata.labels[i].value;
        }
    }
    return STR_NULL;
}

/*
 * The route to a node's pods; false: there is none, or it is this host. Only what lies in the pods' range is a route of
 * ours, whatever a Node says.
 */
static bool route_to(const struct host_routes *r, const struct core_v1_node *n, struct rtnl_route *ret)
{
    if (str_eq_c(n->metadata.name, r->host->name) ||
        str_eq_c(label(n, HOST_REACH_LABEL), host_reach_word(HOST_BY_REVERSE)) || !parse_cidr(n->spec.pod_cidr, ret) ||
        !is_within(&r->range, ret)) {
        return false;
    }
    for (size_t i = 0; i < n->status.n_addresses; i++) {
        struct str ip = n->status.addresses[i].address;
        int family;
        if (str_eq_c(n->status.addresses[i].type, "InternalIP") && !str_eq_c(ip, r->host->address) &&
            take_ip(ip, &family, ret->via) && family == ret->family) {
            return true;
        }
    }
    return false;
}

static void set_route(struct host_routes *r, const struct core_v1_node *n)
{
    struct rtnl_route x;
    struct err err;
    if (route_to(r, n, &x) && !rtnl_put_route(&r->rtnl, &x, &err)) {
        log_warning("pods of %.*s are not reached from here: %s", STR_ARG(n->metadata.name), err.msg);
        loop_timer_start(&r->again, AGAIN_MS);
    }
}

static void on_again(void *arg)
{
    struct host_routes *r = arg;
    const struct core_v1_node *n;
    for (size_t pos = 0; (n = informer_next(r->nodes, &pos));) {
        set_route(r, n);
    }
}

static bool same_route(const struct rtnl_route *a, const struct rtnl_route *b)
{
    return a->family == b->family && a->prefix == b->prefix && memcmp(a->dst, b->dst, sizeof(a->dst)) == 0;
}

static void on_node(void *data, const void *old, const void *obj)
{
    struct host_routes *r = data;
    const struct core_v1_node *before = old, *after = obj;
    struct rtnl_route was, is;
    struct err err;
    bool had = before && route_to(r, before, &was), has = after && route_to(r, after, &is);
    if (had && !(has && same_route(&was, &is)) && !rtnl_delete_route(&r->rtnl, &was, &err)) {
        log_error("%s", err.msg);
    }
    if (has && !(had && same_route(&was, &is) && memcmp(was.via, is.via, sizeof(was.via)) == 0)) {
        set_route(r, after);
    }
}

/* ---- rules ---- */

/* Runs nft with rules on its standard input. */
static bool run_nft(const char *rules, struct err *err)
{
    int p[2];
    if (pipe(p) < 0) {
        return err_set_errno(err, errno, "cannot make a pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = { (char[]){ "nft" }, (char[]){ "-f" }, (char[]){ "-" }, NULL };
        if (dup2(p[0], 0) < 0) {
            _exit(127);
        }
        close(p[1]);
        execvp("nft", argv);
        _exit(127);
    }
    close(p[0]);
    size_t len = strlen(rules);
    bool ok = pid > 0 && write(p[1], rules, len) == (ssize_t)len;
    int status = -1;
    close(p[1]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return (ok && status == 0) || err_set(err, ERR_IO,
                                          "nft does not take the rules for pods that leave for other networks (is "
                                          "Debian's package nftables installed?)");
}

static void set_rules(const struct host *h)
{
    char text[600];
    struct err err;
    (void)snprintf(
        text, sizeof(text),
        "table ip coracle-host\ndelete table ip coracle-host\n"
        "table ip coracle-host { chain leave { type nat hook postrouting priority 100; ip saddr %s ip daddr != %s "
        "fib daddr type != local masquerade; }; }\n",
        h->pod_cidr, h->pod_cidr);
    if (!run_nft(text, &err)) {
        log_error("%s", err.msg);
    }
}

/* ---- life ---- */

static bool credentials(struct host_routes *r, struct client_config *c, struct err *err)
{
    char path[PATH_MAX];
    return r->host->server ? host_admin_config(r->host, &r->arena, c, err)
                           : kubeconfig_read(&r->arena, path_of(path, "%s/conf/kubelet.conf", r->host->place.state),
                                             STR_NULL, c, err);
}

static void begin(void *arg)
{
    static const char *const fields[] = { "metadata.labels", "spec.podCIDR", "status.addresses", NULL };
    const struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")),
                                        .fields = fields };
    const struct client_options options = { .user_agent = "coracle/" CORACLE_VERSION };
    struct host_routes *r = arg;
    struct client_config c;
    struct err err;
    if (!r->rtnl.nl && !rtnl_open(&r->rtnl, -1, &err)) {
        log_error("no routes to other nodes' pods: %s", err.msg);
        return;
    }
    r->client = credentials(r, &c, &err) ? client_new(r->loop, &c, &options, &err) : NULL;
    if (!r->client) {
        arena_clear(&r->arena);
        loop_timer_start(&r->begin, CREDENTIALS_MS);
        return;
    }
    r->informers = informers_new(r->client);
    r->nodes = informers_get(r->informers, &spec, on_node, r);
    informers_start(r->informers, NULL, NULL);
}

struct host_routes *host_routes_new(struct loop *l, const struct host *h)
{
    struct host_routes *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->host = h;
    r->loop = l;
    arena_init(&r->arena, ARENA_NO_BUDGET);
    loop_timer_init(&r->begin, l, begin, r);
    loop_timer_init(&r->again, l, on_again, r);
    if (!parse_cidr(str_c(h->pod_cidr), &r->range)) {
        log_warning("%s is no range: there are no routes to other nodes' pods", h->pod_cidr);
        return r;
    }
    if (h->node) {
        set_rules(h);
    }
    loop_timer_start(&r->begin, 1);
    return r;
}

struct host_routes *host_routes_free(struct host_routes *r)
{
    if (r) {
        loop_timer_stop(&r->begin);
        loop_timer_stop(&r->again);
        r->informers = informers_free(r->informers);
        r->client = client_free(r->client);
        rtnl_close(&r->rtnl);
        arena_deinit(&r->arena);
        free(r);
    }
    return NULL;
}

struct removal {
    struct rtnl_route *list;
    size_t n, room;
};

static void collect(void *data, const struct rtnl_route *route)
{
    struct removal *m = data;
    if (m->n < m->room) {
        m->list[m->n++] = *route;
    }
}

static bool remove_routes(struct err *err)
{
    struct removal m = { .room = MAX_ROUTES };
    struct rtnl r = { 0 };
    m.list = calloc(m.room, sizeof(*m.list));
    if (!m.list) {
        abort();
    }
    bool ok = rtnl_open(&r, -1, err) && rtnl_list_routes(&r, RTNL_PROTO_HOST, collect, &m, err);
    for (size_t i = 0; ok && i < m.n; i++) {
        ok = rtnl_delete_route(&r, &m.list[i], err);
    }
    rtnl_close(&r);
    free(m.list);
    return ok;
}

bool host_routes_remove(const struct host *h, struct err *err)
{
    return remove_routes(err) && (!h->node || run_nft("table ip coracle-host\ndelete table ip coracle-host\n", err));
}
