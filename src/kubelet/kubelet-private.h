/*
 * What the files of this room share: the kubelet, its pods, and the functions between the files. One thread, one loop.
 */
#ifndef KUBELET_KUBELET_PRIVATE_H
#define KUBELET_KUBELET_PRIVATE_H

#include <limits.h>

#include "api/gen/core_v1.h"
#include "api/type.h"
#include "base/arena.h"
#include "base/map.h"
#include "client/events.h"
#include "client/informer.h"
#include "kubelet/kubelet.h"
#include "kubelet/limits.h"
#include "kubelet/runtime.h"
#include "net/loop.h"

struct pod;
struct pod_container;
struct handler;
struct objects;
struct node_agent;
struct server_core;
struct collector;
struct evictor;
struct static_pods;
struct start_op;
struct bootstrap;
struct serving;

struct kubelet {
    const struct kubelet_config *cfg;
    struct loop *loop;
    struct client *client;         /* NULL: no apiserver was named */
    struct event_recorder *events; /* NULL: the same */
    struct informers *pod_informers, *service_informers;
    struct informer *pod_informer, *service_informer;
    struct runtime *rt;
    struct objects *objects;
    struct node_agent *node;
    struct server_core *server;
    struct collector *collector;
    struct evictor *evictor;
    struct stats_samples *samples; /* stats.c */
    struct static_pods *statics;
    struct bootstrap *bootstrap; /* NULL: no apiserver was named */
    struct serving *serving;     /* NULL: no port is served */
    struct loop_timer keep_time;

    char node_name[256];
    char node_ip[64];
    char root[PATH_MAX / 4], logs[PATH_MAX / 4];
    int64_t max_pods, cpu_milli, memory_bytes; /* allocatable */

    struct map pods;     /* uid -> struct pod */
    bool pods_synced;    /* the API's list of our pods is known */
    bool services_synced;
    bool failed;         /* the process ends with a failure */
    bool runtime_up;     /* the last relist was answered */
    char runtime_error[256];
    uint64_t relisted_ms;
    struct loop_timer relist_timer, offline_timer;
    unsigned relist_step;
    void *relist;        /* under way, pleg.c */
    struct start_op *pulls; /* with --serialize-image-pulls: the one that pulls, and those that wait (pod-start.c) */
};

/* ---- containers of a pod ---- */

enum container_kind { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_MAIN, CONTAINER_EPHEMERAL };

#define CRI_ID_SIZE 96

/* One run of a container, as the runtime tells it. */
struct container_run {
    char id[CRI_ID_SIZE], sandbox[CRI_ID_SIZE];
    int32_t state; /* CRI_V1_CONTAINER_STATE_… */
    uint32_t attempt;
    int64_t created_ns, started_ns, finished_ns;
    int32_t exit_code;
    uint64_t hash; /* of the spec it was made from; 0: not known */
    char reason[64], image[256], image_ref[256];
    char *message; /* termination message; owned, or NULL */
};

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };

/* The memory of one probe of one run. */
struct prober {
    struct pod_container *c;
    enum probe_kind kind;
    struct loop_timer timer;
    struct handler *handler; /* under way */
    int32_t successes, failures; /* in a row */
    bool result;             /* the present answer */
    bool on;
    char id[CRI_ID_SIZE];    /* the run it belongs to */
};

/* The way of a stop: hook, then the runtime's stop. */
struct container_kill {
    bool on;
    char id[CRI_ID_SIZE];
    int64_t grace_s;
    uint64_t begun_ms;
    bool hook_done;
    struct handler *hook;
    struct runtime_call *call;
    char reason[160];
};

struct pod_container {
    struct pod *pod;
    enum container_kind kind;
    size_t index;                       /* among its kind's list in the spec */
    const struct core_v1_container *spec; /* in the pod's arena; replaced with it */
    char name[64];

    bool has_run, has_last;
    struct container_run run, last;     /* the newest, and the one before it */
    int32_t restarts;

    /* Why it does not run. */
    char waiting_reason[48];
    char waiting_message[512];
    uint64_t backoff_ms, not_before_ms; /* of restarts */
    uint64_t pull_backoff_ms, pull_not_before_ms;
    char pull_error[512];

