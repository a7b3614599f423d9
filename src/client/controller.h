/*
 * The controller runtime: reconcilers read informers and return actions; the runtime carries the
 * actions out.
 *
 * reconcile() is a function of the informers' contents: it takes a key ("namespace/name", or
 * "name"), looks, and says what should be written through 'struct actions'. It makes no call itself
 * and keeps no state between passes beyond its controller's own indexes. After the last action is
 * answered (the answers go into the informers first) the key is done; an error is retried with
 * back-off, a conflict or AlreadyExists at once after the informer caught up. One key is never
 * worked on twice at a time; up to 'concurrency' keys are under way together.
 */
#ifndef CLIENT_CONTROLLER_H
#define CLIENT_CONTROLLER_H

#include "client/events.h"
#include "client/informer.h"

struct buf;

struct actions;
struct controller;

/* Objects are encoded at once: they need not outlive the call. Actions are begun in the order given,
 * up to 64 at a time; of creates one at first and one more for each that succeeds, and none after one
 * failed. act_barrier() makes later ones wait for the earlier and be dropped when one failed. */
void act_create(struct actions *a, const struct api_resource *r, struct str ns, const void *obj);
void act_update(struct actions *a, const struct api_resource *r, const void *obj);
/* PUT on a subresource, usually "status". */
void act_update_sub(struct actions *a, const struct api_resource *r, const char *subresource,
                    const void *obj);
void act_patch(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
               const char *subresource, enum client_patch_type type, struct str patch);
/* POST on a subresource ("binding", "eviction", "token"). */
void act_post_sub(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
                  const char *subresource, const struct api_type *body_type, const void *body);
/* 'uid' absent: whatever has the name. 'options' may be NULL. */
void act_delete(struct actions *a, const struct api_resource *r, struct str ns, struct str name,
                struct str uid, const struct client_delete_options *options);
void act_barrier(struct actions *a);
/* Goes on only if the server, asked now, has no such object with this uid (informers of several
 * resources see a change at different times). Otherwise the later actions are dropped and the key
 * is looked at again soon. Acts as a barrier. A server that does not serve the resource has not said
 * that there is no such object. */
void act_require_absent(struct actions *a, const struct api_resource *r, struct str ns,
                        struct str name, struct str uid);
/* DELETE of a whole collection in a namespace. */
void act_delete_collection(struct actions *a, const struct api_resource *r, struct str ns);
/* Look at the key again after that time even if nothing changes. The earliest wins. */
void act_requeue_after(struct actions *a, uint64_t ms);
/* The pass failed for this reason: logged, and retried with back-off after the actions so far ran.
 */
PRINTF_LIKE(2, 3) void act_fail(struct actions *a, const char *fmt, ...);
/* An Event about 'obj' (of resource r's type), type "Normal" or "Warning". */
PRINTF_LIKE(6, 7)
void act_event(struct actions *a, const struct api_resource *r, const void *obj, const char *type,
               const char *reason, const char *fmt, ...);
/* The same, but only when the action added last has succeeded. */
PRINTF_LIKE(6, 7)
void act_event_after(struct actions *a, const struct api_resource *r, const void *obj,
                     const char *type, const char *reason, const char *fmt, ...);
/* The same, but only when the action added last has failed; ": " and the error are added to the
 * text. */
PRINTF_LIKE(6, 7)
void act_event_on_failure(struct actions *a, const struct api_resource *r, const void *obj,
                          const char *type, const char *reason, const char *fmt, ...);
/* Not an error when it is answered with this code: "AlreadyExists" on a create that raced, NotFound
 * on a delete (always tolerated). Applies to the action added last. */
void act_tolerate(struct actions *a, enum err_code code);
/* An arena that lives until the pass ends: build objects in it. */
struct arena *act_arena(struct actions *a);
/* Wall clock of this pass, seconds since 1970. */
int64_t act_now(const struct actions *a);

struct controller_ops {
    const char *name; /* "deployment"; also the name its flag and its metrics use */
    /* Asks for informers and wires events to controller_enqueue(). Returns the controller's own
     * state. */
    void *(*setup)(struct controller *c, struct informers *informers);
    void (*reconcile)(void *state, struct str key, struct actions *a);
    void (*teardown)(void *state); /* may be NULL */
    unsigned concurrency;          /* 0: 5 */
    const int32_t *concurrency_flag; /* where a flag says it; NULL: none does */
    const char *service_account;   /* in kube-system: whose rights it has with
                                      --use-service-account-credentials */
    bool off_by_default;
};

struct controller *controller_new(const struct controller_ops *ops, struct client *c,
                                  struct informers *informers, struct event_recorder *events);
struct controller *controller_free(struct controller *c);
/* Begins to work once the informers are synced. */
void controller_start(struct controller *c);
void controller_enqueue(struct controller *c, struct str key);
/* Key of an object: "ns/name" or "name". */
void controller_enqueue_obj(struct controller *c, const struct api_type *type, const void *obj);
void controller_enqueue_after(struct controller *c, struct str key, uint64_t ms);
/* The controller rests while the server does not serve this informer's resource. controller_watch() says so itself. */
void controller_needs(struct controller *c, const struct informer *i);
struct client *controller_client(const struct controller *c);
struct loop *controller_loop(const struct controller *c);
/* Runs one pass and, rather than carrying its actions out, appends them as lines: "POST pods
 * default {…}". For tests. */
void controller_dry_run(struct controller *c, struct str key, int64_t now, struct buf *out);
/* An informer_event_fn with the controller as data: enqueues the object itself (for the primary
 * resource). Where keys are computed otherwise, write a listener of your own that calls
 * controller_enqueue(). */
struct informer *controller_watch(struct controller *c, struct informers *informers,
                                  const struct informer_spec *spec);

#endif
