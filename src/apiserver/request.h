/*
 * One request, from its headers to the last byte of its answer.
 *
 * Made by front.c when headers are complete, run as a list of stages (stage.h), freed when it is answered or the peer goes away
 * and nothing is under way for it any more (a commit cannot be taken back: the request stays until it is done, 'cancelled').
 * Members are grouped by who writes them. Everything decoded lives in 'arena'.
 */
#ifndef APISERVER_REQUEST_H
#define APISERVER_REQUEST_H

#include "apiserver/admission.h"
#include "apiserver/media.h"
#include "apiserver/options.h"
#include "apiserver/request-info.h"
#include "apiserver/server.h"
#include "apiserver/stage.h"
#include "apiserver/status.h"
#include "auth/authn.h"
#include "auth/authz.h"

struct request {
    struct apiserver *srv;
    struct http_stream *http; /* one reference, released with the request */
    struct arena arena;
    struct list link; /* in srv->requests */

    /* stage.c */
    const struct stage *stages;
    size_t at;
    bool running, waiting, ended, cancelled;
    unsigned pending; /* callbacks that will still come (commits): the request is not freed before */
    struct loop_timer timer; /* the deadline, and waits for a resourceVersion */

    /* front.c */
    const struct http_request *in;
    struct str query;      /* raw */
    struct request_info info;
    struct str user_agent;
    bool is_head;
    uint64_t started_ms;

    /* authenticate, authorise */
    struct authn_request authn;
    struct auth_user user;      /* after impersonation */
    struct auth_user real_user; /* who sent the request */
    struct authz_request authz;
    size_t impersonate_step;
    struct auth_user *impersonated;

    /* route */
    const struct endpoint *ep;
    struct rest *rest;
    const struct api_subresource *sub; /* NULL: the object itself */
    bool counted;                      /* in srv->n_in_flight and n_of_user[user_cell] */
    uint16_t user_cell;
    bool handed_over;                  /* the stream's reference went to an upgrade proxy or a watch */

    /* stage_wait_rv */
    struct watch_cache_wait rv_wait;
    struct loop_timer rv_timer;
    bool rv_waiting;
    bool fresh; /* the caches have reached what any server had acknowledged when the request came */

    /* health */
    enum { STORE_NOT_ASKED, STORE_WELL, STORE_ILL } store_health;

    /* negotiate, options, body */
    bool collecting; /* the body is being read: the stream's callbacks are its */
    struct media media;
    struct request_options opt;
    enum media_format body_format;
    struct str content_type, body;

    /* load, decode, mutate, validate: hub structs */
    const struct api_type *type; /* of obj: the hub's, or the subresource's body */
    void *body_obj;              /* as decoded and defaulted, in the hub's shape; writes take it, and decode anew after a lost race */
    void *obj;                   /* what will be written */
    const void *old;             /* as loaded; NULL on create */
    const struct object *old_pub;/* a reference; NULL when absent */
    int64_t old_revision;
    unsigned conflicts;
    bool creating;               /* nothing is replaced: a create, or an update that creates */
    bool applied;                /* server-side apply made the object: ownership is settled */
    bool name_generated;         /* a taken name is made anew */
    uint64_t client_rv;          /* resourceVersion the client insists on; 0: none */
    struct field_errs errs;
    struct kind_ctx kctx;
    struct admission_attrs attrs;
    size_t admit_at;
    bool removing;               /* the commit deletes the key */
    struct service_hold *hold;   /* addresses and ports taken for a Service (service-alloc.c) */
    void *verb_data;             /* of the verb */
    void (*cleanup)(struct request *r); /* called once, before the request is freed; may be NULL */

    /* commit */
    struct object *new_pub;      /* a reference; what was written */
    bool unchanged;              /* the write would change nothing: answered without writing */
    struct store_result result;

    /* respond */
    struct status status;        /* of STAGE_ERROR */
    int http_code;               /* of a success; 200 unless set */
    struct str *warnings;        /* text of Warning headers */
    size_t n_warnings;
};

/* Adds a Warning (deduplicated, bounded). 'text' lives in the arena. */
void request_warn(struct request *r, struct str text);
/* Header of the request by name, or absent. */
struct str request_header(const struct request *r, const char *name);
/* The first value of a query parameter, decoded, or absent. */
struct str request_param(struct request *r, const char *key);
/* Fills r->status and returns STAGE_ERROR. */
enum stage_result request_bad(struct request *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* r->errs as an Invalid Status of the kind in the hub's group. Returns STAGE_ERROR. */
enum stage_result request_invalid(struct request *r, struct str name);
/* Lets go of loaded objects; before loading again. */
void request_unload(struct request *r);
/* Group and resource for messages: those of the endpoint, or of the path. */
struct str request_group(const struct request *r);
struct str request_resource(const struct request *r);

/* Front: makes and frees requests. */
void front_on_request(struct http_stream *s, void *srv);
/* The memory of requests that ended, which the next ones take. */
void front_init(struct apiserver *srv);
void front_deinit(struct apiserver *srv);
/* Takes the stream's callbacks back after the body was collected. */
void front_set_ops(struct request *r);
/* The request is over: nothing of it is used after this. */
void request_free(struct request *r);
/* It takes no place among those under way any more: it ended, or became a watch. */
void request_uncount(struct request *r);
/* Ends the request once its answer was handed to the stream. */
void request_finish(struct request *r);

#endif
