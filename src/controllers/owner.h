/*
 * Objects that controllers own: the reference to the controller, adoption of matching orphans,
 * release of what no longer matches ("Garbage Collection": ownerReferences; the ControllerRef
 * proposal's rules).
 */
#ifndef CONTROLLERS_OWNER_H
#define CONTROLLERS_OWNER_H

#include "api/selector.h"
#include "client/controller.h"
#include "client/meta.h"

/* The reference to 'owner' (of resource r) as its controller, blocking its foreground deletion.
 * Strings are borrowed. */
struct meta_v1_owner_reference owner_reference(struct arena *a, const struct api_resource *r,
                                               const struct meta_v1_object_meta *owner);
bool owner_is(const struct meta_v1_object_meta *m, struct str owner_uid);

/* Adds an action that makes 'obj' (of resource 'r', an orphan) ours, or gives it up. Both hold only
 * for the uid that was seen. After an adoption another pass follows: an orphan that went instead tells nobody. */
void owner_adopt(struct actions *a, const struct api_resource *r,
                 const struct meta_v1_object_meta *obj,
                 const struct meta_v1_owner_reference *owner);
void owner_release(struct actions *a, const struct api_resource *r,
                   const struct meta_v1_object_meta *obj, struct str owner_uid);

/* Enqueues the object of this kind that controls 'm', if one does. */
void owner_enqueue(struct controller *c, const char *kind, const struct meta_v1_object_meta *m);
/* May a controller want to adopt it that did not want to before? It is an orphan, and new, or was none, or has other labels. */
bool owner_is_wanted_anew(const struct meta_v1_object_meta *old,
                          const struct meta_v1_object_meta *obj);

/* What controllers claim: an informer and the indexes by which a claim finds the objects of one owner and the orphans of one
 * namespace. The informer holds metadata.labels, ownerReferences and deletionTimestamp. */
struct claimable {
    struct informer *informer;
    struct informer_index *by_owner, *orphans;
};
void claimable_init(struct claimable *c, struct informer *informer);
/* Steps through what this owner controls. */
const void *claimable_next(const struct claimable *c, struct str owner_uid, size_t *pos);

/* The dependents of one owner, and the orphans of its namespace that it adopts, in the arena of the
 * pass. */
struct owned {
    const void **items;
    size_t n;
    bool adopts; /* there are orphans to come: nothing should be made in their place before they are counted */
};
/* Matching orphans are adopted and counted by the next pass; owned ones that do not match are released and not counted. With
 * 'owner_deleting' neither happens. */
struct owned owner_claim(struct actions *a, const struct claimable *dependents,
                         const struct meta_v1_owner_reference *owner, struct str ns,
                         const struct selector *selector, bool owner_deleting);

#endif
