/*
 * Every bound that a peer can push against, with its reason and its answer. What is not authenticated yet is kept to the
 * "before" figures; the rest applies to everybody.
 */
#ifndef NET_LIMITS_H
#define NET_LIMITS_H

/* ---- streams ---- */
/* One TLS record is the unit of sending: 16 KiB of plain text (RFC 8446 5.1). */
#define NET_RECORD_SIZE 16384
/* Read at once into the loop's shared buffer. */
#define NET_READ_SIZE 65536
/* Bytes that one stream may send in one turn before others get theirs. */
#define NET_WRITE_BURST (256 * 1024)
/* A TLS handshake that is not complete by then is dropped: NET_CLOSE_TIMEOUT. As Go's server (10 s). */
#define NET_HANDSHAKE_MS 10000
/* A stream being closed whose peer takes no byte for so long is cut. */
#define NET_CLOSE_FLUSH_MS 15000
/* Watermarks of what is queued and not yet with the kernel. */
#define NET_HIGH_WATER (256 * 1024)
#define NET_LOW_WATER (64 * 1024)
/* Unsent bytes that the kernel holds for one socket (TCP_NOTSENT_LOWAT): the rest waits with us, where it is shared. */
#define NET_NOTSENT_LOWAT (128 * 1024)
/* Certificates in the chain that a client shows; longer: NET_PEER_BAD. Go has no bound, real chains have 1 to 3. */
#define NET_MAX_CHAIN 8

/* ---- HTTP ---- */
/* Request line and headers of one request together. Go: 1 MiB; tokens and cookies of clusters are far below 64 KiB.
 * Answer: 431. */
#define HTTP_MAX_HEADER_BYTES (64 * 1024)
/* Header lines of one request. Answer: 431. */
#define HTTP_MAX_HEADERS 128
/* Bytes of the target. Long field selectors are a few KiB. Answer: 414. */
#define HTTP_MAX_TARGET (32 * 1024)
#define HTTP_MAX_SEGMENTS 64
#define HTTP_MAX_PARAMS 256
#define HTTP_MAX_MEDIA 32
/* Buffers of TLS records that are kept for the next read or write, 17 KB each: more are rarely in use at once, as one connection after the
 * other is read. Answer: the heap. */
#define TLS_BUFFERS_KEPT 4u
/* Memory of one request besides its body: headers and what the handler puts there. */
#define HTTP_STREAM_ARENA (1024 * 1024)
/* Connections of one server: 5,000 nodes have two or three each (kubelet, kube-proxy, an agent). Answer: the newest is closed at
 * once. nofile is raised to fit by the mains. */
#define HTTP_MAX_CONNECTIONS 16384
/* Connections from one address that are served while no request on them has been answered with success (status below 400): nobody has
 * shown who they are. Answer: further ones wait, in the order of arrival; the oldest that had its turn is closed for them. */
#define HTTP_MAX_STRANGERS_PER_IP 256
/* So long a stranger is left alone while others wait (a handshake over a slow network). Then it is closed when it was silent for so long
 * (bytes of it that we have not read yet are no silence), or a request of it was refused; after HTTP_HEADER_MS in any case, unless a
 * request is under way. */
#define HTTP_STRANGER_GRACE_MS 2000
/* Those that wait: a descriptor and 100 bytes each. A cluster's nodes behind one NAT that all come back at once. Answer: the newest is
 * closed. */
#define HTTP_MAX_WAITING_PER_IP 4096
/* No client waits longer for the first byte of a handshake (Go: 10 s). Answer: close. */
#define HTTP_WAIT_MS 30000
/* From the first byte of a request (from accept, for the first one) to complete headers. Answer: close (slowloris). */
#define HTTP_HEADER_MS 15000
/* An HTTP/1.1 or HTTP/2 connection without a request. kube-apiserver: 90 s for keep-alive. */
#define HTTP_IDLE_MS 90000
/* The same before the first success. */
#define HTTP_IDLE_MS_BEFORE 10000
/* A body of which nothing arrived for so long while the handler wants it. Answer: 408 or reset. */
#define HTTP_BODY_STALL_MS 60000
/* Bytes of answer that the peer takes nothing of for so long (socket full, or an HTTP/2 window that stays shut). Answer:
 * close, or reset the stream. Long after the first success: somebody may look at `kubectl logs -f | less`; what that holds
 * is bounded by the watermarks, and the API server closes slow watches itself. */
