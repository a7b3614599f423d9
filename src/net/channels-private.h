/* What the two transports of exec channels share. */
#ifndef NET_CHANNELS_PRIVATE_H
#define NET_CHANNELS_PRIVATE_H

#include "net/channels.h"

struct websocket;
struct spdy;

/* How a transport turns channels into bytes. Its functions only work on the engine; channels.c moves the bytes. */
struct channels_transport {
    void (*start)(struct channels *c);
    void (*stop)(struct channels *c); /* frees the engine */
    /* Eats bytes, calls channels_emit_*(). */
    bool (*recv)(struct channels *c, struct str in, size_t *ret_used, struct err *err);
    void (*set_paused)(struct channels *c, bool paused);
    bool (*take_out)(struct channels *c, struct buf *ret);
    /* Takes the first bytes of 'data', returns how many. */
    size_t (*write)(struct channels *c, enum channel ch, struct str data);
    void (*end)(struct channels *c, enum channel ch);
    void (*close)(struct channels *c);
    /* The peer's bytes ended: in order? */
    bool (*eof_is_clean)(const struct channels *c);
};

extern const struct channels_transport channels_websocket, channels_spdy;

struct channels {
    struct net_stream *stream;
    struct loop *loop;
    struct channels_config config;
    const struct channels_ops *ops;
    void *arg;
    const struct channels_transport *transport;
    struct loop_task task;   /* opens, delivers what was held by a pause, closes */
    struct loop_timer timer; /* opening, or idle time */
    struct buf held;         /* received and not eaten because of a pause: at most one read of the stream and 4 KiB */
    unsigned ended_in, ended_out; /* channels that are over */
    bool opened, open_due, deliver_due, paused;
    bool closing;            /* by channels_close(): nothing of the peer is looked at any more */
    bool closed;             /* on_close() is due, or told */
    bool told, freed;
    unsigned depth;          /* engine calls below us on the stack */
    struct err why;

    /* WebSocket */
    struct websocket *ws;
    bool at_start;           /* the next byte is the channel */
    uint8_t current;
    bool base64;
    struct buf message;      /* base64 is decoded when whole */

    /* SPDY */
    struct spdy *spdy;
    uint32_t ids[CHANNEL_MAX];
    unsigned replied;        /* client: streams that the server accepted */
};

/* For the transports: events towards the owner. Each may make the owner free the session, which takes effect later. */
void channels_emit_open(struct channels *c);
void channels_emit_data(struct channels *c, enum channel ch, struct str data);
void channels_emit_end(struct channels *c, enum channel ch);
/* The peer closed in order ('why' with ERR_NONE) or broke a rule. */
void channels_emit_close(struct channels *c, const struct err *why);

#endif
