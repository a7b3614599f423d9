/*
 * CNI plugins as processes: the configuration on standard input, the command in the environment, the result on standard output.
 */
#include "kubelet/cni-exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/val.h"
#include "base/fs.h"
#include "base/log.h"
#include "kubelet/limits.h"

#define DEPTH 32
#define ARENA (16u << 20)

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK };
static const char *const verb_names[] = { "ADD", "DEL", "CHECK" };

struct cni_run {
    struct loop *loop;
    struct cni_dirs dirs;
    enum verb verb;
    cni_done_fn *done;
    void *arg;
    struct arena a;
    char netns[PATH_MAX], id[160];
    struct val state;  /* what is remembered: {"config":…, "pod":…, "ports":…, "result":…, "ips":…} */
    struct val *plugins;
    size_t at;         /* plugins that are through */
    struct loop_task task;
    struct loop_timer timer;
    struct loop_child child;
    bool runs, killed;
    int out;           /* the plugin's standard output */
    struct err err;
};

/* ---- the configuration ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_config(const struct dirent *d)
{
    struct str name = str_c(d->d_name);
    return str_ends(name, STR(".conflist")) || str_ends(name, STR(".conf")) || str_ends(name, STR(".json"));
}

/* A single plugin's file is a list of one. */
static bool as_list(struct arena *a, struct val *v)
{
    struct val list = val_object(), plugins = val_array();
    if (val_is(val_get(v, STR("plugins")), VAL_ARRAY)) {
        return true;
    }
    if (!val_push(a, &plugins, *v) || !val_set(a, &list, STR("cniVersion"), val_string(val_get_str(v, STR("cniVersion")))) ||
        !val_set(a, &list, STR("name"), val_string(val_get_str(v, STR("name")))) || !val_set(a, &list, STR("plugins"), plugins)) {
        return false;
    }
    *v = list;
    return true;
}

static bool read_json(struct arena *a, const char *path, struct val *ret, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, CNI_MAX_CONFIG + CNI_MAX_OUTPUT);
    if (!fs_read(path, b.max, &b, err)) {
        return false;
    }
    struct str text = arena_str(a, buf_str(&b));
    return (text.ptr && val_parse_json(a, text, DEPTH, NULL, ret, err)) || err_wrap(err, "%s", path);
}

static bool load_config(const struct cni_dirs *dirs, struct arena *a, struct val *ret, struct err *err)
{
    struct dirent **list = NULL;
    char path[PATH_MAX];
    int n = scandir(dirs->conf, &list, is_config, by_name);
    bool found = false;
    struct err why = { 0 };
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", dirs->conf, list[i]->d_name);
        struct err one = { 0 };
        if (!found && read_json(a, path, ret, &one) && as_list(a, ret)) {
            const struct val *plugins = val_get(ret, STR("plugins"));
            found = val_get_str(ret, STR("name")).len && plugins->n > 0 && plugins->n <= CNI_MAX_PLUGINS;
            if (!found) {
                (void)err_set(&one, ERR_INVALID, "%s names no network, or no plugins", path);
            }
        }
        if (!found && why.code == ERR_NONE) {
            why = one;
        }
        free(list[i]);
    }
    free(list);
    if (found) {
        return true;
    }
    if (why.code != ERR_NONE) {
        return err_set(err, why.code, "%s", why.msg);
    }
    return err_set(err, ERR_NOT_FOUND, "no network configuration is in %s", dirs->conf);
}

/* The plugin's program in one of the folders. */
static bool find_plugin(const struct cni_dirs *dirs, struct str type, char ret[PATH_MAX], struct err *err)
{
    struct str rest = str_c(dirs->bin), dir;
    if (!type.len || type.len > 200 || str_find_char(type, '/') >= 0 || type.ptr[0] == '.') {
        return err_set(err, ERR_INVALID, "\"%.*s\" is no CNI plugin's name", (int)MIN(type.len, (size_t)200), type.ptr ? type.ptr : "");
    }
    while (str_split(&rest, ':', &dir)) {
        snprintf(ret, PATH_MAX, "%.*s/%.*s", STR_ARG(dir), STR_ARG(type));
        if (dir.len && access(ret, X_OK) == 0) {
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the CNI plugin \"%.*s\" is not in %s", STR_ARG(type), dirs->bin);
}

bool cni_ready(const struct cni_dirs *dirs, struct err *err)
{
    struct arena a;
    struct val v;
    char path[PATH_MAX];
    arena_init(&a, ARENA);
    bool ok = load_config(dirs, &a, &v, err);
    const struct val *plugins = ok ? val_get(&v, STR("plugins")) : NULL;
    for (size_t i = 0; ok && i < plugins->n; i++) {
        ok = find_plugin(dirs, val_get_str(&plugins->items[i], STR("type")), path, err);
    }
    arena_deinit(&a);
    return ok;
}

/* ---- what is remembered ---- */

static bool good_id(struct str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_')) {
            return false;
        }
    }
    return id.len > 0 && id.len < 128;
}

