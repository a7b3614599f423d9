/* The namespace that everything is made in, with the service account that pods need where no controller makes it. */
#ifndef BENCH_NAMESPACE_H
#define BENCH_NAMESPACE_H

#include "bench/bench.h"

/* Makes it, if it is not there, and waits until pods can be made in it. */
MUST_CHECK bool namespace_make(struct bench *b, struct err *err);
MUST_CHECK bool namespace_delete(struct bench *b, struct err *err);

#endif
