/*
 * cloud-controller-manager: the controllers that ask a cloud provider, and with --node-agent what that provider needs on each node.
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "cloud/cloud.h"
#include "cloud/ip.h"
#include "cloud/limits.h"
#include "cmd/absent-flags.h"
#include "cmd/controllers-flag.h"
#include "component/component.h"

struct options {
    struct str provider, config, cluster_cidr, node_name;
    struct flag_strings controllers;
    bool allocate_node_cidrs, configure_cloud_routes, node_agent;
    int32_t concurrent_service_syncs, concurrent_node_syncs;
    int64_t node_monitor_ms, node_status_ms, route_ms;
};

static const struct flag flags[] = {
    FLAG_STRING(struct options, provider, "cloud-provider", "", "Who knows the machines: \"bare-metal\"; it must be given"),
    FLAG_STRING(struct options, config, "cloud-config", "", "The provider's configuration file (docs/cloud.md); empty takes its defaults"),
    FLAG_STRINGS(struct options, controllers, "controllers", "*",
                 "Controllers to run: '*' all of cloud-node-controller, cloud-node-lifecycle-controller, service-lb-controller and "
                 "node-route-controller, 'name' this one, '-name' not this one"),
    FLAG_BOOL(struct options, allocate_node_cidrs, "allocate-node-cidrs", "false",
              "Nodes have address ranges for their pods (kube-controller-manager gives them): routes to them are made"),
    FLAG_STRING(struct options, cluster_cidr, "cluster-cidr", "", "Address ranges of pods, with commas; routes outside of them are left alone"),
    FLAG_BOOL(struct options, configure_cloud_routes, "configure-cloud-routes", "true", "Make routes to nodes' pods, with --allocate-node-cidrs"),
    FLAG_INT32(struct options, concurrent_service_syncs, "concurrent-service-syncs", "1", "How many Services are worked on at a time"),
    FLAG_INT32(struct options, concurrent_node_syncs, "concurrent-node-syncs", "1", "How many Nodes are worked on at a time"),
    FLAG_DURATION(struct options, node_monitor_ms, "node-monitor-period", "5s", "How often it is asked whether a node that is not ready still exists"),
    FLAG_DURATION(struct options, node_status_ms, "node-status-update-frequency", "5m", "How often a node's addresses are asked for"),
    FLAG_DURATION(struct options, route_ms, "route-reconciliation-period", "10s", "How often routes are compared with the nodes"),
};

static const struct flag agent_flags[] = {
    FLAG_BOOL(struct options, node_agent, "node-agent", "false",
              "Run what the provider needs on each node, and no controllers: bare-metal stands for load balancers' addresses on the "
              "node's links, and makes the host's routes"),
    FLAG_STRING(struct options, node_name, "hostname-override", "", "With --node-agent: this node's name; empty takes the host's name"),
};

static const struct flag port_flags[] = { COMPONENT_PORT_FLAGS("0.0.0.0", "10253", "10258") };

#define RUNNING_MAX 8

struct state {
    struct options options;
    struct arena arena;
    struct controller_ops ops[RUNNING_MAX];
    struct event_recorder *recorders[RUNNING_MAX];
    struct controller *running[RUNNING_MAX];
    size_t n;
    void *agent;
};

static bool wants_routes(const struct options *o)
{
    return o->allocate_node_cidrs && o->configure_cloud_routes;
}

static bool check_options(const struct options *o, const struct component_options *component, const struct flag_result *given, struct err *err)
{
    struct str rest = o->cluster_cidr, one;
    struct ip_prefix p;
    while (rest.len && str_split(&rest, ',', &one)) {
        if (!ip_prefix_parse(str_trim(one), true, &p)) {
            return err_set(err, ERR_BAD_REQUEST, "--cluster-cidr: \"%.*s\" is no range of addresses", STR_ARG(one));
        }
    }
    if (wants_routes(o) && !o->cluster_cidr.len) {
        return err_set(err, ERR_BAD_REQUEST, "--allocate-node-cidrs needs --cluster-cidr, or --configure-cloud-routes=false");
    }
    if (o->node_name.len && !o->node_agent) {
        return err_set(err, ERR_BAD_REQUEST, "--hostname-override is of --node-agent");
    }
    if (o->concurrent_service_syncs < 1 || o->concurrent_node_syncs < 1 || o->concurrent_service_syncs > 1000 || o->concurrent_node_syncs > 1000) {
        return err_set(err, ERR_BAD_REQUEST, "--concurrent-service-syncs and --concurrent-node-syncs go from 1 to 1000");
    }
    if (o->node_monitor_ms < 100 || o->node_status_ms < 1000 || o->route_ms < 1000) {
        return err_set(err, ERR_BAD_REQUEST, "--node-monitor-period is 100ms at least, --node-status-update-frequency and "
                                             "--route-reconciliation-period 1s");
    }
    if (o->node_agent && flags_changed(given, "leader-elect") && component->leader_elect) {
        return err_set(err, ERR_BAD_REQUEST, "--node-agent and --leader-elect contradict each other: every node has its own agent");
    }
    if (o->node_agent && flags_changed(given, "controllers")) {
        return err_set(err, ERR_BAD_REQUEST, "--node-agent and --controllers contradict each other: an agent runs none");
    }
    return controllers_flag_check(&o->controllers, cloud_controllers, cloud_controllers_n, cloud_controller_has_name, err);
}

static bool open_provider(struct state *s, struct err *err)
{
    struct options *o = &s->options;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, CLOUD_CONFIG_MAX);
    if (!o->provider.len) {
        return err_set(err, ERR_BAD_REQUEST, "--cloud-provider must be given: this build has \"bare-metal\"");
    }
    const struct cloud_provider *p = cloud_provider_find(o->provider);
    if (!p) {
        return err_set(err, ERR_BAD_REQUEST, "--cloud-provider: there is no provider \"%.*s\": this build has \"bare-metal\"",
                       STR_ARG(o->provider));
    }
    if (o->node_agent && !p->agent_start) {
        return err_set(err, ERR_BAD_REQUEST, "--node-agent: provider %s needs nothing on its nodes", p->name);
    }
    if (o->config.len && !fs_read(arena_cstr(&s->arena, o->config), CLOUD_CONFIG_MAX, &b, err)) {
        return err_wrap(err, "--cloud-config");
    }
    cloud_settings = (struct cloud_settings){ .provider = p,
                                              .state = p->open(arena_str(&s->arena, buf_str(&b)), err),
                                              .cluster_cidr = o->cluster_cidr,
                                              .node_monitor_ms = o->node_monitor_ms,
                                              .node_status_ms = o->node_status_ms,
                                              .route_ms = o->route_ms };
    return cloud_settings.state != NULL;
}

/* Packets and routes are all that an agent, or a router's controllers, need rights for; the others need none. What it does not have
 * when it starts it cannot keep. */