static void state_path(const struct cni_dirs *dirs, struct str id, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%.*s.json", dirs->state, STR_ARG(id));
}

static bool remember(struct cni_run *r, struct err *err)
{
    char path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, CNI_MAX_CONFIG + CNI_MAX_OUTPUT);
    state_path(&r->dirs, str_c(r->id), path);
    val_write_json(&b, &r->state);
    return (!buf_failed(&b) || err_set(err, ERR_TOO_LARGE, "the network's result is too large")) && fs_write_atomic(path, buf_str(&b), 0600, err);
}

void cni_result_ips(const struct val *result, struct cni_result *ret)
{
    const struct val *ips = val_get(result, STR("ips"));
    ret->n_ips = 0;
    for (size_t i = 0; val_is(ips, VAL_ARRAY) && i < ips->n && ret->n_ips < ARRAY_SIZE(ret->ips); i++) {
        struct str ip;
        (void)str_cut(val_get_str(&ips->items[i], STR("address")), '/', &ip, &(struct str){ 0 });
        if (ip.len && str_to_cstr(ip, ret->ips[ret->n_ips], sizeof(ret->ips[0]))) {
            ret->n_ips++;
        }
    }
    /* Versions before 0.3. */
    static const char *const old[] = { "ip4", "ip6" };
    for (size_t i = 0; !ips && i < ARRAY_SIZE(old); i++) {
        struct str ip;
        (void)str_cut(VAL_STR_AT(result, old[i], "ip"), '/', &ip, &(struct str){ 0 });
        if (ip.len && str_to_cstr(ip, ret->ips[ret->n_ips], sizeof(ret->ips[0]))) {
            ret->n_ips++;
        }
    }
}

bool cni_remembered(const struct cni_dirs *dirs, struct str id, struct cni_result *ret)
{
    struct arena a;
    struct val v;
    char path[PATH_MAX];
    if (!good_id(id)) {
        return false;
    }
    arena_init(&a, ARENA);
    state_path(dirs, id, path);
    bool ok = read_json(&a, path, &v, NULL);
    if (ok) {
        cni_result_ips(val_get(&v, STR("result")), ret);
    }
    arena_deinit(&a);
    return ok;
}

/* ---- one plugin ---- */

static void run_free(struct cni_run *r)
{
    loop_task_cancel(&r->task);
    loop_timer_stop(&r->timer);
    if (r->runs) {
        (void)loop_child_kill(&r->child, SIGKILL);
        loop_child_stop(&r->child);
        (void)waitpid(r->child.pid, NULL, 0);
    }
    fs_closep(&r->out);
    arena_deinit(&r->a);
    free(r);
}

struct cni_run *cni_cancel(struct cni_run *r)
{
    if (r) {
        run_free(r);
    }
    return NULL;
}

static void finish(struct cni_run *r)
{
    cni_done_fn *done = r->done;
    void *arg = r->arg;
    struct cni_result result = { 0 };
    struct err err = r->err;
    char path[PATH_MAX];
    if (err.code == ERR_NONE && r->verb == VERB_ADD) {
        cni_result_ips(val_get(&r->state, STR("result")), &result);
        if (!result.n_ips) {
            (void)err_set(&err, ERR_INVALID, "the CNI plugins gave no address");
        }
    }
    if (err.code == ERR_NONE && r->verb == VERB_DEL) {
        state_path(&r->dirs, str_c(r->id), path);
        (void)unlink(path);
    }
    run_free(r);
    done(arg, err.code == ERR_NONE ? &result : NULL, err.code == ERR_NONE ? NULL : &err);
}

