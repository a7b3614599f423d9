/*
 * Projection masks: which fields of a type a decoder keeps. The rest is skipped without being looked at closely, and stays zero
 * in the struct. A mask is made once (per informer) and is immutable then; any number of decoders may share it.
 *
 * Paths are JSON names joined by dots, through lists and maps alike: "metadata", "spec.nodeName",
 * "spec.containers.resources". A path keeps everything below it. A path with '-' in front drops it instead; when the first path
 * is such a one, everything else is kept: { "-metadata.managedFields" }.
 *
 * "spec.volumes?.persistentVolumeClaim" keeps of the list only the items that have it: most pods have volumes, few have claims.
 * What else is asked of the list without '?' keeps all items. The JSON decoder does so; the protobuf decoder keeps all.
 */
#ifndef API_MASK_H
#define API_MASK_H

#include "api/type.h"
#include "base/arena.h"
#include "base/err.h"

enum api_mask_action { API_MASK_SKIP, API_MASK_KEEP, API_MASK_PART };

struct api_mask {
    const struct api_type *type;
    bool sparse;                        /* of a list's items: those of which nothing is kept are left out */
    uint8_t *flat_action;               /* enum api_mask_action, by index into type->flat (JSON) */
    const struct api_mask **flat_sub;   /* of API_MASK_PART */
    uint8_t *field_action;              /* the same by index into type->fields (protobuf); an inline message is a part */
    const struct api_mask **field_sub;
};

/* NULL with a reason when a path names no field, or the arena's budget is used up. 'n' paths. The mask lives in 'a'. */
MUST_CHECK const struct api_mask *api_mask_new(struct arena *a, const struct api_type *t, const char *const *paths, size_t n,
                                               struct err *err);

#endif
