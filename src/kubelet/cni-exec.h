/*
 * Runs CNI plugins (CNI specification 0.3 to 1.0) for a pod's network, for runtimes that leave that to the kubelet. What a pod
 * was given is remembered in a file, so that it can be given back by a later kubelet, and under another configuration.
 */
#ifndef KUBELET_CNI_EXEC_H
#define KUBELET_CNI_EXEC_H

#include "base/err.h"
#include "net/loop.h"

struct cni_dirs {
    char conf[256];  /* *.conflist, *.conf, *.json; the first by name counts */
    char bin[1024];  /* folders of plugins, separated by ':' */
    char state[256]; /* ID.json for each network that was given */
};

struct cni_port {
    const char *protocol; /* "tcp", "udp", "sctp" */
    int32_t host, container;
    struct str host_ip;
};

struct cni_pod {
    struct str id; /* of the sandbox */
    struct str name, ns, uid;
    const struct cni_port *ports;
    size_t n_ports;
};

struct cni_result {
    char ips[2][64];
    size_t n_ips;
};

struct cni_run;
/* 'result' is NULL exactly when 'err' is not. */
typedef void cni_done_fn(void *arg, const struct cni_result *result, const struct err *err);

/* Is there a configuration, and are its plugins there? */
MUST_CHECK bool cni_ready(const struct cni_dirs *dirs, struct err *err);
/* ADD of every plugin in order. After a failure call cni_del(). Never NULL; 'done' is called once, in a later turn. */
struct cni_run *cni_add(struct loop *l, const struct cni_dirs *dirs, const struct cni_pod *pod, const char *netns, cni_done_fn *done, void *arg);
/* DEL in reverse order, by what is remembered; nothing to do is success. 'netns' "": it is gone already. */
struct cni_run *cni_del(struct loop *l, const struct cni_dirs *dirs, struct str id, const char *netns, cni_done_fn *done, void *arg);
/* CHECK of every plugin, from version 0.4.0 of the specification on. */
struct cni_run *cni_check(struct loop *l, const struct cni_dirs *dirs, struct str id, const char *netns, cni_done_fn *done, void *arg);
/* A plugin that runs is killed. NULL-safe; returns NULL. */
struct cni_run *cni_cancel(struct cni_run *r);
/* The addresses that the sandbox was given; false when nothing is remembered. */
bool cni_remembered(const struct cni_dirs *dirs, struct str id, struct cni_result *ret);
/* The addresses in a result of any version of the specification. */
struct val;
void cni_result_ips(const struct val *result, struct cni_result *ret);

#endif
