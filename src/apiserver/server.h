/*
 * struct apiserver: what lives as long as the process. One loop thread owns all of it.
 *
 * Life: apiserver_new() opens the store and begins to load the caches; when all are loaded, start-up work runs (default
 * namespaces, RBAC bootstrap, priority classes, the kubernetes Service) and /readyz answers 200. apiserver_listen() may be
 * called before that: requests are answered 403 or wait as upstream's do. apiserver_stop() drains.
 */
#ifndef APISERVER_SERVER_H
#define APISERVER_SERVER_H

#include "api/type.h"
#include "apiserver/limits.h"
#include "apiserver/config.h"
#include "auth/sa-token.h"
#include "base/list.h"
#include "base/map.h"
#include "kinds/kind.h"
#include "net/http-server.h"
#include "net/loop.h"
#include "net/trim.h"
#include "store/watch-cache.h"

struct admission_config;
struct authn_chain;
struct client;
struct authz_chain;
struct rbac;
struct node_graph;
struct discovery;
struct apiserver;
struct service_alloc;
struct openapi;
struct kubelet_pool;
struct path_labels;
struct paths_collector;
struct egress;
struct kubernetes_service;
struct pki_key;
struct jwt_keyset;

/* A stored resource: one watch cache, whatever number of versions it is served in. Objects are cached as JSON of the hub. */
struct rest {
    struct apiserver *srv;
    const struct api_resource *hub; /* the version hooks see and JSON is kept in */
    const struct kind_ops *ops;
    struct watch_cache *cache;
    struct object_class class;
    struct str prefix;         /* "/registry/configmaps/" */
    struct str *field_names;   /* of class.fields */
    size_t meta_offset;        /* of metadata in the struct */
    size_t status_offset, status_size; /* size 0: no status member */
    bool stored_as_json;       /* upstream keeps it as JSON text */
};

/* A served (group, version, resource). */
struct endpoint {
    const struct api_resource *res;
    struct rest *rest; /* NULL: nothing is stored (reviews, bindings, componentstatuses) */
    const struct kind_conversion *conversion; /* NULL: the hub's shape */
    struct str api_version; /* "v1", "apps/v1" */
    struct str prefix;      /* {"kind":"X","apiVersion":"v1", */
    struct str list_kind;   /* "ConfigMapList" */
};

struct apiserver {
    struct loop *loop;
    struct apiserver_config cfg;
    struct store *store;
    struct http_server *http;

    struct net_trim trim;  /* counts writes */
    struct arena kept[REQUEST_ARENAS_KEPT]; /* of requests that ended, one piece in each */
    unsigned n_kept;
    struct loop_timer kept_timer;
    struct shapes *shapes; /* what objects that look alike share */
    struct rest *rests;
    size_t n_rests;
    struct endpoint *endpoints;
    size_t n_endpoints;
    struct map endpoint_by_key; /* "group/version/resource" */
    struct map rest_by_key;     /* "group/resource" */
    struct discovery *discovery;
    struct openapi *openapi;

    struct authn_chain *authn;
    struct authz_chain *authz;
    struct rbac *rbac;
    struct node_graph *node_graph;
    struct pki_key *sa_key;         /* signs service-account tokens; NULL: none */
    struct jwt_keyset *sa_keys;     /* served as JWKS */
    struct sa_lookup sa_lookup;     /* tokens are checked against live objects */
    struct loop_timer auth_timer;
    struct auth_files *auth_files; /* --authentication-config, --authorization-config; NULL: neither */
    struct client *authn_webhook, *authz_webhook; /* asked by reviews; NULL: not configured */
    struct service_alloc *services; /* cluster IPs and node ports */
    struct egress *egress;          /* which way connections go */
    struct path_labels *path_labels; /* what connections are for */
    struct paths_collector *paths;   /* the catalog of paths; made when first asked for */
    unsigned n_path_watches;
    struct tunnel_check *tunnel;    /* of the tunnel process; NULL: none */
    struct kubelet_pool *kubelets;  /* connections to kubelets; made when first needed */

