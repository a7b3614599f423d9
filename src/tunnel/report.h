/* What is told about the tunnels: /paths as JSON. */
#ifndef TUNNEL_REPORT_H
#define TUNNEL_REPORT_H

#include "base/buf.h"
#include "tunnel/link.h"

/* One object of "tunnels". */
void report_link(struct buf *b, struct str node, struct tunnel_link *l);
/* The same for the cluster's catalog of paths (client/path-report.h): an entry of "paths", behind a comma; 'facts' are the link's, or
 * those of a part of it. */
void report_link_path(struct buf *b, struct str node, struct tunnel_link *l, const struct tunnel_facts *facts);

#endif
