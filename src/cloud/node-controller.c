/*
 * cloud-node-controller: a Node whose kubelet runs with --cloud-provider=external comes with a taint that keeps pods away. The
 * provider says what machine it is: its addresses, provider ID, and the labels for type, zone and region; then the taint goes.
 * The addresses are looked at again every --node-status-update-frequency.
 */
#include <stdlib.h>

#include "api/json-writer.h"
#include "base/arena.h"
#include "cloud/calls.h"
#include "cloud/cloud.h"
#include "cloud/node-facts.h"

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *nodes;
    struct cloud_calls *calls;
};

static void *setup(struct controller *c, struct informers *informers)
{
    static const char *const fields[] = { "metadata.labels", "metadata.annotations", "metadata.deletionTimestamp", "spec.taints",
                                          "spec.providerID", "status.addresses", NULL };
    struct state *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->controller = c;
    s->resource = api_resource_find(STR(""), STR("v1"), STR("nodes"));
    const struct informer_spec spec = { .resource = s->resource, .fields = fields };
    s->nodes = controller_watch(c, informers, &spec);
    s->calls = cloud_calls_new(c);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    cloud_calls_free(s->calls);
    free(s);
}

/* The host's name is the kubelet's to tell: it stays when the provider says none. */
static bool wanted_addresses(struct arena *a, const struct core_v1_node *n, const struct cloud_instance *i,
                             struct core_v1_node_address **ret, size_t *ret_n)
{
    bool named = false;
    struct str hostname = node_address(n, "Hostname", 0);
    *ret = arena_new_n(a, struct core_v1_node_address, i->n_addresses + 1);
    *ret_n = i->n_addresses;
    for (size_t k = 0; *ret && k < i->n_addresses; k++) {
        (*ret)[k] = i->addresses[k];
        named = named || str_eq(i->addresses[k].type, STR("Hostname"));
    }
    if (*ret && !named) {
        (*ret)[(*ret_n)++] = (struct core_v1_node_address){ .type = STR("Hostname"), .address = hostname.len ? hostname : n->metadata.name };
    }
    return *ret != NULL;
}

static void write_label(struct buf *b, struct str key, struct str value)
{
    if (value.len) {
        buf_append_c(b, b->ptr[b->len - 1] == '{' ? "" : ",");
        json_write_string(b, key);
        buf_append_char(b, ':');
        json_write_string(b, value);
    }
}

/* What is known now, and the taint away: one write, so that no pod comes to a node without its labels. */
static void initialise(struct state *s, struct actions *a, const struct core_v1_node *n, const struct cloud_instance *i)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    buf_append_c(&b, "{\"metadata\":{\"resourceVersion\":");
    /* The list of taints is written as a whole: only over what we have seen. */
    json_write_string(&b, n->metadata.resource_version);
    buf_append_c(&b, ",\"labels\":{");
    write_label(&b, STR("beta.kubernetes.io/instance-type"), i->instance_type);
    write_label(&b, STR("node.kubernetes.io/instance-type"), i->instance_type);
    write_label(&b, STR("failure-domain.beta.kubernetes.io/zone"), i->zone);
    write_label(&b, STR("topology.kubernetes.io/zone"), i->zone);
    write_label(&b, STR("failure-domain.beta.kubernetes.io/region"), i->region);
    write_label(&b, STR("topology.kubernetes.io/region"), i->region);
    for (size_t k = 0; k < i->n_labels; k++) {
        write_label(&b, i->labels[k].key, i->labels[k].value);
    }
    buf_append_c(&b, "}},\"spec\":{");
    if (!n->spec.provider_id.len && i->provider_id.len) {
        buf_append_c(&b, "\"providerID\":");
        json_write_string(&b, i->provider_id);
        buf_append_char(&b, ',');
    }
    node_write_taints(&b, n, CLOUD_TAINT_UNINITIALIZED, NULL);
    buf_append_c(&b, "}}");
    act_patch(a, s->resource, STR_NULL, n->metadata.name, NULL, CLIENT_PATCH_MERGE, buf_str(&b));
    act_event_after(a, s->resource, n, "Normal", "Synced", "Node synced successfully");
}

/* True: they are as they should be. */
static bool set_addresses(struct state *s, struct actions *a, const struct core_v1_node *n, const struct cloud_instance *i)
{
    struct core_v1_node_address *want;
    size_t n_want;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (!wanted_addresses(act_arena(a), n, i, &want, &n_want)) {
        abort();
    }
    if (node_same_addresses(want, n_want, n->status.addresses, n->status.n_addresses)) {
        return true;
    }
    buf_append_c(&b, "{\"status\":{");
    node_write_addresses(&b, want, n_want);
    buf_append_c(&b, "}}");
    /* A merge patch replaces the list: by the strategic one, two addresses of one type would be one. */
    act_patch(a, s->resource, STR_NULL, n->metadata.name, "status", CLIENT_PATCH_MERGE, buf_str(&b));
    return false;
}

static void use(struct state *s, struct actions *a, const struct core_v1_node *n, const struct cloud_instance *i)
{
    bool fresh = node_has_taint(n, CLOUD_TAINT_UNINITIALIZED);
    if (!i->n_addresses) {
        if (fresh) {
            act_event(a, s->resource, n, "Warning", "NoNodeAddress", "the cloud provider knows no address of this node");
            act_fail(a, "the cloud provider %s knows no address of the node", cloud_settings.provider->name);
        }
        return;
    }
    /* The addresses first: a node that takes pods has one. What we write brings the next pass. */
    if (set_addresses(s, a, n, i) && fresh) {
        initialise(s, a, n, i);
    }
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    const struct core_v1_node *n = informer_get(s->nodes, STR_NULL, key);
    bool is_new;
    if (!n || n->metadata.deletion_timestamp.set) {
        return;
    }
    struct cloud_call *call = cloud_calls_ask(s->calls, "instance", key, 0, &is_new);
    if (!call) {
        return;
    }
    if (is_new) {
        cloud_settings.provider->instances->get(cloud_settings.state, n, call);
    }
    switch (cloud_call_settle(call)) {
    case CLOUD_CALL_WAITS:
        return;
    case CLOUD_CALL_DONE:
        use(s, a, n, cloud_call_answer(call));
        break;
    case CLOUD_CALL_FAILED:
        /* A machine that is gone is the lifecycle controller's to see; one that comes later is waited for. */
        if (node_has_taint(n, CLOUD_TAINT_UNINITIALIZED) || cloud_call_err(call)->code != ERR_NOT_FOUND) {
            act_fail(a, "what the node is cannot be said: %s", cloud_call_err(call)->msg);
        }
        break;
    }
    cloud_calls_drop(call);
    act_requeue_after(a, (uint64_t)cloud_settings.node_status_ms);
}

const struct controller_ops cloud_node_controller = {
    .name = "cloud-node",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency = 1, /* --concurrent-node-syncs */
};