    struct container_kill kill;
    struct prober probers[PROBE_KINDS];
    bool post_start_done;               /* of 'run'; true where there is no hook or it was run by an earlier kubelet */
    struct handler *post_start;         /* under way */
    char started_here[CRI_ID_SIZE];     /* the run that this kubelet started */
};

/* ---- pods ---- */

struct pod_sandbox {
    char id[CRI_ID_SIZE];
    bool ready;
    uint32_t attempt;
    int64_t created_ns;
    bool has_status;
    char ips[2][64];
    size_t n_ips;
};
#define POD_MAX_SANDBOXES 8

enum pod_source { POD_FROM_API, POD_FROM_FILE, POD_FROM_DISK, POD_GHOST /* known to the runtime alone */ };

struct dead_container {
    char id[CRI_ID_SIZE], name[64];
    struct dead_container *next;
};

/*
 * A pod and the machine that brings it to its goal. pod_wake() may be called at any moment; the machine runs at the end of the
 * turn: while 'busy' an operation is under way and wakes it when done; with 'stale' it first reads what the runtime knows; then
 * pod-sync.c compares goal and facts and starts the next operation. Stopping containers does not block it.
 */
struct pod {
    struct kubelet *k;
    enum pod_source source;
    char uid[96], ns[64], name[260];
    struct arena arena;            /* of 'spec' */
    const struct core_v1_pod *obj; /* NULL for ghosts */
    bool mirror_only;              /* a mirror pod of the API: never run, only reported */
    struct pod *mirror;            /* of a static pod: its mirror, or NULL */
    uint64_t mirror_asked_ms;

    /* Goal. */
    bool admitted, rejected;
    char reject_reason[64], reject_message[256];
    bool gone;       /* from its source: stop it and forget it */
    bool deleting;   /* deletionTimestamp is set */
    int64_t grace_s; /* of the stop */
    bool finished;   /* reached Succeeded or Failed: nothing is started any more */
    bool evicted;    /* by deadline, or by the node */
    bool over_limit; /* a volume is larger than it may be: 'end_reason' says which; it is to be evicted */
    char end_reason[64], end_message[256];
    bool delete_sent;

    /* Facts. */
    struct pod_sandbox sandboxes[POD_MAX_SANDBOXES]; /* newest first */
    size_t n_sandboxes;
    struct pod_container **containers; /* init, main, ephemeral; records stay where they are */
    size_t n_containers;
    struct dead_container *dead;      /* ended runs beyond those kept */
    char *strangers[16];              /* running containers that no spec names (ghosts) */
    size_t n_strangers;
    bool read_once;
    struct api_time start_time;

    /* The machine. */
    struct loop_task task;
    struct loop_timer timer;
    bool busy, stale;
    bool op_soft; /* the operation may be broken off when the pod ends */
    uint64_t wake_ms; /* when the step under way wants to look again */
    unsigned kills;
    void *op; /* of the operation under way: pod-read.c, pod-start.c, … */
    void (*op_cancel)(void *op);
    bool volumes_ready;
    struct volume_state *volumes;
    char volume_error[512];
    uint64_t volumes_checked_ms;
    bool cgroup_made, network_missed;
    uint64_t sandbox_not_before_ms, sandbox_backoff_ms;
    char sandbox_error[512];

    /* What the API was told. */
    char *status_sent;        /* JSON, owned */
    bool ready_sent;          /* its condition Ready is True */
    struct client_call *status_call;
    bool status_dirty;
    struct loop_timer status_retry;
    struct api_time transition[8]; /* of conditions, status.c */
    char condition_state[8];       /* 'T', 'F' or 0 */
    bool status_over;              /* the last one sent says that every container has ended */
    bool terminal_sent;            /* and it was written */
};

