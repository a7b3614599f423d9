#include "cluster/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cluster/control.h"
#include "net/http-client.h"
#include "net/tls.h"

#define PROBE_MS 1000

static const char *field(struct str *rest, struct arena *a)
{
    struct str piece;
    if (!str_split(rest, '\t', &piece)) {
        return "";
    }
    const char *copy = arena_cstr(a, piece);
    return copy ? copy : "";
}

static uint64_t number(struct str *rest)
{
    struct str piece;
    uint64_t n;
    return str_split(rest, '\t', &piece) && str_to_u64(piece, &n) ? n : 0;
}

bool status_read(const struct place *place, struct arena *a, struct status *ret, struct err *err)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    ret->n = 0;
    bool ok = control_ask(place, "status", 5000, &b, err);
    struct str rest = buf_str(&b), line;
    while (ok && ret->n < CLUSTER_MAX_ROLES && str_split(&rest, '\n', &line)) {
        if (str_empty(line)) {
            continue;
        }
        struct status_line *l = &ret->lines[ret->n++];
        l->name = field(&line, a);
        l->node = field(&line, a);
        l->pid = (pid_t)number(&line);
        l->state = field(&line, a);
        l->restarts = (unsigned)number(&line);
        l->seconds = number(&line);
        l->health_url = field(&line, a);
        l->last_status = (int)number(&line);
        l->log_path = field(&line, a);
        l->health[0] = '\0';
        l->pss_kb = 0;
    }
    buf_deinit(&b);
    return ok;
}

/* ---- asking one program; runs inside its node's network ---- */

struct probe {
    bool done;
    char *text; /* 80 bytes */
};

static void on_response(struct http_call *c UNUSED, const struct http_response *r, void *arg)
{
    struct probe *p = arg;
    if (r->status == 200) {
        snprintf(p->text, 80, "ok");
    } else {
        snprintf(p->text, 80, "answers %d", r->status);
    }
}
static void on_body(struct http_call *c UNUSED, struct str data UNUSED, void *arg UNUSED)
{
}
static void on_end(struct http_call *c UNUSED, const struct http_headers *trailers UNUSED, void *arg)
{
    ((struct probe *)arg)->done = true;
}
static void on_error(struct http_call *c UNUSED, const struct http_call_error *e, void *arg)
{
    struct probe *p = arg;
    snprintf(p->text, 80, "%s", e->err.code == ERR_TIMEOUT ? "does not answer in time" : "does not answer");
    p->done = true;
}

static void probe_http(struct str url, char *text)
{
    static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end,
                                              .on_error = on_error };
    struct str scheme, rest, host_port, host, path;
    struct err err;
    uint16_t port = 443;
    (void)str_cut(url, ':', &scheme, &rest);
    rest = str_sub(rest, 2, rest.len);
    (void)str_cut(rest, '/', &host_port, &path);
    path = str_sub(rest, host_port.len, rest.len);
    if (!net_split_host_port(host_port, &host, &port)) {
        return;
    }
    struct loop *l = loop_new(&err);
    if (!l) {
        return;
    }
    /* Only whether it lives is asked, and over the node's loopback: who answers is not verified. */
    const struct net_tls_client_config tls_config = { .insecure_skip_verify = true, .alpn = NET_ALPN_H1 };
    struct net_tls_client *tls = str_eq_c(scheme, "https") ? net_tls_client_new(&tls_config, &err) : NULL;
    const struct http_client_config config = { .host = host, .port = port, .tls = tls, .connect_ms = PROBE_MS };
    struct http_client *client = http_client_new(l, &config, &err);
    struct probe p = { .text = text };
    if (client) {
        const struct http_call_config call = { .method = STR("GET"), .target = path, .total_ms = PROBE_MS };
        (void)http_client_start(client, &call, &ops, &p);
        while (!p.done) {
            loop_turn(l, PROBE_MS);
        }
    }
    client = http_client_free(client);
    if (tls) {
        tls = net_tls_client_unref(tls);
    }
    l = loop_free(l);
}

