/* Telling of a pod that it goes because of its surroundings and not by its own fault: condition DisruptionTarget ("Pod disruption
 * conditions", KEP-3329). */
#ifndef CONTROLLERS_POD_DISRUPTED_H
#define CONTROLLERS_POD_DISRUPTED_H

#include "api/gen/core_v1.h"
#include "client/controller.h"

/* Adds an action that writes the condition, and, with 'over', phase Failed: nobody else will say that it has ended. 'reason' NULL:
 * the phase alone. */
void pod_tell_disrupted(struct actions *a, const struct api_resource *pods, const struct core_v1_pod *p, const char *reason,
                        const char *message, bool over);

#endif
