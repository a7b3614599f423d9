/* coracle paths */
#include "cluster/command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "api/yaml.h"
#include "base/flags.h"
#include "client/client.h"
#include "cluster/host.h"
#include "cluster/paths-table.h"
#include "cluster/prepare.h"
#include "cluster/user-config.h"
#include "net/loop.h"

/* Exit statuses: nothing is unsafe, something is, it cannot be said. */
enum { EXIT_SAFE, EXIT_UNSAFE, EXIT_FAILED };
enum { ASK_MS = 15000, WATCH_MS = 2000, CATALOG_MAX = 64 << 20, CATALOG_DEPTH = 12 };

struct paths_options {
    struct str name, kubeconfig, context, output;
    bool watch, unsafe_only;
};

static const struct flag paths_flags[] = {
    FLAG_STRING(struct paths_options, name, "name", "", "The cluster that coracle up made by this name; empty takes the kubeconfig's current context."),
    FLAG_STRING(struct paths_options, kubeconfig, "kubeconfig", "", "A kubeconfig for any cluster with our API server; $KUBECONFIG, " HOST_ADMIN_CONF " or ~/.kube/config otherwise."),
    FLAG_STRING(struct paths_options, context, "context", "", "The context of the kubeconfig; empty takes the current one."),
    FLAG_STRING(struct paths_options, output, "output", "", "json, yaml or wide; empty prints a table.", .letter = 'o'),
    FLAG_BOOL(struct paths_options, watch, "watch", "false", "Goes on, and prints again every two seconds.", .letter = 'w'),
    FLAG_BOOL(struct paths_options, unsafe_only, "unsafe", "false", "Only the unsafe paths of the table."),
};

struct asking {
    const struct paths_options *o;
    struct loop *loop;
    struct client *client;
    struct loop_timer again;
    struct loop_signal interrupt, term;
    bool tty;
    int status;
};

static bool find_cluster(const struct paths_options *o, struct arena *a, struct client_config *config, struct err *err)
{
    struct cluster_config c;
    char path[PATH_MAX];
    if (str_empty(o->name) && str_empty(o->kubeconfig) && str_empty(o->context) && !getenv("KUBECONFIG") && access(HOST_ADMIN_CONF, R_OK) == 0) {
        return kubeconfig_read(a, HOST_ADMIN_CONF, STR_NULL, config, err);
    }
    if (str_empty(o->name)) {
        return user_config_path(o->kubeconfig, path, err) && kubeconfig_read(a, path, str_empty(o->context) ? STR_NULL : o->context, config, err);
    }
    if (!place_init(&c.place, o->name, err)) {
        return false;
    }
    if (!cluster_config_load(&c, err)) {
        return err->code == ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND, "there is no cluster \"%s\"", c.place.name) : false;
    }
    return prepare_admin_config(&c, a, config, err);
}

static unsigned terminal_width(void)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    uint64_t n = 0;
    if (columns && str_to_u64(str_c(columns), &n) && n > 0 && n < 10000) {
        return (unsigned)n;
    }
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static int print(struct asking *k, const struct val *catalog, struct str json)
{
    struct buf b;
    const struct val *unsafe = val_get(catalog, STR("unsafe"));
    buf_init(&b, CATALOG_MAX);
    if (str_eq_c(k->o->output, "json")) {
        buf_append(&b, str_trim(json));
        buf_append_char(&b, '\n');
    } else if (str_eq_c(k->o->output, "yaml")) {
        buf_append_c(&b, k->o->watch ? "---\n" : "");
        yaml_write(&b, catalog);
    } else {
        const struct paths_table t = { .width = terminal_width(), .colour = k->tty && !getenv("NO_COLOR"), .wide = str_eq_c(k->o->output, "wide"),
                                       .unsafe_only = k->o->unsafe_only };
        buf_append_c(&b, k->o->watch && k->tty ? "\033[H\033[2J" : "");
        paths_table_write(&t, catalog, &b);
    }
    bool written = !buf_failed(&b) && fwrite(b.ptr, 1, b.len, stdout) == b.len && fflush(stdout) == 0;
    buf_deinit(&b);
    return !written ? EXIT_FAILED : val_is(unsafe, VAL_BOOL) && !unsafe->b ? EXIT_SAFE : EXIT_UNSAFE;
}

