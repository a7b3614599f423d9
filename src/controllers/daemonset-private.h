/* Shared by daemonset.c (which node has which pod), daemonset-history.c (revisions) and
 * daemonset-update.c (rolling). */
#ifndef CONTROLLERS_DAEMONSET_PRIVATE_H
#define CONTROLLERS_DAEMONSET_PRIVATE_H

#include "api/gen/apps_v1.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"

#define REVISION_LABEL STR("controller-revision-hash")
#define GENERATION_LABEL STR("pod-template-generation")
#define GENERATION_ANNOTATION STR("deprecated.daemonset.template.generation")

typedef struct apps_v1_daemon_set daemon_set_t;

struct daemonset_state {
    struct controller *controller;
    const struct api_resource *sets_resource, *pods_resource, *revisions_resource;
    struct informer *sets, *nodes;
    struct claimable pods, revisions;
    struct map
        failures; /* "uid/node" -> struct failure: failed pods are replaced with growing pauses */
};

/* The pods of one node, oldest first. */
struct daemon_node {
    struct str name;
    const struct core_v1_node *node; /* NULL: there is no such node */
    const struct core_v1_pod **pods;
    size_t n, capacity;
    bool should_run; /* a pod is wanted */
    bool may_go_on;  /* one that is there may stay */
};

/* One pass over one set. */
struct daemon_pass {
    struct daemonset_state *s;
    struct actions *a;
    const daemon_set_t *ds;
    struct meta_v1_owner_reference owner;
    struct str hash; /* of the revision that its template is now */
    struct daemon_node *nodes;
    size_t n_nodes;
    const struct core_v1_pod **pods;
    size_t n_pods;
    bool acted; /* pods are created or deleted: the rest of the roll waits for the next pass */
};

/* Is the pod of the present template? */
bool daemon_is_updated(const struct daemon_pass *p, const struct core_v1_pod *pod);
void daemon_create_pod(struct daemon_pass *p, struct str node);
void daemon_delete_pod(struct daemon_pass *p, const struct core_v1_pod *pod);
bool daemon_is_available(struct daemon_pass *p, const struct core_v1_pod *pod);

/* Finds the revision of the template, or makes it: then false, and the pass is over. Sets p->hash.
 */
bool daemonset_find_revision(struct daemon_pass *p);
/* Deletes revisions beyond spec.revisionHistoryLimit that no pod is of. */
void daemonset_clean_history(struct daemon_pass *p);

/* RollingUpdate: what may be replaced now. */
void daemonset_roll(struct daemon_pass *p);
/* spec.updateStrategy's maxSurge of 'desired' nodes; 0: pods are deleted before their successors
 * are made. */
int32_t daemonset_max_surge(const daemon_set_t *ds, int32_t desired);

#endif
