/* One controller with objects given as JSON and no server: what would it write? For tests. */
#ifndef CLIENT_FIXTURE_H
#define CLIENT_FIXTURE_H

#include "base/buf.h"
#include "base/test.h"
#include "client/controller.h"

struct fixture {
    struct loop *loop;
    struct client *client;
    struct informers *informers;
    struct controller *controller;
    struct buf out;
    int64_t now;
};

void fixture_init(struct fixture *f, const struct controller_ops *ops);
void fixture_deinit(struct fixture *f);
/* Puts the object into every informer of its resource ("apps/v1", "replicasets") that selects it, as
 * newer than what is there. */
void fixture_put(struct fixture *f, const char *group, const char *version, const char *resource,
                 const char *json);
/* The server does not serve this resource, or serves it again. */
void fixture_serve(struct fixture *f, const char *group, const char *version, const char *resource,
                   bool served);
/* One pass; the actions as controller_dry_run() writes them, valid until the next pass. */
const char *fixture_pass(struct fixture *f, const char *key);
/* How often 'needle' is in the text. */
size_t fixture_count(const char *text, const char *needle);

#endif
