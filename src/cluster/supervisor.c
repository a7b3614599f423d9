#include "cluster/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "cluster/program.h"
#include "cluster/control.h"
#include "cluster/prepare.h"
#include "cluster/routes.h"
#include "cluster/switch.h"

/* How long components may take to end by themselves. */
#define STOP_GRACE_MS 3000
#define TRIM_EVERY_MS 60000
#define NODE_AGAIN_MS 1000
/* A clock that moved by this much was set, or the machine slept. */
#define CLOCK_JUMP_S 60
/* How often certificates are looked at: an hour, or a twelfth of their life. */
#define RENEW_EVERY_MS 3600000

struct node {
    struct supervisor *supervisor;
    unsigned number;
    struct sandbox sandbox;
    struct loop_child init;
    struct loop_timer again;
    int api_socket; /* of a master, in its network, or -1 */
    char cgroup[CLUSTER_CGROUP_SIZE];
};

struct supervisor {
    const struct supervisor_start *start;
    const struct cluster_config *config;
    struct loop *loop;
    struct arena arena;
    struct cgroups cgroups;
    struct net_switch net;
    struct routes *routes;
    struct loop_child slirp;
    struct node nodes[CLUSTER_MAX_NODES];
    struct role roles[CLUSTER_MAX_ROLES];
    struct program programs[CLUSTER_MAX_ROLES];
    size_t n_programs;
    struct control control;
    struct loop_signal on_term, on_int;
    struct loop_timer trim, stop, renew;
    int64_t clock_offset_s; /* of the wall clock against the monotonic one */
    bool stopping;
};

