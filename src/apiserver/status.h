/*
 * metav1.Status: the answer when something failed (and of a few things that worked), worded as kube-apiserver words it.
 *
 * A stage fills r->status by one of these and returns STAGE_ERROR. What is encoded is the generated struct meta_v1_status, in
 * whichever representation the client accepts.
 */
#ifndef APISERVER_STATUS_H
#define APISERVER_STATUS_H

#include "base/arena.h"
#include "base/err.h"
#include "kinds/field-error.h"
#include "store/store.h"

struct meta_v1_status;

struct status_cause {
    struct str reason, message, field;
};

/* One failure. Everything is borrowed from the arena of the request. */
struct status {
    int code;           /* HTTP status */
    struct str reason;  /* "NotFound"; "" for unknown */
    struct str message;
    bool has_details;
    struct str name, group, kind, uid; /* details */
    struct status_cause *causes;
    size_t n_causes;
    int32_t retry_after; /* seconds; 0: none. Also sent as Retry-After. */
    struct str continue_token; /* of an expired list */
};

/* 'resource' and 'group' as in the path: 'deployments.apps "x" not found'. */
void status_not_found(struct status *s, struct arena *a, struct str group, struct str resource, struct str name);
/* The path leads nowhere: "the server could not find the requested resource". */
void status_no_resource(struct status *s);
void status_already_exists(struct status *s, struct arena *a, struct str group, struct str resource, struct str name);
/* 'Operation cannot be fulfilled on configmaps "cm": <detail>'. */
PRINTF_LIKE(6, 7) void status_conflict(struct status *s, struct arena *a, struct str group, struct str resource,
                                       struct str name, const char *fmt, ...);
#define STATUS_MODIFIED \
    "the object has been modified; please apply your changes to the latest version and try again"
/* 'pods "x" is forbidden: <detail>'; without a name 'pods is forbidden: …'. */
PRINTF_LIKE(6, 7) void status_forbidden(struct status *s, struct arena *a, struct str group, struct str resource,
                                        struct str name, const char *fmt, ...);
PRINTF_LIKE(3, 4) void status_bad_request(struct status *s, struct arena *a, const char *fmt, ...);
/* 'Deployment.apps "x" is invalid: …' with a cause for each error. */
void status_invalid(struct status *s, struct arena *a, struct str group, struct str kind, struct str name,
                    const struct field_errs *errs);
void status_method_not_allowed(struct status *s);
/* 500 without a reason, the message as it is (an error that upstream did not classify). */
PRINTF_LIKE(3, 4) void status_unclassified(struct status *s, struct arena *a, const char *fmt, ...);
/* 500 InternalError: 'Internal error occurred: …'. */
PRINTF_LIKE(3, 4) void status_internal(struct status *s, struct arena *a, const char *fmt, ...);
/* 504: 'Timeout: Too large resource version: N, current: M'. */
/* What the store answered in place of OK or CONFLICT. What was surely not written asks the client to come again. */
void status_store_failed(struct status *s, enum store_status why);
void status_rv_too_large(struct status *s, struct arena *a, uint64_t asked, uint64_t current);
/* By code and message of an err. */
void status_from_err(struct status *s, struct arena *a, const struct err *err);

/* "deployments.apps", or "pods" in the core group. */
struct str status_qualified(struct arena *a, struct str resource, struct str group);

/* Fills the generated struct for encoding. */
void status_to_meta(const struct status *s, struct arena *a, struct meta_v1_status *ret);

#endif
