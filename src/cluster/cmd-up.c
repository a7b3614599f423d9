/* coracle up */
#include "cluster/command.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/flags.h"
#include "cluster/launch.h"
#include "cluster/prepare.h"
#include "cluster/ready.h"
#include "cluster/user-config.h"

#define DEMO_HOST_PORT 8080

struct up_options {
    struct str name, store, kubeconfig, without, runtime;
    int64_t nodes, masters, port, wait_ms, certificate_ms;
    bool offline, demo;
    struct flag_strings publish;
};

static const struct flag up_flags[] = {
    FLAG_STRING(struct up_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name."),
    FLAG_INT(struct up_options, nodes, "nodes", "1", "How many nodes; node-1 also runs the control plane."),
    FLAG_INT(struct up_options, masters, "masters", "1",
             "How many nodes run the control plane, each with a member of etcd: 1, 3 or 5. More than 1 needs --store etcd."),
    FLAG_BOOL(struct up_options, offline, "offline", "false",
              "Nodes have no way out. Without it they reach the outside by slirp4netns. CORACLE_OFFLINE=1 means the same."),
    FLAG_STRING(struct up_options, store, "store", "sqlite", "Where objects are kept: sqlite, memory (gone with the API server), or etcd (started here as well)."),
    FLAG_STRING(struct up_options, runtime, "runtime", "containerd", "What runs the containers: containerd, or docker (a dockerd for each node)."),
    FLAG_INT(struct up_options, port, "port", "6443",
             "The API's port on 127.0.0.1. A cluster with a name of its own takes the next free one unless this is given."),
    FLAG_STRINGS(struct up_options, publish, "publish", "",
                 "HOST:NODE lets 127.0.0.1:HOST lead to port NODE (a NodePort) of node-1."),
    FLAG_BOOL(struct up_options, demo, "demo", "false", "Deploys a small web page and publishes it on 127.0.0.1:8080, or the next free port."),
    FLAG_DURATION(struct up_options, wait_ms, "wait", "60s", "How long to wait for the cluster to be ready; 0 does not wait."),
    FLAG_DURATION(struct up_options, certificate_ms, "certificate-lifetime", "8760h",
                  "How long certificates live; each is renewed while the cluster runs when a third of its life is left."),
    FLAG_STRING(struct up_options, without, "without", "",
                "Programs that are not started, by commas, because one brings one's own.", .hidden = true),
    FLAG_STRING(struct up_options, kubeconfig, "kubeconfig", "",
                "The file to write a context into; $KUBECONFIG or ~/.kube/config if empty, \"none\" for no file."),
};

static bool add_published(struct cluster_config *c, struct cluster_published p)
{
    for (size_t i = 0; i < c->n_published; i++) {
        if (c->published[i].node == p.node) {
            return true;
        }
    }
    if (c->n_published == CLUSTER_MAX_PUBLISHED) {
        return false;
    }
    c->published[c->n_published++] = p;
    return true;
}

/* What was given on the command line wins over what a cluster of this name was before, and that over the defaults. */
static bool configure(const struct up_options *o, const struct flag_result *flags, struct cluster_config *c, struct err *err)
{
    const char *env = getenv("CORACLE_OFFLINE");
    *c = (struct cluster_config){ .n_nodes = 1, .n_masters = 1, .api_port = CLUSTER_API_PORT };
    if (!place_init(&c->place, o->name, err)) {
        return false;
    }
    struct place place = c->place;
    bool known = cluster_config_load(c, err);
    if (!known && err->code != ERR_NOT_FOUND) {
        return false;
    }
    c->place = place;
    if (!known || flags_changed(flags, "nodes")) {
        if (o->nodes < 1 || o->nodes > CLUSTER_MAX_NODES) {
            return err_set(err, ERR_INVALID, "--nodes takes 1 to %d", CLUSTER_MAX_NODES);
        }
        c->n_nodes = (unsigned)o->nodes;
    }
    struct cluster_config asked = { 0 };
    if (!cluster_store_parse(&asked, o->store)) {
        return err_set(err, ERR_INVALID, "--store is sqlite, memory or etcd, not \"%.*s\"", STR_ARG(o->store));
    }
    if (!known || flags_changed(flags, "store")) {
        c->memory_store = asked.memory_store;
        c->etcd_store = asked.etcd_store;
    }
    if (!known) {
        if (o->masters < 1 || o->masters > CLUSTER_MAX_MASTERS || o->masters % 2 == 0) {
            return err_set(err, ERR_INVALID, "--masters takes 1, 3 or 5");
        }
        c->n_masters = (unsigned)o->masters;
        c->n_nodes = MAX(c->n_nodes, c->n_masters);
    } else if (flags_changed(flags, "masters") && o->masters != (int64_t)c->n_masters) {
        return err_set(err, ERR_INVALID, "--masters: this cluster has %u, and members are neither added nor removed: take it down with "
                       "its data first", c->n_masters);
    }
    if (c->n_masters > 1 && !c->etcd_store) {
        return err_set(err, ERR_INVALID, "--masters %u needs --store etcd", c->n_masters);
    }
    if (c->etcd_store && access("/usr/bin/etcd", X_OK) < 0) {
        return err_set(err, ERR_NOT_FOUND, "--store etcd needs /usr/bin/etcd: install Debian's package etcd-server");
    }
    bool docker = str_eq_c(o->runtime, "docker");
    if (!docker && !str_eq_c(o->runtime, "containerd")) {
        return err_set(err, ERR_INVALID, "--runtime is containerd or docker, not \"%.*s\"", STR_ARG(o->runtime));
    }
    if (!known) {
        c->docker = docker;
    } else if (flags_changed(flags, "runtime") && docker != c->docker) {
        return err_set(err, ERR_INVALID, "--runtime: the containers of this cluster are %s's: take it down with its data first", c->docker ? "docker" : "containerd");
    }
    if (!known || flags_changed(flags, "port")) {
        if (o->port < 1 || o->port > 65535) {
            return err_set(err, ERR_INVALID, "--port takes 1 to 65535");
        }
        c->api_port = (uint16_t)o->port;
    }
    if (!known || flags_changed(flags, "certificate-lifetime")) {
        if (o->certificate_ms < 30000 || o->certificate_ms / 1000 > INT32_MAX) {
            return err_set(err, ERR_INVALID, "--certificate-lifetime takes at least 30s");
        }
        c->certificate_s = o->certificate_ms / 1000;
    }
    if (!known || flags_changed(flags, "v")) {
        c->verbosity = (unsigned)MIN(MAX(flags->verbosity, 0), 10);
    }
    c->offline = o->offline || (env && strcmp(env, "1") == 0);
    if (flags_changed(flags, "without") && !str_to_cstr(o->without, c->without, sizeof(c->without))) {
        return err_set(err, ERR_INVALID, "--without is too long");
    }
    if (flags_changed(flags, "publish")) {
        c->n_published = 0;
    }
    for (size_t i = 0; i < o->publish.n; i++) {
        struct cluster_published p;
        if (!cluster_published_parse(o->publish.items[i], &p)) {
            return err_set(err, ERR_INVALID, "--publish takes HOST:NODE, two port numbers, not \"%.*s\"",
                           STR_ARG(o->publish.items[i]));
        }
        if (!add_published(c, p)) {
            return err_set(err, ERR_INVALID, "--publish takes at most %d ports", CLUSTER_MAX_PUBLISHED);
        }
    }
    if (o->demo && !add_published(c, (struct cluster_published){ .host = DEMO_HOST_PORT, .node = READY_DEMO_NODE_PORT, .any_host = true })) {
        return err_set(err, ERR_INVALID, "--publish takes at most %d ports", CLUSTER_MAX_PUBLISHED - 1);
    }
    return true;
}

/* The file is remembered, so that 'down' finds it whoever calls it. */
static bool write_user_config(const struct up_options *o, struct cluster_config *c, struct progress *p, struct err *err)
{
    char path[PATH_MAX], context[64];
    struct client_config config;
    struct arena a;
    if (str_eq_c(o->kubeconfig, "none")) {
        return true;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    user_config_context(&c->place, context);
    bool ok = user_config_path(o->kubeconfig, path, err) && prepare_admin_config(c, &a, &config, err) &&
              user_config_add(path, context, &config, err);
    arena_deinit(&a);
    if (!ok || !str_to_cstr(str_c(path), c->kubeconfig, sizeof(c->kubeconfig)) || !cluster_config_save(c, err)) {
        return ok ? err_set(err, ERR_INVALID, "the path %s is too long", path) : false;
    }
    progress_step(p, "kubeconfig: context \"%s\" in %s", context, path);
    return true;
}

static bool start(struct cluster_config *c, bool choose_port, struct progress *p, struct err *err)
{
    struct machine m;
    if (!machine_inspect(&m, PLACE_STATE_ROOT, c->offline, c->docker, err)) {
        return false;
    }
    if (!prepare_programs(c->place.state, err) || !prepare_pki(c, err) || !prepare_nodes(c, &m, err)) {
        return false;
    }
    progress_step(p, "files: programs, images, certificates");
    return launch(c, &m, choose_port, p, err);
}

static bool wait_ready(const struct up_options *o, struct cluster_config *c, struct progress *p, struct err *err)
{
    struct session s;
    uint64_t until = clock_mono_ms() + (uint64_t)o->wait_ms;
    if (!session_open(&s, c, err)) {
        return false;
    }
    s.still = ready_possible;
    s.still_arg = c;
    bool ok = ready_api(&s, until, err);
    if (ok) {
        progress_step(p, "API: https://127.0.0.1:%u", c->api_port);
    }
    ok = ok && ready_nodes(c, &s, until, err);
    if (ok) {
        progress_step(p, c->n_nodes == 1 ? "node ready" : "%u nodes ready", c->n_nodes);
    }
    if (ok && o->demo) {
        ok = ready_demo(&s, until, err);
        if (ok) {
            progress_step(p, "demo: deployment and service \"web\"");
        }
    }
    session_close(&s);
    return ok;
}

static void say_what_next(const struct up_options *o, const struct cluster_config *c, const struct progress *p)
{
    char context[64];
    user_config_context(&c->place, context);
    printf("\nThe cluster \"%s\" is up after %.1f s.\n", c->place.name, (double)progress_total_ms(p) / 1000);
    printf("  kubectl --context %s get pods -A\n", context);
    for (size_t i = 0; i < c->n_published; i++) {
        if (o->demo && c->published[i].node == READY_DEMO_NODE_PORT) {
            printf("  http://127.0.0.1:%u/ shows the demo\n", c->published[i].host);
        }
    }
    const char *name = strcmp(c->place.name, PLACE_DEFAULT_NAME) == 0 ? "" : c->place.name;
    printf("  coracle status%s%s, coracle down%s%s\n", *name ? " --name " : "", name, *name ? " --name " : "", name);
}

static int run(int argc, char **argv)
{
    static struct up_options o;
    const struct flag_section sections[] = { { "up", up_flags, ARRAY_SIZE(up_flags), &o } };
    const struct flag_program program = { .name = "coracle up", .about = "Starts a cluster, or looks after one that was started before.",
                                          .sections = sections, .n_sections = 1 };
    struct flag_result flags;
    struct cluster_config c;
    struct progress p;
    struct err err = { .code = ERR_NONE };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    umask(022); /* the programs run as users of their own and must reach their files */
    progress_begin(&p);
    if (!configure(&o, &flags, &c, &err)) {
        progress_fail(&p, "%s", err.msg);
        return 1;
    }
    bool running = place_in_use(&c.place);
    if (running) {
        struct place place = c.place;
        if (!cluster_config_load(&c, &err)) {
            progress_fail(&p, "%s", err.msg);
            return 1;
        }
        c.place = place;
        progress_step(&p, "the cluster \"%s\" is running", c.place.name);
    } else {
        printf("Starting the cluster \"%s\"\n", c.place.name);
        bool choose = strcmp(c.place.name, PLACE_DEFAULT_NAME) != 0 && !flags_changed(&flags, "port");
        if (!start(&c, choose, &p, &err)) {
            progress_fail(&p, "%s", err.msg);
            return 1;
        }
    }
    if (!write_user_config(&o, &c, &p, &err)) {
        progress_fail(&p, "%s", err.msg);
        return 1;
    }
    if (o.wait_ms > 0 && !wait_ready(&o, &c, &p, &err)) {
        progress_fail(&p, "%s", err.msg);
        ready_explain(&c);
        return 1;
    }
    say_what_next(&o, &c, &p);
    return 0;
}

const struct cluster_command cluster_cmd_up = { .name = "up", .about = "start a cluster", .run = run };
