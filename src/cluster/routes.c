#include "cluster/routes.h"

#include <arpa/inet.h>

#include "api/gen/core_v1.h"
#include "api/type.h"
#include "base/log.h"
#include "client/informer.h"
#include "cluster/master-label.h"
#include "cluster/prepare.h"
#include "net/addr.h"

struct routes {
    const struct cluster_config *config;
    struct net_switch *net;
    struct client *client;
    struct informers *informers;
    struct arena arena; /* of the credentials */
};

/* "node-3" to 3; 0 when it is none of ours. */
static unsigned number_of(const struct routes *r, struct str name)
{
    for (unsigned i = 1; i <= r->config->n_nodes; i++) {
        char text[16];
        cluster_node_name(i, text);
        if (str_eq_c(name, text)) {
            return i;
        }
    }
    return 0;
}

/* Only what lies in the pods' range is a route of ours, whatever a Node object says. */
static bool parse_cidr(struct str cidr, uint32_t *ret_net, unsigned *ret_prefix)
{
    struct str net, bits;
    struct net_addr a;
    uint64_t prefix;
    if (!str_cut(cidr, '/', &net, &bits) || !str_to_u64(bits, &prefix) || prefix < CLUSTER_POD_PREFIX || prefix > 32 ||
        !net_addr_parse_ip(net, 0, &a) || a.sa.sa_family != AF_INET) {
        return false;
    }
    *ret_net = ntohl(a.in4.sin_addr.s_addr);
    *ret_prefix = (unsigned)prefix;
    return (*ret_net ^ CLUSTER_POD_NET) >> (32 - CLUSTER_POD_PREFIX) == 0;
}

static void set_route(struct routes *r, const struct core_v1_node *node, bool there)
{
    unsigned number = number_of(r, node->metadata.name), prefix;
    uint32_t net;
    struct err err;
    if (number == 0 || str_empty(node->spec.pod_cidr)) {
        return;
    }
    if (!parse_cidr(node->spec.pod_cidr, &net, &prefix)) {
        log_warning("the pods of node-%u have addresses outside of %s: %.*s; they get no route", number, CLUSTER_POD_CIDR,
                    STR_ARG(node->spec.pod_cidr));
        return;
    }
    bool ok = there ? switch_route_pods(r->net, number, net, prefix, &err)
                    : rtnl_set_blackhole(&r->net->rtnl, net, prefix, &err);
    if (!ok) {
        log_error("%s", err.msg);
    }
}

static void on_node(void *data, const void *old, const void *obj)
{
    const struct core_v1_node *before = old, *after = obj;
    if (before && (!after || !str_eq(before->spec.pod_cidr, after->spec.pod_cidr))) {
        set_route(data, before, false);
    }
    if (after) {
        set_route(data, after, true);
        const struct routes *r = data;
        unsigned number = number_of(r, after->metadata.name);
        if (number && number <= r->config->n_masters) {
            master_label_put(r->client, after);
        }
    }
}

struct routes *routes_new(struct loop *l, const struct cluster_config *c, struct net_switch *net, struct err *err)
{
    static const char *const fields[] = { "spec.podCIDR", "metadata.labels", NULL };
    const struct informer_spec nodes = { .resource = api_resource_find(STR(""), STR("v1"), STR("nodes")), .fields = fields };
    const struct client_options options = { .user_agent = "coracle/" CORACLE_VERSION };
    struct client_config config;
    struct routes *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    *r = (struct routes){ .config = c, .net = net };
    arena_init(&r->arena, ARENA_NO_BUDGET);
    r->client = prepare_admin_config(c, &r->arena, &config, err) ? client_new(l, &config, &options, err) : NULL;
    if (!r->client) {
        return routes_free(r);
    }
    r->informers = informers_new(r->client);
    (void)informers_get(r->informers, &nodes, on_node, r);
    informers_start(r->informers, NULL, NULL);
    return r;
}

struct routes *routes_free(struct routes *r)
{
    if (r) {
        r->informers = informers_free(r->informers);
        r->client = client_free(r->client);
        arena_deinit(&r->arena);
        free(r);
    }
    return NULL;
}
