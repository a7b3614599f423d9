/* A conversation with the cluster's API as its administrator, one request at a time: what commands need. */
#ifndef CLUSTER_SESSION_H
#define CLUSTER_SESSION_H

#include "api/val.h"
#include "client/client.h"
#include "cluster/config.h"

struct session {
    struct loop *loop;
    struct client *client;
    /* Asked a few times a second while an answer is awaited: is it of use to wait? False with the reason. May be NULL. */
    bool (*still)(void *arg, struct err *err);
    void *still_arg;
    uint64_t looked_ms;
};

MUST_CHECK bool session_open(struct session *s, const struct cluster_config *c, struct err *err);
/* With any credentials, for any server. */
MUST_CHECK bool session_open_as(struct session *s, const struct client_config *config, struct err *err);
/* NULL-safe and safe twice. */
void session_close(struct session *s);
/* Sends a request; '*ret' is the answer's JSON, living in 'a' (null when it is no JSON). 'body' absent for none. False with the
 * reason when no answer came or it says no; its HTTP status is then in '*ret_status' (0: no answer). */
MUST_CHECK bool session_ask(struct session *s, const char *method, const char *path, struct str body, struct arena *a,
                            struct val *ret, int *ret_status, struct err *err);
/* GET, and the answer as it came. */
MUST_CHECK bool session_read(struct session *s, const char *path, struct arena *a, struct str *ret, int *ret_status, struct err *err);
/* Asks 'still' when it was not asked lately. */
MUST_CHECK bool session_look(struct session *s, struct err *err);

#endif
