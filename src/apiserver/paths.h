/*
 * The live catalog of every communication path: what `coracle paths` and the page /paths show.
 *
 * Every program reports what it knows (client/path-report.h); a report is read into parts and facts (paths-report.c), facts become
 * rows with a verdict by the table of kinds (paths-kinds.c, paths-catalog.c), and rows become JSON or the page (paths-write.c,
 * paths-page.c). These are pure: no I/O, no clock. paths-collect.c asks the others, paths-serve.c answers requests.
 *
 * Nothing in a report is trusted: it comes from nodes. It is bounded, and every string is escaped where it is shown.
 */
#ifndef APISERVER_PATHS_H
#define APISERVER_PATHS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct apiserver;
struct request;

/* ---- what was reported ---- */

enum path_way { PATH_IN, PATH_OUT, PATH_LISTEN };
enum path_transport { PATH_UNKNOWN, PATH_PLAIN, PATH_UNIX, PATH_TLS, PATH_SSH };

struct path_certificate {
    struct str subject;
    int64_t not_before, not_after; /* seconds since 1970; 0: not known */
};

struct path_fact {
    enum path_way way;
    struct str peer, purpose, address, remote, authn, authz;
    enum path_transport transport;
    struct str tls, cipher, http;
    struct str peer_state, peer_reason; /* "verified", "refused", absent */
    struct path_certificate peer_cert, own_cert;
    bool asks_certificates;
    uint64_t bytes_in, bytes_out, opened, open, failed;
    struct str last_error;
    uint64_t error_age_ms;
    struct str trust; /* of a tunnel: how the other end is known */
};

struct path_flag {
    struct str program, flag, value, why, mend;
    bool given;
};

/* One process, or one that could not be asked ('error'). */
struct path_part {
    struct str process; /* "kubelet" */
    struct str node;    /* the Node it runs on, as the apiserver knows it; absent: beside the apiserver */
    struct str host, version;
    struct str error;   /* why there is no report */
    struct path_flag *flags;
    size_t n_flags;
    struct path_fact *facts;
    size_t n_facts;
};

/* Reads an answer of /paths, {"parts":[…]}, and appends its parts. False with the reason; then nothing is appended. Strings are
 * copied, or borrow from 'json'. Bounded by PATHS_MAX_…. */
MUST_CHECK bool path_report_read(struct arena *a, struct str json, struct str node, struct path_part **parts, size_t *n, struct err *err);
/* One part that says why nothing was reported. */
MUST_CHECK bool path_report_missing(struct arena *a, struct str process, struct str node, struct str why, struct path_part **parts, size_t *n);

/* ---- the catalog ---- */

/* What the apiserver knows besides reports. */
struct path_node {
    struct str name, address; /* "10.89.0.2:10250" */
};
struct path_world {
    int64_t now;
    const struct path_part *parts; /* the first one is the apiserver's own */
    size_t n_parts;
    const struct path_node *nodes;
    size_t n_nodes;
    struct str authz;              /* "Node,RBAC" */
    bool anonymous;
    bool kubelets_verified;        /* --kubelet-certificate-authority */
    bool kubelet_identity;         /* --kubelet-client-certificate */
    bool tunnelled;                /* nodes are reached through tunnels only */
    struct str service_address;    /* of the kubernetes Service: "10.96.0.1:443"; absent: none */
    struct str address;            /* where the secure port is advertised */
};

enum path_verdict {
    PATH_SAFE,       /* on an untrusted network */
    PATH_LOCAL,      /* never leaves the host */
    PATH_UNUSED,     /* would be unsafe, and nothing has gone over it */
    PATH_UNSAFE
};

struct path_end {
    struct str name; /* "kubelet", "users" */
    struct str node; /* or absent */
};

struct path_row {
    const struct path_kind *kind;
    const struct path_fact *fact;  /* NULL: possible, and nothing is known of it yet */
    struct path_end from, to;
    struct str purpose, address;
    enum path_transport transport;
    struct str tls, cipher, http;
    struct str authn, authz;
    enum { PATH_VERIFY_UNKNOWN, PATH_VERIFIED, PATH_NOT_VERIFIED } server_verified;
    struct path_certificate server, client;
    uint64_t sent, received;       /* bytes, from 'from' to 'to' and back */
    uint64_t open, opened, failed;
    struct str last_error;
    struct str seen_by;            /* whose report says so */
    enum path_verdict verdict;
    struct str reason, mend;       /* mend: flags, or absent */
    struct str warning;            /* a certificate that ends soon, an error of late; or absent */
};

struct path_catalog {
    int64_t now;
    struct path_row *rows;
    size_t n_rows;
    const struct path_part *parts;
    size_t n_parts;
    size_t n_verdict[4];           /* rows by verdict */
    size_t n_flags;                /* unsafe flags in force */
};

/* One kind of path: what it is in the seed's document, and how it is judged. */
struct path_kind {
    const char *id;      /* "apiserver-kubelet" */
    const char *section; /* of the document */
    const char *process; /* whose report tells of it: "kubelet", with "kubelet server" too; NULL: anybody's */
    enum path_way way;
    const char *purpose; /* the word in reports, up to its ':'; NULL: any */
    const char *peer;    /* beginning of the peer's name; NULL: any */
    const char *from, *to; /* shown; NULL: by the way, the process and the peer */
    const char *what;    /* what goes over it */
    void (*judge)(const struct path_world *w, struct path_row *r, struct arena *a);
};
extern const struct path_kind path_kinds[];
extern const size_t path_n_kinds;
/* The kind of a fact; the last kind fits everything. */
const struct path_kind *path_kind_of(struct str process, const struct path_fact *f);
const struct path_kind *path_kind_by_id(const char *id);

/* Rows, worst first among equals of one section. False past the arena's budget. */
MUST_CHECK bool path_catalog_build(struct arena *a, const struct path_world *w, struct path_catalog *ret);
const char *path_verdict_word(enum path_verdict v); /* "safe", "local", "unused", "unsafe" */
const char *path_transport_word(enum path_transport t);
/* Is anything unsafe: a path, or a flag? */
bool path_catalog_unsafe(const struct path_catalog *c);

void path_catalog_write_json(const struct path_catalog *c, struct buf *b);
/* The page, whole. 'nonce' of the Content-Security-Policy. */
void path_catalog_write_page(const struct path_catalog *c, struct str nonce, struct buf *b);

/* ---- the apiserver ---- */

struct paths_collector;
/* Says what connection 'r' came on is for, once it is known who asks. */
void paths_label_request(struct request *r);
struct path_labels;
struct path_labels *path_labels_free(struct path_labels *l);
/* "Node,RBAC" */
struct str paths_authz_words(struct apiserver *s);
/* Catalog of now: asks everybody (or takes what is younger than a second), then calls 'done' in a later turn. NULL-safe cancel. */
struct paths_ask;
typedef void paths_done_fn(void *arg, const struct path_catalog *c);
struct paths_ask *paths_collect(struct apiserver *s, paths_done_fn *done, void *arg);
void paths_cancel(struct paths_ask *ask);
struct paths_collector *paths_collector_free(struct paths_collector *c);

/* GET /paths: the page, JSON, or a stream of JSON. */
#include "apiserver/stage.h"
enum stage_result paths_answer(struct request *r);

#endif
