/* Rules of ResourceQuota, for its ops. */
#ifndef KINDS_CORE_QUOTA_H
#define KINDS_CORE_QUOTA_H

#include "kinds/kind.h"

void quota_validate(struct kind_ctx *ctx, const void *obj);
void quota_validate_update(struct kind_ctx *ctx, const void *obj, const void *old);

#endif
