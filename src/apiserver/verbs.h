/*
 * Every stage, and the lists that verbs are made of (routes.c). A stage is named after what it does; the file it lives in is in
 * brackets. Stages that several verbs share take what differs from the request.
 */
#ifndef APISERVER_VERBS_H
#define APISERVER_VERBS_H

#include "apiserver/stage.h"

/* What every request goes through first; ends in stage_route, which replaces the list. */
extern const struct stage front_stages[];

stage_fn stage_authenticate; /* [authenticate.c] */
stage_fn stage_impersonate;  /* [impersonate.c] */
stage_fn stage_authorize;    /* [authorize.c] */
stage_fn stage_flow;         /* [routes.c] bounds what is under way */
stage_fn stage_route;        /* [routes.c] */

stage_fn stage_nonresource; /* [nonresource.c] discovery, health, version, metrics, OpenAPI */

/* [negotiate.c] */
stage_fn stage_negotiate_object; /* one object: as itself, Table or PartialObjectMetadata */
stage_fn stage_negotiate_list;
stage_fn stage_negotiate_plain;  /* as itself only (subresources with bodies of their own) */

/* [options.c] */
stage_fn stage_options_get, stage_options_list, stage_options_create, stage_options_update, stage_options_patch,
    stage_options_delete;

/* [body.c] */
stage_fn stage_body;        /* reads the whole body */
stage_fn stage_decode;      /* into r->body_obj: the endpoint's type, defaulted, in the hub's shape */

/* [load.c] */
stage_fn stage_fresh;       /* nothing older than what any server has acknowledged */
stage_fn stage_load;        /* r->old, or absent */
stage_fn stage_load_found;  /* the same; absent answers 404 */
stage_fn stage_wait_rv;     /* until the cache has the resourceVersion that the read asks for */

/* [write.c] the stages of create, update and patch */
stage_fn stage_begin_create, stage_begin_update, stage_apply_patch;
stage_fn stage_manage;      /* managedFields */
stage_fn stage_admit, stage_prepare, stage_validate, stage_admit_validate;
stage_fn stage_escalation;  /* [escalation.c] roles and bindings grant no more than the writer holds */
stage_fn stage_claim;       /* what was allocated is claimed in the store, where other servers allocate too */
stage_fn stage_allocate;    /* [service-alloc.c] cluster IPs and node ports */
stage_fn stage_commit;      /* [commit.c] */
stage_fn stage_respond_written;

/* [verb-*.c] */
stage_fn stage_get, stage_list, stage_watch;
stage_fn stage_begin_delete, stage_delete, stage_respond_deleted, stage_delete_collection, stage_delete_next;

/* [sub-*.c] */
stage_fn stage_scale_get, stage_scale_begin, stage_respond_scale;
stage_fn stage_binding_begin, stage_binding_named, stage_respond_created_status;
stage_fn stage_eviction_begin, stage_eviction_budget, stage_eviction_tell;
stage_fn stage_token_begin, stage_token_request;
stage_fn stage_finalize_begin;
stage_fn stage_review;      /* TokenReview, SubjectAccessReview and their kin */
stage_fn stage_pod_log, stage_pod_stream; /* [sub-pod.c] */
stage_fn stage_proxy;                      /* [sub-proxy.c] */
stage_fn stage_authorize_stream;           /* [authorize.c] what opens a stream needs "create", by whatever method it is asked for */
stage_fn stage_begin_connect;              /* [connect.c] admission of CONNECT */

/* [sub-proxy.c] Does a request to a node's proxy run something or open a stream there? */
bool proxy_opens_stream(struct request *r);

#endif
