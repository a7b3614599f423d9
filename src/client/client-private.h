/* Shared inside the room: requests with bodies that are encoded already, and streamed answers. */
#ifndef CLIENT_CLIENT_PRIVATE_H
#define CLIENT_CLIENT_PRIVATE_H

#include "base/list.h"
#include "client/client.h"
#include "net/http-client.h"

/* Bytes of a streamed answer (a watch), as they come. Not called for an answer that is an error. */
typedef void client_data_fn(void *data, struct str bytes);

/* The connections, shared by the clients that only differ in their token. */
struct client_connections {
    unsigned refs;
    struct http_client *http;
    struct net_tls_client *tls;   /* NULL: plain */
    struct client *owner;         /* whose credentials they are; NULL once it is freed */
    struct client_config source;  /* in 'strings': where the credentials come from; no PEM that has a file */
    struct arena strings;
    uint64_t print;               /* of the credentials in force */
    struct file_watch *watch;     /* NULL: nothing of it is a file */
    bool held;
};

struct client {
    struct loop *loop;
    struct client_connections *connections;
    struct arena strings; /* everything below that is text */
    struct str prefix;    /* path of the server URL, without a slash at its end */
    struct str user_agent;
    const char *token_file;
    struct buf token; /* the Authorization header's value: of the configuration, token_file or client_set_token() */
    uint64_t token_read_ms;
    bool token_is_old; /* the file has changed */
    struct net_dialer *dialer; /* NULL: direct */
    uint64_t timeout_ms;
    /* The token bucket as the time at which it was, or will be, full (options qps and burst); 0 ns:
     * unlimited. */
    uint64_t token_ns, burst_ns, full_ns;
    struct list calls;
};

enum call_kind { CALL_DECODED, CALL_RAW, CALL_STREAM };

struct client_call {
    struct list link; /* in client.calls */
    struct client *client;
    enum call_kind kind;
    client_done_fn *done; /* NULL: detached */
    client_data_fn *on_data;
    void *data;
    const struct api_type *type;

    /* The request, kept for another try. */
    char *method, *target, *content_type;
    struct net_chunk body;
    bool has_body;
    uint64_t deadline_ms; /* 0: none */
    unsigned tries;

    /* The try under way: one of the two. */
    struct http_call *http;
    struct loop_timer timer;

    /* The answer so far. */
    int status;
    struct buf answer;
    char retry_after[32];
};

/* ---- connections.c ---- */
bool client_connect(struct client *c, const struct client_config *config, const struct client_options *options, struct err *err);
/* Gives the connections back; the last one ends them. */
void client_disconnect(struct client *c);
/* The fixed Authorization header of the configuration. */
void client_set_authorization(struct client *c, const struct client_config *config);
/* The Authorization header's value, reading the token file again when it is old. Absent: none. */
struct str client_authorization(struct client *c);

/* ---- call.c ---- */
struct client_call *client_call_new(struct client *c, struct str method, struct str target, enum call_kind kind, client_done_fn *done,
                                    void *data);
/* 'body' is copied; an absent content type: no body. */
void client_call_set_body(struct client_call *call, struct str content_type, struct str body);
/* Sends it as soon as the token bucket allows. 'timeout_ms' 0: none. */
void client_call_begin(struct client_call *call, uint64_t timeout_ms);
void client_call_free(struct client_call *call);

/* ---- client.c ---- */

struct client_request {
    struct str method;
    struct str content_type;            /* of the body; absent for none */
    struct str body;                    /* copied */
    const struct api_type *answer_type; /* NULL: the target resource's type */
    bool raw;                           /* the answer is not decoded: its body is all there is */
};

/* Any call on a target. What client_create() and its siblings are made of. */
struct client_call *client_send(struct client *c, const struct client_target *t,
                                const struct client_request *r, client_done_fn *done, void *data);

/* "application/merge-patch+json", … */
struct str client_patch_content_type(enum client_patch_type type);
/* DeleteOptions as JSON, in the arena. */
struct str client_delete_body(struct arena *a, const struct client_delete_options *options);

/* A GET whose answer is handed on in pieces; 'done' ends it ('err' NULL: the server ended it in
 * good order). */
struct client_call *client_stream(struct client *c, const struct client_target *t,
                                  client_data_fn *on_data, client_done_fn *done, void *data);

#endif
