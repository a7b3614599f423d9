/*
 * What this server knows of the tunnel process (--tunnel-socket): asked over its socket every few seconds, so that "SSH Tunnel Check" of
 * /healthz and the tunnels' metrics are where they were when kube-apiserver opened the tunnels itself.
 */
#ifndef APISERVER_TUNNEL_CHECK_H
#define APISERVER_TUNNEL_CHECK_H

#include "base/buf.h"
#include "net/loop.h"

struct tunnel_check;

/* NULL with a reason. */
MUST_CHECK struct tunnel_check *tunnel_check_new(struct loop *l, struct str socket, struct err *err);
/* NULL-safe; returns NULL. */
struct tunnel_check *tunnel_check_free(struct tunnel_check *t);
/* Did the tunnel process say lately that its nodes are listed? True, too, without one (NULL). */
bool tunnel_check_passes(const struct tunnel_check *t);
/* Appends the tunnels' metrics as they were last told. NULL-safe. */
void tunnel_check_write_metrics(const struct tunnel_check *t, struct buf *b);

#endif
