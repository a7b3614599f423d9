/* The streams of a loop, and what they share. */
#include "net/registry.h"

#include "net/path.h"
#include "net/stream-private.h"

static const char shared_key;

static void shared_free(void *arg)
{
    free(arg);
}

struct stream_shared *stream_shared(struct loop *l)
{
    struct stream_shared *sh = loop_slot(l, &shared_key);
    if (!sh) {
        sh = malloc(sizeof(*sh));
        if (!sh) {
            abort();
        }
        list_init(&sh->conns);
        sh->n_conns = 0;
        loop_set_slot(l, &shared_key, sh, shared_free);
    }
    return sh;
}

void net_registry_each(struct loop *l, void (*fn)(const struct net_conn *c, void *arg), void *arg)
{
    struct stream_shared *sh = stream_shared(l);
    LIST_FOREACH(&sh->conns, struct net_conn, link, c)
    {
        fn(c, arg);
    }
}

size_t net_registry_count(struct loop *l)
{
    return stream_shared(l)->n_conns;
}

void net_stream_set_path(struct net_stream *s, struct net_path *path)
{
    if (s->state == STREAM_CLOSED || s->conn.path == path) {
        return;
    }
    if (s->conn.path) {
        net_path_closed(s->conn.path, &s->conn);
    }
    if (path) {
        net_path_opened(path, &s->conn);
    }
}
