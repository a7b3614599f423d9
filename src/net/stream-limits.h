/* Bounds of the upgraded and streaming protocols (SPDY, WebSocket, gRPC, exec channels), each with its reason and answer. */
#ifndef NET_STREAM_LIMITS_H
#define NET_STREAM_LIMITS_H

/* Exec has 5 streams; kubectl port-forward opens 2 for each local connection. More: the stream is refused. */
#define SPDY_MAX_STREAMS 256u
/* A control frame is buffered whole before it is looked at; headers are a few hundred bytes. Longer: the session ends. */
#define SPDY_MAX_CONTROL_FRAME (32u * 1024)
/* Compressed blocks can grow a thousandfold. Longer: the session ends. */
#define SPDY_MAX_HEADER_BLOCK (64u * 1024)
#define SPDY_MAX_HEADERS 64u
/* Answers to pings and resets collect when the peer does not read. Past it: the session ends. */
#define SPDY_MAX_OUT (1024u * 1024)
/* Data is taken for sending only while less than this waits, so that control frames always have room. */
#define SPDY_MAX_OUT_DATA (256u * 1024)
/* Bytes of one DATA frame that we send. */
#define SPDY_MAX_DATA_FRAME (32u * 1024)

/* Bytes of a frame or of a message that is buffered whole. kubectl's frames are at most 33 KB. Longer: closed with 1009. */
#define WEBSOCKET_MAX_FRAME (1024u * 1024)
/* Data is taken for sending only while less than this waits. */
#define WEBSOCKET_MAX_OUT_DATA (256u * 1024)
/* Pings are answered at most this often ahead of a peer that does not read. Past it: the connection ends. */
#define WEBSOCKET_MAX_OUT (1024u * 1024)

/* containerd's own limit is 16 MiB for a message in either direction. Longer: the call fails with RESOURCE_EXHAUSTED. */
#define GRPC_MAX_MESSAGE (16u * 1024 * 1024)
/* Calls at once on one client. More: the call fails with RESOURCE_EXHAUSTED. */
#define GRPC_MAX_CALLS 1000u
/* Bytes of one answer's headers and trailers together. Longer: the call fails. */
#define GRPC_MAX_HEADERS (32u * 1024)
/* Headers that a client's owner adds to every call; a constant of ours. */
#define GRPC_MAX_METADATA 4
/* Bytes handed to the socket and not sent: past it the session makes no more, so that calls share the connection fairly. */
#define GRPC_SEND_QUEUE (256u * 1024)
/* Window that a call's unread bytes may fill; unary calls are read at once. */
#define GRPC_WINDOW (1024u * 1024)

/* Bytes of one direction held between two spliced streams; past it the source is not read. */
#define SPLICE_HIGH (256u * 1024)
#define SPLICE_LOW (64u * 1024)

/* Headers with which a CONNECT proxy answers; real ones have one line. Longer: the attempt fails. */
#define CONNECT_MAX_HEAD (16u * 1024)
/* Bytes of a refusal's body that are looked at for its reason, and how long they are waited for. The rest is not read. */
#define CONNECT_MAX_REASON 512u
#define CONNECT_REASON_MS 500u

/* How long a stream that was given up may take to send its last bytes. Longer: it is cut. */
#define NET_RETIRE_MS (60u * 60 * 1000)

/* Bytes of one exec channel held for a receiver that does not take them; past it the transport is not read. */
#define CHANNELS_HIGH (128u * 1024)
#define CHANNELS_LOW (32u * 1024)
/* A status is at most a few KB and is passed on whole. Longer: the client gets a failure in its place. */
#define CHANNELS_MAX_ERROR (64u * 1024)

/* Bytes of a backend's answer that refuses an upgrade; they are passed on whole. Longer: the client gets a 503. */
#define UPGRADE_MAX_REFUSAL (64u * 1024)

/* Headers of a backend's 101 that are passed on. More: the client gets a 503. */
#define UPGRADE_MAX_HEADERS 64u

/* How long one stream of a port-forward pair waits for the other, as Kubernetes does. Longer: it is reset. */
#define PORTFORWARD_PAIR_MS 30000

#endif