static void failed(struct asking *k, const char *reason)
{
    fprintf(stderr, "Error: %s\n", reason);
    k->status = EXIT_FAILED;
}

static void on_answer(void *data, const struct client_answer *answer)
{
    struct asking *k = data;
    struct err err = { 0 };
    struct val v;
    struct arena a;
    arena_init(&a, 16u * CATALOG_MAX);
    if (answer->http_status == 404) {
        failed(k, "this API server has no catalog of paths: it is not Coracle's");
    } else if (answer->http_status == 403) {
        failed(k, "you may not read the paths: it takes a role with nonResourceURLs [\"/paths\"] and verb get");
    } else if (answer->err) {
        failed(k, answer->err->msg);
    } else if (!val_parse_json(&a, answer->body, CATALOG_DEPTH, NULL, &v, &err) || !str_eq_c(val_get_str(&v, STR("kind")), "CommunicationPaths")) {
        failed(k, err.msg[0] ? err.msg : "the answer is no catalog of paths");
    } else {
        k->status = print(k, &v, answer->body);
    }
    arena_deinit(&a);
    if (k->o->watch && k->status != EXIT_FAILED) {
        loop_timer_start(&k->again, WATCH_MS);
    } else {
        loop_stop(k->loop);
    }
}

static void ask(void *arg)
{
    struct asking *k = arg;
    (void)client_raw(k->client, STR("GET"), STR("/paths?output=json"), STR_NULL, STR_NULL, on_answer, k);
}

/* Ctrl-C ends a watch with what it last saw. */
static void on_signal(void *arg)
{
    struct asking *k = arg;
    loop_stop(k->loop);
}

static int ask_cluster(const struct paths_options *o, const struct client_config *config, struct err *err)
{
    struct asking k = { .o = o, .status = EXIT_FAILED, .tty = isatty(STDOUT_FILENO) };
    const struct client_options options = { .user_agent = "coracle-paths/" CORACLE_VERSION, .timeout_ms = ASK_MS };
    k.loop = loop_new(err);
    k.client = k.loop ? client_new(k.loop, config, &options, err) : NULL;
    if (k.client && loop_signal_start(&k.interrupt, k.loop, SIGINT, on_signal, &k) == 0 && loop_signal_start(&k.term, k.loop, SIGTERM, on_signal, &k) == 0) {
        loop_timer_init(&k.again, k.loop, ask, &k);
        ask(&k);
        loop_run(k.loop);
        loop_timer_stop(&k.again);
        loop_signal_stop(&k.interrupt);
        loop_signal_stop(&k.term);
    } else {
        failed(&k, err->msg);
    }
    client_free(k.client);
    loop_free(k.loop);
    return k.status;
}

static int run(int argc, char **argv)
{
    static struct paths_options o;
    const struct flag_section sections[] = { { "paths", paths_flags, ARRAY_SIZE(paths_flags), &o } };
    const struct flag_program program = { .name = "coracle paths",
                                          .about = "Lists every communication path of the cluster as it runs now: who talks to whom, how it is protected, and\n"
                                                   "whether that is safe on an untrusted network. The exit status is 0 when nothing is unsafe, 1 when\n"
                                                   "something is, 2 when it cannot be said.",
                                          .sections = sections,
                                          .n_sections = 1 };
    struct flag_result flags;
    struct client_config config;
    struct arena a;
    struct err err = { 0 };
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status ? EXIT_FAILED : 0;
    }
    if (o.output.len && !str_eq_c(o.output, "json") && !str_eq_c(o.output, "yaml") && !str_eq_c(o.output, "wide")) {
        fprintf(stderr, "Error: --output \"%.*s\" is not json, yaml or wide\n", STR_ARG(o.output));
        return EXIT_FAILED;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    if (find_cluster(&o, &a, &config, &err)) {
        status = ask_cluster(&o, &config, &err);
    } else {
        fprintf(stderr, "Error: %s\n", err.msg);
        status = EXIT_FAILED;
    }
    arena_deinit(&a);
    return status;
}

const struct cluster_command cluster_cmd_paths = { .name = "paths", .about = "list every communication path and how it is protected", .run = run };
