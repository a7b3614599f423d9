/* The objects that are sent: pods of 1.6 KB (4.5 KB as answered), nodes of 8 cores, small ConfigMaps. */
#ifndef BENCH_BODIES_H
#define BENCH_BODIES_H

#include "base/buf.h"

/* 'scheduler' NULL: the default one. Every value appended is one JSON text. */
void body_pod(struct buf *b, const char *name, const char *scheduler);
/* The merge patch that a kubelet would send for a running pod; 'turn' makes each differ. */
void body_pod_status(struct buf *b, unsigned turn);
void body_node(struct buf *b, const char *name);
/* 400 bytes as answered; 'at_ns' is when it was sent. */
void body_config_map(struct buf *b, const char *name, uint64_t at_ns);
void body_deployment(struct buf *b, const char *name, unsigned replicas);

#endif
