/*
 * What the files of the Docker back end share. A call of the runtime's interface is carried out as a chain of requests to dockerd's
 * Engine API, one after the other; each file has the calls of one subject. One thread, one loop.
 */
#ifndef KUBELET_DOCKER_PRIVATE_H
#define KUBELET_DOCKER_PRIVATE_H

#include "api/val.h"
#include "base/map.h"
#include "kubelet/cni-exec.h"
#include "kubelet/docker.h"
#include "net/http-client.h"

/* Labels that dockershim gave its containers, so that either finds what the other started. */
#define DOCKER_LABEL_TYPE "io.kubernetes.docker.type"
#define DOCKER_LABEL_SANDBOX "io.kubernetes.sandbox.id"
#define DOCKER_LABEL_LOG "io.kubernetes.container.logpath"
#define DOCKER_LABEL_IMAGE "io.coracle.image" /* the image as the pod's spec names it */
#define DOCKER_ANNOTATION "annotation."
#define DOCKER_TYPE_SANDBOX "podsandbox"
#define DOCKER_TYPE_CONTAINER "container"

struct docker_streams;
struct docker_samples;

struct docker {
    struct runtime base;
    struct loop *loop;
    struct http_client *http;
    struct list calls;
    struct list killers; /* of commands that nobody waits for any more (docker-exec.c) */
    struct arena arena; /* of the options' strings */
    struct docker_options options;
    struct cni_dirs cni;
    unsigned minor;     /* of the API's version 1.x that was agreed on; 0: not yet */
    char version[64];   /* dockerd's own */
    bool swap_limit;    /* the kernel counts swap */
    bool may_lower_oom;
    int64_t born_ns;    /* when this kubelet began */
    int own_oom;
    struct map networks; /* sandboxes of earlier kubelets of which it is known that they have one */
    struct docker_streams *streams;
    struct docker_samples *samples;
};

/* ---- one request (docker-http.c) ---- */

struct docker_http;

struct docker_answer {
    int status;            /* 0: there was none */
    struct str body;       /* valid during the callback */
    const struct err *err; /* there was no answer, or its status is 400 or above: then with dockerd's own words */
};
typedef void docker_http_fn(void *arg, const struct docker_answer *a);

struct docker_http_spec {
    const char *method;
    struct str path;       /* below the version: "/containers/json?all=1" */
    struct str body;       /* JSON, or empty */
    struct str auth;       /* value of X-Registry-Auth, or empty */
    uint32_t stall_ms;     /* longest silence within the answer; 0: any */
    /* With it the body is given piece by piece and not kept. */
    void (*on_body)(void *arg, struct str bytes);
    bool unversioned;
};
/* Never NULL; 'done' is called once, in a later turn. */
struct docker_http *docker_http(struct docker *d, const struct docker_http_spec *spec, docker_http_fn *done, void *arg);
/* NULL-safe; returns NULL. */
struct docker_http *docker_http_cancel(struct docker_http *h);

/* A connection that dockerd gives over (exec, attach): 's' is paused and the callee's, or NULL with 'err'. */
typedef void docker_hijack_fn(void *arg, struct net_stream *s, const struct err *err);
struct docker_http *docker_hijack(struct docker *d, struct str path, struct str body, docker_hijack_fn *done, void *arg);

/* ---- one call (docker.c) ---- */

typedef void docker_next_fn(struct runtime_call *c, const struct docker_answer *a);

struct runtime_call {
    struct list link;
    struct docker *d;
    const struct api_rpc *rpc;
    const void *request;     /* a copy, in 'a' */
    struct arena a;
    runtime_done_fn *done;
    void *arg;
    struct loop_task begin;
    struct loop_timer deadline;
    uint64_t timeout_ms;
    struct docker_http *http; /* under way */
    docker_next_fn *next;
    struct cni_run *cni;      /* under way */
    struct err err;           /* the first failure, kept while what was begun is undone */
    void *state;              /* of the call's own file, in 'a' */
    void (*drop)(struct runtime_call *c); /* what 'state' holds besides memory */
};

/* One request; 'next' goes on. */
void docker_ask(struct runtime_call *c, const char *method, struct str path, struct str body, docker_next_fn *next);
void docker_ask_spec(struct runtime_call *c, const struct docker_http_spec *spec, docker_next_fn *next);
/* The end, once: 'c' is gone afterwards. A response lives in c->a. */
void docker_done(struct runtime_call *c, const void *response);
void docker_fail(struct runtime_call *c, const struct err *err);
PRINTF_LIKE(3, 4) void docker_fail_with(struct runtime_call *c, enum err_code code, const char *fmt, ...);
/* A zeroed response of the call's type; NULL after docker_fail(). */
void *docker_response(struct runtime_call *c);
/* The answer as JSON, in c->a. False after docker_fail(), also when the answer is an error. */
MUST_CHECK bool docker_json(struct runtime_call *c, const struct docker_answer *a, struct val *ret);
static inline bool docker_absent(const struct docker_answer *a)
{
    return a->err && a->err->code == ERR_NOT_FOUND;
}

