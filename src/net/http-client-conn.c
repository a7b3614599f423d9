/* The connections of an HTTP client: dialling, the choice of protocol, idle time, the end. */
#include "net/http-client-private.h"

#include "net/path.h"

struct client_conn *client_conn_hold(struct client_conn *c)
{
    c->holds++;
    return c;
}

void client_conn_drop(struct client_conn *c)
{
    if (--c->holds == 0) {
        if (c->ops) {
            c->ops->free(c);
        }
        free(c);
    }
}

const struct net_peer *client_conn_peer(const struct client_conn *c)
{
    return c->io ? net_stream_conn(c->io)->peer : NULL;
}

void client_conn_stop(struct client_conn *c)
{
    struct http_client *client = c->client;
    if (c->state == CLIENT_DEAD) {
        return;
    }
    if (c->state != CLIENT_READY && !c->for_upgrade) {
        client->n_opening--;
    }
    c->state = CLIENT_DEAD;
    loop_timer_stop(&c->timer);
    list_remove(&c->link);
    client->n_conns--;
    c->client = NULL;
    if (c->dial) {
        client->dialer->ops->cancel(c->dial);
        c->dial = NULL;
    }
    c->io = net_stream_free(c->io);
    if (c->ops) {
        c->ops->stop(c);
    }
    loop_task_defer(&client->task);
    client_conn_drop(c);
}

void client_conn_kill(struct client_conn *c, const char *reason)
{
    if (c->state == CLIENT_DEAD) {
        return;
    }
    (void)client_conn_hold(c);
    while (!list_empty(&c->calls)) {
        struct http_call *call = LIST_ENTRY(c->calls.next, struct http_call, link);
        if (call->sent || !http_call_retry(call)) {
            http_call_fail(call, ERR_IO, "%s", reason);
        }
    }
    client_conn_stop(c);
    client_conn_drop(c);
}

/* The connection could not be made: what waits for it fails. */
static void conn_failed(struct client_conn *c, const struct err *err, bool tls)
{
    struct http_client *client = c->client;
    net_path_failed(client->path, err->msg);
    (void)client_conn_hold(c);
    struct list *from = c->for_upgrade ? &c->calls : &client->waiting;
    bool all = client->protocol == HTTP_CLIENT_H2_PRIOR || !client->seen_h1;
    struct list *n = from->next;
    while (n != from) {
        struct http_call *call = LIST_ENTRY(n, struct http_call, link);
        n = n->next;
        if (call->upgrade && !c->for_upgrade) {
            continue;
        }
        http_call_fail(call, err->code, "%s", err->msg);
        call->error->tls = tls;
        if (!all) {
            break;
        }
    }
    client_conn_stop(c);
    client_conn_drop(c);
}

static void idle_out(struct client_conn *c)
{
    if (c->n_calls == 0) {
        client_conn_stop(c);
    }
}

static void on_open_timeout(void *arg)
{
    struct client_conn *c = arg;
    struct err err = { 0 };
    err_set(&err, ERR_TIMEOUT, "cannot connect to %s: no answer in time", c->client->authority);
    conn_failed(c, &err, false);
}

static void on_idle_timeout(void *arg)
{
    idle_out(arg);
}

void client_conn_free_room(struct client_conn *c)
{
    if (c->state != CLIENT_READY) {
        return;
    }
    if (c->n_calls == 0) {
        if (c->leaving || (c->client->tls && c->generation != net_tls_client_generation(c->client->tls))) {
            client_conn_stop(c);
            return;
        }
        loop_timer_start(&c->timer, c->client->idle_ms);
        c->timer.fn = on_idle_timeout;
    }
    loop_task_defer(&c->client->task);
}

static void io_open(struct net_stream *io, void *arg)
{
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    bool h2 = client->protocol == HTTP_CLIENT_H2_PRIOR || net_stream_alpn(io) == NET_ALPN_H2;
    c->state = CLIENT_READY;
    if (!c->for_upgrade) {
        client->n_opening--;
        client->seen_h1 = !h2;
    }
    c->timer.fn = on_idle_timeout;
    loop_timer_start(&c->timer, client->idle_ms);
    if (h2) {
        client_h2_start(c);
    } else {
        client_h1_start(c);
    }
    if (c->for_upgrade) {
        c->leaving = true;
        loop_timer_stop(&c->timer);
        struct http_call *call = LIST_ENTRY(c->calls.next, struct http_call, link);
        c->served++;
        c->ops->start(c, call);
    }
    loop_task_defer(&client->task);
}

static void io_open_close(struct net_stream *io UNUSED, enum net_close why, const char *reason, void *arg)
{
    struct client_conn *c = arg;
    struct err err = { 0 };
    err_set(&err, why == NET_CLOSE_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "cannot connect to %s: %s", c->client->authority,
            reason);
    conn_failed(c, &err, why == NET_CLOSE_TLS);
}

static const struct net_stream_ops open_ops = { .on_open = io_open, .on_close = io_open_close };

static void on_dialled(int fd, const struct err *err, void *arg)
{
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    c->dial = NULL;
    if (fd < 0) {
        conn_failed(c, err, false);
        return;
    }
    c->state = CLIENT_OPENING;
    if (client->tls) {
        c->io = net_stream_new_tls_client(client->loop, fd, client->tls, str_c(client->host), &open_ops, c);
        c->generation = net_tls_client_generation(client->tls);
        if (c->for_upgrade || client->protocol == HTTP_CLIENT_H1_ONLY) {
            net_stream_restrict_alpn(c->io, NET_ALPN_H1);
        } else if (client->protocol == HTTP_CLIENT_H2_PRIOR) {
            net_stream_restrict_alpn(c->io, NET_ALPN_H2);
        }
    } else {
        c->io = net_stream_new(client->loop, fd, &open_ops, c);
    }
    net_stream_set_path(c->io, client->path);
}

struct client_conn *client_conn_open(struct http_client *client, bool for_upgrade)
{
    struct client_conn *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    c->client = client;
    c->holds = 1;
    c->for_upgrade = for_upgrade;
    c->state = CLIENT_DIALING;
    list_init(&c->calls);
    list_push_back(&client->conns, &c->link);
    client->n_conns++;
    client->n_opening += !for_upgrade;
    loop_timer_init(&c->timer, client->loop, on_open_timeout, c);
    loop_timer_start(&c->timer, client->connect_ms);
    c->dial = net_dial_start(client->dialer, client->loop, str_c(client->host), client->port, client->connect_ms, on_dialled, c);
    return c;
}
