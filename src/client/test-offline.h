/* A set of informers on a client that never gets to call anything: the tests put objects in by hand. */
#ifndef CLIENT_TEST_OFFLINE_H
#define CLIENT_TEST_OFFLINE_H

#include "client/informer-private.h"

struct offline {
    struct loop *loop;
    struct client *client;
    struct informers *set;
    struct informer *pods;
};

/* 'on_event' is told of pods; may be NULL. */
void offline_init(struct offline *o, informer_event_fn *on_event, void *data);
void offline_deinit(struct offline *o);

#endif