static bool version_at_least(struct str v, uint64_t major, uint64_t minor)
{
    struct str a, b, rest;
    uint64_t x, y;
    return str_cut(v, '.', &a, &rest) && (str_cut(rest, '.', &b, &rest) || true) && str_to_u64(a, &x) && str_to_u64(b, &y) &&
           (x > major || (x == major && y >= minor));
}

/* The plugin's own configuration with what the list, the pod and the plugin before it add. */
static bool plugin_input(struct cni_run *r, const struct val *plugin, struct buf *b)
{
    const struct val *config = val_get(&r->state, STR("config")), *ports = val_get(&r->state, STR("ports")), *result = val_get(&r->state, STR("result"));
    struct str version = val_get_str(config, STR("cniVersion"));
    const struct val *wants = VAL_AT(plugin, "capabilities", "portMappings");
    struct val v, runtime = val_object();
    if (!val_copy(&r->a, plugin, false, &v) || !val_set(&r->a, &v, STR("name"), val_string(val_get_str(config, STR("name")))) ||
        !val_set(&r->a, &v, STR("cniVersion"), val_string(version))) {
        return false;
    }
    bool previous = result && (r->verb == VERB_ADD ? r->at > 0 : version_at_least(version, 0, 4));
    if (previous && !val_set(&r->a, &v, STR("prevResult"), *result)) {
        return false;
    }
    if (val_is(wants, VAL_BOOL) && wants->b && ports && ports->n &&
        (!val_set(&r->a, &runtime, STR("portMappings"), *ports) || !val_set(&r->a, &v, STR("runtimeConfig"), runtime))) {
        return false;
    }
    val_write_json(b, &v);
    return !buf_failed(b);
}

static bool start_process(struct cni_run *r, const char *program, struct str input, struct err *err)
{
    const struct val *pod = val_get(&r->state, STR("pod"));
    struct str ns = val_get_str(pod, STR("namespace")), name = val_get_str(pod, STR("name")), uid = val_get_str(pod, STR("uid"));
    char *argv[] = { (char *)(uintptr_t)program, NULL }, *envp[8];
    int pipes[2] = { -1, -1 }, in = -1, rc = 0;
    size_t n = 0;
    envp[n++] = (char *)(uintptr_t)arena_printf(&r->a, "CNI_COMMAND=%s", verb_names[r->verb]).ptr;
    envp[n++] = (char *)(uintptr_t)arena_printf(&r->a, "CNI_CONTAINERID=%s", r->id).ptr;
    envp[n++] = (char *)(uintptr_t)arena_printf(&r->a, "CNI_NETNS=%s", r->netns).ptr;
    envp[n++] = (char *)(uintptr_t)"CNI_IFNAME=eth0";
    envp[n++] = (char *)(uintptr_t)arena_printf(&r->a, "CNI_PATH=%s", r->dirs.bin).ptr;
    envp[n++] = (char *)(uintptr_t)arena_printf(&r->a, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%.*s;K8S_POD_NAME=%.*s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%.*s",
                                                STR_ARG(ns), STR_ARG(name), r->id, STR_ARG(uid)).ptr;
    envp[n++] = (char *)(uintptr_t)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; /* iptables */
    envp[n] = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!envp[i]) {
            return err_set(err, ERR_NO_MEMORY, "the network's configuration is too large");
        }
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid = -1;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    in = memfd_create("cni", MFD_CLOEXEC);
    if (in < 0 || write(in, input.ptr, input.len) != (ssize_t)input.len || lseek(in, 0, SEEK_SET) != 0 || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0) {
        rc = errno;
    } else {
        /* The child's end blocks: plugins do not expect anything else. */
        (void)fcntl(pipes[1], F_SETFL, 0);
        (void)fcntl(pipes[0], F_SETPIPE_SZ, CNI_MAX_OUTPUT);
        posix_spawn_file_actions_adddup2(&actions, in, 0);
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigmask(&attributes, &none);
        rc = posix_spawn(&pid, program, &actions, &attributes, argv, envp);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    fs_closep(&in);
    fs_closep(&pipes[1]);
    r->out = pipes[0];
    if (rc) {
        fs_closep(&r->out);
        return err_set_errno(err, rc, "%s cannot be run", program);
    }
    r->child.pid = pid;
    return true;
}

static void step(void *arg);

