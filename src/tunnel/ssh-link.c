#include "tunnel/ssh-link.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "tunnel/limits.h"
#include "tunnel/ssh-link-private.h"

enum { POLLS_PER_STEP = 32 /* libssh reads 4 KiB each */, KEEPALIVE_S = 15, USER_TIMEOUT_MS = 30000, MAX_ANNOTATION = 16384 };

/* The names that kube-apiserver gave them when it opened the tunnels itself. */
static struct metric open_count = METRIC_COUNTER("ssh_tunnel_open_count", "Counter of ssh tunnel total open attempts");
static struct metric open_fail_count = METRIC_COUNTER("ssh_tunnel_open_fail_count", "Counter of ssh tunnel failed open attempts");

static void step(struct ssh_link *l);
static void start_probe(void *arg);

static struct ssh_link *of(struct tunnel_link *l)
{
    return CONTAINER_OF(l, struct ssh_link, base);
}

void ssh_link_fail(struct ssh_link *l, const char *fmt, ...)
{
    char msg[512];
    va_list ap;
    if (l->failure.msg[0]) {
        return; /* the first reason is the one */
    }
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    err_set(&l->failure, ERR_UNAVAILABLE, "%s", msg);
    ssh_link_wake(l);
}

static void set_state(struct ssh_link *l, enum tunnel_state state)
{
    l->base.facts.state = state;
    l->base.facts.since = clock_real_s();
}

static void leave_handshake(struct ssh_link *l)
{
    if (l->counted) {
        l->counted = false;
        l->shared->handshakes--;
    }
}

/* ---- down ---- */

static void close_session(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    ssh_session session = l->session;
    loop_io_stop(&l->io);
    loop_timer_stop(&l->timer);
    loop_timer_stop(&l->probe_timer);
    loop_task_cancel(&l->work);
    leave_handshake(l);
    if (l->dial) {
        net_dialer_direct()->ops->cancel(l->dial);
        l->dial = NULL;
    }
    l->session = NULL;
    if (l->event) {
        lib->ssh_event_free(l->event);
        l->event = NULL;
    }
    if (session) {
        if (l->phase == SSH_UP && lib->ssh_is_connected(session)) {
            lib->ssh_disconnect(session);
        }
        lib->ssh_free(session);
    }
    if (l->fd >= 0) {
        (void)close(l->fd);
        l->fd = -1;
    }
    l->phase = SSH_IDLE;
}

static void retry_later(struct ssh_link *l, uint32_t ms)
{
    set_state(l, TUNNEL_WAITING);
    loop_timer_start(&l->timer, ms / 2 + rand_below(ms + 1));
}

/* Takes everything down and tries again later. */
static void go_down(struct ssh_link *l)
{
    struct tunnel_facts *facts = &l->base.facts;
    char reason[600];
    bool was_up = l->phase == SSH_UP;
    bool stable = was_up && loop_now_ms(l->shared->loop) - l->open_since_ms >= TUNNEL_STABLE_MS;
    bool news = was_up || strcmp(facts->last_error, l->failure.msg) != 0;
    (void)snprintf(facts->last_error, sizeof(facts->last_error), "%.*s", (int)sizeof(facts->last_error) - 1, l->failure.msg);
    log_at(news ? LOG_WARNING : LOG_DEBUG, "tunnel: %s: SSH tunnel to %s %s: %s", l->node, l->address,
           was_up ? "broke" : "cannot be opened", l->failure.msg);
    (void)snprintf(reason, sizeof(reason), "the SSH tunnel to node %s broke: %.300s", l->node, l->failure.msg);
    if (!was_up) {
        facts->failed++;
        metric_add(metric_cell(&open_fail_count), 1);
    }
    close_session(l);
    l->failure.msg[0] = '\0';
    ssh_far_end_all(l, reason);
    l->probe = NULL;
    facts->kubelet[0] = '\0';
    l->flaps = !was_up ? l->flaps : stable ? 0 : MIN(l->flaps + 1, 6u);
    l->retry_ms = was_up || l->retry_ms == 0 ? (uint32_t)TUNNEL_RETRY_MS << l->flaps : MIN(2 * l->retry_ms, (uint32_t)TUNNEL_RETRY_MAX_MS);
    retry_later(l, l->retry_ms);
}

