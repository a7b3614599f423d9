/*
 * The data of a ControllerRevision: a patch that brings a pod template back, as `kubectl rollout undo` sends it. DaemonSets and
 * StatefulSets keep their histories in this form.
 */
#ifndef CONTROLLERS_TEMPLATE_REVISION_H
#define CONTROLLERS_TEMPLATE_REVISION_H

#include "api/gen/apps_v1.h"
#include "base/arena.h"

/* {"spec":{"template":{"$patch":"replace",…}}}, in the arena. */
struct str template_revision_data(struct arena *a, const struct core_v1_pod_template_spec *t);
/* What the revision's data says is the template; false when it says nothing readable. Strings may be borrowed from the revision. */
MUST_CHECK bool template_of_revision(struct arena *a, const struct apps_v1_controller_revision *r,
                                     struct core_v1_pod_template_spec *ret);
#endif
