#include "client/object-set.h"

#include <stdlib.h>

#include "client/meta.h"

/* Entries of a chunk; a full one is cut in two. */
#define CHUNK_MOST 256
/* A position: the chunk's index above these bits, the entry's below. */
#define ENTRY_BITS 9

struct object_chunk {
    size_t n, capacity;
    struct object_entry *items[];
};

void object_set_init(struct object_set *s, const struct api_type *type)
{
    *s = (struct object_set){ .meta_at = meta_offset(type) };
}

void object_set_deinit(struct object_set *s)
{
    for (size_t i = 0; i < s->n_chunks; i++) {
        free(s->chunks[i]);
    }
    free(s->chunks);
    s->chunks = NULL;
    s->n_chunks = s->capacity = s->n = 0;
}

static const struct meta_v1_object_meta *meta_at(const struct object_set *s,
                                                 const struct object_entry *e)
{
    return (const void *)((const char *)object_of(e->object) + s->meta_at);
}

static int compare(const struct object_set *s, const struct object_entry *e, struct str ns,
                   struct str name)
{
    const struct meta_v1_object_meta *m = meta_at(s, e);
    int c = str_cmp(m->namespace, ns);
    return c ? c : str_cmp(m->name, name);
}

struct place {
    size_t chunk, item;
    bool found;
};

/* Where the key is, or would stand: in the chunk whose first key is the last one not behind it. */
static struct place place_of(const struct object_set *s, struct str ns, struct str name)
{
    struct place p = { 0 };
    size_t lo = 0, hi = s->n_chunks;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare(s, s->chunks[mid]->items[0], ns, name);
        if (c == 0) {
            return (struct place){ .chunk = mid, .found = true };
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (!lo) {
        return p;
    }
    p.chunk = lo - 1;
    const struct object_chunk *chunk = s->chunks[p.chunk];
    lo = 1;
    hi = chunk->n;
    /* Lists come in key order: look at the end first. */
    if (hi > 1 && compare(s, chunk->items[hi - 1], ns, name) < 0) {
        lo = hi;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare(s, chunk->items[mid], ns, name);
        if (c == 0) {
            p.item = mid;
            p.found = true;
            return p;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    p.item = lo;
    return p;
}

struct object_entry *object_set_find(const struct object_set *s, struct str ns, struct str name)
{
    struct place p = place_of(s, ns, name);
    return p.found ? s->chunks[p.chunk]->items[p.item] : NULL;
}

static struct object_chunk *chunk_sized(struct object_chunk *c, size_t capacity)
{
    c = realloc(c, sizeof(*c) + capacity * sizeof(struct object_entry *));
    if (!c) {
        abort();
    }
    c->capacity = capacity;
    return c;
}

static void insert_chunk(struct object_set *s, size_t at, struct object_chunk *c)
{
    if (s->n_chunks == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 1;
        s->chunks = reallocarray(s->chunks, s->capacity, sizeof(struct object_chunk *));
        if (!s->chunks) {
            abort();
        }
    }
    memmove(s->chunks + at + 1, s->chunks + at, (s->n_chunks - at) * sizeof(struct object_chunk *));
    s->chunks[at] = c;
    s->n_chunks++;
}

/* Makes room in a full chunk, and moves 'p' to where the key stands then. */
static void split(struct object_set *s, struct place *p)
{
    struct object_chunk *c = s->chunks[p->chunk];
    /* Behind the end, as lists come: the full one stays full. */
    size_t keep = p->item == c->n ? c->n : c->n / 2;
    struct object_chunk *rest = chunk_sized(NULL, MAX(c->n - keep, (size_t)4));
    rest->n = c->n - keep;
    memcpy(rest->items, c->items + keep, rest->n * sizeof(struct object_entry *));
    c->n = keep;
    insert_chunk(s, p->chunk + 1, rest);
    if (p->item >= keep) {
        p->chunk++;
        p->item -= keep;
    }
}

bool object_set_add(struct object_set *s, struct object_entry *e)
{
    const struct meta_v1_object_meta *m = meta_at(s, e);
    struct place p = place_of(s, m->namespace, m->name);
    if (p.found) {
        return false;
    }
    if (!s->n_chunks) {
        struct object_chunk *first = chunk_sized(NULL, 1);
        first->n = 0;
        insert_chunk(s, 0, first);
    }
    if (s->chunks[p.chunk]->n == CHUNK_MOST) {
        split(s, &p);
    }
    struct object_chunk *c = s->chunks[p.chunk];
    if (c->n == c->capacity) {
        c = s->chunks[p.chunk] = chunk_sized(c, MIN(c->capacity * 2, (size_t)CHUNK_MOST));
    }
    memmove(c->items + p.item + 1, c->items + p.item,
            (c->n - p.item) * sizeof(struct object_entry *));
    c->items[p.item] = e;
    c->n++;
    s->n++;
    return true;
}

bool object_set_remove(struct object_set *s, const struct object_entry *e)
{
    const struct meta_v1_object_meta *m = meta_at(s, e);
    struct place p = place_of(s, m->namespace, m->name);
    if (!p.found || s->chunks[p.chunk]->items[p.item] != e) {
        return false;
    }
    struct object_chunk *c = s->chunks[p.chunk];
    c->n--;
    memmove(c->items + p.item, c->items + p.item + 1,
            (c->n - p.item) * sizeof(struct object_entry *));
    s->n--;
    if (!c->n) {
        free(c);
        s->n_chunks--;
        memmove(s->chunks + p.chunk, s->chunks + p.chunk + 1,
                (s->n_chunks - p.chunk) * sizeof(struct object_chunk *));
    }
    return true;
}

struct object_entry *object_set_next(const struct object_set *s, size_t *pos)
{
    size_t chunk = *pos >> ENTRY_BITS, item = *pos & ((1u << ENTRY_BITS) - 1);
    if (chunk < s->n_chunks && item >= s->chunks[chunk]->n) {
        chunk++;
        item = 0;
    }
    if (chunk >= s->n_chunks) {
        return NULL;
    }
    *pos = (chunk << ENTRY_BITS) + item + 1;
    return s->chunks[chunk]->items[item];
}

size_t object_set_seek(const struct object_set *s, struct str ns, struct str name)
{
    struct place p = place_of(s, ns, name);
    return (p.chunk << ENTRY_BITS) + p.item;
}
