#include "net/http-server-gate.h"

#include <unistd.h>

#include "base/log.h"
#include "net/http-server-private.h"
#include "net/path.h"

enum {
    ADMIT_BURST = 64, /* let in at one turn of the loop */
    LOOK_MS = 200     /* between looks for strangers that had their turn, while somebody waits */
};

struct http_gate_address {
    struct list crowded;   /* in the gate's; empty: nobody waits */
    struct list strangers; /* struct http_conn, in the order in which they were let in */
    struct list waiting;   /* struct waiting, in the order of arrival */
    unsigned n_strangers, n_waiting;
    char text[NET_ADDR_TEXT_SIZE];
};

struct waiting {
    struct list link;
    struct http_arrival arrival;
    uint64_t since_ms;
};

static uint64_t now_of(const struct http_gate *g)
{
    return loop_now_ms(http_server_loop(g->server));
}

static struct http_gate_address *address_of(struct http_gate *g, struct str text)
{
    struct http_gate_address *a = map_get(&g->addresses, text);
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (!a) {
            abort();
        }
        list_init(&a->crowded);
        list_init(&a->strangers);
        list_init(&a->waiting);
        (void)!str_to_cstr(text, a->text, sizeof(a->text));
        (void)map_put(&g->addresses, text, a);
    }
    return a;
}

static void forget_if_empty(struct http_gate *g, struct http_gate_address *a)
{
    if (a->n_strangers == 0 && a->n_waiting == 0) {
        list_remove(&a->crowded);
        (void)map_remove(&g->addresses, str_c(a->text));
        free(a);
    }
}

/* ---- waiting ---- */

static struct http_arrival take_first(struct http_gate *g, struct http_gate_address *a)
{
    struct waiting *w = LIST_ENTRY(a->waiting.next, struct waiting, link);
    struct http_arrival arrival = w->arrival;
    list_remove(&w->link);
    free(w);
    a->n_waiting--;
    g->n_waiting--;
    if (a->n_waiting == 0) {
        list_remove(&a->crowded);
    }
    return arrival;
}

static void give_up(const struct http_arrival *a)
{
    (void)close(a->fd);
    net_tls_server_unref(a->tls);
    net_path_unref(a->path);
}

static void wait_for_room(struct http_gate *g, struct http_gate_address *a, const struct http_arrival *arrival)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (!w) {
        abort();
    }
    w->arrival = *arrival;
    w->arrival.tls = net_tls_server_ref(arrival->tls);
    w->arrival.path = net_path_ref(arrival->path);
    w->since_ms = now_of(g);
    list_push_back(&a->waiting, &w->link);
    g->n_waiting++;
    if (a->n_waiting++ == 0) {
        list_push_back(&g->crowded, &a->crowded);
    }
    if (!loop_timer_runs(&g->timer)) {
        loop_timer_start(&g->timer, 0);
    }
}

static void drop_waiting(struct http_gate *g, struct http_gate_address *a, uint64_t since_before)
{
    while (a->n_waiting > 0 && LIST_ENTRY(a->waiting.next, struct waiting, link)->since_ms < since_before) {
        struct http_arrival arrival = take_first(g, a);
        give_up(&arrival);
    }
}

/* ---- those who make room ---- */

/* Was a request of it refused, is it silent, or does it only talk? As long as bytes of it wait to be read it is none of the last two: a
 * server that is slow does not take its own slowness for the other side's. */
static bool had_its_turn(const struct http_conn *c, uint64_t now)
{
    uint64_t here = now - c->since_ms, last = MAX(c->since_ms, net_stream_last_activity_ms(c->io));
    if (c->n_streams > 0 || here < HTTP_STRANGER_GRACE_MS) {
        return false;
    }
    return c->refused ||
           ((now - last >= HTTP_STRANGER_GRACE_MS || here >= HTTP_HEADER_MS) && net_stream_unread_bytes(c->io) == 0);
}

/* Closes strangers that had their turn, as many as there are others of that address that wait. */
static void cut_strangers(struct http_gate *g, struct http_gate_address *a)
{
    uint64_t now = now_of(g);
    unsigned wanted = a->n_waiting;
    struct list *n = a->strangers.next;
    while (n != &a->strangers && wanted > 0) {
        struct http_conn *c = LIST_ENTRY(n, struct http_conn, stranger);
        n = n->next;
        if (!c->gone && c->io && had_its_turn(c, now)) {
            char text[NET_ADDR_TEXT_SIZE];
            log_info("net: connection from %s closed: no request of it was a success, and others of its address wait",
                     net_addr_text(&c->remote, text).ptr);
            http_conn_gone(c); /* 'a' stays: somebody waits */
            wanted--;
        }
    }
}