/* {"code":7,"msg":"…","details":"…"} */
static void plugin_failed(struct cni_run *r, struct str type, const struct val *said, int status)
{
    struct str msg = str_sub(val_get_str(said, STR("msg")), 0, 500), details = str_sub(val_get_str(said, STR("details")), 0, 200);
    if (r->killed) {
        (void)err_set(&r->err, ERR_TIMEOUT, "the CNI plugin %.*s did not end within %u s", STR_ARG(type), CNI_PLUGIN_MS / 1000);
    } else if (msg.len) {
        (void)err_set(&r->err, ERR_INTERNAL, "CNI plugin %.*s: %.*s%s%.*s", STR_ARG(type), STR_ARG(msg), details.len ? ": " : "", STR_ARG(details));
    } else {
        (void)err_set(&r->err, ERR_INTERNAL, "the CNI plugin %.*s ended with %d and gave no reason", STR_ARG(type), WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
}

static const struct val *current(const struct cni_run *r)
{
    return &r->plugins->items[r->verb == VERB_DEL ? r->plugins->n - 1 - r->at : r->at];
}

static void on_ended(struct loop_child *child UNUSED, int status, void *arg)
{
    struct cni_run *r = arg;
    struct str type = val_get_str(current(r), STR("type"));
    struct val said = val_null();
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, CNI_MAX_OUTPUT);
    r->runs = false;
    loop_timer_stop(&r->timer);
    for (;;) {
        char *room = buf_reserve(&b, 16384);
        ssize_t n = room ? read(r->out, room, 16384) : -1;
        if (n <= 0) {
            break;
        }
        buf_commit(&b, (size_t)n);
    }
    fs_closep(&r->out);
    struct str text = arena_str(&r->a, str_trim(buf_str(&b)));
    bool parsed = !buf_failed(&b) && text.len && val_parse_json(&r->a, text, DEPTH, NULL, &said, NULL);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        plugin_failed(r, type, parsed ? &said : NULL, status);
    } else if (r->verb == VERB_ADD && (!parsed || !val_is(&said, VAL_OBJECT))) {
        (void)err_set(&r->err, ERR_INTERNAL, "the result of the CNI plugin %.*s is no JSON object", STR_ARG(type));
    } else if (r->verb == VERB_ADD && (!val_set(&r->a, &r->state, STR("result"), said) || !remember(r, &r->err))) {
        if (r->err.code == ERR_NONE) {
            (void)err_set(&r->err, ERR_TOO_LARGE, "the network's result is too large");
        }
    }
    r->at++;
    step(r);
}

static void on_late(void *arg)
{
    struct cni_run *r = arg;
    r->killed = true;
    (void)loop_child_kill(&r->child, SIGKILL);
}

static void step(void *arg)
{
    struct cni_run *r = arg;
    char program[PATH_MAX];
    CLEANUP(buf_deinit) struct buf input;
    buf_init(&input, CNI_MAX_CONFIG + CNI_MAX_OUTPUT);
    if (r->err.code != ERR_NONE || !r->plugins || r->at >= r->plugins->n) {
        finish(r);
        return;
    }
    const struct val *plugin = current(r);
    if (!find_plugin(&r->dirs, val_get_str(plugin, STR("type")), program, &r->err)) {
        finish(r);
        return;
    }
    if (!plugin_input(r, plugin, &input)) {
        (void)err_set(&r->err, ERR_TOO_LARGE, "the network's configuration is too large");
        finish(r);
        return;
    }
    if (!start_process(r, program, buf_str(&input), &r->err)) {
        finish(r);
        return;
    }
    int rc = loop_child_start(&r->child, r->loop, r->child.pid, on_ended, r);
    if (rc < 0) {
        (void)kill(r->child.pid, SIGKILL);
        (void)waitpid(r->child.pid, NULL, 0);
        (void)err_set_errno(&r->err, -rc, "%s cannot be watched", program);
        finish(r);
        return;
    }
    r->runs = true;
    loop_timer_start(&r->timer, CNI_PLUGIN_MS);
}

/* ---- beginnings ---- */

