/* The clients and watchers of the checker: threads that use a server, over and over, and note what came of it. */
#ifndef FAULTS_WORK_H
#define FAULTS_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "history.h"
#include "http.h"

enum { SERVERS_MAX = 4 };

struct work {
    uint16_t ports[SERVERS_MAX];
    unsigned n_ports;
    uint32_t n_maps, n_keys;     /* see history.h */
    unsigned pause_us;           /* of a client between two requests, at most twice that */
    unsigned patience_ms;        /* for an answer */
    uint64_t first_value;
    atomic_uint_fast64_t next_value;
    atomic_uint life;            /* of the server */
    atomic_bool stop_clients, stop_watchers, hold; /* hold: clients wait (the first lists of a life are read) */
    atomic_ulong answered, unanswered, refused;
};

struct worker {
    struct work *work;
    unsigned number;
    bool leases; /* watcher */
    pthread_t thread;
    struct history history;
    atomic_bool saw_the_end;
    int last_status;      /* of a watch: what it was answered */
    unsigned watches;     /* how many were begun */
};

void *client_main(void *worker);
void *watcher_main(void *worker);

/* Lists a kind into a new session of 'h'. Past life's end: false. */
bool work_list(struct work *w, struct http *c, struct history *h, bool leases, unsigned life);
/* Creates the end of both kinds; tries until it is there. */
void work_write_the_end(struct work *w, struct history *h);

uint32_t pick(uint32_t below);
uint64_t now_ns(void);

#endif