#define HTTP_WRITE_STALL_MS 1800000
#define HTTP_WRITE_STALL_MS_BEFORE 60000
/* Unread body that is skipped to keep an HTTP/1.1 connection after an early answer; more: close. As Go (256 KiB). */
#define HTTP_SKIP_BODY (256 * 1024)
/* Bytes that may arrive behind a request that is still being answered (pipelining, RFC 9112 9.3.2); more are not read. */
#define HTTP1_PIPELINE (16 * 1024)
/* Hexadecimal digits of a chunk's size: 2^60 bytes are more than any body. Answer: 400. */
#define HTTP1_CHUNK_DIGITS 15
/* Bytes of all chunk extensions of one body: nobody uses them, and they cost the sender of none (CVE-2023-39326). Go: 16 KiB.
 * Answer: 400. */
#define HTTP1_CHUNK_EXTENSIONS (16 * 1024)

/* ---- HTTP/2 ---- */
/* Streams at once on one connection; kube-apiserver says 250. Answer: REFUSED_STREAM. */
#define HTTP2_MAX_STREAMS 250
/* Until a first request was answered with success (status below 400), a connection has so few: what Go's client assumes
 * before it has seen our settings. */
#define HTTP2_MAX_STREAMS_BEFORE 100
/* Flow-control windows: what a peer may send before we took it. A stream's body is at most 3 MiB in Kubernetes. */
#define HTTP2_STREAM_WINDOW (128 * 1024)
#define HTTP2_CONN_WINDOW (512 * 1024) /* before the first success: the protocol's 65,535 */
/* RST_STREAM by the peer (CVE-2023-44487): a burst, then so many a second. Answer: GOAWAY ENHANCE_YOUR_CALM. */
#define HTTP2_RESET_BURST 500
#define HTTP2_RESET_RATE 50
/* PING, SETTINGS, PRIORITY and empty DATA frames of the peer; gRPC clients ping once a round trip. Answer: GOAWAY ENHANCE_YOUR_CALM. */
#define HTTP2_CONTROL_BURST 2000
#define HTTP2_CONTROL_RATE 1000
/* Control frames (acknowledgements, resets) queued for a peer that does not read. Answer: close. */
#define HTTP2_MAX_OUT_ACK 200
/* Bytes of one header block on the wire, CONTINUATION frames included (CVE-2024-28182). Answer: GOAWAY. */
#define HTTP2_HEADER_BLOCK (HTTP_MAX_HEADER_BYTES + 16 * 1024)
/* HPACK tables (RFC 7541): what the peer may make us keep. */
#define HTTP2_HPACK_TABLE 4096

/* ---- client ---- */
#define HTTP_CLIENT_MAX_CONNECTIONS 16
#define HTTP_CLIENT_CONNECT_MS 10000
#define HTTP_CLIENT_IDLE_MS 60000
/* Headers of an answer. Answer: ERR_TOO_LARGE. */
#define HTTP_CLIENT_MAX_HEADER_BYTES (256 * 1024)
/* Windows for answers: a list of 45 MB must not wait for round trips, and a paused call holds so much. */
#define HTTP_CLIENT_STREAM_WINDOW (1024 * 1024)
#define HTTP_CLIENT_CONN_WINDOW (4 * 1024 * 1024)
/* An HTTP/2 connection that is silent so long with calls on it gets a PING; no answer within the second figure: it is
 * dead (as Go's client: 30 s and 15 s), so a watch over a cut cable ends. */
#define HTTP_CLIENT_PING_MS 30000
#define HTTP_CLIENT_PING_ANSWER_MS 15000

#endif
