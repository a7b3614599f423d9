/* Shared by the files of the deployment controller. */
#ifndef CONTROLLERS_DEPLOYMENT_PRIVATE_H
#define CONTROLLERS_DEPLOYMENT_PRIVATE_H

#include "api/gen/apps_v1.h"
#include "client/controller.h"
#include "controllers/owner.h"

#define DEPLOYMENT_REVISION STR("deployment.kubernetes.io/revision")
#define DEPLOYMENT_REVISION_HISTORY STR("deployment.kubernetes.io/revision-history")
#define DEPLOYMENT_DESIRED STR("deployment.kubernetes.io/desired-replicas")
#define DEPLOYMENT_MAX STR("deployment.kubernetes.io/max-replicas")

/* One pass over one Deployment. */
struct rollout {
    struct actions *a;
    const struct api_resource *deployments, *replicasets;
    const struct apps_v1_deployment *d;
    int32_t replicas;                          /* spec.replicas */
    int32_t max_surge, max_unavailable;        /* in pods; 0 for Recreate */
    const struct apps_v1_replica_set *new_set; /* the one of the present template, or NULL */
    const struct apps_v1_replica_set **old;    /* the others, oldest first */
    size_t n_old;
    bool pods_left;   /* pods of old sets that still run (Recreate waits for them) */
    int64_t revision; /* what the new set has or will have */
    /* What the pass decided, for the status. */
    struct str progress_reason, progress_message; /* of a condition to set besides; absent: none */
    bool progress_failed;                         /* its status is False */
    int32_t collisions;
    bool collided;
    bool wrote; /* an action was added that brings another pass */
};

/* spec.replicas, 1 when it is not told. */
int32_t replicas_of(const struct apps_v1_replica_set *rs);

/* deployment-sets.c: which set is which, new sets, annotations, scaling one set. */
void rollout_sort_sets(struct rollout *r, const void **sets, size_t n);
/* Adds the action that makes the new set, or brings its annotations up to date. */
void rollout_ensure_new_set(struct rollout *r);
void rollout_scale(struct rollout *r, const struct apps_v1_replica_set *rs, int32_t to);
/* The Deployment's revision annotation is that of its new set. */
void rollout_set_revision(struct rollout *r, struct meta_v1_object_meta *deployment);
/* Removes old sets beyond revisionHistoryLimit. */
void rollout_clean_up(struct rollout *r);
int32_t rollout_total(const struct rollout *r);     /* spec.replicas of all sets */
int32_t rollout_available(const struct rollout *r); /* status.availableReplicas of all sets */

/* deployment-strategy.c: how many pods each set should have. */
int32_t rollout_new_replicas(const struct rollout *r);
void rollout_step(struct rollout *r);
/* Brings a change of spec.replicas to the sets in proportion, while a rollout is under way or
 * paused. */
void rollout_scale_in_proportion(struct rollout *r);
bool rollout_is_scaling(const struct rollout *r);

/* deployment-status.c */
void rollout_write_status(struct rollout *r);

#endif
