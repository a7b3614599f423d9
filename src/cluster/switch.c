#include "cluster/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "net/addr.h"

#define BRIDGE "br0"
#define SWITCH_ADDR (CLUSTER_NODE_NET + 1)

/* Runs 'fn' inside a network namespace, and comes back. */
static bool inside(int netns, bool (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
    CLEANUP(fs_closep) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(netns, CLONE_NEWNET) < 0) {
        return err_set_errno(err, errno, "cannot enter a network namespace");
    }
    bool ok = fn(arg, err);
    if (setns(own, CLONE_NEWNET) < 0) {
        abort(); /* never go on in a namespace that is not ours */
    }
    return ok;
}

/* /proc/sys/net shows the network namespace of whoever opens it. */
static bool let_forward(void *arg UNUSED, struct err *err)
{
    CLEANUP(fs_closep) int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
    return (fd >= 0 && write(fd, "1", 1) == 1) || err_set_errno(err, errno, "cannot let the switch forward packets");
}

struct listening {
    uint16_t port;
    int fd;
};

static bool listen_here(void *arg, struct err *err)
{
    struct listening *l = arg;
    struct net_addr any;
    if (!net_addr_parse_ip(STR("0.0.0.0"), l->port, &any)) {
        abort();
    }
    l->fd = net_listen(&any, 0, err);
    return l->fd >= 0;
}

int switch_listen(int node_netns, uint16_t port, struct err *err)
{
    struct listening l = { .port = port, .fd = -1 };
    return inside(node_netns, listen_here, &l, err) ? l.fd : -1;
}

bool switch_start(struct net_switch *s, struct err *err)
{
    *s = (struct net_switch){ .netns = rtnl_new_netns(err) };
    if (s->netns < 0) {
        return false;
    }
    if (rtnl_open(&s->rtnl, s->netns, err) && rtnl_add_bridge(&s->rtnl, BRIDGE, err) &&
        rtnl_add_address(&s->rtnl, BRIDGE, SWITCH_ADDR, CLUSTER_NODE_PREFIX, err) &&
        rtnl_up(&s->rtnl, BRIDGE, NULL, err) &&
        rtnl_set_blackhole(&s->rtnl, CLUSTER_POD_NET, CLUSTER_POD_PREFIX, err) &&
        rtnl_set_blackhole(&s->rtnl, CLUSTER_SERVICE_NET, CLUSTER_SERVICE_PREFIX, err) && inside(s->netns, let_forward, NULL, err)) {
        return true;
    }
    switch_stop(s);
    return err_wrap(err, "the cluster's network");
}

/* In a child: becomes 'argv' in the host's network, or in 'netns' unless that is -1. */
static NORETURN void become(char *const *argv, int netns, int input, const char *log_path)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *env[] = { path, NULL };
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int in = input >= 0 ? input : open("/dev/null", O_RDONLY);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && in >= 0 && log >= 0 && dup2(in, 0) >= 0 && dup2(log, 1) >= 0 &&
        dup2(log, 2) >= 0 && (netns < 0 || setns(netns, CLONE_NEWNET) == 0)) {
        execvpe(argv[0], argv, env);
    }
    _exit(127);
}

/* Masquerades what leaves through tap0: the way back knows only one address. */
static bool masquerade(struct net_switch *s, const char *log_path, struct err *err)
{
    static const char rules[] = "table ip coracle { chain out { type nat hook postrouting priority 100;\n"
                                "oifname \"tap0\" masquerade\n}\n}\n";
    static char nft[] = "nft", f[] = "-f", dash[] = "-";
    char *argv[] = { nft, f, dash, NULL };
    int p[2], status = -1;
    if (pipe2(p, O_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "cannot make a pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, s->netns, p[0], log_path);
    }
    close(p[0]);
    bool written = write(p[1], rules, sizeof(rules) - 1) == (ssize_t)sizeof(rules) - 1;
    close(p[1]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return (pid > 0 && written && status == 0) ||
           err_set(err, ERR_IO, "nft could not set up the way out; it said why in %s", log_path);
}

bool switch_go_online(struct net_switch *s, const char *log_path, struct err *err)
{
    static char program[] = "slirp4netns", configure[] = "--configure", mtu[] = "--mtu=65520",
                loopback[] = "--disable-host-loopback", seccomp[] = "--enable-seccomp", type[] = "--netns-type=path",
                ready[] = "--ready-fd=0", tap[] = "tap0";
    char netns[64];
    int p[2];
    snprintf(netns, sizeof(netns), "/proc/%d/fd/%d", (int)getpid(), s->netns);
    char *argv[] = { program, configure, mtu, loopback, seccomp, type, ready, netns, tap, NULL };
    if (!masquerade(s, log_path, err)) {
        return false;
    }
    if (pipe2(p, O_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "cannot make a pipe");
    }
    s->slirp = fork();
    if (s->slirp == 0) {
        become(argv, -1, p[1], log_path); /* its input is the pipe that it reports on */
    }
    close(p[1]);
    char one;
    bool ok = s->slirp > 0 && read(p[0], &one, 1) == 1;
    close(p[0]);
    return ok || err_set(err, ERR_IO,
                         "slirp4netns did not start (it said why in %s); --offline goes without a way out", log_path);
}

bool switch_join(struct net_switch *s, unsigned node, int node_netns, struct err *err)
{
    char port[16];
    struct rtnl r;
    snprintf(port, sizeof(port), "node-%u", node);
    if (!rtnl_open(&r, node_netns, err)) {
        return false;
    }
    bool ok = rtnl_delete(&s->rtnl, port, err) && rtnl_add_veth(&s->rtnl, port, "eth0", node_netns, err) &&
              rtnl_up(&s->rtnl, port, BRIDGE, err) && rtnl_up(&r, "lo", NULL, err) &&
              rtnl_add_address(&r, "eth0", cluster_node_addr(node), CLUSTER_NODE_PREFIX, err) &&
              rtnl_up(&r, "eth0", NULL, err) && rtnl_set_route(&r, 0, 0, SWITCH_ADDR, err);
    rtnl_close(&r);
    return ok || err_wrap(err, "the network of node-%u", node);
}

bool switch_leave(struct net_switch *s, unsigned node, struct err *err)
{
    char port[16];
    snprintf(port, sizeof(port), "node-%u", node);
    return rtnl_delete(&s->rtnl, port, err);
}

bool switch_route_pods(struct net_switch *s, unsigned node, uint32_t pod_net, unsigned prefix, struct err *err)
{
    return rtnl_set_route(&s->rtnl, pod_net, prefix, cluster_node_addr(node), err);
}

void switch_stop(struct net_switch *s)
{
    if (!s) {
        return;
    }
    if (s->slirp > 0) {
        kill(s->slirp, SIGKILL);
        while (waitpid(s->slirp, NULL, 0) < 0 && errno == EINTR) {
        }
        s->slirp = 0;
    }
    rtnl_close(&s->rtnl);
    fs_closep(&s->netns);
}
