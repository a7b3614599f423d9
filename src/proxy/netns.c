#include "proxy/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

void netns_enter(int ns)
{
    if (setns(ns, CLONE_NEWNET) < 0) {
        abort();
    }
}

bool netns_run(const char *const *argv)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

bool netns_sysctl(const char *name, const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool ip(struct err *err, const char *const *argv)
{
    return netns_run(argv) || err_set(err, ERR_IO, "%s %s %s failed", argv[0], argv[1], argv[2]);
}
#define IP(...) ip(err, (const char *const[]){ "ip", __VA_ARGS__, NULL })

static int new_namespace(void)
{
    if (unshare(CLONE_NEWNET) < 0) {
        return -1;
    }
    /* A router solicits neighbours from its link-local address: without this it would wait a second or two until that is known to be
     * nobody else's. */
    (void)netns_sysctl("ipv6/conf/default/dad_transmits", "0");
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* A cable from the node, which has .254 on it, to another namespace with .1 to .3. */
static bool connect_namespace(const struct netns *n, int ns, const char *name, const char *net, const char *net6,
                              struct err *err)
{
    char path[64], peer[16], addr[64], gateway[32], addr6[64], gateway6[32];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), ns);
    snprintf(peer, sizeof(peer), "%s-p", name);
    snprintf(addr, sizeof(addr), "%s.254/24", net);
    snprintf(gateway, sizeof(gateway), "%s.254", net);
    snprintf(addr6, sizeof(addr6), "%s::fe/64", net6);
    snprintf(gateway6, sizeof(gateway6), "%s::fe", net6);
    netns_enter(n->node);
    if (!IP("link", "add", name, "type", "veth", "peer", "name", peer) ||
        !IP("link", "set", peer, "netns", path) || !IP("addr", "add", addr, "dev", name) ||
        !IP("addr", "add", addr6, "dev", name, "nodad") ||
        !IP("link", "set", name, "up")) {
        return false;
    }
    netns_enter(ns);
    for (int i = 1; i <= 3; i++) {
        snprintf(addr, sizeof(addr), "%s.%d/24", net, i);
        snprintf(addr6, sizeof(addr6), "%s::%d/64", net6, i);
        if (!IP("addr", "add", addr, "dev", peer) || !IP("addr", "add", addr6, "dev", peer, "nodad")) {
            return false;
        }
    }
    bool ok = IP("link", "set", peer, "up") && IP("link", "set", "lo", "up") &&
              IP("route", "add", "default", "via", gateway) && IP("-6", "route", "add", "default", "via", gateway6);
    netns_enter(n->node);
    return ok;
}

bool netns_make(struct netns *n, struct err *err)
{
    *n = (struct netns){ .node = -1, .clients = -1, .endpoints = -1 };
    n->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (n->home < 0 || (n->clients = new_namespace()) < 0 || (n->endpoints = new_namespace()) < 0 ||
        (n->node = new_namespace()) < 0) {
        return err_set_errno(err, errno, "cannot make network namespaces");
    }
    if (!IP("link", "set", "lo", "up") || !connect_namespace(n, n->clients, "vc", "10.9.2", "fd09:2", err) ||
        !connect_namespace(n, n->endpoints, "ve", "10.9.1", "fd09:1", err)) {
        return false;
    }
    bool ok = netns_sysctl("ipv4/ip_forward", "1") && netns_sysctl("ipv6/conf/all/forwarding", "1");
    /* As on a node, everything else has a route somewhere; here it ends. */
    return (ok || err_set_errno(err, errno, "cannot turn forwarding on")) &&
           IP("route", "add", "default", "via", "10.9.1.253") && IP("-6", "route", "add", "default", "via", "fd09:1::fd");
}

void netns_end(struct netns *n)
{
    if (n->home >= 0) {
        netns_enter(n->home);
    }
    int *all[] = { &n->home, &n->node, &n->clients, &n->endpoints };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (*all[i] >= 0) {
            close(*all[i]);
        }
        *all[i] = -1;
    }
}