/* ---- the host key ---- */

/* A key from the annotation: the same type and bytes? */
static bool in_annotation(const char *annotation, struct str blob)
{
    struct str rest = str_c(annotation), line, type;
    CLEANUP(buf_deinit) struct buf one;
    buf_init(&one, MAX_ANNOTATION);
    for (int i = 0; i < TUNNEL_MAX_ANNOTATION_KEYS && str_split(&rest, '\n', &line); i++) {
        buf_clear(&one);
        if (known_key_parse(line, &type, &one) && str_eq(buf_str(&one), blob)) {
            return true;
        }
    }
    return false;
}

static size_t host_names(struct ssh_link *l, char text[5][KNOWN_NAME_SIZE], struct str names[5])
{
    size_t n = 0;
    names[n] = known_name(str_c(l->address), l->shared->port, text[n]);
    n++;
    for (size_t i = 0; i < l->n_names; i++, n++) {
        names[n] = known_name(str_c(l->names[i]), l->shared->port, text[n]);
    }
    return n;
}

/* SHA256:... as ssh-keygen -l shows it. */
static void fingerprint(struct ssh_link *l, ssh_key key, char *dst, size_t size)
{
    const struct ssh_lib *lib = l->shared->lib;
    unsigned char *hash = NULL;
    size_t len = 0;
    char *text = NULL;
    if (lib->ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == SSH_OK) {
        text = lib->ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
        lib->ssh_clean_pubkey_hash(&hash);
    }
    (void)snprintf(dst, size, "%s", text ? text : "");
    lib->ssh_string_free_char(text);
}

static bool judge(struct ssh_link *l, struct str blob, const char *print)
{
    char text[5][KNOWN_NAME_SIZE];
    struct str names[5];
    size_t n = host_names(l, text, names);
    l->base.facts.trust = "";
    switch (known_hosts_check(l->shared->known_hosts, names, n, blob)) {
    case KNOWN_SAME:
        l->base.facts.trust = "pinned";
        return true;
    case KNOWN_REVOKED:
        ssh_link_fail(l, "HOST KEY REVOKED: %s shows %s, which known_hosts marks as @revoked", text[0], print);
        return false;
    case KNOWN_OTHER:
        ssh_link_fail(l, "HOST KEY CHANGED: %s shows %s, and known_hosts has another key for it: somebody may be in between", text[0],
                      print);
        return false;
    case KNOWN_NOTHING:
    default:
        break;
    }
    if (l->shared->annotation_keys && l->annotation) {
        if (in_annotation(l->annotation, blob)) {
            l->base.facts.trust = "annotation";
            return true;
        }
        ssh_link_fail(l, "HOST KEY CHANGED: %s shows %s, and the Node's annotation has another key: somebody may be in between", text[0],
                      print);
        return false;
    }
    ssh_link_fail(l, "HOST KEY UNKNOWN: %s shows %s, and neither known_hosts nor the Node names a key for it", text[0], print);
    return false;
}

static bool host_key_is_right(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    struct arena a;
    struct str blob;
    ssh_key key = NULL;
    char *base64 = NULL;
    bool ok = false;
    arena_init(&a, 65536);
    if (lib->ssh_get_server_publickey(l->session, &key) == SSH_OK && lib->ssh_pki_export_pubkey_base64(key, &base64) == SSH_OK &&
        base64_decode(&a, str_c(base64), &blob)) {
        fingerprint(l, key, l->base.facts.identity, sizeof(l->base.facts.identity));
        ok = judge(l, blob, l->base.facts.identity);
    } else {
        ssh_link_fail(l, "the host key cannot be read");
    }
    lib->ssh_string_free_char(base64);
    lib->ssh_key_free(key);
    arena_deinit(&a);
    return ok;
}

