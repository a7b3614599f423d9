/* What the files of the loop share. */
#ifndef NET_LOOP_PRIVATE_H
#define NET_LOOP_PRIVATE_H

#include "net/loop.h"

struct loop_signals;

/* The loop's one signalfd and who listens; made when first needed (loop-process.c). */
struct loop_signals **loop_signals_of(struct loop *l);
struct loop_signals *loop_signals_free(struct loop_signals *s);
/* Was the post made by loop_call()? */
bool loop_post_is_allocated(const struct loop_post *p);

#endif