/* pods.c */
struct pod *pods_find(struct kubelet *k, struct str uid);
struct pod *pods_find_name(struct kubelet *k, struct str ns, struct str name);
struct pod *pods_next(struct kubelet *k, size_t *pos);
/* A source shows a pod (again). Copies it. */
void pods_set(struct kubelet *k, const struct core_v1_pod *obj, enum pod_source source);
/* A source does not show it any more. */
void pods_gone(struct kubelet *k, struct str uid, enum pod_source source);
/* A pod that only the runtime knows. */
struct pod *pods_ghost(struct kubelet *k, struct str uid, struct str ns, struct str name);
void pods_forget(struct pod *p);
/* After the API's first list: what came from disk and is not in it goes. */
void pods_synced(struct kubelet *k);
void pods_wake_all(struct kubelet *k);
void pods_free(struct kubelet *k);
/* Does the pod still hold its share of the node? */
bool pod_holds_node(const struct pod *p);

/* checkpoint.c: last known specs on disk */
MUST_CHECK bool checkpoint_prepare(struct kubelet *k, struct err *err);
void checkpoint_write(struct pod *p);
void checkpoint_remove(struct kubelet *k, const char *uid);
void checkpoint_load(struct kubelet *k);
/* Once the API's pods are known: folders and files of pods that are no more become ghosts, which end and are forgotten. */
void checkpoint_sweep(struct kubelet *k);

/* admit.c */
bool pod_admit(struct pod *p, char *ret_reason, size_t reason_size, char *ret_message, size_t message_size);

/* pod-sync.c */
void pod_wake(struct pod *p);
void pod_machine_init(struct pod *p);
void pod_machine_stop(struct pod *p);
/* The operation under way is over. */
void pod_op_done(struct pod *p, bool stale);
struct pod_sandbox *pod_ready_sandbox(struct pod *p);
/* Is the newest run in the newest sandbox? */
bool container_is_current(const struct pod_container *c);
bool container_is_running(const struct pod_container *c);
/* Will it be started again after its end with this code? */
bool container_restarts(const struct pod_container *c, int32_t exit_code);

/* pod-read.c */
void pod_read(struct pod *p);
/* pleg.c */
void pleg_start(struct kubelet *k);
void pleg_stop(struct kubelet *k);

/* pod-start.c: an operation each */
void pod_start_sandbox(struct pod *p);
void pod_start_container(struct pod_container *c);
/* pod-kill.c */
void container_stop(struct pod_container *c, int64_t grace_s, const char *reason);
void container_kill_cancel(struct pod_container *c);
int64_t container_grace(const struct pod_container *c);
/* Operations: stops or removes every sandbox, removes ended runs that are not kept. */
void pod_stop_sandboxes(struct pod *p, bool remove);
void pod_remove_dead(struct pod *p);
bool pod_old_sandboxes(const struct pod *p);

/* status.c, status-send.c */
const struct core_v1_pod_status *pod_status_of(struct pod *p, struct arena *a);
void pod_status_update(struct pod *p);
/* What the API says now: when somebody else changed whether the pod is ready, it is told again. */
void pod_status_seen(struct pod *p, const struct core_v1_pod_status *seen);
void pod_status_stop(struct pod *p);
struct str pod_qos_class(const struct core_v1_pod *obj);

/* probe.c */
void probes_update(struct pod_container *c);
void probes_stop(struct pod_container *c);
bool container_is_started(const struct pod_container *c);
bool container_is_ready(const struct pod_container *c);

/* handler.c: exec, httpGet, tcpSocket, grpc or sleep, once */
enum handler_result { HANDLER_OK, HANDLER_FAILED, HANDLER_ERROR /* could not be tried */ };
struct handler_action {
    const struct core_v1_exec_action *exec;
    const struct core_v1_http_get_action *http_get;
    const struct core_v1_tcp_socket_action *tcp_socket;
    const struct core_v1_grpc_action *grpc;
    const struct core_v1_sleep_action *sleep;
};
typedef void handler_done_fn(void *arg, enum handler_result result, struct str output);
struct handler *handler_start(struct pod_container *c, const struct handler_action *action, uint64_t timeout_ms,
                              bool probe, handler_done_fn *done, void *arg);
struct handler *handler_cancel(struct handler *h);

/* container-config.c, sandbox-config.c: pure, into the arena */
MUST_CHECK bool container_config(struct pod_container *c, struct arena *a, const struct api_str_pair *envs, size_t n_envs,
                                 const struct cri_v1_image *image, uint32_t attempt, struct cri_v1_container_config *ret, struct err *err);
