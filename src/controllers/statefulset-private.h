/* Shared by statefulset.c (which pods there are, the status), statefulset-steps.c (what is done next), statefulset-pods.c (how a
 * pod and its claims are made) and statefulset-history.c (revisions). */
#ifndef CONTROLLERS_STATEFULSET_PRIVATE_H
#define CONTROLLERS_STATEFULSET_PRIVATE_H

#include "api/gen/apps_v1.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"

/* Pods that one pass creates. */
#define STATEFULSET_BURST 500
#define REVISION_LABEL STR("controller-revision-hash")
#define POD_NAME_LABEL STR("statefulset.kubernetes.io/pod-name")
#define POD_INDEX_LABEL STR("apps.kubernetes.io/pod-index")

typedef struct apps_v1_stateful_set stateful_set_t;
typedef struct core_v1_persistent_volume_claim claim_t;

struct statefulset_state {
    struct controller *controller;
    const struct api_resource *sets_resource, *pods_resource, *claims_resource, *revisions_resource;
    struct informer *sets, *claims;
    struct claimable pods, revisions;
};

/* A pod of the set, or the place of one. */
struct stateful_pod {
    int32_t ordinal;
    const struct core_v1_pod *pod; /* NULL: not there */
};

/* One pass over one set. */
struct stateful_pass {
    struct statefulset_state *s;
    struct actions *a;
    const stateful_set_t *set;
    struct meta_v1_owner_reference owner;
    bool ordered; /* podManagementPolicy OrderedReady: one after the other */
    int32_t start, replicas;
    /* The ordinals that this pass looks at: all, unless very many are missing. Bounds what a set of absurd size costs. */
    struct stateful_pod *wanted;
    int32_t n_wanted;
    struct stateful_pod *surplus; /* outside start..start+replicas, the highest ordinal first */
    size_t n_surplus;
    const struct core_v1_pod **pods; /* all that it owns */
    size_t n_pods;
    /* Names of ControllerRevisions: of the template that rolls out, and of the one before it. */
    struct str update_revision, current_revision;
    struct core_v1_pod_template_spec current_template;
    struct apps_v1_stateful_set_status status; /* as this pass finds it */
};

/* ---- statefulset-pods.c ---- */

/* Does "<set>-<ordinal>" name a pod of the set? */
bool statefulset_ordinal(struct str set, struct str pod, int32_t *ret);
/* Adds what creates the pods of these ordinals: their claims first. A claim that is being deleted lets its pod wait. */
void statefulset_create_pods(struct stateful_pass *p, const int32_t *ordinals, size_t n);
/* Creates the claims that a pod which waits has lost. */
void statefulset_mend_claims(struct stateful_pass *p, int32_t ordinal);
void statefulset_delete_pod(struct stateful_pass *p, const struct core_v1_pod *pod);
/* Gives the pod the labels of its place, when it was adopted without. */
void statefulset_mend_identity(struct stateful_pass *p, const struct stateful_pod *x);
/* Brings the owners of the claims of one place to what persistentVolumeClaimRetentionPolicy says. */
void statefulset_mend_owners(struct stateful_pass *p, const struct stateful_pod *x);

/* ---- statefulset-history.c ---- */

/* Finds the revisions and the template of the present one. False: one is made first, which brings the next pass. */
bool statefulset_find_revisions(struct stateful_pass *p);
/* Deletes revisions beyond spec.revisionHistoryLimit that nothing is of. */
void statefulset_clean_history(struct stateful_pass *p);

/* ---- statefulset-steps.c ---- */

/* Pods that are missing, ended, or too many, then the roll. */
void statefulset_step(struct stateful_pass *p);

#endif
