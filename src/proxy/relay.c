#include "proxy/relay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/relay-private.h"

struct relay *relay_new(struct loop *l, const struct relay_config *config)
{
    struct relay *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    size_t files = config->files > 2 * RELAY_SPARE_FILES ? config->files - RELAY_SPARE_FILES : RELAY_SPARE_FILES;
    r->loop = l;
    r->config = *config;
    r->most_connections = MIN(files / 4 * 3 / RELAY_FILES_PER_CONNECTION, (size_t)RELAY_CONNECTIONS_MAX);
    r->most_clients = MIN(files / 8, (size_t)RELAY_UDP_CLIENTS_MAX);
    list_init(&r->orphans);
    return r;
}

struct relay *relay_free(struct relay *r)
{
    if (r) {
        relay_tcp_cut_orphans(r);
        for (struct relay_pipe *p = r->idle_pipes, *next; p; p = next) {
            next = p->next;
            close(p->r);
            close(p->w);
            free(p);
        }
        free(r);
    }
    return NULL;
}

struct relay_pipe *relay_take_pipe(struct relay *r)
{
    int fd[2];
    struct relay_pipe *p = r->idle_pipes;
    if (p) {
        r->idle_pipes = p->next;
        r->n_idle_pipes--;
        return p;
    }
    if (pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0) {
        return NULL;
    }
    p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    p->r = fd[0];
    p->w = fd[1];
    r->n_pipes++;
    return p;
}

void relay_give_pipe(struct relay *r, struct relay_pipe *p, bool empty)
{
    if (!p) {
        return;
    }
    if (empty && r->n_idle_pipes < RELAY_IDLE_PIPES) {
        p->next = r->idle_pipes;
        r->idle_pipes = p;
        r->n_idle_pipes++;
        return;
    }
    close(p->r);
    close(p->w);
    free(p);
    r->n_pipes--;
}

void relay_stats(const struct relay *r, struct relay_stats *ret)
{
    *ret = (struct relay_stats){ .inlets = r->n_inlets,
                                 .connections = r->n_connections,
                                 .udp_clients = r->n_clients,
                                 .pipes = r->n_pipes };
}
