#include "cloud/bare-metal.h"

#include <stdlib.h>

#include "client/meta.h"
#include "cloud/agent.h"
#include "cloud/limits.h"
#include "cloud/node-facts.h"

/* The file, unfolded. */
#define CONFIG_ARENA_MAX (64u << 20)

static void *open_provider(struct str config, struct err *err)
{
    struct bare_metal *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    arena_init(&p->arena, CONFIG_ARENA_MAX);
    map_init(&p->used);
    if (!bare_metal_config_parse(&p->arena, config, &p->config, err)) {
        arena_deinit(&p->arena);
        free(p);
        return NULL;
    }
    return p;
}

static void close_provider(void *provider)
{
    struct bare_metal *p = provider;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&p->used, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&p->used);
    rtnl_close(&p->rtnl);
    arena_deinit(&p->arena);
    free(p);
}

static void watch(void *provider, struct informers *informers)
{
    static const char *const fields[] = { "spec.type", "spec.loadBalancerClass", "status.loadBalancer", NULL };
    struct bare_metal *p = provider;
    const struct informer_spec spec = { .resource = api_resource_find(STR(""), STR("v1"), STR("services")), .fields = fields };
    p->services = informers_get(informers, &spec, bare_metal_pools_see, p);
}

/* ---- instances ---- */

/* The file's word, else the Node's label or annotation of ours, else what the Node is known by anyway. */
static struct str said(const struct core_v1_node *n, struct str file, const char *key, const char *known)
{
    struct str v = file;
    v = v.len ? v : meta_label(&n->metadata, str_c(key));
    v = v.len ? v : meta_annotation(&n->metadata, str_c(key));
    return v.len || !known ? v : meta_label(&n->metadata, str_c(known));
}

static void add_address(struct cloud_instance *i, struct arena *a, const char *type, struct str text)
{
    struct ip ip;
    char canonical[IP_TEXT_SIZE];
    text = str_trim(text);
    if (i->n_addresses < CLOUD_CONFIG_ADDRESSES && ip_parse(text, &ip) && ip_is_unicast(&ip)) {
        i->addresses[i->n_addresses++] =
            (struct core_v1_node_address){ .type = str_c(type), .address = arena_str(a, ip_text(&ip, canonical)) };
    }
}

/* One or several, with commas. */
static void add_addresses(struct cloud_instance *i, struct arena *a, const char *type, struct str list)
{
    struct str one;
    while (list.len && str_split(&list, ',', &one)) {
        add_address(i, a, type, one);
    }
}

static bool addresses(struct cloud_instance *i, struct arena *a, const struct core_v1_node *n, const struct bare_metal_node *listed)
{
    i->addresses = arena_new_n(a, struct core_v1_node_address, 2 * CLOUD_CONFIG_ADDRESSES);
    if (!i->addresses) {
        return false;
    }
    if (listed && listed->n_addresses) {
        for (size_t k = 0; k < listed->n_addresses; k++) {
            i->addresses[i->n_addresses++] = listed->addresses[k];
        }
        return true;
    }
    add_addresses(i, a, "InternalIP", said(n, STR_NULL, BARE_METAL_INTERNAL_IP, NULL));
    if (!i->n_addresses) {
        add_addresses(i, a, "InternalIP", meta_annotation(&n->metadata, STR(BARE_METAL_PROVIDED_IP)));
    }
    for (size_t k = 0; !i->n_addresses && k < n->status.n_addresses; k++) {
        if (str_eq(n->status.addresses[k].type, STR("InternalIP"))) {
            add_address(i, a, "InternalIP", n->status.addresses[k].address);
        }
    }
    if (i->n_addresses) {
        add_addresses(i, a, "ExternalIP", said(n, STR_NULL, BARE_METAL_EXTERNAL_IP, NULL));
    }
    return true;
}

static void get_instance(void *provider, const struct core_v1_node *n, struct cloud_call *call)
{
    const struct bare_metal *p = provider;
    const struct bare_metal_node *listed = bare_metal_config_node(&p->config, n->metadata.name);
    struct arena *a = cloud_call_arena(call);
    struct cloud_instance *i = arena_new(a, struct cloud_instance);
    static const struct bare_metal_node nothing;
    const struct bare_metal_node *file = listed ? listed : &nothing;
    if (file->absent || (!listed && p->config.only_listed)) {
        cloud_call_failed(call, ERR_NOT_FOUND, "node %.*s is %s in --cloud-config", STR_ARG(n->metadata.name),
                          listed ? "absent" : "not listed");
        return;
    }
    if (!i || !addresses(i, a, n, listed)) {
        cloud_call_failed(call, ERR_NO_MEMORY, "what is known of node %.*s is too large", STR_ARG(n->metadata.name));
        return;
    }
    i->shutdown = file->shutdown;
    i->provider_id = file->provider_id.len ? file->provider_id : arena_printf(a, "bare-metal://%.*s", STR_ARG(n->metadata.name));
    i->instance_type = arena_str(a, said(n, file->instance_type, BARE_METAL_TYPE, "node.kubernetes.io/instance-type"));
    i->zone = arena_str(a, said(n, file->zone, BARE_METAL_ZONE, "topology.kubernetes.io/zone"));
    i->region = arena_str(a, said(n, file->region.len ? file->region : p->config.region, BARE_METAL_REGION, "topology.kubernetes.io/region"));
    i->labels = file->labels;
    i->n_labels = file->n_labels;
    cloud_call_done(call, i);
}

static const struct cloud_instances instances = { .get = get_instance };

const struct cloud_provider cloud_bare_metal = {
    .name = "bare-metal",
    .open = open_provider,
    .close = close_provider,
    .watch = watch,
    .instances = &instances,
    .load_balancers = &bare_metal_load_balancers,
    .routes = &bare_metal_routes,
    .agent_start = agent_start,
    .agent_synced = agent_synced,
    .agent_stop = agent_stop,
};
