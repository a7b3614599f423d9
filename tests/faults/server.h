/* The server under test: its lives, and its deaths. */
#ifndef FAULTS_SERVER_H
#define FAULTS_SERVER_H

#include <sys/types.h>

#include "lossy.h"
#include "work.h"

struct server {
    char **argv;           /* of the program; --insecure-port is added. NULL: somebody else starts it */
    const char *data_dir, *volatile_dir;
    const char *lossy_lib; /* preloaded; NULL: none */
    const char *lossy_dir;
    struct lossy_control *control;
    const char *log;       /* what it says */
    pid_t pids[SERVERS_MAX];
    struct work *work;
    struct history *history; /* of the first lists */
};

bool server_prepare(struct server *s);
/* Starts it, waits until it is ready, reads the first lists, and lets the clients on. 'failpoint': "name:3", or NULL. False with the
 * reason on stderr. When it dies of the failpoint before it is ready it is started again without. */
bool server_start(struct server *s, const char *failpoint, bool power_lost);
/* SIGKILL, unless it is dead already, and waits. Afterwards requests belong to the next life. */
void server_kill(struct server *s);
/* Waits for it to die by itself. */
bool server_dies_within(struct server *s, unsigned ms);
bool server_is_dead(struct server *s);
/* SIGTERM: it closes in order. */
bool server_end(struct server *s, unsigned ms);

#endif
