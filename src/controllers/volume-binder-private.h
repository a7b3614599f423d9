/* Shared by volume-binder.c (claims) and volume-binder-volumes.c (volumes). */
#ifndef CONTROLLERS_VOLUME_BINDER_PRIVATE_H
#define CONTROLLERS_VOLUME_BINDER_PRIVATE_H

#include "api/volume-match.h"
#include "base/map.h"
#include "controllers/controllers.h"
#include "net/loop.h"

/* Keys say what they are of: "claim/namespace/name", "volume/name". */
#define CLAIM_KEY "claim"
#define VOLUME_KEY "volume"

struct binder {
    struct controller *controller;
    const struct api_resource *claims_resource, *volumes_resource;
    struct informer *claims, *volumes, *classes, *pods;
    struct informer_index *pods_by_claim;
    struct map told;     /* claim uid -> hash of what its last event said: one event for each news */
    struct map removals; /* volume uid -> struct removal */
};

struct binder_pass {
    struct binder *s;
    struct actions *a;
};

/* An object's key to the queue. */
void binder_enqueue_claim(struct binder *s, struct str ns, struct str name);
void binder_enqueue_volume(struct binder *s, struct str name);

/* One volume: its phase, and what becomes of it when its claim is gone. */
void binder_volume_pass(struct binder_pass *p, const volume_t *pv);
/* Forgets what was tried for a volume that is no more. Removals that run are waited for. */
void binder_forget_volume(struct binder *s, struct str uid);
void binder_forget_volumes(struct binder *s);

#endif
