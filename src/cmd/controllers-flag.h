/* What the managers' --controllers means: names, -names and "*" (kube-controller-manager's documentation). */
#ifndef CMD_CONTROLLERS_FLAG_H
#define CMD_CONTROLLERS_FLAG_H

#include "base/flags.h"
#include "client/controller.h"

/* Does the controller go by this name, or by an older one of it? */
typedef bool controllers_flag_named_fn(const struct controller_ops *ops, struct str name);

/* The first item about the controller decides; else "*", for those that are on by default. */
bool controllers_flag_wants(const struct flag_strings *list, const struct controller_ops *ops, controllers_flag_named_fn *named);
/* Names that no controller of the table has are errors. */
bool controllers_flag_check(const struct flag_strings *list, const struct controller_ops *const *table, size_t n,
                            controllers_flag_named_fn *named, struct err *err);

#endif
