/*
 * A WebSocket connection (RFC 6455) without I/O, on wslay: it eats the peer's bytes and gives back bytes and events. The
 * HTTP part of the handshake is the caller's, with the helpers below. No extensions.
 *
 * Messages are delivered in pieces as they come, so nothing is held back for a long message. Pings are answered, a close
 * frame too. Back-pressure: websocket_pause() makes websocket_recv() stop early; wslay may deliver up to 4 KiB more that it
 * had taken already. Bytes to send collect in a bounded buffer: take them with websocket_out_take() after every call.
 * Callbacks are called from websocket_recv() only and may call any function here but websocket_free().
 */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "base/buf.h"
#include "base/err.h"

struct websocket;

enum websocket_role { WEBSOCKET_CLIENT, WEBSOCKET_SERVER };

/* Close codes (section 7.4.1). */
enum {
    WEBSOCKET_CLOSE_NORMAL = 1000,
    WEBSOCKET_CLOSE_GOING_AWAY = 1001,
    WEBSOCKET_CLOSE_PROTOCOL = 1002,
    WEBSOCKET_CLOSE_UNSUPPORTED = 1003,
    WEBSOCKET_CLOSE_NO_STATUS = 1005, /* the close frame had none */
    WEBSOCKET_CLOSE_INVALID_TEXT = 1007,
    WEBSOCKET_CLOSE_POLICY = 1008,
    WEBSOCKET_CLOSE_TOO_LARGE = 1009,
    WEBSOCKET_CLOSE_INTERNAL = 1011,
};

struct websocket_events {
    void (*on_message)(void *user, bool text); /* a message begins */
    void (*on_data)(void *user, struct str data); /* some bytes of it; never empty */
    void (*on_message_end)(void *user);
    void (*on_pong)(void *user, struct str payload);
    /* The peer's close frame; nothing more comes. The answer is in the output already. */
    void (*on_close)(void *user, int code, struct str reason);
};

/* 'events' must live as long as the connection; any of its members may be NULL. Aborts when out of memory. */
struct websocket *websocket_new(enum websocket_role role, const struct websocket_events *events, void *user);
/* NULL-safe. */
struct websocket *websocket_free(struct websocket *w);

/* Eats bytes; '*ret_used' tells how many: fewer than given only after websocket_pause() or a close. False when the peer broke
 * the protocol or a limit: a close frame is in the output, nothing more can be received. */
MUST_CHECK bool websocket_recv(struct websocket *w, struct str in, size_t *ret_used, struct err *err);
void websocket_pause(struct websocket *w);
void websocket_resume(struct websocket *w);

/* What is to be sent now. Moves into 'ret' (initialised by this call); false when there is nothing. */
MUST_CHECK bool websocket_out_take(struct websocket *w, struct buf *ret);
struct str websocket_out(const struct websocket *w);
void websocket_out_consume(struct websocket *w, size_t n);

/* Sends one whole message: 'head' and then 'data'. False when more than WEBSOCKET_MAX_OUT_DATA wait already, or after a
 * close frame was sent. */
MUST_CHECK bool websocket_send(struct websocket *w, bool text, struct str head, struct str data);
void websocket_ping(struct websocket *w, struct str payload);
/* Sends a close frame, once; what comes afterwards is dropped. */
void websocket_close(struct websocket *w, int code, struct str reason);
bool websocket_close_sent(const struct websocket *w);
bool websocket_close_received(const struct websocket *w);

#define WEBSOCKET_KEY_SIZE 25
#define WEBSOCKET_ACCEPT_SIZE 29
/* A random Sec-WebSocket-Key. */
void websocket_make_key(char dst[WEBSOCKET_KEY_SIZE]);
/* The Sec-WebSocket-Accept of a key. False when 'key' is not 16 bytes in base64. */
MUST_CHECK bool websocket_accept(struct str key, char dst[WEBSOCKET_ACCEPT_SIZE]);
/* Takes the first of the client's subprotocols (a Sec-WebSocket-Protocol value, "a, b") that is among 'ours', as the client
 * wrote it; absent when there is none. */
struct str websocket_choose_protocol(struct str offered, const struct str *ours, size_t n_ours);

#endif
