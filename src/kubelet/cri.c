/* The runtime over CRI: typed messages, protobuf, gRPC on a unix socket. */
#include "kubelet/runtime.h"

#include <stdlib.h>

#include "api/decode-pb.h"
#include "api/encode-pb.h"
#include "base/arena.h"
#include "client/path-report.h"
#include "kubelet/limits.h"
#include "net/grpc.h"

struct cri {
    struct runtime base;
    struct loop *loop;
    struct grpc_client *grpc;
    struct list calls;
};

struct runtime_call {
    struct list link;
    struct cri *cri;
    const struct api_rpc *rpc;
    struct grpc_call *grpc;
    struct loop_task failed; /* the request could not be encoded */
    runtime_done_fn *done;
    void *arg;
};

static void call_free(struct runtime_call *c)
{
    loop_task_cancel(&c->failed);
    list_remove(&c->link);
    free(c);
}

static void on_done(void *arg, struct str bytes, const struct grpc_status *status)
{
    struct runtime_call *c = arg;
    struct err err = status->err;
    void *response = NULL;
    struct arena a;
    arena_init(&a, KUBELET_MAX_CRI_ARENA);
    if (status->code == GRPC_OK) {
        response = arena_alloc(&a, c->rpc->response->size ? c->rpc->response->size : 1);
        if (!response || !api_decode_pb(&a, c->rpc->response, bytes, NULL, response, &err)) {
            response = NULL;
            if (err.code == ERR_NONE) {
                err_set(&err, ERR_TOO_LARGE, "the runtime's answer is too large");
            }
        }
    } else if (err.code == ERR_NONE) {
        err_set(&err, grpc_err_code(status->code), "%s", grpc_code_name(status->code));
    }
    runtime_done_fn *done = c->done;
    void *user = c->arg;
    call_free(c);
    done(user, response, response ? NULL : &err);
    arena_deinit(&a);
}

static void on_failed(void *arg)
{
    struct grpc_status status = { .code = GRPC_INTERNAL };
    err_set(&status.err, ERR_INTERNAL, "the request to the runtime is too large");
    on_done(arg, STR_EMPTY, &status);
}

static struct runtime_call *cri_call(struct runtime *rt, const struct api_rpc *rpc, const void *request, uint64_t timeout_ms,
                                     runtime_done_fn *done, void *arg)
{
    struct cri *cri = CONTAINER_OF(rt, struct cri, base);
    struct runtime_call *c = calloc(1, sizeof(*c));
    CLEANUP(buf_deinit) struct buf b;
    if (!c) {
        abort();
    }
    buf_init(&b, KUBELET_MAX_CRI_REQUEST);
    *c = (struct runtime_call){ .cri = cri, .rpc = rpc, .done = done, .arg = arg };
    list_push_back(&cri->calls, &c->link);
    loop_task_init(&c->failed, cri->loop, on_failed, c);
    if (!api_encode_pb(&b, rpc->request, request)) {
        loop_task_defer(&c->failed);
        return c;
    }
    c->grpc = grpc_unary(cri->grpc, rpc->path.ptr, buf_str(&b), timeout_ms, on_done, c);
    return c;
}

static void cri_cancel(struct runtime_call *c)
{
    grpc_call_cancel(c->grpc);
    call_free(c);
}

static void cri_free(struct runtime *rt)
{
    struct cri *cri = CONTAINER_OF(rt, struct cri, base);
    LIST_FOREACH(&cri->calls, struct runtime_call, link, c) {
        cri_cancel(c);
    }
    grpc_client_free(cri->grpc);
    free(cri);
}

struct runtime *runtime_cri_new(struct loop *l, struct str endpoint, struct err *err)
{
    static const struct runtime_ops ops = { cri_call, cri_cancel, cri_free };
    char path[256];
    if (str_starts(endpoint, STR("unix://"))) {
        endpoint = str_sub(endpoint, 7, endpoint.len);
    }
    if (!str_to_cstr(endpoint, path, sizeof(path)) || (path[0] != '/' && path[0] != '@')) {
        err_set(err, ERR_INVALID, "--container-runtime-endpoint \"%.*s\" is no unix socket (unix:///run/containerd/containerd.sock)",
                STR_ARG(endpoint));
        return NULL;
    }
    struct cri *cri = calloc(1, sizeof(*cri));
    if (!cri) {
        abort();
    }
    const struct net_path_spec what = { .outgoing = true, .peer = STR("container runtime"), .purpose = STR(PATH_PURPOSE_CRI), .address = str_c(path),
                                        .authn = "file permissions", .authz = "file permissions" };
    struct net_path *net_path = net_path_get(l, &what);
    const struct grpc_config config = { .unix_path = path, .path = net_path };
    cri->base.ops = &ops;
    cri->loop = l;
    list_init(&cri->calls);
    cri->grpc = grpc_client_new(l, &config);
    net_path_unref(net_path);
    return &cri->base;
}
