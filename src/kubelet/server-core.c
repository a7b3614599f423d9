/*
 * The core's side of the kubelet's server: its process, its socket, messages and answers. Requests come from the server's process as
 * typed messages; nothing of HTTP is parsed here but the target, which the server has checked already.
 */
#include "kubelet/core-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "kubelet/node-certificates.h"
#include "kubelet/server-private.h"

/* ---- answers ---- */

void core_request_free(struct core_request *r)
{
    list_remove(&r->link);
    if (r->authenticating) {
        authn_cancel(&r->authn);
    }
    if (r->authorizing) {
        authz_cancel(&r->authz);
    }
    runtime_cancel(r->k->rt, r->call);
    (void)http_call_cancel(r->proxy_call);
    http_client_free(r->proxy);
    buf_deinit(&r->proxy_report);
    arena_deinit(&r->a);
    free(r);
}

struct core_request *core_request_new(struct server_core *s, uint32_t id)
{
    struct core_request *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    r->core = s;
    r->k = s->k;
    r->id = id;
    arena_init(&r->a, KUBELET_MAX_WORK_ARENA);
    list_push_back(&s->requests, &r->link);
    return r;
}

/* In order, and kept while the server is behind: an answer that is lost leaves its client waiting. */
void core_send(struct server_core *s, const struct wire_message *m)
{
    int rc = wire_queue_send(&s->out, m);
    if (rc < 0) {
        log_warning("the server cannot be answered: %s", strerror(-rc));
    }
    (void)loop_io_set(&s->io, LOOP_READ | (wire_queue_waits(&s->out) ? LOOP_WRITE : 0));
}

void core_request_send(struct core_request *r, struct wire_message *m)
{
    m->id = r->id;
    core_send(r->core, m);
    core_request_free(r);
}

void core_request_reply(struct core_request *r, int status, const char *type, struct str body)
{
    struct wire_message m = { .what = WIRE_BODY, .number = (uint32_t)status, .n_strings = 2, .fd = -1 };
    m.strings[0] = str_c(type);
    m.strings[1] = body;
    if (body.len > WIRE_MAX_INLINE) {
        m.fd = wire_memory_file(body);
        m.strings[1] = STR_EMPTY;
    }
    int fd = m.fd;
    core_request_send(r, &m);
    fs_closep(&fd);
}

void core_request_error(struct core_request *r, int status, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    core_request_reply(r, status, "text/plain; charset=utf-8", str_c(text));
}

/* ---- the serving certificate ---- */

/* To the question 'id', or unasked (0) when something of it has changed. */
static void send_tls(struct server_core *s, uint32_t id)
{
    struct wire_message m = { .id = id, .what = WIRE_BODY, .fd = -1 };
    struct err err = { 0 };
    struct buf cert, key, ca;
    buf_init(&cert, WIRE_MAX);
    buf_init(&key, WIRE_MAX);
    buf_init(&ca, WIRE_MAX);
    if (serving_read(s->k, &cert, &key, &ca, &err)) {
        m.strings[0] = buf_str(&cert);
        m.strings[1] = buf_str(&key);
        m.strings[2] = buf_str(&ca);
        m.n_strings = 3;
    } else if (err.code == ERR_UNAVAILABLE) {
        log_info("there is no serving certificate yet (%s): connections wait", err.msg);
    } else {
        log_error("the serving certificate cannot be read: %s", err.msg);
    }
    if (id || m.n_strings) {
        core_send(s, &m);
    }
    if (key.ptr) {
        explicit_bzero(key.ptr, key.len);
    }
    buf_deinit(&cert);
    buf_deinit(&key);
    buf_deinit(&ca);
}

void server_tls_changed(struct kubelet *k)
{
    struct server_core *s = k->server;
    struct err err = { 0 };
    if (!s || !s->authn) {
        return;
    }
    if (!authn_chain_reload(s->authn, &err)) {
        log_warning("client CAs cannot be read again, the old ones stay: %s", err.msg);
    }
    send_tls(s, 0);
}

/* ---- life ---- */

static void on_message(struct loop_io *io, unsigned events, void *arg)
{
    static char bytes[WIRE_MAX];
    struct server_core *s = arg;
    struct wire_message m;
    int fd;
    if (events & LOOP_WRITE) {
        wire_queue_flush(&s->out);
        (void)loop_io_set(io, LOOP_READ | (wire_queue_waits(&s->out) ? LOOP_WRITE : 0));
    }
    ssize_t n = wire_receive(io->fd, bytes, &fd);
    fs_closep(&fd); /* the server never sends one */
    if (n <= 0) {
        if (n == 0 || (n != -EAGAIN && n != -EINTR)) {
            loop_io_stop(io);
        }
        return;
    }
    if (!wire_decode(str_n(bytes, (size_t)n), &m)) {
        log_warning("the server sent a malformed message");
        return;
    }
    if (m.what == WIRE_TLS) {
        send_tls(s, m.id);
    } else if (m.what == WIRE_REQUEST) {
        core_take_request(s, &m);
    } else if (m.what == WIRE_PLAIN) {
        core_take_plain(s, &m);
    } else if (m.what == WIRE_LOG_AGAIN) {
        core_log_again(s, &m);
    }
}

