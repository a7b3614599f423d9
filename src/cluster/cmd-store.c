/* coracle store backup|restore|check|stats|migrate */
#include "cluster/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/flags.h"
#include "cluster/place.h"
#include "net/loop.h"
#include "store/file.h"
#include "store/migrate.h"
#include "store/store.h"

struct store_options {
    struct str name, data_dir, file, output, volatile_dir;
    struct str from, to, etcd_ca, etcd_cert, etcd_key, etcd_prefix;
    bool force;
};

static const struct flag which_flags[] = {
    FLAG_STRING(struct store_options, name, "name", "", "The cluster that 'coracle up' made by this name; empty: " PLACE_DEFAULT_NAME),
    FLAG_STRING(struct store_options, data_dir, "data-dir", "", "The --data-dir of a kube-apiserver, instead of a cluster's name"),
    FLAG_STRING(struct store_options, file, "file", "", "The file itself (a store or a backup), instead of both"),
    FLAG_BOOL(struct store_options, force, "force", "false", "backup: an older file is replaced. restore: the store that is there is replaced"),
    FLAG_STRING(struct store_options, output, "output", "", "stats: json, or empty for a table", .letter = 'o'),
};

static const struct flag migrate_flags[] = {
    FLAG_STRING(struct store_options, from, "from", "", "migrate: sqlite:FILE or etcd:URL[,URL…]"),
    FLAG_STRING(struct store_options, to, "to", "", "migrate: the same, for the target"),
    FLAG_STRING(struct store_options, volatile_dir, "volatile-dir", "", "migrate: the --volatile-dir of a server that was killed"),
    FLAG_STRING(struct store_options, etcd_ca, "etcd-cafile", "", "migrate: CAs that verify etcd's members"),
    FLAG_STRING(struct store_options, etcd_cert, "etcd-certfile", "", "migrate: the certificate shown to etcd"),
    FLAG_STRING(struct store_options, etcd_key, "etcd-keyfile", "", "migrate: its key"),
    FLAG_STRING(struct store_options, etcd_prefix, "etcd-prefix", "/registry", "migrate: what all keys in etcd begin with"),
};

static int failure(const struct err *err)
{
    fprintf(stderr, "Error: %s\n", err->msg);
    return 1;
}

/* The file that is meant. */
static bool store_path(const struct store_options *o, char path[PATH_MAX], struct err *err)
{
    struct place p;
    if (!str_empty(o->file)) {
        return str_to_cstr(o->file, path, PATH_MAX) || err_set(err, ERR_BAD_REQUEST, "the path is too long");
    }
    if (!str_empty(o->data_dir)) {
        return snprintf(path, PATH_MAX, "%.*s/coracle.db", STR_ARG(o->data_dir)) < PATH_MAX || err_set(err, ERR_BAD_REQUEST, "the path is too long");
    }
    if (!place_init(&p, str_empty(o->name) ? STR(PLACE_DEFAULT_NAME) : o->name, err)) {
        return false;
    }
    path_of(path, "%s/store/coracle.db", p.state);
    return access(path, F_OK) == 0 || err_set(err, ERR_NOT_FOUND, "there is no SQLite store of a cluster \"%s\" (%s)", p.name, path);
}

static const char *size_text(uint64_t bytes, char dst[32])
{
    snprintf(dst, 32, bytes < 10000 ? "%.0f B" : bytes < 10000000 ? "%.1f KB" : "%.1f MB",
             bytes < 10000 ? (double)bytes : bytes < 10000000 ? (double)bytes / 1e3 : (double)bytes / 1e6);
    return dst;
}

/* ---- the verbs ---- */

static int verb_backup(const struct store_options *o, char **args)
{
    char path[PATH_MAX], size[32];
    struct err err;
    struct stat st;
    if (!store_path(o, path, &err) || !store_file_backup(path, args[0], o->force, &err)) {
        return failure(&err);
    }
    printf("%s: %s, checked.\n", args[0], size_text(stat(args[0], &st) == 0 ? (uint64_t)st.st_size : 0, size));
    return 0;
}

static int verb_restore(const struct store_options *o, char **args)
{
    char path[PATH_MAX];
    struct err err;
    int64_t revision;
    if (str_empty(o->file) && str_empty(o->data_dir) && str_empty(o->name)) {
        fprintf(stderr, "Error: say where to with --name, --data-dir or --file\n");
        return 1;
    }
    if ((!store_path(o, path, &err) && err.code != ERR_NOT_FOUND) || !store_file_restore(args[0], path, o->force, &revision, &err)) {
        return failure(&err);
    }
    printf("%s: restored; revisions go on above %" PRId64 ".\n", path, revision);
    return 0;
}

