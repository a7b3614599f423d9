/* A kubelet without a cluster: a runtime in memory, folders of its own, pods from YAML. */
#ifndef KUBELET_TEST_FIXTURE_H
#define KUBELET_TEST_FIXTURE_H

#include "base/test.h"
#include "kubelet/objects.h"

struct fake_container {
    char id[32], sandbox[32], name[64], uid[96];
    int32_t state, exit_code;
    uint32_t attempt;
    int64_t created, started, finished;
    uint64_t hash;
    int64_t stop_timeout; /* of the last stop; -1: none */
};

struct fake_sandbox {
    char id[32], uid[96];
    bool ready, removed;
    uint32_t attempt;
    int64_t created;
};

struct fake {
    struct runtime base;
    struct loop *loop;
    struct fake_container containers[64];
    struct fake_sandbox sandboxes[16];
    size_t n_containers, n_sandboxes;
    unsigned calls;
    bool no_image;
    bool hold_pulls; /* pulls are not answered; fixture_pulled() ends one */
    struct runtime_call *pulls[8];
    size_t n_pulls;
    struct str exec_fails; /* command whose exec ends with 1 */
    int64_t clock;
    char stream_url[128];  /* where exec, attach and port-forward go; empty: not to be had */
    char exec_asked[256];  /* the last of them, in words */
};

struct fixture {
    struct kubelet k;
    struct kubelet_config cfg;
    struct fake fake;
    char dir[64];
    struct arena a;
};

void fixture_init(struct fixture *f);
void fixture_deinit(struct fixture *f);
/* A pod from YAML, with the API's defaults, as if the API had shown it. */
struct pod *fixture_pod(struct fixture *f, const char *yaml);
/* Turns the loop until nothing happens any more. */
void fixture_settle(struct fixture *f);
/* The oldest pull that is held is answered, and the image is there from now on. */
void fixture_pulled(struct fixture *f);
/* The newest run of a container, or NULL. */
struct fake_container *fixture_run(struct fixture *f, const char *name);
/* Ends it, and lets the kubelet see it. */
void fixture_exit(struct fixture *f, struct pod *p, const char *name, int code);
const struct core_v1_pod_status *fixture_status(struct fixture *f, struct pod *p);

#endif