static bool confine(const struct state *s, struct err *err)
{
    uint32_t wanted = s->options.node_agent ? 1u << CAP_NET_RAW | 1u << CAP_NET_ADMIN : wants_routes(&s->options) ? 1u << CAP_NET_ADMIN : 0;
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) {
        return err_set_errno(err, errno, "cannot read the own capabilities");
    }
    if (s->options.node_agent && (data[0].permitted & wanted) != wanted) {
        return err_set(err, ERR_FORBIDDEN, "--node-agent needs CAP_NET_RAW and CAP_NET_ADMIN");
    }
    data[0].permitted = data[0].effective = data[0].permitted & wanted;
    data[0].inheritable = data[1].permitted = data[1].effective = data[1].inheritable = 0;
    header.version = _LINUX_CAPABILITY_VERSION_3;
    return (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_capset, &header, data) == 0) ||
           err_set_errno(err, errno, "cannot give up capabilities");
}

static void run_controller(struct state *s, struct component *c, const struct controller_ops *ops)
{
    char source[64];
    snprintf(source, sizeof(source), "%s-controller", ops->name);
    s->ops[s->n] = *ops;
    s->ops[s->n].concurrency = ops == &cloud_service_controller ? (unsigned)s->options.concurrent_service_syncs
                               : ops == &cloud_node_controller  ? (unsigned)s->options.concurrent_node_syncs
                                                                : ops->concurrency;
    s->recorders[s->n] = event_recorder_new(component_client(c), source, "");
    s->running[s->n] = controller_new(&s->ops[s->n], component_client(c), component_informers(c), s->recorders[s->n]);
    s->n++;
}

