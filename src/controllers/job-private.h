/* Shared by the files of the Job controller: job.c (one pass), job-pods.c (which pods a Job needs),
 * job-status.c (what is counted), job-end.c (when it is over), job-policy.c (what failures and
 * successes mean), job-index.c (completion indexes). */
#ifndef CONTROLLERS_JOB_PRIVATE_H
#define CONTROLLERS_JOB_PRIVATE_H

#include "api/gen/batch_v1.h"
#include "api/gen/core_v1.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"
#include "controllers/pairs.h"

#define JOB_FINALIZER STR("batch.kubernetes.io/job-tracking")
#define JOB_INDEX_KEY STR("batch.kubernetes.io/job-completion-index")
/* Indexes that a Job may have here: a pass holds a few bytes of each. */
#define JOB_COMPLETIONS_MOST 1000000

typedef struct batch_v1_job job_t;

struct job_state {
    struct controller *controller;
    const struct api_resource *jobs_resource, *pods_resource;
    struct informer *jobs;
    struct claimable pods;
    struct informer_index *waiting; /* pods with our finalizer, by "namespace/name" of their Job */
};

/* A set of completion indexes, one byte each. */
struct job_indexes {
    uint8_t *in;
    int32_t n; /* spec.completions */
};

/* One pass over one Job. */
struct job_pass {
    struct job_state *s;
    struct actions *a;
    const job_t *job;
    struct meta_v1_owner_reference owner;
    struct owned pods;
    struct batch_v1_job_status st; /* what the status will be */
    struct job_indexes done;       /* Indexed: those that have succeeded */
    struct job_indexes lost;       /* with a limit of each index: those that have failed for good */
    /* With a limit of each index: by index, the failed pod that is not counted before another has
     * taken its place (and its count of failures), or NULL. */
    const struct core_v1_pod **kept;
    bool indexed, per_index;
    bool replaces_failed_only; /* a pod that is being deleted is replaced once it has ended */
    int32_t active, ready, terminating;
    int32_t succeeded, failed; /* what is counted and what will be */
    int32_t failures_in_row;   /* since the last success, as far as pods tell */
    int64_t last_failure_s;    /* when the newest failed pod ended; 0: none */
    const struct core_v1_pod **counted; /* those that lose their finalizer once the status is written */
    size_t n_counted;
    bool all_counted; /* no pod waits for room in uncountedTerminatedPods */
};

bool job_has_finalizer(const struct core_v1_pod *pod);
/* Removes our finalizer. */
void job_release_pod(struct job_state *s, struct actions *a, const struct core_v1_pod *pod);

/* ---- job-index.c ---- */

struct job_indexes job_indexes_new(struct arena *a, int32_t n);
int32_t job_indexes_count(const struct job_indexes *x);
/* "0-3,5" as Kubernetes writes it; absent for none. */
struct str job_indexes_str(struct arena *a, const struct job_indexes *x);
/* False when the text is none, or names an index that is too large; what came before it, and what of
 * it is small enough, is in the set. */
bool job_indexes_parse(struct str text, struct job_indexes *ret);
/* A pod's index, or -1. */
int32_t job_index_of(const struct core_v1_pod *pod, int32_t completions);

/* ---- job-policy.c ---- */

enum job_failure {
    JOB_FAILURE_COUNTS,
    JOB_FAILURE_IGNORED,
    JOB_FAILURE_OF_INDEX,
    JOB_FAILURE_OF_JOB,
};
/* What the first rule that matches this failed pod says; without one the failure counts.
 * '*ret_message' (may be NULL) tells the match. */
enum job_failure job_failure_of(const job_t *job, const struct core_v1_pod *pod, struct arena *a,
                                struct str *ret_message);

struct job_index_failures {
    int32_t counted, ignored;
};
/* Those of the pods that this one follows. */
struct job_index_failures job_failures_before(const struct core_v1_pod *pod);
/* The same with its own; all zero for NULL. */
struct job_index_failures job_failures_with(const job_t *job, const struct core_v1_pod *failed);
void job_note_failures(struct arena *a, struct meta_v1_object_meta *m, struct job_index_failures f);
/* Is the failure of this pod its index's last? */
bool job_index_has_failed(const job_t *job, const struct core_v1_pod *failed);
/* Does a rule of the success policy hold? Which. */
bool job_successes_suffice(struct arena *a, const job_t *job, const struct job_indexes *done,
                           size_t *ret_rule);

/* ---- job-status.c ---- */

/* Has it failed, or does it count as failed because it is being deleted? */
bool job_pod_failed(const struct job_pass *p, const struct core_v1_pod *pod);
/* When the pod ended, or began to end: seconds. */
int64_t job_pod_ended_s(const struct core_v1_pod *pod);
/* Counts the pods. */
void job_count(struct job_pass *p);
/* Notes in the status which pods have ended, before they are let go. */
void job_note_ended(struct job_pass *p);
/* Writes the status where it differs, and releases pods that are counted. */
void job_write_status(struct job_pass *p);

/* ---- job-end.c ---- */

bool job_is_finished(const job_t *job);
const struct batch_v1_job_condition *job_condition(const struct batch_v1_job_status *st,
                                                   const char *type);
/* Has this condition, and it is "True". */
bool job_is(const struct batch_v1_job_status *st, const char *type);
/* Sets the condition to 'status', adding it when it is not there. True when that changed it. */
bool job_set_condition(struct job_pass *p, const char *type, const char *status, struct str reason,
                       struct str message);
/* Decides whether it is over. False: no more pods, those that run are to end. */
bool job_goes_on(struct job_pass *p);
/* The last word, once no pod is left to say another. */
void job_conclude(struct job_pass *p);

/* ---- job-pods.c ---- */

/* Makes the pods that are missing, or deletes those that are too many. */
void job_manage_pods(struct job_pass *p);
/* Deletes all active pods. 'uncounted': they have not failed, they are only not wanted any more. */
void job_delete_active(struct job_pass *p, bool uncounted);

#endif