static struct cni_run *run_new(struct loop *l, const struct cni_dirs *dirs, enum verb verb, struct str id, const char *netns, cni_done_fn *done, void *arg)
{
    struct cni_run *r = calloc(1, sizeof(*r));
    if (!r) {
        abort();
    }
    *r = (struct cni_run){ .loop = l, .dirs = *dirs, .verb = verb, .done = done, .arg = arg, .state = val_object(), .out = -1 };
    arena_init(&r->a, ARENA);
    snprintf(r->netns, sizeof(r->netns), "%s", netns);
    loop_task_init(&r->task, l, step, r);
    loop_timer_init(&r->timer, l, on_late, r);
    loop_task_defer(&r->task);
    if (!good_id(id) || !str_to_cstr(id, r->id, sizeof(r->id))) {
        (void)err_set(&r->err, ERR_INVALID, "\"%.*s\" is no sandbox's number", (int)MIN(id.len, (size_t)200), id.ptr ? id.ptr : "");
    }
    return r;
}

static bool make_state(struct cni_run *r, const struct cni_pod *p)
{
    struct arena *a = &r->a;
    struct val config, pod = val_object(), ports = val_array();
    if (!load_config(&r->dirs, a, &config, &r->err)) {
        return true;
    }
    bool ok = val_set(a, &pod, STR("name"), val_string(arena_str(a, p->name))) && val_set(a, &pod, STR("namespace"), val_string(arena_str(a, p->ns))) &&
              val_set(a, &pod, STR("uid"), val_string(arena_str(a, p->uid)));
    for (size_t i = 0; ok && i < p->n_ports; i++) {
        struct val port = val_object();
        const struct cni_port *q = &p->ports[i];
        ok = val_set(a, &port, STR("hostPort"), val_int(q->host)) && val_set(a, &port, STR("containerPort"), val_int(q->container)) &&
             val_set(a, &port, STR("protocol"), val_string(str_c(q->protocol))) &&
             (!q->host_ip.len || val_set(a, &port, STR("hostIP"), val_string(arena_str(a, q->host_ip)))) && val_push(a, &ports, port);
    }
    ok = ok && val_set(a, &r->state, STR("config"), config) && val_set(a, &r->state, STR("pod"), pod) && val_set(a, &r->state, STR("ports"), ports);
    if (ok) {
        r->plugins = VAL_AT(&r->state, "config", "plugins");
    }
    return ok;
}

struct cni_run *cni_add(struct loop *l, const struct cni_dirs *dirs, const struct cni_pod *pod, const char *netns, cni_done_fn *done, void *arg)
{
    struct cni_run *r = run_new(l, dirs, VERB_ADD, pod->id, netns, done, arg);
    if (r->err.code == ERR_NONE && !make_state(r, pod)) {
        (void)err_set(&r->err, ERR_TOO_LARGE, "the network's configuration is too large");
    }
    /* Before the first plugin: what it takes can be given back whatever happens now. */
    if (r->err.code == ERR_NONE) {
        (void)!remember(r, &r->err);
    }
    return r;
}

static struct cni_run *again(struct loop *l, const struct cni_dirs *dirs, enum verb verb, struct str id, const char *netns, cni_done_fn *done, void *arg)
{
    struct cni_run *r = run_new(l, dirs, verb, id, netns, done, arg);
    char path[PATH_MAX];
    struct err err = { 0 };
    if (r->err.code != ERR_NONE) {
        return r;
    }
    state_path(dirs, id, path);
    if (read_json(&r->a, path, &r->state, &err)) {
        struct val *plugins = VAL_AT(&r->state, "config", "plugins");
        r->plugins = val_is(plugins, VAL_ARRAY) && plugins->n <= CNI_MAX_PLUGINS ? plugins : NULL;
    } else if (err.code != ERR_NOT_FOUND) {
        log_warning("%s: what the network gave is not known and cannot be given back", err.msg);
    }
    return r;
}

struct cni_run *cni_del(struct loop *l, const struct cni_dirs *dirs, struct str id, const char *netns, cni_done_fn *done, void *arg)
{
    return again(l, dirs, VERB_DEL, id, netns, done, arg);
}

struct cni_run *cni_check(struct loop *l, const struct cni_dirs *dirs, struct str id, const char *netns, cni_done_fn *done, void *arg)
{
    struct cni_run *r = again(l, dirs, VERB_CHECK, id, netns, done, arg);
    if (r->plugins && !version_at_least(val_get_str(val_get(&r->state, STR("config")), STR("cniVersion")), 0, 4)) {
        r->plugins = NULL; /* there was no CHECK then */
    }
    return r;
}
