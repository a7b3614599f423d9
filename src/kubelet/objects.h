/*
 * ConfigMaps, Secrets, service-account tokens, claims and volumes that pods refer to: fetched when a pod needs them, kept while they are asked
 * for, and used from here when the apiserver cannot be reached.
 */
#ifndef KUBELET_OBJECTS_H
#define KUBELET_OBJECTS_H

#include "kubelet/kubelet-private.h"

enum object_kind { OBJECT_CONFIG_MAP, OBJECT_SECRET, OBJECT_TOKEN, OBJECT_CLAIM, OBJECT_VOLUME };

struct object_need {
    enum object_kind kind;
    struct str name;      /* of the object; for tokens of the service account */
    bool optional;        /* may be missing */
    struct str audience;  /* tokens: absent is the apiserver's own */
    int64_t expiration_s; /* tokens */
};
/* Of one pod's volumes, or of one container's environment. What is beyond is not fetched, and so reported as not found. */
#define OBJECT_NEEDS_MAX 256

struct objects_fetch;

struct objects *objects_new(struct kubelet *k);
struct objects *objects_free(struct objects *o);
/* Brings what is needed in: 'done' with NULL when everything is there (or optional and missing), never from inside this call.
 * What was fetched less than 'max_age_ms' ago is not fetched again. Needs are copied. */
typedef void objects_done_fn(void *arg, const struct err *err);
struct objects_fetch *objects_fetch(struct objects *o, const struct pod *p, const struct object_need *needs, size_t n, uint64_t max_age_ms,
                                    objects_done_fn *done, void *arg);
void objects_fetch_cancel(struct objects_fetch *f);
/* What is here now, or NULL; valid until the loop turns. */
const struct core_v1_config_map *objects_config_map(struct objects *o, struct str ns, struct str name);
const struct core_v1_secret *objects_secret(struct objects *o, struct str ns, struct str name);
const struct core_v1_persistent_volume_claim *objects_claim(struct objects *o, struct str ns, struct str name);
const struct core_v1_persistent_volume *objects_volume(struct objects *o, struct str name);
struct str objects_token(struct objects *o, const struct pod *p, const struct object_need *need);

#endif
