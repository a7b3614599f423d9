/* JSON merge patch (RFC 7386) as kube-apiserver applies it: null removes, objects merge, everything else replaces. */
#ifndef API_PATCH_MERGE_H
#define API_PATCH_MERGE_H

#include "api/val.h"

/* Merges the patch's text into '*doc', a tree of the caller's own that is changed in place. 'dups' (may be NULL) gets the
 * patch's duplicate keys. False: ERR_BAD_REQUEST "error decoding patch: ...", ERR_TOO_LARGE past the budget. */
MUST_CHECK bool patch_merge_apply(struct arena *a, struct val *doc, struct str patch, struct val_dups *dups, struct err *err);
/* The same for a patch that is parsed already; what goes into '*doc' is copied. */
MUST_CHECK bool patch_merge_apply_val(struct arena *a, struct val *doc, const struct val *patch, struct err *err);

#endif
