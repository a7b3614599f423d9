/*
 * The Docker Engine API as a container runtime (--container-runtime=docker): dockerd's containers, pods' networks by CNI plugins
 * that are run here, exec and port-forward by a streaming server on loopback. Names and labels of containers are dockershim's.
 */
#ifndef KUBELET_DOCKER_H
#define KUBELET_DOCKER_H

#include "kubelet/runtime.h"

struct docker_options {
    struct str endpoint;      /* "unix:///var/run/docker.sock" */
    struct str cgroup_driver; /* dockerd's must be the same */
    struct str cni_conf_dir, cni_bin_dir;
    struct str state_dir;     /* where the networks that pods were given are remembered */
    struct str pause_image;   /* empty: the cluster's own */
    struct str log_max_size;  /* "10Mi" */
    int32_t log_max_files;
    uint64_t idle_ms;         /* longest silence of exec, attach and port-forward */
};

/* Everything is copied. */
MUST_CHECK struct runtime *runtime_docker_new(struct loop *l, const struct docker_options *options, struct err *err);

#endif
