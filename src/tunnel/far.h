/*
 * The far end of one stream through a tunnel, whatever the tunnel is made of: an SSH direct-tcpip channel, or an HTTP/2 stream.
 *
 * Events come on the loop's thread. on_open or on_refused is the first one, and never comes from inside the call that opened.
 * After on_refused or on_close, and after far_close(), no event follows and the far end is gone. Inside on_data and on_writable no
 * far end may be closed; inside the others it may.
 */
#ifndef TUNNEL_FAR_H
#define TUNNEL_FAR_H

#include "base/err.h"

struct tunnel_far;

struct tunnel_far_events {
    void (*on_open)(void *arg);
    /* The other side would not, or the tunnel broke. 'reason' is a sentence. */
    void (*on_refused)(const char *reason, void *arg);
    /* All is taken. Not called while paused, except for what was on the way: at most TUNNEL_MUX_WINDOW bytes. */
    void (*on_data)(struct str data, void *arg);
    /* Some more can be written after far_write() took less than all. */
    void (*on_writable)(void *arg);
    /* The other side sends no more. */
    void (*on_eof)(void *arg);
    /* 'reason' NULL: both directions ended in order. */
    void (*on_close)(const char *reason, void *arg);
};

struct tunnel_far_ops {
    size_t (*write)(struct tunnel_far *f, struct str data);
    void (*shutdown)(struct tunnel_far *f);
    void (*pause)(struct tunnel_far *f, bool paused);
    void (*close)(struct tunnel_far *f);
};

struct tunnel_far {
    const struct tunnel_far_ops *ops;
    const struct tunnel_far_events *events;
    void *arg;
};

/* Sends what can be held; returns how many bytes that was. When fewer than all, on_writable follows. */
static inline size_t far_write(struct tunnel_far *f, struct str data)
{
    return f->ops->write(f, data);
}
/* We send no more. */
static inline void far_shutdown(struct tunnel_far *f)
{
    f->ops->shutdown(f);
}
static inline void far_pause(struct tunnel_far *f, bool paused)
{
    f->ops->pause(f, paused);
}
/* Breaks the stream off, whatever its state. NULL-safe; returns NULL. */
static inline struct tunnel_far *far_close(struct tunnel_far *f)
{
    if (f) {
        f->ops->close(f);
    }
    return NULL;
}

#endif
