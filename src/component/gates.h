/* --feature-gates, the same for all programs: what they do follows the gates' defaults of the version they speak. */
#ifndef COMPONENT_GATES_H
#define COMPONENT_GATES_H

#include "base/err.h"
#include "base/flags.h"

/* "Name=true" items. True when each gate is known and asked to be what it is here; otherwise an error that names it: unknown, locked,
 * or a state that is not implemented. AllAlpha and AllBeta may be false. */
MUST_CHECK bool gates_check(const struct flag_strings *gates, struct err *err);

#endif
