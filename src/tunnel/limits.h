/* Every bound of the tunnels, with its reason and its answer. */
#ifndef TUNNEL_LIMITS_H
#define TUNNEL_LIMITS_H

/* ---- the unix socket ---- */
/* Request line and headers: a CONNECT of a few headers is below 1 KiB. Answer: 431. */
#define TUNNEL_MAX_HEAD 8192
/* From accept to a complete head. Answer: close. */
#define TUNNEL_HEAD_MS 10000
/* Connections at once: the apiserver's own bound on requests (600), with room for long ones. Answer: 503. */
#define TUNNEL_MAX_CONNECTIONS 4096
/* From CONNECT to the far end's answer. Answer: 503. Kubelets are near their node's end of the tunnel. */
#define TUNNEL_OPEN_MS 15000

/* ---- streams ---- */
/* Streams through one tunnel: sshd has no bound but descriptors (1024 of them by default). Answer: 503. */
#define TUNNEL_MAX_STREAMS 500
/* What the far end sent and a slow local reader has not taken, before it is not read any more. */
#define TUNNEL_HIGH_WATER (256 * 1024)
/* libssh's window for one channel is 1.25 MB (0.10; not settable), so a slow reader makes us hold that much. All slow readers
 * together may hold so much; past it the stream that wants more is cut. */
#define TUNNEL_MAX_HELD (128u << 20)
/* Bytes handed to libssh at once: its packets hold 32 KiB. */
#define TUNNEL_WRITE_SIZE 32768
/* Window of one reverse stream. */
#define TUNNEL_MUX_WINDOW (256 * 1024)
/* What waits to be sent on one reverse stream before its source is not read. */
#define TUNNEL_MUX_QUEUE (256 * 1024)

/* ---- links ---- */
/* TCP connect, key exchange and authentication together. Answer: the try failed. */
#define TUNNEL_CONNECT_MS 20000
/* Key exchanges at once: they take a few milliseconds each on one thread. Others that are connected wait. */
#define TUNNEL_MAX_HANDSHAKES 32
/* The next try after a failure: doubled from the first to the second figure, each spread over half to one and a half. */
#define TUNNEL_RETRY_MS 500
#define TUNNEL_RETRY_MAX_MS 30000
/* One that opened begins with the first figure again; one that broke before it was open so long, with twice as much each time. */
#define TUNNEL_STABLE_MS 30000
/* A stream to the kubelet's port is opened so often, and must be answered within the second figure. Answer: the tunnel is dead. */
#define TUNNEL_PROBE_MS 20000
#define TUNNEL_PROBE_ANSWER_MS 10000
/* Reverse connections that have not shown a certificate of a node yet. Answer: close. */
#define TUNNEL_MAX_STRANGERS 256
/* Agents' connections in all. Answer: close. */
#define TUNNEL_MAX_AGENTS 8192
/* A sync older than this fails "SSH Tunnel Check": as kube-apiserver's (600 s). */
#define TUNNEL_SYNC_STALE_S 600

/* ---- files ---- */
/* known_hosts: 5,000 nodes of three keys are 6 MB. Answer: the file is refused, the old contents stay. */
#define TUNNEL_MAX_KNOWN_HOSTS (16u << 20)
#define TUNNEL_MAX_KNOWN_LINE 16384
#define TUNNEL_MAX_AUTHORIZED_KEYS (1u << 20)
#define TUNNEL_MAX_KEY_FILE (64u << 10)
/* Keys that one annotation may name; more are not looked at. A host has three. */
#define TUNNEL_MAX_ANNOTATION_KEYS 8

#endif