/* Asks for the types of key that we know, first those of known_hosts: a server with several keys must not look changed. */
static void ask_for_known_types(struct ssh_link *l)
{
    char text[5][KNOWN_NAME_SIZE], list[512];
    struct str names[5], types[8];
    size_t n_names = host_names(l, text, names), len = 0;
    size_t n = known_hosts_types(l->shared->known_hosts, names, n_names, types, ARRAY_SIZE(types));
    if (n == 0 && l->shared->annotation_keys && l->annotation) {
        struct str rest = str_c(l->annotation), line;
        CLEANUP(buf_deinit) struct buf blob;
        buf_init(&blob, 8 * MAX_ANNOTATION);
        while (n < ARRAY_SIZE(types) && str_split(&rest, '\n', &line)) {
            n += known_key_parse(line, &types[n], &blob);
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct str t = str_eq_c(types[i], "ssh-rsa") ? STR("rsa-sha2-512,rsa-sha2-256") : types[i];
        int k = snprintf(list + len, sizeof(list) - len, "%s%.*s", len ? "," : "", STR_ARG(t));
        if (k <= 0 || (size_t)k >= sizeof(list) - len) {
            break;
        }
        len += (size_t)k;
    }
    if (len) {
        (void)l->shared->lib->ssh_options_set(l->session, SSH_OPTIONS_HOSTKEYS, list);
    }
}

/* ---- up ---- */

static void on_io(struct loop_io *io UNUSED, unsigned events UNUSED, void *arg)
{
    step(arg);
}

static void on_work(void *arg)
{
    step(arg);
}

static bool begin_session(struct ssh_link *l, int fd)
{
    const struct ssh_lib *lib = l->shared->lib;
    unsigned port = l->shared->port;
    int on = 1, idle = KEEPALIVE_S, timeout = USER_TIMEOUT_MS, no = 0;
    l->fd = fd;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    l->session = lib->ssh_new();
    if (!l->session || copy < 0) {
        ssh_link_fail(l, "no memory or no descriptor for a session");
        if (copy >= 0) {
            (void)close(copy);
        }
        return false;
    }
    lib->ssh_set_blocking(l->session, 0);
    /* No file of the user's changes what we do. */
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_PROCESS_CONFIG, &(bool){ false });
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_SSH_DIR, "/nonexistent");
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_GSSAPI_AUTH, &no);
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_COMPRESSION, "no");
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_PORT, &port);
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_HOST, l->address);
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_USER, l->shared->user);
    (void)lib->ssh_options_set(l->session, SSH_OPTIONS_FD, &copy);
    ask_for_known_types(l);
    loop_io_init(&l->io, l->shared->loop, fd, on_io, l);
    l->phase = SSH_HELLO;
    return true;
}

/* Key exchanges at once are few; connecting is not counted, so that nodes that are away hold up nobody. */
static void begin_or_queue(struct ssh_link *l)
{
    uint64_t now = loop_now_ms(l->shared->loop);
    if (l->shared->handshakes < TUNNEL_MAX_HANDSHAKES) {
        int fd = TAKE_FD(l->fd);
        l->counted = true;
        l->shared->handshakes++;
        (void)begin_session(l, fd);
        loop_timer_start_at(&l->timer, l->deadline_ms);
    } else if (now >= l->deadline_ms) {
        ssh_link_fail(l, "too many other tunnels are being opened");
    } else {
        l->phase = SSH_QUEUED;
        loop_timer_start(&l->timer, 5 + rand_below(30));
    }
}

static void on_dialed(int fd, const struct err *err, void *arg)
{
    struct ssh_link *l = arg;
    l->dial = NULL;
    if (fd < 0) {
        ssh_link_fail(l, "%s", err->msg);
    } else {
        l->fd = fd;
        begin_or_queue(l);
    }
    step(l);
}