/* Whether the provider has what the controller asks for, and it was asked for. */
static bool may_run(const struct state *s, const struct controller_ops *ops)
{
    const struct cloud_provider *p = cloud_settings.provider;
    if (ops == &cloud_service_controller) {
        return p->load_balancers != NULL;
    }
    if (ops == &cloud_route_controller) {
        return wants_routes(&s->options) && p->routes && p->routes->wanted(cloud_settings.state, false);
    }
    return p->instances != NULL;
}

static bool start_agent(struct state *s, struct component *c, struct err *err)
{
    const struct cloud_provider *p = cloud_settings.provider;
    struct str name = s->options.node_name.len ? s->options.node_name : str_c(component_hostname(c));
    cloud_settings.own_node = name;
    if (wants_routes(&s->options) && p->routes && p->routes->wanted(cloud_settings.state, true)) {
        run_controller(s, c, &cloud_route_controller);
    }
    s->agent = p->agent_start(cloud_settings.state, c, name, err);
    return s->agent != NULL;
}

static bool start(struct component *c, void *data, struct err *err)
{
    struct state *s = data;
    if (s->options.node_agent) {
        return start_agent(s, c, err);
    }
    if (cloud_settings.provider->watch) {
        cloud_settings.provider->watch(cloud_settings.state, component_informers(c));
    }
    for (size_t i = 0; i < cloud_controllers_n; i++) {
        const struct controller_ops *ops = cloud_controllers[i];
        if (controllers_flag_wants(&s->options.controllers, ops, cloud_controller_has_name) && may_run(s, ops)) {
            run_controller(s, c, ops);
        } else {
            log_info("controller %s is off", ops->name);
        }
    }
    return true;
}

static void on_synced(void *data)
{
    struct state *s = data;
    for (size_t i = 0; i < s->n; i++) {
        controller_start(s->running[i]);
    }
    if (s->agent) {
        cloud_settings.provider->agent_synced(s->agent);
    }
}

static void stop(void *data)
{
    struct state *s = data;
    if (s->agent) {
        cloud_settings.provider->agent_stop(s->agent);
    }
    for (size_t i = 0; i < s->n; i++) {
        controller_free(s->running[i]);
        event_recorder_free(s->recorders[i]);
    }
    cloud_settings.provider->close(cloud_settings.state);
    arena_deinit(&s->arena);
}

int cloud_controller_manager_main(int argc, char **argv)
{
    static struct state state;
    static struct component_options options;
    static const struct component_spec spec = { .name = "cloud-controller-manager", .leader_name = "cloud-controller-manager" };
    const struct flag_section sections[] = { { "Controllers", flags, ARRAY_SIZE(flags), &state.options },
                                             { "Node agent", agent_flags, ARRAY_SIZE(agent_flags), &state.options },
                                             component_flag_section(&options),
                                             component_leader_section(&options),
                                             { "Ports", port_flags, ARRAY_SIZE(port_flags), &options },
                                             component_serving_section(&options) };
    struct flag_program program = { "cloud-controller-manager",
                                    "Runs the control loops that ask whoever owns the machines: what a node is, load balancers, routes.",
                                    sections, ARRAY_SIZE(sections) };
    struct flag_result result;
    struct err err;
    program.why_absent = absent_flag;
    int status = flags_main(&program, argc, argv, &result);
    if (status >= 0) {
        return status;
    }
    arena_init(&state.arena, 16u << 20);
    bool ok = check_options(&state.options, &options, &result, &err);
    if (state.options.node_agent) {
        options.leader_elect = false;
    }
    struct component *c = ok && confine(&state, &err) && open_provider(&state, &err)
                              ? component_new(&spec, &options, &result, &err)
                              : NULL;
    if (!c) {
        log_error("%s", err.msg);
        arena_deinit(&state.arena);
        return 1;
    }
    component_on_synced(c, on_synced, &state);
    return component_run(c, start, stop, &state);
}
