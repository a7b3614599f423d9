/* Which pods use which claims. */
#ifndef CONTROLLERS_VOLUME_FACTS_H
#define CONTROLLERS_VOLUME_FACTS_H

#include "client/controller.h"

/* The informer of pods with what the index needs of them (and spec.nodeName), and the index by "namespace/claim". */
struct informer *pods_with_claims(struct informers *informers, informer_event_fn *on_event, void *data, struct informer_index **ret_by_claim);
void claim_key(struct str ns, struct str claim, char dst[600]);

#endif
