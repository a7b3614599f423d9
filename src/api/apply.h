/*
 * Server-side apply (KEP-555): a configuration is laid over the live object; its manager owns exactly the fields it lists. Fields
 * it listed before and does not list now go, unless somebody else owns them too. A field that another manager owns and that the
 * configuration would change is a conflict, unless it is forced.
 */
#ifndef API_APPLY_H
#define API_APPLY_H

#include "api/managed-fields.h"

/* One field that somebody else owns: a cause of the Conflict status (reason FieldManagerConflict). */
struct apply_conflict {
    struct str message; /* conflict with "m1" using v1 */
    struct str field;   /* .data.b */
};

struct apply_result {
    bool changed;      /* false: the object is as it was; then 'object' is the live one */
    struct val object; /* without managedFields; shares parts with live and config */
    struct apply_conflict *conflicts;
    size_t n_conflicts;
};

/* Applies 'config' (a tree with apiVersion, kind and metadata.name) to 'live', both of w->api_version and without managedFields.
 * For an object that does not exist yet 'live' is w->empty and 'm' has no entries. Updates 'm'.
 * False: ERR_CONFLICT ("Apply failed with 1 conflict: ...") with ret->conflicts filled; ERR_BAD_REQUEST when the configuration has
 * managedFields; ERR_INTERNAL (upstream's bare 500) "failed to create typed patch object (...)" when it does not fit the schema;
 * ERR_TOO_LARGE past the budget. */
MUST_CHECK bool apply_config(struct arena *a, struct managed *m, const struct managed_writer *w, const struct val *live,
                             const struct val *config, bool force, struct apply_result *ret, struct err *err);

#endif
