/* Validation of what a Job says about failures and successes: podFailurePolicy, successPolicy, limits of each index, replacement. */
#ifndef KINDS_BATCH_JOB_POLICIES_H
#define KINDS_BATCH_JOB_POLICIES_H

#include "api/gen/batch_v1.h"
#include "kinds/kind.h"

/* 'path' is the spec's. */
void job_policies_validate(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s);

#endif
