/* Shared inside the room: requests with bodies that are encoded already, and streamed answers. */
#ifndef CLIENT_CLIENT_PRIVATE_H
#define CLIENT_CLIENT_PRIVATE_H

#include "client/client.h"

struct client_request {
    struct str method;
    struct str content_type;            /* of the body; absent for none */
    struct str body;                    /* copied */
    const struct api_type *answer_type; /* NULL: the target resource's type */
};

/* Any call on a target. What client_create() and its siblings are made of. */
struct client_call *client_send(struct client *c, const struct client_target *t,
                                const struct client_request *r, client_done_fn *done, void *data);

/* "application/merge-patch+json", … */
struct str client_patch_content_type(enum client_patch_type type);
/* DeleteOptions as JSON, in the arena. */
struct str client_delete_body(struct arena *a, const struct client_delete_options *options);

/* Bytes of a streamed answer (a watch), as they come. Not called for an answer that is an error. */
typedef void client_data_fn(void *data, struct str bytes);
/* A GET whose answer is handed on in pieces; 'done' ends it ('err' NULL: the server ended it in
 * good order). */
struct client_call *client_stream(struct client *c, const struct client_target *t,
                                  client_data_fn *on_data, client_done_fn *done, void *data);

#endif
