/* Shared inside the room: the informer's parts that its reflector (list and watch) and the
 * controller runtime use. */
#ifndef CLIENT_INFORMER_PRIVATE_H
#define CLIENT_INFORMER_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "client/informer.h"
#include "client/object-set.h"
#include "client/reflector.h"
#include "net/loop.h"
#include "net/trim.h"

struct founders;

struct informer_listener {
    struct list link;
    informer_event_fn *fn;
    void *data;
    bool owned; /* 'data' is freed with the listener */
};

struct informer {
    struct list link; /* in informers.all */
    struct informers *set;
    const struct api_resource *resource;
    char *ns, *label_selector, *field_selector; /* NULL: none */
    /* The union of the fields that users asked for, fixed when the set starts. */
    char **fields;
    size_t n_fields;
    char **dropped; /* fields that somebody who wants all others named as "-field" */
    size_t n_dropped;
    char **items; /* fields with the items of a list that are wanted: "status.conditions[Ready]" */
    size_t n_items;
    bool everything; /* somebody wants all fields */

    struct object_set objects;
    struct founders *founders; /* what objects that look alike share; NULL while there are few */
    struct list indexes, listeners;
    uint32_t list_round; /* counts lists: objects that the newest one did not name are gone */
    struct reflector reflector;
};

struct informers {
    struct client *client;
    struct list all;
    bool started, announced;
    void (*on_synced)(void *data);
    void *data;
    struct cached *garbage; /* replaced objects, freed by 'collect' at the end of the turn */
    struct loop_task collect, announce;
    struct net_trim trim; /* counts changes */
    struct arena line;    /* of the line of a watch that is being read: one piece of it stays for the next line */
    uint64_t not_served_retry_ms;
};

/* As informers_get(), and 'data' (from malloc()) is freed with the set. */
struct informer *informers_get_owned(struct informers *s, const struct informer_spec *spec,
                                     informer_event_fn *on_event, void *data);
/* Puts in an object of the resource's type if it is newer than what is there; 'from_list': the list
 * under way named it. */
void informer_store(struct informer *i, const void *obj, bool from_list);
/* Does it hold this version of the object, or a newer one? Then informer_store() would change nothing but what the list names. */
bool informer_knows(struct informer *i, struct str ns, struct str name, struct str uid, uint64_t rv,
                    bool from_list);
/* Removes what is not newer than 'rv'. */
void informer_drop(struct informer *i, struct str ns, struct str name, uint64_t rv);
/* The list of this round is complete as of 'rv': what it did not name and is not newer is gone. */
void informer_list_ends(struct informer *i, uint64_t rv);
void informers_announce(void *arg);
/* Tells the user, in a task, once everything is synced. */
void informers_check_synced(struct informers *s);
/* A write of ours was answered with this object (whole): every informer of the resource takes its
 * fields of it. */
void informers_absorb(struct informers *s, const struct api_resource *resource, const void *obj);
/* The same for its JSON text. False when the text is no object of the resource. */
bool informers_absorb_text(struct informers *s, const struct api_resource *resource, struct str text);
void informers_absorb_delete(struct informers *s, const struct api_resource *resource,
                             struct str ns, struct str name, struct str uid);

#endif