static PRINTF_LIKE(2, 3) void tell(struct supervisor *s, const char *fmt, ...)
{
    char line[1200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    if (n > 0 && s->start->progress >= 0) {
        size_t len = MIN((size_t)n, sizeof(line) - 2);
        line[len++] = '\n';
        ssize_t ignored = write(s->start->progress, line, len);
        (void)ignored;
    }
}

/* ---- nodes ---- */

static void pass_sockets(const struct supervisor *s, struct program *c)
{
    c->n_passed_fds = 0;
    if (c->role->socket == ROLE_API_SOCKETS) {
        c->passed_fds[c->n_passed_fds++] = s->start->api_socket;
        c->passed_fds[c->n_passed_fds++] = s->nodes[c->role->node - 1].api_socket;
    } else if (c->role->socket == ROLE_PUBLISHED_SOCKET) {
        c->passed_fds[c->n_passed_fds++] = s->start->published[c->role->published];
    }
}

static void node_on_end(struct loop_child *child, int status, void *arg);

/* Everybody by name: nodes have no name server of their own. */
static void write_hosts(const struct supervisor *s, const struct node *n, struct buf *b)
{
    char ip[CLUSTER_IP_SIZE], name[16];
    cluster_node_name(n->number, name);
    buf_printf(b, "127.0.0.1 localhost\n::1 localhost\n");
    for (unsigned i = 1; i <= s->config->n_nodes; i++) {
        cluster_node_name(i, name);
        buf_printf(b, "%s %s\n", cluster_ip_text(cluster_node_addr(i), ip), name);
    }
}

/* The API's port in the cluster's own network. It is made here, so that it is there before and between API servers. */
static bool listen_for_nodes(struct node *n, struct err *err)
{
    fs_closep(&n->api_socket);
    n->api_socket = switch_listen(n->sandbox.netns, CLUSTER_API_PORT, err);
    return n->api_socket >= 0;
}

/* A folder in the node for one program's user. */
static bool make_dir(const struct node *n, const char *dir, uid_t uid, struct err *err)
{
    char path[PATH_MAX];
    path_of(path, "/proc/%d/root%s", (int)n->sandbox.init, dir);
    if ((mkdir(path, 0700) < 0 && errno != EEXIST) || chown(path, uid, uid) < 0) {
        return err_set_errno(err, errno, "cannot make %s in the node", dir);
    }
    return true;
}

static bool make_master(struct node *n, struct err *err)
{
    const struct cluster_config *c = n->supervisor->config;
    return make_dir(n, ROLE_VOLATILE_DIR, ROLE_UID_APISERVER, err) &&
           (!c->etcd_store || (make_dir(n, "/var/lib", 0, err) && make_dir(n, ROLE_ETCD_DIR, ROLE_UID_ETCD, err))) &&
           listen_for_nodes(n, err);
}

static bool node_start(struct node *n, struct err *err)
{
    struct supervisor *s = n->supervisor;
    char dir[PATH_MAX], bin[PATH_MAX], conf[PATH_MAX], kube[PATH_MAX], store[PATH_MAX], images[PATH_MAX];
    char name[16];
    cluster_node_name(n->number, name);
    cluster_node_dir(s->config, n->number, dir);
    path_of(conf, "%s/conf", dir);
    path_of(bin, "%s/bin", s->config->place.state);
    path_of(images, "%s/images", s->config->place.state);
    path_of(kube, "%s/kube", s->config->place.state);
    path_of(store, "%s/store", s->config->place.state);
    /* Keys of the control plane are shown to masters alone. */
    const struct sandbox_path paths[] = { { bin, false }, { images, false }, { conf, true },
                                          { kube, false }, { store, true } };
    struct buf hosts;
    buf_init(&hosts, 4096);
    write_hosts(s, n, &hosts);
    const struct sandbox_spec spec = {
        .hostname = name,
        .dir = dir,
        .hosts = hosts.ptr,
        .nameserver = s->config->offline ? NULL : SWITCH_NAMESERVER,
        .paths = paths,
        .n_paths = n->number <= s->config->n_masters ? 5 : 3,
        .cgroups = &s->cgroups,
        .cgroup = n->cgroup,
    };
    bool ok = sandbox_start(&spec, &n->sandbox, err);
    buf_deinit(&hosts);
    if (!ok) {
        return false;
    }
    if (n->number <= s->config->n_masters && !make_master(n, err)) {
        sandbox_stop(&n->sandbox);
        return false;
    }
    int status = loop_child_start(&n->init, s->loop, n->sandbox.init, node_on_end, n);
    if (status < 0 || !switch_join(&s->net, n->number, n->sandbox.netns, err)) {
        loop_child_stop(&n->init);
        sandbox_stop(&n->sandbox);
        return status < 0 ? err_set_errno(err, -status, "cannot watch over %s", name) : false;
    }
    return true;
}

static void node_start_programs(struct node *n)
{
    struct supervisor *s = n->supervisor;
    for (size_t i = 0; i < s->n_programs; i++) {
        if (s->programs[i].role->node == n->number) {
            pass_sockets(s, &s->programs[i]);
            program_start(&s->programs[i]);
        }
    }
}

static void node_again(void *arg)
{
    struct node *n = arg;
    struct err err;
    if (!node_start(n, &err)) {
        log_error("node-%u does not come back and is tried again: %s", n->number, err.msg);
        loop_timer_start(&n->again, NODE_AGAIN_MS);
        return;
    }
    log_info("node-%u is back", n->number);
    node_start_programs(n);
}

/* The first process ended, so everything on the node was ended: as when a machine's power fails. */
static void node_on_end(struct loop_child *child UNUSED, int status UNUSED, void *arg)
{
    struct node *n = arg;
    struct supervisor *s = n->supervisor;
    if (s->stopping) {
        return;
    }
    log_warning("node-%u was ended and starts again", n->number);
    for (size_t i = 0; i < s->n_programs; i++) {
        struct program *c = &s->programs[i];
        if (c->role->node == n->number) {
            c->restarts += c->pid > 0; /* those that were reaped already are counted */
            program_forget(c);
        }
    }
    sandbox_stop(&n->sandbox);
    loop_timer_start(&n->again, 1);
}

/* ---- status ---- */

static void write_status(void *arg, struct buf *b)
{
    const struct supervisor *s = arg;
    for (size_t i = 0; i < s->n_programs; i++) {
        char name[16];
        cluster_node_name(s->programs[i].role->node, name);
        program_write_status(&s->programs[i], name, b);
    }
}

static void write_nodes(void *arg, struct buf *b)
{
    const struct supervisor *s = arg;
    for (unsigned i = 0; i < s->config->n_nodes; i++) {
        char ip[CLUSTER_IP_SIZE];
        const struct node *n = &s->nodes[i];
        buf_printf(b, "node-%u\t%s\t%d\n", n->number, cluster_ip_text(cluster_node_addr(n->number), ip),
                   (int)n->sandbox.init);
    }
}

/* ---- the end ---- */

static void stop_now(void *arg)
{
    loop_stop(((struct supervisor *)arg)->loop);
}

static void check_stopped(void *arg)
{
    struct supervisor *s = arg;
    for (size_t i = 0; i < s->n_programs; i++) {
        if (s->programs[i].pid > 0 && strcmp(s->programs[i].role->name, "kube-apiserver") == 0 &&
            loop_now_ms(s->loop) - s->programs[i].started_ms < STOP_GRACE_MS) {
            loop_timer_start(&s->stop, 5);
            return;
        }
    }
    stop_now(s);
}

/* The apiserver may finish what it has under way; all others hold nothing that is not in it, and go with their nodes. */
static void begin_stop(void *arg)
{
    struct supervisor *s = arg;
    if (s->stopping) {
        return;
    }
    s->stopping = true;
    log_info("stopping");
    s->routes = routes_free(s->routes); /* its watch would keep the apiserver from ending */
    for (size_t i = 0; i < s->n_programs; i++) {
        program_stop(&s->programs[i], false);
        s->programs[i].started_ms = loop_now_ms(s->loop); /* from here on: since it was told to end */
    }
    loop_timer_init(&s->stop, s->loop, check_stopped, s);
    loop_timer_start(&s->stop, 1);
}

/* Once a minute. */
static void trim_logs(void *arg)
{
    struct supervisor *s = arg;
    time_floor_keep();
    if (llabs(clock_offset_s() - s->clock_offset_s) > CLOCK_JUMP_S) {
        log_info("the clock was set: certificates are looked at");
        s->clock_offset_s = clock_offset_s();
        loop_timer_start(&s->renew, 0);
    }
    for (size_t i = 0; i < s->n_programs; i++) {
        program_trim_log(&s->programs[i]);
    }
    loop_timer_start(&s->trim, TRIM_EVERY_MS);
}

static uint64_t renew_every_ms(const struct supervisor *s)
{
    uint64_t part = (uint64_t)s->config->certificate_s * 1000 / 12;
    return part ? MIN(part, (uint64_t)RENEW_EVERY_MS) : RENEW_EVERY_MS;
}

/* Certificates last as long as the cluster: those that are due are made anew, and the programs read them again by themselves. */
static void renew(void *arg)
{
    struct supervisor *s = arg;
    struct err err;
    bool renewed;
    if (!prepare_renew(s->config, &renewed, &err)) {
        log_error("certificates cannot be renewed, which is tried again: %s", err.msg);
    } else if (renewed) {
        log_info("certificates were renewed");
    }
    loop_timer_start(&s->renew, renew_every_ms(s));
}

static void slirp_on_end(struct loop_child *child UNUSED, int status UNUSED, void *arg)
{
    struct supervisor *s = arg;
    s->net.slirp = 0;
    if (!s->stopping) {
        log_error("slirp4netns ended: the nodes have no way out until the cluster is started again");
    }
}

/* ---- the beginning ---- */

static bool start_network(struct supervisor *s, struct err *err)
{
    char log_path[PATH_MAX];
    path_of(log_path, "%s/logs/slirp4netns.log", s->config->place.state);
    if (!switch_start(&s->net, err)) {
        return false;
    }
    if (s->config->offline) {
        tell(s, "+network: a switch of its own, no way out");
        return true;
    }
    if (!switch_go_online(&s->net, log_path, err)) {
        return false;
    }
    int status = loop_child_start(&s->slirp, s->loop, s->net.slirp, slirp_on_end, s);
    if (status < 0) {
        return err_set_errno(err, -status, "cannot watch over slirp4netns");
    }
    tell(s, "+network: a switch of its own, out through slirp4netns");
    return true;
}

static void make_programs(struct supervisor *s)
{
    s->n_programs = roles_of(s->config, s->start->machine, &s->arena, s->roles);
    for (size_t i = 0; i < s->n_programs; i++) {
        struct program *c = &s->programs[i];
        const struct role *r = &s->roles[i];
        struct node *n = &s->nodes[r->node - 1];
        program_init(c, s->loop, r);
        c->sandbox = &n->sandbox;
        c->cgroups = &s->cgroups;
        memcpy(c->cgroup, n->cgroup, sizeof(c->cgroup));
        path_of(c->log_path, "%s/logs/node-%u/%s.log", s->config->place.state, r->node, r->name);
    }
}

static bool start_all(struct supervisor *s, struct err *err)
{
    static const struct control_ops words = { .status = write_status, .nodes = write_nodes, .stop = begin_stop };
    int a = loop_signal_start(&s->on_term, s->loop, SIGTERM, begin_stop, s);
    int b = loop_signal_start(&s->on_int, s->loop, SIGINT, begin_stop, s);
    if (a < 0 || b < 0) {
        return err_set(err, ERR_IO, "cannot take signals");
    }
    if (!cgroups_detect(&s->cgroups, err) || !control_start(&s->control, s->loop, &s->config->place, &words, s, err) ||
        !start_network(s, err)) {
        return false;
    }
    for (unsigned i = 0; i < s->config->n_nodes; i++) {
        struct node *n = &s->nodes[i];
        *n = (struct node){ .supervisor = s, .number = i + 1, .api_socket = -1, .sandbox = { .pidfd = -1, .netns = -1 } };
        cluster_cgroup(s->config, n->number, n->cgroup);
        loop_timer_init(&n->again, s->loop, node_again, n);
        if (!node_start(n, err)) {
            return false;
        }
    }
    tell(s, s->config->n_nodes == 1 ? "+node: namespaces, mounts, control groups" : "+nodes: namespaces, mounts, control groups");
    make_programs(s);
    if (!confine_has_files()) {
        log_warning("this kernel has no Landlock: users and file modes alone keep the control plane's programs from files of others");
    }
    for (unsigned i = 0; i < s->config->n_nodes; i++) {
        node_start_programs(&s->nodes[i]);
    }
    s->routes = routes_new(s->loop, s->config, &s->net, err);
    if (!s->routes) {
        return false;
    }
    s->clock_offset_s = clock_offset_s();
    loop_timer_init(&s->trim, s->loop, trim_logs, s);
    loop_timer_start(&s->trim, TRIM_EVERY_MS);
    loop_timer_init(&s->renew, s->loop, renew, s);
    loop_timer_start(&s->renew, renew_every_ms(s));
    return true;
}

static void end_all(struct supervisor *s)
{
    char top[CLUSTER_CGROUP_SIZE];
    struct err err;
    s->stopping = true;
    s->routes = routes_free(s->routes);
    for (unsigned i = 0; i < s->config->n_nodes; i++) {
        loop_timer_stop(&s->nodes[i].again);
        loop_child_stop(&s->nodes[i].init);
        sandbox_kill(&s->nodes[i].sandbox);
    }
    for (size_t i = 0; i < s->n_programs; i++) {
        program_forget(&s->programs[i]);
    }
    for (unsigned i = 0; i < s->config->n_nodes; i++) {
        sandbox_stop(&s->nodes[i].sandbox);
    }
    loop_child_stop(&s->slirp);
    switch_stop(&s->net);
    cluster_cgroup(s->config, 0, top);
    if (s->cgroups.n && !cgroups_remove(&s->cgroups, top, &err)) {
        log_error("%s", err.msg);
    }
}

int supervisor_run(const struct supervisor_start *start)
{
    /* Large, and there is one a process. */
    static struct supervisor s;
    struct err err;
    s = (struct supervisor){ .start = start, .config = start->config, .net = { .netns = -1 } };
    s.control.fd = -1;
    arena_init(&s.arena, ARENA_NO_BUDGET);
    log_setup("supervisor", LOG_INFO);
    s.loop = loop_new(&err);
    bool ok = s.loop && start_all(&s, &err);
    if (ok) {
        tell(&s, "+components: started");
        close(start->progress);
        loop_run(s.loop);
    } else {
        log_error("the cluster does not start: %s", err.msg);
    }
    end_all(&s);
    if (!ok) {
        tell(&s, "!%s", err.msg);
    }
    control_stop(&s.control);
    s.loop = loop_free(s.loop);
    arena_deinit(&s.arena);
    return ok ? 0 : 1;
}
