/*
 * Pod Security Standards: three levels, and the controls of each ("Pod Security Standards"); a namespace's labels say which level
 * holds for it ("Pod Security Admission"). Pure: pods in, sentences out.
 */
#ifndef KINDS_CORE_POD_SECURITY_H
#define KINDS_CORE_POD_SECURITY_H

#include "kinds/field-error.h"

struct core_v1_pod_spec;
struct meta_v1_object_meta;

enum pod_security_level { POD_SECURITY_PRIVILEGED, POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED };

#define POD_SECURITY_LATEST (INT32_MAX - 1) /* the minor version "latest" */
struct pod_security {
    enum pod_security_level level;
    int32_t minor; /* of v1.N */
};

struct pod_security_policy {
    struct pod_security enforce, audit, warn;
};

MUST_CHECK bool pod_security_parse_level(struct str s, enum pod_security_level *ret);
MUST_CHECK bool pod_security_parse_version(struct str s, int32_t *ret_minor);
/* What the labels make of the defaults. What cannot be read is an error in 'errs' (may be NULL) and counts as restricted and latest, but as
 * privileged where it would only warn. */
struct pod_security_policy pod_security_of(struct arena *a, const struct meta_v1_object_meta *ns, const struct pod_security_policy *defaults,
                                           struct field_errs *errs);
/* "restricted:latest". */
struct str pod_security_name(struct arena *a, struct pod_security p);

/* What of the pod is against the level: "privileged (container \"c\" must not …), hostPort (…)", or empty. 'ret_reasons' (may be NULL) gets
 * the same without what is in parentheses. */
struct str pod_security_violations(struct arena *a, struct pod_security p, const struct meta_v1_object_meta *m,
                                   const struct core_v1_pod_spec *spec, struct str *ret_reasons);

#endif
