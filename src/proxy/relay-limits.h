/* What the userspace mode's peers can push against, and the answer. */
#ifndef PROXY_RELAY_LIMITS_H
#define PROXY_RELAY_LIMITS_H

/* Descriptors that are not for connections: informers, HTTP ports, the loop. */
#define RELAY_SPARE_FILES 512
/* A connection needs two, and four for pipes while both sides are slow; three quarters of the process' limit are theirs. Beyond: a new
 * connection is reset. */
#define RELAY_FILES_PER_CONNECTION 6
#define RELAY_CONNECTIONS_MAX 65536
/* One Service's port may have half of them, so that one busy Service leaves something to the others. */
#define RELAY_SHARE 2
/* An eighth of the process' limit is for UDP clients, a descriptor each. Beyond: the port's oldest client gives way; without one the
 * datagram is dropped. */
#define RELAY_UDP_CLIENTS_MAX 65536
/* Bytes in the kernel on the way in one direction of a slow connection: a pipe of this size; then the fast side is not read. */
#define RELAY_PIPE_BYTES 65536
/* Pipes that are kept for the next one who needs one. */
#define RELAY_IDLE_PIPES 64
/* Reads in a row for one connection, accepts in a row for one port, before others get their turn. */
#define RELAY_TURN_READS 8
#define RELAY_TURN_ACCEPTS 64
#define RELAY_TURN_DATAGRAMS 64
/* How long a descriptor limit that was hit is waited for. */
#define RELAY_ACCEPT_PAUSE_MS 100

#endif
