/*
 * The objects of a namespace that a label selector selects, without a look at the others.
 *
 * The index holds each label of each object under its namespace. Of the selector's requirements that a label must equal
 * a value, the one that the fewest objects have is stepped through, and the rest of the selector is asked of those. A selector
 * without such a requirement walks the namespace.
 */
#ifndef CLIENT_LABEL_INDEX_H
#define CLIENT_LABEL_INDEX_H

#include "api/selector.h"
#include "client/informer.h"

/* The informer must hold metadata.labels. Before informers_start(). */
struct informer_index *label_index(struct informer *i);

#define LABEL_INDEX_KEY_MAX 448 /* namespace (63), label (317), value (63), as validation bounds them */

struct label_walk {
    const struct informer *informer;
    const struct informer_index *index;
    const struct selector *selector;
    struct str ns;
    size_t pos;
    bool all; /* no requirement helps: the whole namespace is walked */
    size_t key_len;
    char key[LABEL_INDEX_KEY_MAX];
};

/* 'ns' and 'selector' are borrowed until the walk ends. */
void label_walk_begin(struct label_walk *w, const struct informer *i,
                      const struct informer_index *index, struct str ns,
                      const struct selector *selector);
/* The next object that the selector matches, in key order; NULL at the end. */
const void *label_walk_next(struct label_walk *w);

/* The value under which the index has objects of this namespace with this label: for users that go the other way, from an
 * object's labels to what may select it. What does not fit 'size' is cut, for all alike. */
struct str label_index_key(char *text, size_t size, struct str ns, struct str label, struct str value);

#endif
