/*
 * One executable for all programs: the name it is called by says which. "coracle kubelet --flag" works too, where links are
 * not at hand.
 */
#include "cmd/cmd.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/macros.h"
#include "cluster/cluster.h"
#include "cluster/confine.h"
#include "net/tls-buffers.h"

/* A build without one of the rooms still links: the program then says that it is not there. */
#pragma weak kube_apiserver_main
#pragma weak kube_controller_manager_main
#pragma weak cloud_controller_manager_main
#pragma weak kube_scheduler_main
#pragma weak kubelet_main
#pragma weak kube_proxy_main
#pragma weak coracle_tunnel_main
#pragma weak coracle_hollow_main

static const struct program {
    const char *name;
    int (*main)(int argc, char **argv);
    bool runs_nothing; /* it never runs another program, and gives up the right to */
} programs[] = {
    { "coracle", coracle_main, false },
    { "kube-apiserver", kube_apiserver_main, true },
    { "kube-controller-manager", kube_controller_manager_main, true },
    { "cloud-controller-manager", cloud_controller_manager_main, true },
    { "kube-scheduler", kube_scheduler_main, true },
    { "kubelet", kubelet_main, false },
    { "kube-proxy", kube_proxy_main, false },
    { "coracle-tunnel", coracle_tunnel_main, true },
    { "tunnel", coracle_tunnel_main, true }, /* coracle tunnel */
    { "hollow", coracle_hollow_main, true },  /* coracle hollow */
};

/* The servers hold a descriptor a connection, and many systems begin with 1,024. What a program starts would get the same, and old
 * programs close all descriptors one by one: so only those that start none. */
static void raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static const struct program *find_program(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        if (strcmp(programs[i].name, name) == 0) {
            return &programs[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    /* A peer that closes its end is an error of that write, rather than the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    tls_buffers_init();
    const struct program *p = argc > 0 ? find_program(argv[0]) : NULL;
    if (!p) {
        p = &programs[0];
    }
    const struct program *named = p == &programs[0] && argc > 1 ? find_program(argv[1]) : NULL;
    if (named && named != p) {
        p = named;
        argc--;
        argv++;
    }
    if (!p->main) {
        fprintf(stderr, "Error: this build of Coracle has no %s.\n", p->name);
        return 1;
    }
    struct err err;
    if (p->runs_nothing && !confine_exec(&err)) {
        fprintf(stderr, "Error: %s does not start unconfined: %s\n", p->name, err.msg);
        return 1;
    }
    if (p->runs_nothing) {
        raise_files();
    }
    return p->main(argc, argv);
}