/* A unix socket of the node is reached through its first process' view of the files. */
static void probe_unix(pid_t pid, struct str path, char *text)
{
    char full[PATH_MAX];
    struct net_addr a;
    path_of(full, "/proc/%d/root%.*s", (int)pid, STR_ARG(path));
    CLEANUP(fs_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && net_addr_unix(str_c(full), &a) && connect(fd, &a.sa, a.len) == 0;
    snprintf(text, 80, "%s", ok ? "ok" : "does not answer");
}

static void probe_one(struct status_line *l)
{
    struct str url = str_c(l->health_url);
    char ns[64];
    if (str_starts(url, STR("unix:"))) {
        probe_unix(l->pid, str_sub(url, 5, url.len), l->health);
        return;
    }
    snprintf(ns, sizeof(ns), "/proc/%d/ns/net", (int)l->pid);
    CLEANUP(fs_closep) int fd = open(ns, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
        snprintf(l->health, sizeof(l->health), "ended just now");
        return;
    }
    snprintf(l->health, sizeof(l->health), "does not answer");
    probe_http(url, l->health);
}

void status_probe(const struct place *place UNUSED, struct status *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct status_line *l = &s->lines[i];
        int p[2];
        if (strcmp(l->state, "running") != 0 || strcmp(l->health_url, "-") == 0 || l->pid <= 0) {
            snprintf(l->health, sizeof(l->health), "%s",
                     strcmp(l->state, "running") == 0 || strcmp(l->state, "done") == 0 ? "ok" : "starting again");
            continue;
        }
        snprintf(l->health, sizeof(l->health), "cannot be asked");
        if (pipe2(p, O_CLOEXEC) < 0) {
            continue;
        }
        /* A child enters the node's network, so that this process stays where it is. */
        pid_t pid = fork();
        if (pid == 0) {
            probe_one(l);
            ssize_t ignored = write(p[1], l->health, sizeof(l->health));
            (void)ignored;
            _exit(0);
        }
        close(p[1]);
        char text[sizeof(l->health)];
        if (read(p[0], text, sizeof(text)) == (ssize_t)sizeof(text)) {
            memcpy(l->health, text, sizeof(text));
        }
        close(p[0]);
        while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

static uint64_t pss_of(const char *pid)
{
    char path[PATH_MAX];
    struct buf b;
    uint64_t kb = 0;
    buf_init(&b, 65536);
    if (fs_read(path_of(path, "/proc/%s/smaps_rollup", pid), 65536, &b, NULL)) {
        struct str s = buf_str(&b);
        ptrdiff_t at = str_find(s, STR("\nPss:"));
        struct str rest = str_sub(s, at < 0 ? s.len : (size_t)at + 5, s.len), line, value, unit;
        (void)str_cut(rest, '\n', &line, &rest);
        (void)str_cut(str_trim(line), ' ', &value, &unit);
        if (!str_to_u64(value, &kb)) {
            kb = 0;
        }
    }
    buf_deinit(&b);
    return kb;
}

/* Field 6 of /proc/PID/stat: the session, which each program began with itself. */
static pid_t session_of(const char *pid)
{
    char path[PATH_MAX];
    struct buf b;
    int32_t session = 0;
    buf_init(&b, 8192);
    if (fs_read(path_of(path, "/proc/%s/stat", pid), 4096, &b, NULL)) {
        struct str s = buf_str(&b), field = STR_NULL;
        ptrdiff_t at = str_rfind_char(s, ')');
        struct str rest = str_sub(s, at < 0 ? s.len : (size_t)at + 2, s.len);
        for (int i = 3; i <= 6 && str_split(&rest, ' ', &field); i++) {
        }
        if (!str_to_i32(field, &session)) {
            session = 0;
        }
    }
    buf_deinit(&b);
    return session;
}

void status_measure(struct status *s)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        pid_t session = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? session_of(e->d_name) : 0;
        for (size_t i = 0; session > 0 && i < s->n; i++) {
            if (s->lines[i].pid == session) {
                s->lines[i].pss_kb += pss_of(e->d_name);
            }
        }
    }
    if (d) {
        closedir(d);
    }
}

void status_print_tail(const char *log_path, unsigned lines, FILE *out)
{
    struct buf b;
    buf_init(&b, 8 << 20);
    if (fs_read(log_path, 8 << 20, &b, NULL)) {
        struct str s = str_trim(buf_str(&b));
        size_t from = s.len;
        for (unsigned n = 0; from > 0; from--) {
            if (s.ptr[from - 1] == '\n' && ++n == lines) {
                break;
            }
        }
        struct str rest = str_sub(s, from, s.len), line;
        while (s.len && str_split(&rest, '\n', &line)) {
            fprintf(out, "     | %.*s\n", STR_ARG(line));
        }
    }
    buf_deinit(&b);
}
