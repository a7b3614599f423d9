/* Waiting until a cluster is of use: its API answers, its nodes are ready, what was deployed runs. */
#ifndef CLUSTER_READY_H
#define CLUSTER_READY_H

#include "cluster/config.h"
#include "cluster/progress.h"
#include "cluster/session.h"

/* Is it of use to wait? False when the supervisor is gone or a program keeps ending. A session's 'still'; 'arg' is the
 * struct cluster_config. */
MUST_CHECK bool ready_possible(void *arg, struct err *err);
/* Until /readyz says so. */
MUST_CHECK bool ready_api(struct session *s, uint64_t until_ms, struct err *err);
/* Until every node is Ready, its pods have addresses, and the images are loaded. */
MUST_CHECK bool ready_nodes(const struct cluster_config *c, struct session *s, uint64_t until_ms, struct err *err);
/* Deploys the demo page into namespace default and waits until it is available. */
MUST_CHECK bool ready_demo(struct session *s, uint64_t until_ms, struct err *err);
/* Prints which program is to blame, if one is: its name, its last log lines, and what to do. */
void ready_explain(const struct cluster_config *c);

#define READY_DEMO_NODE_PORT 30080

#endif