    struct kubernetes_service *kubernetes_service;

    bool *admission_enabled; /* one per plugin */
    struct admission_config *admission_config;
    struct kind_world world;
    struct world_known *world_known; /* what is looked up again and again, decoded */

    struct list requests;  /* all that are under way, watches too */
    unsigned n_in_flight;  /* without watches */
    uint16_t n_of_user[REQUESTS_USER_CELLS]; /* the same by hash of the user's name */
    struct list feeds;     /* watchers of our own (authorisers' caches) */
    bool started;          /* start-up work is done: ready */
    bool stopping;
    struct loop_timer startup_timer;
    void *startup;         /* of startup.c */
    void *startup_ended;
};

MUST_CHECK struct apiserver *apiserver_new(struct loop *l, const struct apiserver_config *cfg, struct err *err);
struct apiserver *apiserver_free(struct apiserver *s);
/* Serves a listening socket. 'tls' NULL: plain. */
MUST_CHECK bool apiserver_listen(struct apiserver *s, int fd, struct net_tls_server *tls, struct err *err);
/* Serves the socket of --insecure-port: plain HTTP, where everybody is a member of system:masters. */
MUST_CHECK bool apiserver_listen_insecure(struct apiserver *s, int fd, struct err *err);
/* What http_request.listener is for requests that came by it. */
extern const char apiserver_insecure_listener[];
/* Serves one connected socket, without TLS; for tests. */
void apiserver_serve_fd(struct apiserver *s, int fd);
bool apiserver_is_ready(const struct apiserver *s);
/* Reads credentials again. */
bool apiserver_reload(struct apiserver *s, struct err *err);
/* /readyz fails, nothing new is accepted, watches end; 'done' when all requests have ended or after 'max_ms'. */
void apiserver_drain(struct apiserver *s, uint32_t max_ms, loop_fn *done, void *arg);

/* ---- registry.c ---- */
MUST_CHECK bool registry_open(struct apiserver *s, struct err *err);
void registry_close(struct apiserver *s);
/* NULL: not served. */
const struct endpoint *registry_endpoint(const struct apiserver *s, struct str group, struct str version, struct str resource);
struct rest *registry_rest(const struct apiserver *s, struct str group, struct str resource);
/* The endpoint of a kind in a version, for bodies; NULL when not served. */
const struct endpoint *registry_endpoint_of_kind(const struct apiserver *s, struct str group, struct str version, struct str kind);
/* Are all caches loaded? */
bool registry_ready(const struct apiserver *s);
/* metadata of a hub object. */
struct meta_v1_object_meta *rest_meta(const struct rest *rest, void *obj);
const struct meta_v1_object_meta *rest_meta_const(const struct rest *rest, const void *obj);
/* The published object decoded into 'a' as the hub's struct, with its resourceVersion; NULL past the budget. */
MUST_CHECK void *rest_decode(const struct rest *rest, struct arena *a, const struct object *o);
/* The same with the fields of the mask alone; NULL: all. */
struct api_mask;
MUST_CHECK void *rest_decode_part(const struct rest *rest, struct arena *a, const struct object *o, const struct api_mask *mask);
/* A published object made of a hub struct, without revision, to be attached to a write. */
MUST_CHECK struct object *rest_publish(const struct rest *rest, struct arena *a, const void *obj, struct err *err);
/* Appends the value as it is stored. */
MUST_CHECK bool rest_encode_stored(const struct rest *rest, const void *obj, struct buf *b, struct err *err);
/* The same, and the object becomes what is read again: its empty lists and maps are absent, unless it is stored as JSON. */
MUST_CHECK bool rest_encode_settled(const struct rest *rest, void *obj, struct buf *b, struct err *err);

#endif
