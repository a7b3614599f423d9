/*
 * What one process says about its ways to others: GET /paths of every program of ours. One JSON object:
 *
 *   {"process":"kubelet","host":"node-1","pid":4711,"version":"…",
 *    "unsafeFlags":[{"program":…,"flag":…,"value":…,"given":…,"why":…,"mend":…}],
 *    "paths":[{"way":"listen"|"in"|"out","peer":…,"purpose":…,"address":…, …}]}
 *
 * "purpose" is a word of the table in apiserver/paths-kinds.c; who opens a connection takes it from PATH_PURPOSE_…. An answer of
 * /paths is {"parts":[object, …]}, one for each process behind the address (the kubelet's core, its server, kube-proxy).
 */
#ifndef CLIENT_PATH_REPORT_H
#define CLIENT_PATH_REPORT_H

#include "base/buf.h"
#include "net/path.h"

/* ---- purposes ---- */
#define PATH_PURPOSE_API "api"                  /* the Kubernetes API; "api:x509" at the apiserver's end: how the client was known */
#define PATH_PURPOSE_INSECURE_API "insecure-api" /* the listener of --insecure-port */
#define PATH_PURPOSE_KUBELET "kubelet"          /* logs, exec, attach, port-forward, metrics of a kubelet */
#define PATH_PURPOSE_NODE_PROXY "node-proxy"    /* nodes/proxy to a port that is not the kubelet's */
#define PATH_PURPOSE_POD_PROXY "pod-proxy"      /* pods/proxy */
#define PATH_PURPOSE_SERVICE_PROXY "service-proxy"
#define PATH_PURPOSE_HEALTH "health"            /* health, and metrics for those who may */
#define PATH_PURPOSE_METRICS "metrics"
#define PATH_PURPOSE_READ_ONLY "read-only"      /* the kubelet's --read-only-port */
#define PATH_PURPOSE_CADVISOR "cadvisor"        /* the kubelet's --cadvisor-port */
#define PATH_PURPOSE_CRI "cri"                  /* the container runtime's socket */
#define PATH_PURPOSE_STREAM "stream"            /* the container runtime's streaming server */
#define PATH_PURPOSE_PROBE "probe"              /* probes and hooks of pods */
#define PATH_PURPOSE_STORE "store"              /* etcd */
#define PATH_PURPOSE_WEBHOOK "webhook"
#define PATH_PURPOSE_OIDC "oidc"
#define PATH_PURPOSE_TUNNEL "tunnel"            /* SSH, reverse, Konnectivity */
#define PATH_PURPOSE_REPORT "report"            /* asking others for this very report */
#define PATH_PURPOSE_NODE_CHECK "node-port-check" /* a Service's healthCheckNodePort */

/* Appends the object for this process: the registry of the loop, and the unsafe flags in force. 'more': further entries of "paths"
 * in JSON, each behind a comma ready to follow others (",{…}"), or absent. */
void path_report_write(struct loop *l, const char *process, struct str more, struct buf *b);
/* The same as the whole answer of /paths: {"parts":[…]}. 'others': further parts, each behind a comma, or absent. */
void path_report_answer(struct loop *l, const char *process, struct str more, struct str others, struct buf *b);

#endif
