/*
 * The container runtime as the kubelet drives it: one interface over the messages of CRI (schema/cri). A back end (CRI over gRPC; the
 * Docker Engine API, docker.h) carries out
 * one call at a time of any number, and answers each exactly once, in a later turn of the loop, unless it is cancelled.
 *
 * A call is named by its descriptor of api/gen/cri_v1.h (cri_v1_runtime_service_create_container_rpc); request and response are
 * the structs that it names. The response lives until 'done' returns.
 */
#ifndef KUBELET_RUNTIME_H
#define KUBELET_RUNTIME_H

#include "api/gen/cri_v1.h"
#include "base/err.h"
#include "net/loop.h"

struct runtime;
struct runtime_call;

/* 'response' is NULL exactly when 'err' is not. ERR_NOT_FOUND and ERR_UNAVAILABLE are told apart by callers. */
typedef void runtime_done_fn(void *arg, const void *response, const struct err *err);

struct runtime_ops {
    struct runtime_call *(*call)(struct runtime *rt, const struct api_rpc *rpc, const void *request, uint64_t timeout_ms,
                                 runtime_done_fn *done, void *arg);
    void (*cancel)(struct runtime_call *call);
    void (*free)(struct runtime *rt);
};

/* First member of a back end's own struct. */
struct runtime {
    const struct runtime_ops *ops;
    uint64_t request_timeout_ms; /* --runtime-request-timeout; 0: two minutes */
    const char *scheme;          /* of container numbers in a pod's status: "docker"; NULL: "containerd" */
    bool rotates_logs;           /* it keeps the logs small itself */
};

/* As a call's timeout: what the runtime was configured with. */
#define RUNTIME_REQUEST_TIMEOUT UINT64_MAX

static inline uint64_t runtime_timeout_ms(const struct runtime *rt)
{
    return rt->request_timeout_ms ? rt->request_timeout_ms : 120000;
}
/* 'request' is encoded before this returns. 'timeout_ms' 0: no deadline; or RUNTIME_REQUEST_TIMEOUT. */
static inline struct runtime_call *runtime_call(struct runtime *rt, const struct api_rpc *rpc, const void *request,
                                                uint64_t timeout_ms, runtime_done_fn *done, void *arg)
{
    if (timeout_ms == RUNTIME_REQUEST_TIMEOUT) {
        timeout_ms = runtime_timeout_ms(rt);
    }
    return rt->ops->call(rt, rpc, request, timeout_ms, done, arg);
}
/* 'done' is not called any more. NULL-safe. */
static inline void runtime_cancel(struct runtime *rt, struct runtime_call *call)
{
    if (call) {
        rt->ops->cancel(call);
    }
}
/* Calls under way end without an answer. NULL-safe; returns NULL. */
static inline struct runtime *runtime_free(struct runtime *rt)
{
    if (rt) {
        rt->ops->free(rt);
    }
    return NULL;
}

/* CRI over a unix socket (containerd, CRI-O): 'endpoint' is "unix:///run/containerd/containerd.sock" or a path. */
MUST_CHECK struct runtime *runtime_cri_new(struct loop *l, struct str endpoint, struct err *err);

#endif
