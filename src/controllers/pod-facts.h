/* What controllers ask of pods, as the documentation of pod conditions defines it. */
#ifndef CONTROLLERS_POD_FACTS_H
#define CONTROLLERS_POD_FACTS_H

#include "api/gen/core_v1.h"

/* Neither ended nor being deleted. */
bool pod_is_active(const struct core_v1_pod *p);
/* Being deleted and not ended yet. */
bool pod_is_terminating(const struct core_v1_pod *p);
bool pod_is_ready(const struct core_v1_pod *p);
/* Ready for 'min_ready_seconds' at 'now' (seconds). Otherwise '*ret_in_s' (may be NULL) is when it
 * may be, or 0: not by time alone. */
bool pod_is_available(const struct core_v1_pod *p, int32_t min_ready_seconds, int64_t now,
                      int64_t *ret_in_s);
/* Does the change matter to who counts pods? One of the answers above is another, or the labels or the controller are, or it
 * comes or goes. Being bound, getting an address and the like do not. */
bool pod_counts_change(const struct core_v1_pod *old, const struct core_v1_pod *pod);
const struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *p, struct str type);

/* The fields of pods that the above read, for an informer's list of fields. */
#define POD_FACT_FIELDS "metadata.deletionTimestamp", "status.phase", "status.conditions[Ready]"

#endif
