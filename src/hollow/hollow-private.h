/* What the files of this room share. Everything runs on one loop thread. */
#ifndef HOLLOW_HOLLOW_PRIVATE_H
#define HOLLOW_HOLLOW_PRIVATE_H

#include "api/val.h"
#include "base/list.h"
#include "client/endpoint.h"
#include "hollow/figures.h"
#include "hollow/hollow.h"
#include "hollow/limits.h"
#include "net/http-client.h"
#include "net/loop.h"

struct hollow_node;

struct hollow_fleet {
    const struct hollow_options *o;
    struct loop *loop;
    struct client_endpoint endpoint;
    struct arena scratch; /* cleared after each answer and event */
    struct hollow_figures figures;
    struct hollow_node **nodes;
    unsigned n_begun;
    double owed; /* nodes that the rate has earned and that have not begun */
    struct loop_timer ramp, report, end;
    struct loop_signal term, interrupt;
    uint64_t begin_ms, ramp_ms;
    unsigned removing; /* deletes of Nodes under way */
    bool ending;
    struct str last_refusal; /* in refusal_text: the beginning of the last answer that was no success */
    char refusal_text[512];
    int report_fd;
};

/* ---- send.c: requests ---- */

enum hollow_kind { HOLLOW_REGISTER, HOLLOW_LEASE, HOLLOW_NODE_STATUS, HOLLOW_POD_STATUS, HOLLOW_POD_DELETE, HOLLOW_LIST, HOLLOW_KINDS };

struct hollow_request {
    enum hollow_kind kind;
    const char *method;
    const char *content_type; /* NULL: no body */
    bool keep;                /* the answer's body is wanted */
    bool as_user;             /* in the kubeconfig's own name: what no kubelet may do */
    struct str target;        /* without the prefix of the URL */
    struct str body;
};

struct hollow_call;
/* 'status' 0: no answer came. 'body' is empty without 'keep'. */
typedef void hollow_done_fn(struct hollow_node *n, int status, struct str body, void *arg);

/* Sends the request over the node's connection; strings are copied. The call ends once, by 'done' or by hollow_call_cancel(). */
struct hollow_call *hollow_send(struct hollow_node *n, const struct hollow_request *r, hollow_done_fn *done, void *arg);
/* NULL-safe. */
void hollow_call_cancel(struct hollow_call *c);
/* The headers of every request of the node, as a kubelet or in the user's own name; returns how many. */
size_t hollow_headers(const struct hollow_node *n, bool as_user, struct http_header headers[6]);

/* ---- watch.c: one watch, kept open ---- */

struct hollow_watch {
    struct hollow_node *node;
    const char *path;           /* "/api/v1/pods" */
    char selector[160];         /* query, encoded */
    void (*on_object)(struct hollow_node *n, struct str type, const struct val *object); /* NULL: only counted */
    void (*on_listed)(struct hollow_node *n); /* every object of a list was shown; others are gone */
    struct hollow_call *list;
    struct http_call *call;
    struct loop_timer retry;
    struct buf line;            /* the event that is not complete yet */
    char version[32];           /* "": list first */
    unsigned failures;
    bool counted;               /* among the watches that are open */
    int status;
};

void hollow_watch_init(struct hollow_watch *w, struct hollow_node *n, const char *path);
void hollow_watch_start(struct hollow_watch *w);
void hollow_watch_stop(struct hollow_watch *w);

/* ---- pod.c ---- */

/* A pod of the watch, and every pod of a list. */
void hollow_pod_seen(struct hollow_node *n, struct str type, const struct val *pod);
/* Pods that the list did not show are gone. */
void hollow_pods_listed(struct hollow_node *n);
void hollow_pods_free(struct hollow_node *n);

/* ---- node.c ---- */

struct hollow_node {
    struct hollow_fleet *fleet;
    unsigned index;
    char name[HOLLOW_NAME_MAX];
    struct http_client *http;
    struct list calls;
    struct loop_timer lease_timer, status_timer;
    char lease_version[32]; /* "": it has to be read or made */
    uint64_t renewed_ms;    /* when the last renewal was answered */
    unsigned failures;
    bool registered;
    struct hollow_watch pods_watch, node_watch, services_watch;
    struct list pods;
    unsigned round; /* of lists: pods that one did not show are gone */
    unsigned next_ip;
};

MUST_CHECK struct hollow_node *hollow_node_start(struct hollow_fleet *f, unsigned index, struct err *err);
void hollow_node_free(struct hollow_node *n);

/* Half to one and a half of 'ms', so that nodes do not march in step. */
uint64_t hollow_about(uint64_t ms);
/* Seconds with back-off: 0.5 s, doubling up to HOLLOW_RETRY_MAX_MS. */
uint64_t hollow_retry_ms(unsigned failures);
/* Parses an answer into the fleet's scratch arena, which is cleared before. False when it is no JSON object. */
MUST_CHECK bool hollow_parse(struct hollow_fleet *f, struct str json, struct val *ret);

#endif
