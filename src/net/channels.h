/*
 * The channels of Kubernetes' remote commands (exec and attach): standard input, output, error, the final status and
 * terminal sizes, over one upgraded connection. Either end, over WebSocket messages or SPDY streams, behind one interface.
 *
 * WebSocket: the first byte of a message is the channel (in base64 protocols a digit, and the rest is base64). In
 * v5.channel.k8s.io the message { 255, channel } ends a channel (KEP-4006). SPDY (v4.channel.k8s.io): the client opens a
 * stream for each channel, named by its "streamType" header.
 *
 * Back-pressure: what is written waits in the connection; while channels_is_full(), stop the source; on_drain() follows.
 * channels_pause() stops all channels of the other side alike, as they share a connection. on_close() is the last callback;
 * channels_free() may be called at any moment, inside callbacks too, and no callback follows.
 */
#ifndef NET_CHANNELS_H
#define NET_CHANNELS_H

#include "base/err.h"
#include "net/http.h"
#include "net/stream.h"

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_MAX };
#define CHANNEL_BIT(ch) (1u << (ch))

enum channels_protocol {
    CHANNELS_WS_V5,        /* v5.channel.k8s.io */
    CHANNELS_WS_V4,        /* v4.channel.k8s.io */
    CHANNELS_WS_V4_BASE64, /* v4.base64.channel.k8s.io */
    CHANNELS_WS_V1,        /* channel.k8s.io, or none named: CHANNEL_ERROR carries plain text */
    CHANNELS_WS_V1_BASE64, /* base64.channel.k8s.io */
    CHANNELS_SPDY_V4,      /* v4.channel.k8s.io over SPDY/3.1 */
};

struct channels;

struct channels_ops {
    /* WebSocket: in the first turn. SPDY: when all streams are there. */
    void (*on_open)(struct channels *c, void *arg);
    /* Some bytes of a channel, borrowed; all are taken. */
    void (*on_data)(struct channels *c, enum channel ch, struct str data, void *arg);
    /* The peer ended one channel. */
    void (*on_end)(struct channels *c, enum channel ch, void *arg);
    void (*on_drain)(struct channels *c, void *arg);
    /* The session is over. 'why->code' is ERR_NONE when the peer closed it in order, or after channels_close(). */
    void (*on_close)(struct channels *c, const struct err *why, void *arg);
};

struct channels_config {
    enum channels_protocol protocol;
    bool server;
    unsigned mask;    /* CHANNEL_BIT()s that this session has; CHANNEL_ERROR always is */
    uint32_t open_ms; /* SPDY: how long its streams may take; 0: 30 s, as Kubernetes waits */
    uint64_t idle_ms; /* longest time without a byte in either direction; 0: for ever */
};

/* Takes the upgraded connection. 'ops' stays valid. Callbacks come in later turns. Never NULL. */
struct channels *channels_new(struct net_stream *stream, const struct channels_config *config, const struct channels_ops *ops,
                              void *arg);
/* Cuts the connection. NULL-safe; returns NULL. */
struct channels *channels_free(struct channels *c);
/* Ends the protocol in order: what waits is still sent, and the connection closes by itself. on_close() follows in another
 * turn, and no other callback. NULL-safe. */
void channels_close(struct channels *c);

/* Copies. Does nothing on a channel that has ended or is not in the mask. */
void channels_write(struct channels *c, enum channel ch, struct str data);
/* No more follows on the channel. WebSocket can tell that only from client to server, in v5. */
void channels_end(struct channels *c, enum channel ch);
bool channels_is_full(const struct channels *c);
void channels_pause(struct channels *c);
void channels_resume(struct channels *c);

/* ---- the bridge: a WebSocket client of ours towards a server that speaks SPDY ---- */

struct channels_bridge;

struct channels_bridge_result {
    uint64_t bytes_to_node, bytes_to_client;
    struct err err; /* ERR_NONE: the command's end was delivered */
};
typedef void channels_bridge_done_fn(void *arg, const struct channels_bridge_result *result);

/* What kube-apiserver does for kubectl 1.30 and later: 'client' is an upgraded WebSocket ('protocol' one of CHANNELS_WS_*),
 * 'node' an upgraded SPDY connection to a kubelet (KEP-4006, "RemoteCommand Translator Proxy"). Takes both. The final status
 * goes to the client in one message; when the node breaks off, a Failure status in its place. 'done' is called once, then the
 * bridge is gone. */
struct channels_bridge *channels_bridge_new(struct net_stream *client, enum channels_protocol protocol,
                                            struct net_stream *node, unsigned mask, uint64_t idle_ms,
                                            channels_bridge_done_fn *done, void *arg);
/* Cuts both, without 'done'. NULL-safe; returns NULL. */
struct channels_bridge *channels_bridge_free(struct channels_bridge *b);

/* ---- the tunnel: bytes inside WebSocket messages towards a bare connection ---- */

struct channels_tunnel;

/* SPDY/3.1+portforward.k8s.io: the client speaks SPDY inside binary messages; 'node' gets the bytes as they are. Takes both
 * connections. 'done' is called once, then the tunnel is gone. */
struct channels_tunnel *channels_tunnel_new(struct net_stream *client, struct net_stream *node, uint64_t idle_ms,
                                            channels_bridge_done_fn *done, void *arg);
/* Cuts both, without 'done'. NULL-safe; returns NULL. */
struct channels_tunnel *channels_tunnel_free(struct channels_tunnel *t);

/* ---- the HTTP side of the upgrades ---- */

/* Is it a request to become a WebSocket ("Upgrade: websocket")? */
bool websocket_is_requested(const struct http_headers *h);

#define CHANNELS_MAX_REPLY_HEADERS 3
struct channels_handshake {
    struct http_header headers[CHANNELS_MAX_REPLY_HEADERS]; /* of the 101 answer */
    size_t n_headers;
    struct str protocol;  /* the chosen one, as the client wrote it; absent: none was offered */
    char accept[32];
};
/* Checks a client's WebSocket request and chooses one of 'ours' (NULL: none are known). False, with the reason for a 400
 * answer, when it is not a valid one or offers only protocols that we do not speak. 'ret' is filled in place and must not be
 * moved; it borrows from 'h'. */
MUST_CHECK bool channels_accept_websocket(const struct http_headers *h, const struct str *ours, size_t n_ours,
                                          struct channels_handshake *ret, struct err *err);
/* The names of the remote-command protocols, in our order of preference, and back. */
extern const struct str channels_ws_protocols[5];
MUST_CHECK bool channels_protocol_parse(struct str name, enum channels_protocol *ret);
#define CHANNELS_TUNNEL_PROTOCOL "SPDY/3.1+portforward.k8s.io"

/* Request headers for an upgrade to SPDY: "upgrade" and "x-stream-protocol-version" ("v4.channel.k8s.io", or
 * "portforward.k8s.io"). */
#define CHANNELS_SPDY_HEADERS(version) \
    { { STR_INIT("upgrade"), STR_INIT("SPDY/3.1") }, { STR_INIT("x-stream-protocol-version"), STR_INIT(version) } }
/* Checks a 101 answer to it. */
MUST_CHECK bool channels_check_spdy_answer(const struct http_headers *h, struct str version, struct err *err);

#endif
