#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <unistd.h>

/* Addresses of one name that are tried; a name with more is odd, and each costs a connect. */
enum { MAX_ADDRS = 8 };

struct net_dial {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer timer; /* the whole attempt */
    struct loop_timer next;  /* one address, and the first step, which must not happen inside start() */
    struct loop_work work;
    uint64_t deadline_ms;
    char *host;
    uint16_t port;
    struct net_addr addrs[MAX_ADDRS];
    size_t n_addrs, i_addr;
    int fd;
    int resolve_error; /* EAI_*, 0: resolved */
    bool resolving, cancelled;
    const struct net_dialer_checked *check; /* NULL: every address may be dialled */
    struct err last;
    net_dial_fn *done;
    void *arg;
};

static void try_next(struct net_dial *d);

static void stop_socket(struct net_dial *d)
{
    loop_io_stop(&d->io);
    if (d->fd >= 0) {
        (void)close(d->fd);
        d->fd = -1;
    }
}

static void dial_free(struct net_dial *d)
{
    stop_socket(d);
    loop_timer_stop(&d->timer);
    loop_timer_stop(&d->next);
    free(d->host);
    free(d);
}

static void complete(struct net_dial *d, int fd)
{
    net_dial_fn *done = d->done;
    void *arg = d->arg;
    struct err err = d->last;
    if (d->resolving) { /* the worker still uses it */
        d->cancelled = true;
        loop_timer_stop(&d->timer);
    } else {
        dial_free(d);
    }
    done(fd, fd >= 0 ? NULL : &err, arg);
}

static void on_connected(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    struct net_dial *d = arg;
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0) {
        errnum = errno;
    }
    char text[NET_ADDR_TEXT_SIZE];
    if (errnum != 0) {
        err_set_errno(&d->last, errnum, "cannot connect to %s", net_addr_text(&d->addrs[d->i_addr - 1], text).ptr);
        d->last.code = ERR_UNAVAILABLE;
        stop_socket(d);
        try_next(d);
        return;
    }
    loop_io_stop(&d->io);
    complete(d, TAKE_FD(d->fd));
}

static void on_address_timeout(void *arg)
{
    struct net_dial *d = arg;
    if (d->fd >= 0) {
        char text[NET_ADDR_TEXT_SIZE];
        err_set(&d->last, ERR_TIMEOUT, "cannot connect to %s: no answer in time",
                net_addr_text(&d->addrs[d->i_addr - 1], text).ptr);
        stop_socket(d);
    }
    try_next(d);
}

static void try_next(struct net_dial *d)
{
    while (d->i_addr < d->n_addrs) {
        const struct net_addr *a = &d->addrs[d->i_addr++];
        char text[NET_ADDR_TEXT_SIZE];
        if (d->check && !d->check->check(a, d->check->arg, &d->last)) {
            continue;
        }
        d->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (d->fd < 0) {
            err_set_errno(&d->last, errno, "cannot make a socket for %s", net_addr_text(a, text).ptr);
            continue;
        }
        if (connect(d->fd, &a->sa, a->len) == 0) {
            complete(d, TAKE_FD(d->fd));
            return;
        }
        if (errno == EINPROGRESS) {
            loop_io_init(&d->io, d->loop, d->fd, on_connected, d);
            if (loop_io_set(&d->io, LOOP_WRITE) == 0) {
                /* What is left of the time is shared among the addresses left. */
                uint64_t now = loop_now_ms(d->loop), left = d->deadline_ms > now ? d->deadline_ms - now : 0;
                if (d->i_addr < d->n_addrs) {
                    loop_timer_start(&d->next, left / (d->n_addrs - d->i_addr + 1));
                } else {
                    loop_timer_stop(&d->next);
                }
                return;
            }
        }
        err_set_errno(&d->last, errno, "cannot connect to %s", net_addr_text(a, text).ptr);
        d->last.code = ERR_UNAVAILABLE;
        stop_socket(d);
    }
    complete(d, -1);
}

static void on_timeout(void *arg)
{
    struct net_dial *d = arg;
    stop_socket(d);
    err_set(&d->last, ERR_TIMEOUT, "cannot connect to %s: no answer in time", d->host);
    complete(d, -1);
}

