/* Shared by job.c (which pods a Job needs), job-status.c (what is counted, when it is over) and
 * job-index.c (completion indexes). */
#ifndef CONTROLLERS_JOB_PRIVATE_H
#define CONTROLLERS_JOB_PRIVATE_H

#include "api/gen/batch_v1.h"
#include "api/gen/core_v1.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "controllers/owner.h"

#define JOB_FINALIZER STR("batch.kubernetes.io/job-tracking")
#define JOB_INDEX_KEY STR("batch.kubernetes.io/job-completion-index")

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
    bool indexed;
    int32_t active, ready, terminating;
    int32_t succeeded, failed; /* what is counted and what will be */
    int32_t new_failures;      /* seen in this pass */
    int64_t last_failure_s;    /* when the newest failed pod ended; 0: none */
};

bool job_has_finalizer(const struct core_v1_pod *pod);
bool job_is_finished(const job_t *job);
const struct batch_v1_job_condition *job_condition(const struct batch_v1_job_status *st,
                                                   const char *type);
/* Sets the condition to "True" (or 'status'), adding it when it is not there. */
void job_set_condition(struct job_pass *p, const char *type, const char *status, const char *reason,
                       const char *message);
/* Removes our finalizer. */
void job_release_pod(struct job_state *s, struct actions *a, const struct core_v1_pod *pod);

/* "0-3,5" as Kubernetes writes it; absent for none. */
struct str job_indexes_str(struct arena *a, const struct job_indexes *x);
/* False when the text is none, or names an index that is too large. */
bool job_indexes_parse(struct str text, struct job_indexes *ret);
/* A pod's index, or -1. */
int32_t job_index_of(const struct core_v1_pod *pod, int32_t completions);

/* Counts the pods, decides whether it is over, writes the status, then lets go of the pods that it
 * has counted. Returns false when nothing more is to be done for this Job in this pass. */
bool job_count(struct job_pass *p);
/* Writes the status where it differs, and releases pods that are counted. */
void job_write_status(struct job_pass *p);

#endif