/* ---- what dockerd says (docker-read.c) ---- */

/* RFC 3339 to nanoseconds; 0 for the zero time. */
int64_t docker_time(struct str s);
int64_t docker_int(const struct val *v, const char *key);
bool docker_bool(const struct val *v, const char *key);
struct str docker_str(const struct val *v, const char *key);
/* Labels as they were given: annotations apart, the back end's own left out. */
MUST_CHECK bool docker_labels(struct arena *a, const struct val *labels, struct api_str_pair **ret, size_t *ret_n,
                              struct api_str_pair **ret_annotations, size_t *ret_n_annotations);
/* "/k8s_NAME_POD_NAMESPACE_UID_ATTEMPT": false when it is another kind of name. */
MUST_CHECK bool docker_name_parse(struct str name, struct str ret_parts[4], uint32_t *ret_attempt);
/* Does the process belong to the container? Its control groups have the container's number in their names. */
bool docker_owns_pid(int64_t pid, struct str container);

/* ---- what dockerd is told (docker-config.c, pure) ---- */

void docker_sandbox_name(struct buf *b, const struct cri_v1_pod_sandbox_config *config);
void docker_container_name(struct buf *b, const struct cri_v1_create_container_request *q);
MUST_CHECK bool docker_sandbox_body(const struct docker *d, const struct cri_v1_run_pod_sandbox_request *q, struct buf *b, struct err *err);
MUST_CHECK bool docker_container_body(const struct docker *d, const struct cri_v1_create_container_request *q, struct buf *b, struct err *err);
/* resolv.conf(5). */
void docker_resolv_conf(const struct cri_v1_dns_config *dns, struct buf *b);
/* Members of JSON objects; commas come by themselves. */
void dj_key(struct buf *b, const char *key);
void dj_str(struct buf *b, const char *key, struct str value);
void dj_int(struct buf *b, const char *key, int64_t value);
void dj_bool(struct buf *b, const char *key, bool value);
void dj_list(struct buf *b, const char *key, const struct str *items, size_t n);
/* "filters={…}" for a query: labels of the type, and those of 'labels'. */
struct str docker_filters(struct arena *a, const char *type, const struct api_str_pair *labels, size_t n);
/* One path segment. */
struct str docker_path(struct arena *a, const char *before, struct str segment, const char *after);
/* The body of a request to make an exec. */
void docker_exec_body(struct buf *b, const struct str *cmd, size_t n_cmd, bool in, bool out, bool err, bool tty);

/* ---- the calls ---- */

typedef void docker_op_fn(struct runtime_call *c);
/* docker-sandbox.c */
docker_op_fn docker_run_sandbox, docker_stop_sandbox, docker_remove_sandbox, docker_sandbox_status, docker_list_sandboxes;
/* docker-container.c */
docker_op_fn docker_create_container, docker_start_container, docker_stop_container, docker_remove_container, docker_container_status,
    docker_list_containers;
/* docker-image.c */
docker_op_fn docker_image_status, docker_list_images, docker_pull_image, docker_remove_image;
/* Pulls 'image' for a call that goes on with 'next' (no answer given: a->err says whether it came). */
void docker_pull(struct runtime_call *c, struct str image, const struct cri_v1_auth_config *auth, void (*next)(struct runtime_call *c, const struct err *err));
/* docker-exec.c */
docker_op_fn docker_exec_sync;
void docker_killers_free(struct docker *d);
/* docker-stats.c */
docker_op_fn docker_list_stats;
struct docker_samples *docker_samples_free(struct docker_samples *s);
/* docker-stream.c */
docker_op_fn docker_exec, docker_attach, docker_port_forward;
struct docker_streams *docker_streams_free(struct docker_streams *s);

/* docker-netns.c: a connection to a port of a pod's loopback. */
struct netns_dial;
typedef void netns_dial_fn(void *arg, int fd, const char *why);
/* 'netns' is borrowed until this returns. Never NULL; 'done' in a later turn, with a connected descriptor or -1 and a reason. */
struct netns_dial *netns_dial(struct loop *l, int netns, uint16_t port, netns_dial_fn *done, void *arg);
struct netns_dial *netns_dial_cancel(struct netns_dial *n);

#endif