MUST_CHECK bool sandbox_config(struct pod *p, struct arena *a, uint32_t attempt, struct cri_v1_pod_sandbox_config *ret, struct err *err);
uint64_t container_hash(const struct core_v1_container *spec);
/* Host paths. */
void pod_dir(const struct pod *p, char dst[PATH_MAX]);
void pod_log_dir(const struct pod *p, char dst[PATH_MAX]);
void container_termination_path(const struct pod_container *c, uint32_t attempt, char dst[PATH_MAX]);

/* env.c */
struct object_need;
/* The ConfigMaps and Secrets that the container's environment takes from. */
size_t env_needs(const struct core_v1_container *c, struct object_need *needs, size_t max);
MUST_CHECK bool env_build(struct pod_container *c, struct arena *a, struct api_str_pair **ret, size_t *ret_n, struct err *err);
/* $(VAR) of the given environment; $$ is $. */
struct str env_expand(struct arena *a, struct str text, const struct api_str_pair *envs, size_t n_envs);
/* Downward API. */
MUST_CHECK bool downward_field(struct pod *p, struct arena *a, struct str path, struct str *ret, struct err *err);
MUST_CHECK bool downward_resource(struct pod *p, struct arena *a, const struct core_v1_container *own,
                                  const struct core_v1_resource_field_selector *sel, struct str *ret, struct err *err);

/* cgroup.c */
void cgroup_pod_parent(const struct pod *p, char dst[PATH_MAX]);
/* The group of all pods, below the mount of control groups. */
void cgroup_pods(const struct kubelet *k, char dst[PATH_MAX]);
void cgroup_make_pod(struct pod *p);
void cgroup_remove_pod(struct pod *p);
int64_t cgroup_shares(int64_t milli);
int64_t cgroup_quota(int64_t milli);

/* kubelet.c */
PRINTF_LIKE(4, 5) void pod_event(struct pod *p, const struct pod_container *c, const char *type_reason, const char *fmt, ...);
int64_t resource_milli(const struct api_str_pair *list, size_t n, const char *name);
int64_t resource_value(const struct api_str_pair *list, size_t n, const char *name);
bool resource_has(const struct api_str_pair *list, size_t n, const char *name);

/* hosts-file.c */
MUST_CHECK bool hosts_file_write(struct pod *p, char path[PATH_MAX], struct err *err);
MUST_CHECK bool dns_config(struct pod *p, struct arena *a, struct cri_v1_dns_config *ret, struct err *err);

/* static-pods.c */
void statics_start(struct kubelet *k);
void statics_stop(struct kubelet *k);
/* Makes, replaces or deletes the mirror of a static pod. */
void statics_mirror(struct pod *p);

/* node.c */
bool node_start(struct kubelet *k, struct err *err);
void node_stop(struct kubelet *k);
/* The node's own view: taints and labels for admission; NULL before it is known. */
const struct core_v1_node *node_object(struct kubelet *k);
bool node_machine(struct kubelet *k, struct err *err);
void node_report_runtime(struct kubelet *k);
/* Can the runtime give pods an address? Pods are woken when that changes. */
bool node_network_ready(struct kubelet *k);

/* collect.c */
void collector_start(struct kubelet *k);
void collector_stop(struct kubelet *k);

/* stats.c: forgets what was seen of CPUs */
void stats_stop(struct kubelet *k);

/* evict.c */
struct volume_use {
    uint64_t bytes, inodes;
    int64_t time_s; /* when it was measured */
};
void evictor_start(struct kubelet *k);
void evictor_stop(struct kubelet *k);
void evictor_look(struct kubelet *k);
/* What a volume takes. False: not known yet; it is measured from now on, as long as somebody asks. */
bool volume_use_of(struct pod *p, struct str volume, struct volume_use *ret);

/* server-core.c. server_fork() comes before the loop is made. */
bool server_fork(struct kubelet *k, struct err *err);
bool server_start(struct kubelet *k, struct err *err);
void server_stop(struct kubelet *k);
/* core-logs.c: what the runtime says of the pod has been read again; who follows its logs may want to know. */
void core_logs_pod_changed(struct pod *p);
/* The serving certificate or the CAs of clients are others now: new connections get them. */
void server_tls_changed(struct kubelet *k);

#endif
