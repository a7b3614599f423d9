/* Validation of a pod's spec and of pod templates, shared by every kind that has one. */
#ifndef KINDS_CORE_POD_SPEC_H
#define KINDS_CORE_POD_SPEC_H

#include "kinds/kind.h"

struct core_v1_pod_spec;
struct core_v1_pod_template_spec;
struct core_v1_toleration;

/* 'path' is "spec" or "spec.template.spec". */
void pod_spec_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_spec *spec);
/* serviceAccount is the older name of serviceAccountName. */
void pod_spec_decoded(struct core_v1_pod_spec *spec);
/* A workload's template: labels, annotations, spec, and restartPolicy Always. 'path' is "spec.template". */
void pod_template_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_pod_template_spec *t, bool only_always);
void pod_tolerations_validate(struct kind_ctx *ctx, struct str path, const struct core_v1_toleration *t, size_t n);

/* "BestEffort", "Burstable" or "Guaranteed", as documented in "Pod Quality of Service Classes". */
struct str pod_qos(const struct core_v1_pod_spec *spec);

#endif