static void on_child(struct loop_child *c UNUSED, int status, void *arg)
{
    struct server_core *s = arg;
    log_error("the server's process has ended (status %d): the kubelet ends too, to be started again; containers go on", status);
    s->pid = 0;
    s->k->failed = true;
    loop_stop(s->k->loop);
}

/* For `coracle paths`. Live as long as the process. */
static const char *core_authn_words(const struct kubelet *k)
{
    static char words[64];
    snprintf(words, sizeof(words), "%s%s%s", k->cfg->client_ca_file.len ? "x509 " : "", k->cfg->token_webhook ? "tokens " : "",
             k->cfg->anonymous_auth ? "anonymous " : "");
    words[strlen(words) - (words[0] ? 1 : 0)] = 0;
    return words[0] ? words : "nobody";
}

static const char *core_authz_words(const struct kubelet *k)
{
    return str_eq_c(k->cfg->authorization_mode, "Webhook") ? "Webhook" : "AlwaysAllow";
}

bool server_fork(struct kubelet *k, struct err *err)
{
    int pair[2];
    uint64_t uid = 0;
    if (k->cfg->port <= 0 && k->cfg->read_only_port <= 0 && k->cfg->cadvisor_port <= 0) {
        return true;
    }
    if (!str_to_u64(k->cfg->server_user, &uid) || uid > UINT32_MAX) {
        return err_set(err, ERR_INVALID, "--server-user \"%.*s\" is no number", STR_ARG(k->cfg->server_user));
    }
    struct server_core *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        free(s);
        return err_set_errno(err, errno, "no socket for the server");
    }
    int size = 4 * WIRE_MAX;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    s->pid = fork();
    if (s->pid == 0) {
        /* Nothing but its socket and what it logs to: whatever the core was handed is not the server's. */
        if ((pair[1] > 3 && close_range(3, (unsigned)pair[1] - 1, 0) < 0) || close_range((unsigned)pair[1] + 1, UINT_MAX, 0) < 0) {
            _exit(1);
        }
        const struct server_fork_config config = { .socket = pair[1], .uid = (uint32_t)uid, .address = k->cfg->address, .port = (uint16_t)k->cfg->port,
                                                   .read_only_port = (uint16_t)k->cfg->read_only_port, .cadvisor_port = (uint16_t)k->cfg->cadvisor_port,
                                                   .idle_ms = (uint64_t)k->cfg->streaming_idle_ms, .authn = core_authn_words(k),
                                                   .authz = core_authz_words(k) };
        _exit(server_main(&config));
    }
    close(pair[1]);
    if (s->pid < 0) {
        close(pair[0]);
        free(s);
        return err_set_errno(err, errno, "no process for the server");
    }
    s->k = k;
    s->socket = pair[0];
    wire_queue_init(&s->out, pair[0]);
    list_init(&s->requests);
    k->server = s;
    return true;
}

bool server_start(struct kubelet *k, struct err *err)
{
    struct server_core *s = k->server;
    char ca[PATH_MAX];
    if (!s) {
        return true;
    }
    const struct str mode = k->cfg->authorization_mode;
    const struct authn_config authn = { .client_ca_file = k->cfg->client_ca_file.len && str_to_cstr(k->cfg->client_ca_file, ca, sizeof(ca)) ? ca : NULL,
                                        .review_client = k->cfg->token_webhook ? k->client : NULL, .anonymous = k->cfg->anonymous_auth };
    const struct authz_config authz = { .modes = &mode, .n_modes = 1, .review_client = k->client };
    if (str_eq_c(mode, "Webhook") && !k->client) {
        return err_set(err, ERR_INVALID, "--authorization-mode=Webhook needs --kubeconfig");
    }
    s->authn = authn_chain_new(&authn, err);
    s->authz = s->authn ? authz_chain_new(&authz, err) : NULL;
    if (!s->authz) {
        return false;
    }
    loop_io_init(&s->io, k->loop, s->socket, on_message, s);
    core_logs_start(s);
    if (k->cfg->port > 0) {
        serving_start(k);
    }
    if (loop_io_set(&s->io, LOOP_READ) < 0 || loop_child_start(&s->child, k->loop, s->pid, on_child, s) < 0) {
        return err_set(err, ERR_IO, "the server's process cannot be watched");
    }
    return true;
}

void server_stop(struct kubelet *k)
{
    struct server_core *s = k->server;
    if (!s) {
        return;
    }
    serving_stop(k);
    LIST_FOREACH(&s->requests, struct core_request, link, r) {
        core_request_free(r);
    }
    core_logs_stop(s);
    stats_stop(k);
    loop_io_stop(&s->io);
    wire_queue_deinit(&s->out);
    loop_child_stop(&s->child);
    close(s->socket);
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    authn_chain_free(s->authn);
    authz_chain_free(s->authz);
    free(s);
    k->server = NULL;
}