static int verb_check(const struct store_options *o, char **args)
{
    char path[PATH_MAX];
    struct store_file_info info;
    struct err err;
    (void)args;
    if (!store_path(o, path, &err) || !store_file_inspect(path, true, &info, &err)) {
        return failure(&err);
    }
    printf("%s: ok: %" PRIu64 " keys in %" PRIu64 " pages, all of them read; revisions up to %" PRId64 "%s.\n", path, info.keys, info.pages, info.newest,
           info.in_use ? "; a server has it open" : info.clean ? "; closed in order" : "; not closed in order: the next start takes up its volatile log");
    store_file_info_deinit(&info);
    return 0;
}

static void stats_json(const struct store_file_info *i)
{
    printf("{\"format\":%" PRId64 ",\"inUse\":%s,\"closedInOrder\":%s,\"runs\":%" PRId64 ",\"newestRevision\":%" PRId64 ",\"reservedRevision\":%" PRId64
           ",\"keys\":%" PRIu64 ",\"valueBytes\":%" PRIu64 ",\"pageSize\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"freePages\":%" PRIu64
           ",\"fileBytes\":%" PRIu64 ",\"walBytes\":%" PRIu64 ",\"resources\":[", i->format, i->in_use ? "true" : "false", i->clean ? "true" : "false",
           i->run, i->newest, i->reserved, i->keys, i->value_bytes, i->page_size, i->pages, i->free_pages, i->file_bytes, i->wal_bytes);
    for (size_t k = 0; k < i->n_resources; k++) {
        const struct store_file_resource *r = &i->resources[k];
        printf("%s{\"name\":\"%s\",\"keys\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"largest\":%" PRIu64 "}", k ? "," : "", r->name, r->keys, r->bytes, r->largest);
    }
    printf("]}\n");
}

static int by_bytes(const void *a, const void *b)
{
    const struct store_file_resource *x = a, *y = b;
    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : strcmp(x->name, y->name);
}

static int verb_stats(const struct store_options *o, char **args)
{
    char path[PATH_MAX], a[32], b[32];
    struct store_file_info i;
    struct err err;
    (void)args;
    if (!str_empty(o->output) && !str_eq_c(o->output, "json")) {
        fprintf(stderr, "Error: --output is json or nothing\n");
        return 1;
    }
    if (!store_path(o, path, &err) || !store_file_inspect(path, false, &i, &err)) {
        return failure(&err);
    }
    if (i.n_resources) {
        qsort(i.resources, i.n_resources, sizeof(*i.resources), by_bytes);
    }
    if (str_eq_c(o->output, "json")) {
        stats_json(&i);
        store_file_info_deinit(&i);
        return 0;
    }
    printf("%s (format %" PRId64 ")\n", path, i.format);
    printf("  %s; opened %" PRId64 " times\n", i.in_use ? "a server has it open" : i.clean ? "closed in order" : "not closed in order", i.run);
    printf("  %" PRIu64 " keys, newest revision %" PRId64 ", reserved up to %" PRId64 "\n", i.keys, i.newest, i.reserved);
    printf("  file %s, of which %" PRIu64 " %% free; write-ahead log %s\n\n", size_text(i.file_bytes, a), i.pages ? i.free_pages * 100 / i.pages : 0,
           size_text(i.wal_bytes, b));
    printf("%-44s %9s %10s %10s\n", "RESOURCE", "KEYS", "SIZE", "LARGEST");
    for (size_t k = 0; k < i.n_resources; k++) {
        const struct store_file_resource *r = &i.resources[k];
        printf("%-44s %9" PRIu64 " %10s %10s\n", r->name, r->keys, size_text(r->bytes, a), size_text(r->largest, b));
    }
    store_file_info_deinit(&i);
    return 0;
}

/* ---- migrate ---- */

enum { MEMBERS_MAX = 16 };

struct end { /* one side of a migration */
    struct str urls[MEMBERS_MAX];
    char path[PATH_MAX], volatile_dir[PATH_MAX];
    struct store *store;
};

static void on_fatal(void *arg, const char *reason)
{
    (void)arg;
    fprintf(stderr, "Error: %s\n", reason);
    _exit(1);
}

