/* The server that is driven: from a kubeconfig, or from flags that replace parts of it. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "bench/bench.h"

struct target_options {
    struct str kubeconfig, context, server, ca, certificate, key, token;
};

/* Sets the bench's endpoint and http. Nothing is sent yet. What is read is kept for the life of the process. */
MUST_CHECK bool target_connect(struct bench *b, const struct target_options *o, struct err *err);
/* One more client of the same server, with connections of its own. */
MUST_CHECK struct http_client *target_client(struct bench *b, struct err *err);

#endif
