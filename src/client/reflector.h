/*
 * A reflector keeps one informer equal to the server: a list, then a watch from its
 * resourceVersion, for ever.
 *
 * It asks for the list as a stream (sendInitialEvents, KEP-3157: constant memory on both sides) and
 * falls back to pages where the server does not know that. A watch that ends is taken up again from
 * the last resourceVersion (bookmarks move it on); 410 or 400 "Expired" leads to a new list.
 * Failures are retried after 0.8 s doubling to 30 s with jitter, as client-go.
 *
 * A list that is answered 404 is of a kind that the server does not serve: an older server, or one without the feature. It
 * counts as a first list without objects, so that nobody waits for it, and is tried again once a minute.
 */
#ifndef CLIENT_REFLECTOR_H
#define CLIENT_REFLECTOR_H

#include "base/arena.h"
#include "base/buf.h"
#include "net/loop.h"

struct api_mask;
struct client_call;
struct informer;
struct item_filter;

struct reflector {
    struct informer *informer;
    struct arena arena;          /* of the mask and the filters */
    const struct api_mask *mask; /* NULL: everything */
    struct item_filter *filters; /* lists of which some items are kept; in the arena */
    struct client_call *call;
    struct loop_timer timer;
    enum { REFLECT_LIST_STREAM, REFLECT_LIST_PAGES, REFLECT_WATCH } state;
    bool no_stream_list; /* the server refused it */
    bool synced;         /* the first list is complete, or the kind is not served */
    bool not_served;     /* the newest list was answered 404 */
    bool progress;       /* the call under way brought something: back-off starts anew */
    bool expired;        /* the watch under way told 410, or lost a line: it is followed by a list */
    unsigned failures;
    char *rv;        /* where the next watch starts; NULL: list first */
    char *next_page; /* continue token */
    struct buf line; /* a watch's unfinished line */
};

void reflector_init(struct reflector *r, struct informer *i);
void reflector_deinit(struct reflector *r);
void reflector_start(struct reflector *r);
/* Puts a whole object into the informer, cut down to its fields. */
void reflector_absorb(struct reflector *r, const void *obj);
/* The same for an object's JSON text, of which only those fields are read; false when it is none. */
bool reflector_absorb_text(struct reflector *r, struct str text);

#endif
