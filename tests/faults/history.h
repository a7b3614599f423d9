/*
 * What the checker's clients did and saw: the evidence. Threads fill parts of their own; when all have ended the parts are joined
 * and verify.c reads them.
 *
 * A key is a number: [0, n_maps) are ConfigMaps, [n_maps, n_keys) are Leases. The last key of each kind is the "end": it is written
 * once, when all is over, and a watcher that has seen it has seen everything.
 */
#ifndef FAULTS_HISTORY_H
#define FAULTS_HISTORY_H

#include <stddef.h>

#include "base/macros.h"
#include "base/str.h"

enum deed_kind { DEED_CREATE, DEED_UPDATE, DEED_DELETE, DEED_GET };
enum outcome {
    OUTCOME_UNKNOWN,  /* no answer, or one that says nothing: it may have been done */
    OUTCOME_OK,
    OUTCOME_CONFLICT, /* 409: of a create, the key exists; else its revision is not the expected one */
    OUTCOME_ABSENT,   /* 404 */
    OUTCOME_REFUSED,  /* the server says that nothing was done: 4xx */
};

/* One request. Every create and update has a value of its own. */
struct deed {
    enum deed_kind kind;
    enum outcome outcome;
    uint32_t key;
    uint32_t life;     /* which life of the server it was sent to */
    bool is_volatile;  /* a renewal: may roll back when power is lost */
    uint64_t value;    /* written; GET: seen */
    int64_t expect;    /* update, delete: the revision that was asked to be there */
    int64_t revision;  /* OK: of the object in the answer; a delete's answer has none */
    uint64_t begin, end; /* monotonic ns; UNKNOWN: end is when one gave up */
};

enum sight_kind { SIGHT_ITEM, SIGHT_ADDED, SIGHT_MODIFIED, SIGHT_DELETED, SIGHT_BOOKMARK };

/* One item of a list or one event of a watch. */
struct sight {
    enum sight_kind kind;
    uint32_t key;
    uint64_t value;
    int64_t revision;
    uint64_t at;
};

/* A list and the events of the watches that went on from it without a gap. */
struct session {
    bool leases;          /* or ConfigMaps */
    bool power_lost;      /* the first list after a power loss */
    bool is_first;        /* the first list of a life: what was sent to an earlier one cannot come any more */
    bool to_the_end;      /* it has seen the end */
    uint32_t life;
    int64_t revision;     /* of the list */
    uint64_t begin, end;  /* of the list */
    struct sight *sights; /* items first */
    size_t n_items, n, capacity;
};

struct history {
    uint32_t n_maps, n_keys;
    bool lives_end;       /* a request to a killed server is never done later (not so with etcd behind it) */
    struct deed *deeds;
    size_t n_deeds, deeds_capacity;
    struct session *sessions;
    size_t n_sessions, sessions_capacity;
};

struct deed *history_deed(struct history *h);
struct session *history_session(struct history *h);
struct sight *session_sight(struct session *s);
/* Moves what 'from' holds into 'h', and frees 'from'. */
void history_join(struct history *h, struct history *from);
void history_deinit(struct history *h);

/* Prints each thing that must not be, at most 'max' of them, and returns how many there are. */
size_t history_verify(const struct history *h, size_t max);

#endif
