/*
 * Objects that look alike share their bytes. The pods of a ReplicaSet differ in their names, times and addresses, a tenth of
 * their JSON; the rest is one text, a *shape*, that all of them borrow from. An object is then a row of pieces, some its own,
 * some of the shape, and is still sent without being copied or put together.
 *
 * A shape is the JSON of an object that came before. Which one is tried is a matter of luck and of a key that alike objects
 * have in common (owner, namespace, labels): a wrong one costs a short look and never a wrong byte. Where none fits, the
 * object's own text becomes a shape for the next ones. The text lives as long as anybody borrows from it.
 *
 * A `struct shapes` belongs to one thread; shapes are immutable and counted, so objects may be dropped on any.
 */
#ifndef STORE_SHAPE_H
#define STORE_SHAPE_H

#include "base/str.h"
#include "net/chunk.h"

/* A shorter text is not worth its pieces. A longer one would need wider places in the index. */
#define SHAPE_MIN_JSON 640u
#define SHAPE_MAX_JSON 65535u
/* Each piece is an iovec whenever the object is sent, and a bit of 'borrowed'. */
#define SHAPE_MAX_PIECES 24u

struct shape {
    struct net_ref ref;
    uint32_t len;
    char bytes[];
};

struct shape_piece {
    uint16_t at; /* in the shape, or in the object's own bytes */
    uint16_t len;
};

struct shape_cut {
    struct shape *shape; /* a reference, for the object */
    struct shape_piece pieces[SHAPE_MAX_PIECES];
    uint32_t borrowed; /* a bit for each piece that is of the shape */
    unsigned n_pieces, n_head; /* the first n_head are the text before the gap */
    size_t n_own;              /* bytes of the object's own pieces together */
    bool founder;              /* the shape was made of this very text */
};

struct shapes;
struct shapes *shapes_new(void);
/* NULL-safe; returns NULL. Shapes that objects borrow from stay. */
struct shapes *shapes_free(struct shapes *s);

/* Cuts 'json' into pieces, of which none reaches over 'gap_at'. False: the text is kept whole. 'key' is any number that alike
 * objects have in common. */
bool shapes_cut(struct shapes *s, uint64_t key, struct str json, size_t gap_at, struct shape_cut *ret_cut);

#endif
