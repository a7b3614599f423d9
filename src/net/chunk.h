/*
 * Bytes that are sent without being copied.
 *
 * A net_chunk is a view of bytes plus the counted owner that keeps them alive. An owner is any struct that embeds a net_ref:
 * a published object, a cached watch frame, a heap copy. Counts are atomic: chunks may be made on one thread and released on
 * another. A chunk is passed by value; who "takes" a chunk releases it exactly once with net_chunk_unref().
 */
#ifndef NET_CHUNK_H
#define NET_CHUNK_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/buf.h"

struct net_ref {
    atomic_uint refs;
    void (*release)(struct net_ref *r); /* the last reference is gone: free the owner */
};

struct net_chunk {
    struct str bytes;
    struct net_ref *owner; /* NULL: the bytes live for ever (literals) */
};

static inline void net_ref_init(struct net_ref *r, void (*release)(struct net_ref *r))
{
    atomic_init(&r->refs, 1);
    r->release = release;
}
static inline struct net_ref *net_ref_get(struct net_ref *r)
{
    if (r) {
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    }
    return r;
}
static inline void net_ref_put(struct net_ref *r)
{
    if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
        r->release(r);
    }
}

/* A view of bytes that 'owner' keeps; takes a reference of its own. */
static inline struct net_chunk net_chunk_of(struct net_ref *owner, struct str bytes)
{
    return (struct net_chunk){ .bytes = bytes, .owner = net_ref_get(owner) };
}
/* Bytes that live for ever. */
static inline struct net_chunk net_chunk_static(struct str bytes)
{
    return (struct net_chunk){ .bytes = bytes, .owner = NULL };
}
static inline struct net_chunk net_chunk_ref(struct net_chunk c)
{
    net_ref_get(c.owner);
    return c;
}
static inline void net_chunk_unref(struct net_chunk c)
{
    net_ref_put(c.owner);
}
/* A heap copy. Aborts when out of memory (callers bound what they copy). */
struct net_chunk net_chunk_copy(struct str bytes);
/* Takes the bytes of 'b' without copying and leaves 'b' empty. */
struct net_chunk net_chunk_take_buf(struct buf *b);

/* ---- a queue of chunks ---- */
struct net_queue {
    struct net_chunk *items; /* ring */
    unsigned head, n, capacity;
    size_t skip;  /* bytes of the first chunk that are gone already */
    size_t bytes; /* queued in all */
};

void net_queue_init(struct net_queue *q);
/* Releases every chunk. Safe twice. */
void net_queue_deinit(struct net_queue *q);
/* Takes 'c'. Empty chunks are released at once. */
void net_queue_push(struct net_queue *q, struct net_chunk c);
/* The first contiguous bytes, or an empty str. Valid until the next call that changes the queue. */
struct str net_queue_peek(const struct net_queue *q);
/* Fills up to 'max' iovecs from the front; returns how many. */
size_t net_queue_iov(const struct net_queue *q, struct iovec *iov, size_t max);
/* Copies up to 'max' bytes from the front without dropping them. Returns how many. */
size_t net_queue_copy(const struct net_queue *q, char *dst, size_t max);
/* Drops 'n' bytes (at most q->bytes) from the front. */
void net_queue_consume(struct net_queue *q, size_t n);

#endif