static void resolve(struct loop_work *w)
{
    struct net_dial *d = CONTAINER_OF(w, struct net_dial, work);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;
    d->resolve_error = getaddrinfo(d->host, NULL, &hints, &list);
    for (struct addrinfo *a = list; a && d->n_addrs < MAX_ADDRS; a = a->ai_next) {
        struct net_addr *to = &d->addrs[d->n_addrs];
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || a->ai_addrlen > sizeof(struct sockaddr_un)) {
            continue;
        }
        memcpy(&to->sa, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
        *(a->ai_family == AF_INET ? &to->in4.sin_port : &to->in6.sin6_port) = htons(d->port);
        d->n_addrs++;
    }
    if (list) {
        freeaddrinfo(list);
    }
}

static void resolved(struct loop_work *w)
{
    struct net_dial *d = CONTAINER_OF(w, struct net_dial, work);
    d->resolving = false;
    if (d->cancelled) {
        dial_free(d);
        return;
    }
    if (d->n_addrs == 0) {
        err_set(&d->last, ERR_UNAVAILABLE, "cannot find the address of %s: %s", d->host,
                d->resolve_error ? gai_strerror(d->resolve_error) : "it has none");
    }
    try_next(d);
}

/* The first step, one turn after start(). */
static void begin(void *arg)
{
    struct net_dial *d = arg;
    d->next.fn = on_address_timeout;
    if (d->n_addrs > 0) {
        try_next(d);
        return;
    }
    d->work = (struct loop_work){ .run = resolve, .done = resolved };
    d->resolving = true;
    if (d->host[0] == 0 || loop_workers_submit(loop_default_workers(d->loop), &d->work) < 0) {
        d->resolving = false;
        err_set(&d->last, ERR_UNAVAILABLE, "cannot look up \"%s\"", d->host);
        complete(d, -1);
    }
}

static struct net_dial *start_with(const struct net_dialer_checked *check, struct loop *l, struct str host, uint16_t port,
                                   uint32_t timeout_ms, net_dial_fn *done, void *arg)
{
    struct net_dial *d = calloc(1, sizeof(*d));
    char *name = malloc(host.len + 1);
    if (!d || !name) {
        abort();
    }
    if (!str_to_cstr(host, name, host.len + 1)) {
        name[0] = 0; /* a NUL inside: no such name, begin() says so */
    }
    *d = (struct net_dial){ .loop = l, .host = name, .port = port, .fd = -1, .check = check, .done = done, .arg = arg };
    err_set(&d->last, ERR_UNAVAILABLE, "cannot connect to %s", name);
    if (host.len > 0 && (host.ptr[0] == '/' || host.ptr[0] == '@')) {
        d->n_addrs = net_addr_unix(host, &d->addrs[0]) ? 1 : 0;
    } else if (net_addr_parse_ip(host, port, &d->addrs[0])) {
        d->n_addrs = 1;
    }
    d->deadline_ms = loop_now_ms(l) + timeout_ms;
    loop_timer_init(&d->timer, l, on_timeout, d);
    loop_timer_start(&d->timer, timeout_ms);
    loop_timer_init(&d->next, l, begin, d);
    loop_timer_start(&d->next, 0);
    return d;
}

static struct net_dial *direct_start(struct net_dialer *dialer UNUSED, struct loop *l, struct str host, uint16_t port,
                                     uint32_t timeout_ms, net_dial_fn *done, void *arg)
{
    return start_with(NULL, l, host, port, timeout_ms, done, arg);
}

static struct net_dial *checked_start(struct net_dialer *dialer, struct loop *l, struct str host, uint16_t port,
                                      uint32_t timeout_ms, net_dial_fn *done, void *arg)
{
    return start_with(CONTAINER_OF(dialer, struct net_dialer_checked, dialer), l, host, port, timeout_ms, done, arg);
}

static void direct_cancel(struct net_dial *d)
{
    if (d->resolving) {
        d->cancelled = true;
        stop_socket(d);
        loop_timer_stop(&d->timer);
        loop_timer_stop(&d->next);
    } else {
        dial_free(d);
    }
}

static const struct net_dialer_ops direct_ops = { .start = direct_start, .cancel = direct_cancel };

struct net_dialer *net_dialer_direct(void)
{
    static struct net_dialer direct = { .ops = &direct_ops };
    return &direct;
}

void net_dialer_checked_init(struct net_dialer_checked *d, net_dial_check_fn *check, void *arg)
{
    static const struct net_dialer_ops ops = { .start = checked_start, .cancel = direct_cancel };
    *d = (struct net_dialer_checked){ .dialer = { .ops = &ops }, .check = check, .arg = arg };
}
