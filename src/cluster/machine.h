/* What this machine has, as far as a cluster's set-up depends on it. */
#ifndef CLUSTER_MACHINE_H
#define CLUSTER_MACHINE_H

#include "base/buf.h"
#include "cluster/place.h"

struct machine {
    bool apparmor;       /* the kernel has it, and its parser is installed */
    bool may_lower_oom;  /* CAP_SYS_RESOURCE: a negative oom_score_adj is possible */
    bool hugetlb;        /* its control group controller is there */
    bool overlayfs;      /* else containers' roots are copied (the native snapshotter) */
    char cni_bin[128];   /* folder of the CNI plugins */
};

/* Looks around. False with what is missing and which Debian package has it; 'state_root' is where containers will be kept. */
MUST_CHECK bool machine_inspect(struct machine *m, const char *state_root, bool offline, bool docker, struct err *err);

/* containerd's config.toml (version 2) for this machine; paths are those inside a node. Its socket is <state>/containerd.sock. */
void containerd_config_write(const struct machine *m, const char *root, const char *state, const char *cni_conf_dir, struct buf *b);

#endif