static void on_timer(void *arg)
{
    struct http_gate *g = arg;
    uint64_t now = now_of(g);
    struct list *n = g->crowded.next;
    while (n != &g->crowded) {
        struct http_gate_address *a = LIST_ENTRY(n, struct http_gate_address, crowded);
        n = n->next;
        cut_strangers(g, a);
        drop_waiting(g, a, now > HTTP_WAIT_MS ? now - HTTP_WAIT_MS : 0);
        forget_if_empty(g, a);
    }
    if (g->n_waiting > 0) {
        loop_timer_start(&g->timer, LOOK_MS);
    }
}

/* ---- letting in ---- */

/* One of each address in turn, as long as there is room for it. */
static void admit(void *arg)
{
    struct http_gate *g = arg;
    unsigned let_in = 0, refused = 0;
    while (let_in < ADMIT_BURST && !list_empty(&g->crowded)) {
        struct http_gate_address *a = LIST_ENTRY(g->crowded.next, struct http_gate_address, crowded);
        list_remove(&a->crowded);
        list_push_back(&g->crowded, &a->crowded);
        if (a->n_strangers >= HTTP_MAX_STRANGERS_PER_IP) {
            if (++refused > g->addresses.n) {
                return; /* all were asked since the last one came in */
            }
            continue;
        }
        struct http_arrival arrival = take_first(g, a);
        http_server_serve(g->server, &arrival);
        net_tls_server_unref(arrival.tls);
        net_path_unref(arrival.path);
        let_in++;
        refused = 0;
    }
    if (!list_empty(&g->crowded)) {
        loop_task_defer(&g->task);
    }
}

void http_gate_arrive(struct http_gate *g, struct http_arrival *arrival, const struct net_addr *remote)
{
    char text[NET_ADDR_TEXT_SIZE];
    struct str ip = net_addr_ip_text(remote, text);
    if (ip.len == 0) {
        http_server_serve(g->server, arrival);
        return;
    }
    struct http_gate_address *a = arrival->address = address_of(g, ip);
    if (a->n_waiting == 0 && a->n_strangers < HTTP_MAX_STRANGERS_PER_IP) {
        http_server_serve(g->server, arrival);
    } else if (a->n_waiting < HTTP_MAX_WAITING_PER_IP &&
               g->n_waiting + http_server_connections(g->server) < http_server_config(g->server)->max_connections) {
        wait_for_room(g, a, arrival);
    } else {
        log_warning("net: connection from %s refused: too many connections", text);
        (void)close(arrival->fd);
        forget_if_empty(g, a);
    }
}

void http_gate_enter(struct http_conn *c, struct http_gate_address *a)
{
    if (a) {
        c->address = a;
        a->n_strangers++;
        list_push_back(&a->strangers, &c->stranger);
    }
}

void http_gate_leave(struct http_gate *g, struct http_conn *c)
{
    struct http_gate_address *a = c->address;
    if (!a) {
        return;
    }
    c->address = NULL;
    list_remove(&c->stranger);
    a->n_strangers--;
    if (a->n_waiting > 0) {
        loop_task_defer(&g->task);
    }
    forget_if_empty(g, a);
}

/* ---- lifetime ---- */

void http_gate_init(struct http_gate *g, struct http_server *srv)
{
    g->server = srv;
    map_init(&g->addresses);
    list_init(&g->crowded);
    loop_task_init(&g->task, http_server_loop(srv), admit, g);
    loop_timer_init(&g->timer, http_server_loop(srv), on_timer, g);
}

void http_gate_close(struct http_gate *g)
{
    while (!list_empty(&g->crowded)) {
        struct http_gate_address *a = LIST_ENTRY(g->crowded.next, struct http_gate_address, crowded);
        drop_waiting(g, a, UINT64_MAX);
        forget_if_empty(g, a);
    }
    loop_task_cancel(&g->task);
    loop_timer_stop(&g->timer);
}

void http_gate_deinit(struct http_gate *g)
{
    http_gate_close(g);
    map_deinit(&g->addresses);
}
