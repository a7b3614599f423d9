/*
 * The REST client: typed objects in, typed objects out, asynchronous on one loop.
 *
 * A call is answered exactly once, on the loop thread, by its 'done' function, unless
 * client_cancel() comes first. The decoded object and the error live until 'done' returns; copy
 * what must stay (api/copy.h). Requests share a few connections (HTTP/2 where the server offers
 * it). Reads that fail before an answer began are tried again on another connection; writes are
 * tried again only when they were provably not sent, or on 429 and 503 with Retry-After.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "api/type.h"
#include "base/err.h"
#include "client/kubeconfig.h"

struct loop;
struct net_dialer;
struct client;
struct client_call;
struct api_mask;

struct client_options {
    const char
        *user_agent; /* "kube-scheduler/1.36.0 (coracle)"; its first word is the field manager */
    double qps;      /* 0: unlimited */
    unsigned burst;
    uint64_t timeout_ms; /* of a call without its own; 0: 30 s */
    struct net_dialer *dialer; /* NULL: direct; lives longer than the client */
    const char *peer, *purpose; /* for `coracle paths` when it is no apiserver: "webhook", PATH_PURPOSE_WEBHOOK; NULL: it is one */
};

/* Copies the configuration. NULL with a reason when certificates or the server address are bad. */
struct client *client_new(struct loop *loop, const struct client_config *config,
                          const struct client_options *options, struct err *err);
/* A client on the same connections, for other credentials than the TLS certificate's: 'c' has none,
 * and each request carries the token of client_set_token(). 'c' is kept until all that share it are
 * freed. */
struct client *client_share(struct client *c);
/* Replaces the bearer token; absent: none. Copied. */
void client_set_token(struct client *c, struct str token);
/*
 * Certificates, keys, CAs and tokens that came from files (or from a kubeconfig) are read again when the files
 * change: new calls go over new connections with the new certificate, calls that are under way (watches) end where
 * they began. A half-written pair keeps the old one, and the log says so. client_reload() does it at once.
 */
MUST_CHECK bool client_reload(struct client *c, struct err *err);
/* Calls wait (until their time is up) while the client is held: its certificate is yet to come. */
void client_hold(struct client *c, bool held);
/* Ends calls that are under way without calling their 'done'. NULL-safe. */
struct client *client_free(struct client *c);
struct loop *client_loop(const struct client *c);

struct client_answer {
    const struct err *err; /* NULL: success */
    int http_status;       /* 0: no answer came */
    const void *object; /* decoded, of the resource's type (a Status for deletes that answer one),
                           or NULL */
    const struct api_type *type;
    struct str body;        /* as it came */
    struct str retry_after; /* header, or absent */
    struct arena *arena;    /* where 'object' lives; for use inside 'done' only */
};
typedef void client_done_fn(void *data, const struct client_answer *answer);

enum client_patch_type {
    CLIENT_PATCH_JSON,
    CLIENT_PATCH_MERGE,
    CLIENT_PATCH_STRATEGIC,
    CLIENT_PATCH_APPLY
};

/* What a call is about. Strings need to live only until the call function returns. */
struct client_target {
    const struct api_resource *resource;
    struct str ns;          /* absent for cluster-scoped resources and lists over all namespaces */
    struct str name;        /* absent for collections */
    struct str subresource; /* "status", "scale", "binding", …; absent: none */
    struct str query;       /* further query, already encoded: "dryRun=All"; absent: none */
    const struct api_type *answer_type; /* of the answer where it is not the resource's own (Scale,
                                           TokenRequest); or NULL */
    uint64_t timeout_ms;                /* 0: the client's */
};

struct client_call *client_get(struct client *c, const struct client_target *t,
                               client_done_fn *done, void *data);
/* 'object' is of the resource's type, or of the subresource's body type 'body_type' when that is
 * not NULL. */
struct client_call *client_create(struct client *c, const struct client_target *t,
                                  const struct api_type *body_type, const void *object,
                                  client_done_fn *done, void *data);
struct client_call *client_update(struct client *c, const struct client_target *t,
                                  const void *object, client_done_fn *done, void *data);
struct client_call *client_patch(struct client *c, const struct client_target *t,
                                 enum client_patch_type type, struct str patch,
                                 client_done_fn *done, void *data);
struct client_delete_options {
    struct str uid, resource_version; /* preconditions, absent: none */
    int64_t grace_seconds;            /* -1: the object's own */
    struct str propagation; /* "Background", "Foreground", "Orphan"; absent: the default */
};
struct client_call *client_delete(struct client *c, const struct client_target *t,
                                  const struct client_delete_options *options, client_done_fn *done,
                                  void *data);
/* A request by method and path with query ("/version"); body absent for none. An empty path
 * is the server's own URL (webhooks). The answer is not decoded. */
struct client_call *client_raw(struct client *c, struct str method, struct str path,
                               struct str content_type, struct str body, client_done_fn *done,
                               void *data);
/* Ends the call: 'done' is not called any more. NULL-safe. */
void client_cancel(struct client_call *call);
/* Lets the call run on, but its answer goes to nobody. NULL-safe. */
void client_detach(struct client_call *call);

#endif