static void connect_now(struct ssh_link *l)
{
    l->base.facts.opened++;
    metric_add(metric_cell(&open_count), 1);
    set_state(l, TUNNEL_CONNECTING);
    l->phase = SSH_DIALING;
    l->deadline_ms = loop_now_ms(l->shared->loop) + TUNNEL_CONNECT_MS;
    l->dial = net_dial_start(net_dialer_direct(), l->shared->loop, str_c(l->address), l->shared->port, TUNNEL_CONNECT_MS, on_dialed, l);
    loop_timer_start(&l->timer, TUNNEL_CONNECT_MS + 1000);
}

/* The next try is due, or the turn of one that is connected, or the handshake took too long. */
static void on_timer(void *arg)
{
    struct ssh_link *l = arg;
    if (l->phase == SSH_QUEUED) {
        begin_or_queue(l);
    } else if (l->phase != SSH_IDLE) {
        ssh_link_fail(l, "the handshake was not complete within %u s", TUNNEL_CONNECT_MS / 1000);
    } else if (l->address[0]) {
        connect_now(l);
    } else {
        ssh_link_fail(l, "the Node has no address of the types that are dialled");
    }
    if (l->failure.msg[0] || l->phase == SSH_HELLO) {
        step(l);
    }
}

static void say_hello(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    int rc = lib->ssh_connect(l->session);
    if (rc == SSH_ERROR) {
        ssh_link_fail(l, "%s", lib->ssh_get_error(l->session));
    } else if (rc == SSH_OK && host_key_is_right(l)) {
        l->phase = SSH_AUTH;
    }
}

static void authenticate(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    int rc = lib->ssh_userauth_publickey(l->session, NULL, l->shared->key);
    if (rc == SSH_AUTH_AGAIN) {
        return;
    }
    if (rc != SSH_AUTH_SUCCESS) {
        if (rc == SSH_AUTH_DENIED || rc == SSH_AUTH_PARTIAL) {
            ssh_link_fail(l, "sshd refuses user %s with our key: is its public half in authorized_keys?", l->shared->user);
        } else {
            ssh_link_fail(l, "authentication: %s", lib->ssh_get_error(l->session));
        }
        return;
    }
    l->event = lib->ssh_event_new();
    if (!l->event || lib->ssh_event_add_session(l->event, l->session) != SSH_OK) {
        ssh_link_fail(l, "no memory for a session");
        return;
    }
    l->phase = SSH_UP;
    l->open_since_ms = loop_now_ms(l->shared->loop);
    leave_handshake(l);
    loop_timer_stop(&l->timer);
    set_state(l, TUNNEL_OPEN);
    log_info("tunnel: %s: SSH tunnel to %s is open (host key %s, %s)", l->node, l->address, l->base.facts.identity, l->base.facts.trust);
    l->base.facts.last_error[0] = '\0';
    start_probe(l);
}

static void move_bytes(struct ssh_link *l)
{
    const struct ssh_lib *lib = l->shared->lib;
    int rc = SSH_OK;
    for (int i = 0; i < POLLS_PER_STEP && rc == SSH_OK; i++) {
        rc = lib->ssh_event_dopoll(l->event, 0);
    }
    ssh_far_work(l);
    if (rc == SSH_ERROR || !lib->ssh_is_connected(l->session) || (lib->ssh_get_status(l->session) & (SSH_CLOSED | SSH_CLOSED_ERROR))) {
        const char *why = lib->ssh_get_error(l->session);
        ssh_link_fail(l, "%s", why && why[0] ? why : "the connection ended");
    }
}

