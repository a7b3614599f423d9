#include "net/http-client-private.h"

#include "net/path.h"

bool http_client_is_idle(const struct http_client *c)
{
    return list_empty(&c->calls);
}

struct loop *http_client_loop(const struct http_client *c)
{
    return c->loop;
}

struct buf *http_client_scratch(struct http_client *c)
{
    buf_clear(&c->scratch);
    return &c->scratch;
}

unsigned http_client_connections(const struct http_client *c)
{
    return c->n_conns;
}

/* ---- matching calls with connections ---- */

/* Calls go to connections that were made with the present certificates; older ones live until their last call (a watch, say)
 * has ended. */
static bool is_current(const struct http_client *client, const struct client_conn *c)
{
    return !client->tls || c->generation == net_tls_client_generation(client->tls);
}

static void assign(struct client_conn *c, struct http_call *call)
{
    list_remove(&call->link);
    list_push_back(&c->calls, &call->link);
    call->waiting = false;
    call->conn = c;
    c->n_calls++;
}

static struct client_conn *find_room(struct http_client *client)
{
    LIST_FOREACH(&client->conns, struct client_conn, link, c)
    {
        if (c->state == CLIENT_READY && !c->leaving && !c->for_upgrade && is_current(client, c) && c->ops->room(c) > 0) {
            return c;
        }
    }
    return NULL;
}

static void pump(void *arg)
{
    struct http_client *client = arg;
    unsigned unplaced = 0;
    struct list *n = client->waiting.next;
    while (n != &client->waiting) {
        struct http_call *call = LIST_ENTRY(n, struct http_call, link);
        n = n->next;
        if (call->upgrade) {
            if (client->n_conns < client->max_conns) {
                assign(client_conn_open(client, true), call);
            }
            continue;
        }
        struct client_conn *c = unplaced == 0 ? find_room(client) : NULL;
        if (!c) {
            unplaced++;
            continue;
        }
        assign(c, call);
        c->served++;
        loop_timer_stop(&c->timer);
        c->ops->start(c, call);
    }
    /* HTTP/2 takes many calls on the one that is being opened; HTTP/1.1 needs one for each. */
    unsigned want = client->seen_h1 || client->protocol == HTTP_CLIENT_H1_ONLY ||
                            (!client->tls && client->protocol == HTTP_CLIENT_AUTO)
                        ? unplaced
                        : MIN(unplaced, 1U);
    while (client->n_opening < want && client->n_conns < client->max_conns) {
        (void)client_conn_open(client, false);
    }
}

/* ---- the client ---- */

struct http_client *http_client_new(struct loop *l, const struct http_client_config *config, struct err *err)
{
    if (config->host.len == 0 || memchr(config->host.ptr, 0, config->host.len)) {
        err_set(err, ERR_INVALID, "a client needs a host");
        return NULL;
    }
    struct http_client *c = calloc(1, sizeof(*c));
    if (!c) {
        err_set(err, ERR_NO_MEMORY, "no memory for an HTTP client");
        return NULL;
    }
    c->loop = l;
    c->host = str_dup(config->host);
    c->port = config->port;
    c->protocol = config->protocol;
    c->dialer = config->dialer ? config->dialer : net_dialer_direct();
    c->tls = net_tls_client_ref(config->tls);
    c->max_conns = config->max_connections ? config->max_connections : HTTP_CLIENT_MAX_CONNECTIONS;
    c->connect_ms = config->connect_ms ? config->connect_ms : HTTP_CLIENT_CONNECT_MS;
    c->idle_ms = config->idle_ms ? config->idle_ms : HTTP_CLIENT_IDLE_MS;
    if (config->authority.len > 0) {
        c->authority = str_dup(config->authority);
    } else if (config->port == 0) {
        c->authority = str_dup(STR("localhost")); /* a unix socket: the path is no authority */
    } else {
        char text[300];
        bool v6 = str_find_char(config->host, ':') >= 0 && config->host.ptr[0] != '[';
        bool usual = config->port == (config->tls ? 443 : 80);
        int n = usual ? snprintf(text, sizeof(text), v6 ? "[%.*s]" : "%.*s", STR_ARG(config->host))
                      : snprintf(text, sizeof(text), v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(config->host), config->port);
        c->authority = str_dup(str_n(text, MIN((size_t)n, sizeof(text) - 1)));
    }
    struct net_path_spec unnamed = { .outgoing = true, .address = config->port ? str_c(c->authority) : config->host };
    c->path = config->path ? net_path_ref(config->path) : net_path_get(l, &unnamed);
    list_init(&c->conns);
    list_init(&c->waiting);
    list_init(&c->calls);
    buf_init(&c->scratch, 1024 * 1024);
    loop_task_init(&c->task, l, pump, c);
    return c;
}

struct http_client *http_client_free(struct http_client *c)
{
    if (!c) {
        return NULL;
    }
    while (!list_empty(&c->calls)) {
        (void)http_call_cancel(LIST_ENTRY(c->calls.next, struct http_call, all));
    }
    while (!list_empty(&c->conns)) {
        client_conn_stop(LIST_ENTRY(c->conns.next, struct client_conn, link));
    }
    loop_task_cancel(&c->task);
    net_tls_client_unref(c->tls);
    net_path_unref(c->path);
    buf_deinit(&c->scratch);
    free(c->host);
    free(c->authority);
    free(c);
    return NULL;
}

void http_client_renew(struct http_client *c)
{
    LIST_FOREACH(&c->conns, struct client_conn, link, conn)
    {
        conn->leaving = true;
        if (conn->state == CLIENT_READY && conn->n_calls == 0) {
            client_conn_stop(conn);
        }
    }
}
