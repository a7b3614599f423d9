/*
 * What objects use of a ResourceQuota (documentation, "Resource Quotas"): which names of spec.hard a resource is counted under,
 * which objects a quota's scopes select, and how much one object uses. The apiserver charges by it, the controller recounts by it.
 */
#ifndef KINDS_CORE_QUOTA_USAGE_H
#define KINDS_CORE_QUOTA_USAGE_H

#include "kinds/core/pod-resources.h"

struct core_v1_resource_quota;

/* Is the resource counted at all? Events and what is not in a namespace are not. */
bool quota_is_counted(const struct api_resource *r);
/* Is the resource counted under this name of spec.hard? */
bool quota_counts(const struct api_resource *r, struct str name);
/* Do all scopes of the quota select the object? A quota without scopes selects everything; objects that are no pods or claims are
 * selected by no scope. */
bool quota_selects(const struct core_v1_resource_quota *q, const struct api_resource *r, const void *obj);
/* What the object uses, under all names. 'now': seconds since 1970. False past the arena's budget. */
MUST_CHECK bool quota_usage(struct arena *a, const struct api_resource *r, const void *obj, int64_t now, struct amounts *ret);
/* Does the change from 'old' to 'obj' give something back, or move it from one name to another? */
bool quota_gives_back(const struct api_resource *r, const void *old, const void *obj, int64_t now);
/* Names that every container of a pod must set where a quota has them: "requests.cpu for: a,b; …", or empty. Of 'names' those that
 * are asked for. */
struct str quota_missing(struct arena *a, const void *pod, const struct str *names, size_t n);

#endif
