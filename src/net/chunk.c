#include "net/chunk.h"

struct heap_owner {
    struct net_ref ref;
    char *separate; /* bytes that came from a buf, or NULL when they follow */
    char bytes[];
};

static void heap_release(struct net_ref *r)
{
    struct heap_owner *o = CONTAINER_OF(r, struct heap_owner, ref);
    free(o->separate);
    free(o);
}

static struct heap_owner *owner_new(size_t size)
{
    struct heap_owner *o = malloc(sizeof(*o) + size);
    if (!o) {
        abort();
    }
    net_ref_init(&o->ref, heap_release);
    o->separate = NULL;
    return o;
}

struct net_chunk net_chunk_copy(struct str bytes)
{
    if (bytes.len == 0) {
        return net_chunk_static(STR_EMPTY);
    }
    struct heap_owner *o = owner_new(bytes.len);
    memcpy(o->bytes, bytes.ptr, bytes.len);
    return (struct net_chunk){ .bytes = str_n(o->bytes, bytes.len), .owner = &o->ref };
}

struct net_chunk net_chunk_take_buf(struct buf *b)
{
    if (b->len == 0) {
        return net_chunk_static(STR_EMPTY);
    }
    struct heap_owner *o = owner_new(0);
    size_t len;
    o->separate = buf_take(b, &len);
    return (struct net_chunk){ .bytes = str_n(o->separate, len), .owner = &o->ref };
}

void net_queue_init(struct net_queue *q)
{
    *q = (struct net_queue){ 0 };
}

static struct net_chunk *at(const struct net_queue *q, unsigned i)
{
    return &q->items[(q->head + i) & (q->capacity - 1)];
}

void net_queue_deinit(struct net_queue *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        net_chunk_unref(*at(q, i));
    }
    free(q->items);
    *q = (struct net_queue){ 0 };
}

void net_queue_push(struct net_queue *q, struct net_chunk c)
{
    if (c.bytes.len == 0) {
        net_chunk_unref(c);
        return;
    }
    if (q->n == q->capacity) {
        unsigned capacity = q->capacity ? q->capacity * 2 : 4;
        struct net_chunk *items = calloc(capacity, sizeof(*items));
        if (!items) {
            abort();
        }
        for (unsigned i = 0; i < q->n; i++) {
            items[i] = *at(q, i);
        }
        free(q->items);
        q->items = items;
        q->capacity = capacity;
        q->head = 0;
    }
    *at(q, q->n++) = c;
    q->bytes += c.bytes.len;
}

struct str net_queue_peek(const struct net_queue *q)
{
    return q->n ? str_sub(at(q, 0)->bytes, q->skip, SIZE_MAX) : STR_EMPTY;
}

size_t net_queue_iov(const struct net_queue *q, struct iovec *iov, size_t max)
{
    size_t n = 0;
    for (; n < max && n < q->n; n++) {
        size_t skip = n == 0 ? q->skip : 0;
        struct str b = at(q, (unsigned)n)->bytes;
        /* iovec has no const form; the bytes are only read. */
        iov[n].iov_base = (void *)(uintptr_t)(b.ptr + skip);
        iov[n].iov_len = b.len - skip;
    }
    return n;
}

size_t net_queue_copy(const struct net_queue *q, char *dst, size_t max)
{
    size_t done = 0, skip = q->skip;
    for (unsigned i = 0; i < q->n && done < max; i++) {
        struct str b = at(q, i)->bytes;
        size_t take = MIN(b.len - skip, max - done);
        memcpy(dst + done, b.ptr + skip, take);
        done += take;
        skip = 0;
    }
    return done;
}

void net_queue_consume(struct net_queue *q, size_t n)
{
    q->bytes -= n;
    while (n > 0) {
        struct net_chunk *c = at(q, 0);
        size_t left = c->bytes.len - q->skip;
        if (n < left) {
            q->skip += n;
            return;
        }
        n -= left;
        q->skip = 0;
        net_chunk_unref(*c);
        q->head = (q->head + 1) & (q->capacity - 1);
        q->n--;
    }
    if (q->n == 0) {
        /* An idle queue holds nothing. */
        free(q->items);
        q->items = NULL;
        q->capacity = q->head = 0;
    }
}
