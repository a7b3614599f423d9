/* Bounds of what the server can make us hold, each with its reason and answer. */
#ifndef HOLLOW_LIMITS_H
#define HOLLOW_LIMITS_H

/* Nodes of one process: a connection each, and nofile is seldom above 20,000. More are refused at start. */
#define HOLLOW_MAX_NODES 16000u
/* "NAME-15999" */
#define HOLLOW_NAME_MAX 72
/* A list of one node's pods: 500 pods of 100 KB. Longer: the call fails. */
#define HOLLOW_MAX_ANSWER (64u << 20)
/* One event: an object is at most 3 MiB in Kubernetes, and its JSON may be longer. Longer: the watch begins anew. */
#define HOLLOW_MAX_EVENT (16u << 20)
/* Nodes of one process that are not registered yet: no more begin meanwhile. All of ours come from one address, of which servers take
 * only so many connections that have not shown who they are (kube-apiserver here: HTTP_MAX_STRANGERS_PER_IP, 256). */
#define HOLLOW_MAX_STRANGERS 100u
/* What parsing one answer may take. */
#define HOLLOW_MAX_SCRATCH (256u << 20)
/* Longest wait between two attempts. */
#define HOLLOW_RETRY_MAX_MS 20000u
/* A request without an answer by then has failed. kubelet's renewals: 10 s. */
#define HOLLOW_REQUEST_MS 30000u

#endif