static bool open_end(const struct store_options *o, struct loop *loop, struct str what, bool must_exist, struct end *e, struct err *err)
{
    struct store_config cfg = { .loop = loop, .on_fatal = on_fatal };
    if (str_starts(what, STR("sqlite:"))) {
        if (!str_to_cstr(str_sub(what, 7, what.len - 7), e->path, sizeof(e->path)) || !e->path[0]) {
            return err_set(err, ERR_BAD_REQUEST, "sqlite: wants a file");
        }
        if (must_exist && access(e->path, F_OK) < 0) {
            return err_set(err, ERR_NOT_FOUND, "there is no store %s", e->path);
        }
        cfg.path = e->path;
        cfg.volatile_dir = must_exist && !str_empty(o->volatile_dir) && str_to_cstr(o->volatile_dir, e->volatile_dir, sizeof(e->volatile_dir)) ? e->volatile_dir : NULL;
        e->store = store_open_sqlite(&cfg, err);
        return e->store != NULL;
    }
    if (!str_starts(what, STR("etcd:"))) {
        return err_set(err, ERR_BAD_REQUEST, "\"%.*s\" is neither sqlite:FILE nor etcd:URL", STR_ARG(what));
    }
    struct str rest = str_sub(what, 5, what.len - 5);
    struct store_etcd_config etcd = { .servers = e->urls, .ca_file = o->etcd_ca, .cert_file = o->etcd_cert, .key_file = o->etcd_key, .prefix = o->etcd_prefix };
    while (rest.len && etcd.n_servers < MEMBERS_MAX) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        size_t n = comma ? (size_t)(comma - rest.ptr) : rest.len;
        e->urls[etcd.n_servers++] = str_n(rest.ptr, n);
        rest = str_sub(rest, comma ? n + 1 : n, rest.len - (comma ? n + 1 : n));
    }
    e->store = store_open_etcd(&cfg, &etcd, err);
    return e->store != NULL;
}

static void on_progress(void *arg, const struct migrate_report *r)
{
    (void)arg;
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%" PRIu64 " copied, %" PRIu64 " there already, %" PRIu64 " compared ", r->copied + r->replaced, r->present, r->compared);
    }
}

static int verb_migrate(const struct store_options *o, char **args)
{
    static struct end from, to;
    struct migrate_report r;
    struct err err = { 0 };
    (void)args;
    if (str_empty(o->from) || str_empty(o->to)) {
        fprintf(stderr, "Error: it takes --from and --to\n");
        return 1;
    }
    if (str_eq(o->from, o->to)) {
        fprintf(stderr, "Error: --from and --to are the same\n");
        return 1;
    }
    struct loop *loop = loop_new(&err);
    bool ok = loop && open_end(o, loop, o->from, true, &from, &err) && open_end(o, loop, o->to, false, &to, &err) &&
              store_migrate(loop, from.store, to.store, on_progress, NULL, &r, &err);
    store_close(to.store);
    store_close(from.store);
    loop_free(loop);
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
    if (!ok) {
        return failure(&err);
    }
    printf("%" PRIu64 " objects copied, %" PRIu64 " were there already, %" PRIu64 " removed; %" PRIu64 " compared and equal. Revisions start anew: clients list again.\n",
           r.copied + r.replaced, r.present, r.removed, r.compared);
    return 0;
}

/* ---- choosing ---- */

static const struct verb {
    const char *name, *args;
    size_t n_args;
    int (*run)(const struct store_options *o, char **args);
} verbs[] = {
    { "backup", " FILE", 1, verb_backup }, { "restore", " FILE", 1, verb_restore }, { "check", "", 0, verb_check },
    { "stats", "", 0, verb_stats },        { "migrate", "", 0, verb_migrate },
};

static int run(int argc, char **argv)
{
    static struct store_options o;
    const struct flag_section sections[] = { { "Which store", which_flags, ARRAY_SIZE(which_flags), &o },
                                             { "Migrating", migrate_flags, ARRAY_SIZE(migrate_flags), &o } };
    const struct flag_program program = {
        .name = "coracle store",
        .about = "Looks after a store: backup FILE and restore FILE, check (every page and row), stats, and migrate --from … --to …\n"
                 "(between SQLite and etcd). Backup, check and stats work while a server has the store open.",
        .sections = sections, .n_sections = ARRAY_SIZE(sections), .usage = "coracle store backup|restore|check|stats|migrate [FILE] [flags]",
        .takes_arguments = true,
    };
    struct flag_result f;
    int status = flags_main(&program, argc, argv, &f);
    if (status >= 0) {
        return status;
    }
    for (size_t i = 0; f.n_args && i < ARRAY_SIZE(verbs); i++) {
        if (strcmp(f.args[0], verbs[i].name) == 0) {
            if (f.n_args != 1 + verbs[i].n_args) {
                fprintf(stderr, "Error: usage: coracle store %s%s [flags]\n", verbs[i].name, verbs[i].args);
                return 1;
            }
            return verbs[i].run(&o, f.args + 1);
        }
    }
    fprintf(stderr, "Error: usage: %s\n", program.usage);
    return 1;
}

const struct cluster_command cluster_cmd_store = { "store", "Back up, restore, check, measure and migrate a store", run };