/* One step of whatever is under way; then what the socket is watched for. */
static void step(struct ssh_link *l)
{
    if (l->working) {
        return;
    }
    l->working = true;
    if (!l->failure.msg[0] && l->phase == SSH_HELLO) {
        say_hello(l);
    }
    if (!l->failure.msg[0] && l->phase == SSH_AUTH) {
        authenticate(l);
    }
    if (!l->failure.msg[0] && l->phase == SSH_UP) {
        move_bytes(l);
    }
    if (l->failure.msg[0]) {
        go_down(l);
    } else if (l->session) {
        int flags = l->shared->lib->ssh_get_poll_flags(l->session);
        if (loop_io_set(&l->io, LOOP_READ | (flags & SSH_WRITE_PENDING ? LOOP_WRITE : 0u)) < 0) {
            ssh_link_fail(l, "the socket cannot be watched");
        }
    }
    l->working = false;
}

/* ---- probes ---- */

static uint32_t probe_ms(const struct ssh_link *l)
{
    return l->shared->probe_ms ? l->shared->probe_ms : TUNNEL_PROBE_MS;
}

static uint32_t probe_answer_ms(const struct ssh_link *l)
{
    return l->shared->probe_answer_ms ? l->shared->probe_answer_ms : TUNNEL_PROBE_ANSWER_MS;
}

static void probe_answered(struct ssh_link *l, const char *reason)
{
    (void)snprintf(l->base.facts.kubelet, sizeof(l->base.facts.kubelet), "%s", reason);
    l->probe = NULL;
    loop_timer_start(&l->probe_timer, probe_ms(l) / 2 + rand_below(probe_ms(l)));
}

static void on_probe_open(void *arg)
{
    struct ssh_link *l = arg;
    struct tunnel_far *far = (struct tunnel_far *)(void *)l->probe;
    probe_answered(l, "");
    far_close(far);
}

static void on_probe_refused(const char *reason, void *arg)
{
    struct ssh_link *l = arg;
    if (l->phase == SSH_UP && l->session) {
        probe_answered(l, reason); /* sshd lives, whatever the kubelet does */
    }
}

static void on_probe_data(struct str data UNUSED, void *arg UNUSED)
{
}
static void on_probe_nothing(void *arg UNUSED)
{
}
static void on_probe_close(const char *reason UNUSED, void *arg UNUSED)
{
}

static const struct tunnel_far_events probe_events = {
    .on_open = on_probe_open, .on_refused = on_probe_refused, .on_data = on_probe_data, .on_writable = on_probe_nothing,
    .on_eof = on_probe_nothing, .on_close = on_probe_close,
};

static void on_probe_timer(void *arg)
{
    struct ssh_link *l = arg;
    if (l->probe) {
        ssh_link_fail(l, "sshd did not answer within %u ms", probe_answer_ms(l));
        step(l);
    } else {
        start_probe(l);
    }
}

static void start_probe(void *arg)
{
    struct ssh_link *l = arg;
    struct err err;
    /* A node that does not say where its kubelet listens is asked for a port nobody has: the refusal is an answer too. */
    uint16_t port = l->kubelet_port ? l->kubelet_port : 1;
    l->probe = (struct ssh_far *)(void *)ssh_far_open(l, str_c(l->kubelet_host[0] ? l->kubelet_host : "127.0.0.1"), port, &probe_events,
                                                      l, &err);
    loop_timer_start(&l->probe_timer, l->probe ? probe_answer_ms(l) : probe_ms(l));
}

/* ---- the link ---- */

static struct tunnel_far *link_open(struct tunnel_link *base, struct str host, uint16_t port, const struct tunnel_far_events *events,
                                    void *arg, struct err *err)
{
    struct ssh_link *l = of(base);
    if (l->phase != SSH_UP || l->failure.msg[0]) {
        err_set(err, ERR_UNAVAILABLE, "the SSH tunnel to node %s is down%s%s", l->node, l->base.facts.last_error[0] ? ": " : "",
                l->base.facts.last_error);
        return NULL;
    }
    if (l->n_fars >= TUNNEL_MAX_STREAMS) {
        err_set(err, ERR_UNAVAILABLE, "the SSH tunnel to node %s carries %u streams already", l->node, l->n_fars);
        return NULL;
    }
    if (host.len >= 256) {
        err_set(err, ERR_INVALID, "the host's name is too long");
        return NULL;
    }
    return ssh_far_open(l, host, port, events, arg, err);
}

static void link_free(struct tunnel_link *base)
{
    struct ssh_link *l = of(base);
    char reason[400];
    (void)snprintf(reason, sizeof(reason), "node %s is gone", l->node);
    close_session(l);
    l->base.facts.state = TUNNEL_WAITING;
    ssh_far_end_all(l, reason);
    free(l->annotation);
    free(l);
}

static const struct tunnel_link_ops link_ops = { .kind = "ssh", .open = link_open, .free = link_free };

void ssh_links_start(struct ssh_links *shared)
{
    /* The counts are there from the start, as zeros. */
    metric_add(metric_cell(&open_count), 0);
    metric_add(metric_cell(&open_fail_count), 0);
    shared->handshakes = 0;
    shared->held = 0;
}

struct tunnel_link *ssh_link_new(struct ssh_links *shared, struct str node)
{
    struct ssh_link *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    l->base.ops = &link_ops;
    l->base.facts.trust = "";
    l->shared = shared;
    l->fd = -1;
    (void)snprintf(l->node, sizeof(l->node), "%.*s", STR_ARG(node));
    list_init(&l->fars);
    list_init(&l->opening);
    list_init(&l->active);
    list_init(&l->blocked);
    loop_task_init(&l->work, shared->loop, on_work, l);
    loop_timer_init(&l->timer, shared->loop, on_timer, l);
    loop_timer_init(&l->probe_timer, shared->loop, on_probe_timer, l);
    set_state(l, TUNNEL_WAITING);
    return &l->base;
}

static void set_annotation(struct ssh_link *l, struct str annotation)
{
    if (str_empty(annotation) || annotation.len > MAX_ANNOTATION) {
        return;
    }
    if (!l->annotation) {
        l->annotation = strndup(annotation.ptr, annotation.len);
        ssh_link_try_now(&l->base);
    } else if (!str_eq_c(annotation, l->annotation) && !l->annotation_warned) {
        l->annotation_warned = true;
        log_warning("tunnel: %s: the Node's annotation names other host keys than before: the first ones stay in force", l->node);
    }
}

void ssh_link_try_now(struct tunnel_link *base)
{
    struct ssh_link *l = of(base);
    if (l->phase == SSH_IDLE && loop_timer_runs(&l->timer)) {
        loop_timer_start(&l->timer, rand_below(200));
    }
}

void ssh_link_set_target(struct tunnel_link *base, const struct ssh_target *t)
{
    struct ssh_link *l = of(base);
    bool moved = !str_eq_c(t->address, l->address);
    (void)snprintf(l->address, sizeof(l->address), "%.*s", STR_ARG(t->address));
    (void)snprintf(l->kubelet_host, sizeof(l->kubelet_host), "%.*s", STR_ARG(t->kubelet_host));
    l->kubelet_port = t->kubelet_port;
    l->n_names = 0;
    for (size_t i = 0; i < t->n_names; i++) {
        if (str_to_cstr(t->names[i], l->names[l->n_names], sizeof(l->names[0])) && l->names[l->n_names][0]) {
            l->n_names++;
        }
    }
    set_annotation(l, t->annotation);
    (void)snprintf(l->base.facts.address, sizeof(l->base.facts.address), strchr(l->address, ':') ? "[%.140s]:%u" : "%.140s:%u", l->address,
                   l->shared->port);
    if (moved && l->phase != SSH_IDLE) {
        ssh_link_fail(l, "the Node's address is another one now");
    } else if (moved || !loop_timer_runs(&l->timer)) {
        if (l->phase == SSH_IDLE) {
            loop_timer_start(&l->timer, rand_below(20));
        }
    }
}
