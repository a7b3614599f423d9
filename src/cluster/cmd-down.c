/* coracle down */
#include "cluster/command.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/flags.h"
#include "base/fs.h"
#include "cluster/control.h"
#include "cluster/launch.h"
#include "cluster/user-config.h"

#define STOP_TIMEOUT_MS 15000

struct down_options {
    struct str name, kubeconfig;
    bool all, keep_state;
};

static const struct flag down_flags[] = {
    FLAG_STRING(struct down_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name."),
    FLAG_BOOL(struct down_options, all, "all", "false", "Every cluster of this machine."),
    FLAG_BOOL(struct down_options, keep_state, "keep-state", "false",
              "Ends processes and keeps the cluster's data; 'coracle up' goes on with it."),
    FLAG_STRING(struct down_options, kubeconfig, "kubeconfig", "",
                "The file to take the context out of; the one that 'up' wrote it into if empty, \"none\" for no file."),
};

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool forget_context(const struct cluster_config *c, struct str flag, struct err *err)
{
    char path[PATH_MAX], context[64];
    struct str file = str_empty(flag) ? str_c(c->kubeconfig) : flag;
    if (str_empty(file) || str_eq_c(file, "none")) {
        return true;
    }
    user_config_context(&c->place, context);
    return user_config_path(file, path, err) && user_config_remove(path, context, err);
}

/* Tells the supervisor to end, and waits until it has let go of the lock. */
static bool stop_supervisor(const struct place *place, struct err *err)
{
    struct buf reply;
    buf_init(&reply, 4096);
    uint64_t until = clock_mono_ms() + STOP_TIMEOUT_MS;
    bool ok = control_ask(place, "stop", STOP_TIMEOUT_MS, &reply, err) || err->code == ERR_NOT_FOUND;
    buf_deinit(&reply);
    while (ok && place_in_use(place)) {
        if (clock_mono_ms() > until) {
            return err_set(err, ERR_TIMEOUT, "the supervisor of \"%s\" does not end", place->name);
        }
        usleep(2000);
    }
    return ok;
}

/* The folder above goes too when this was the last cluster. */
static bool remove_folder(const char *path, const char *root, struct err *err)
{
    if (!fs_remove_tree(path, err)) {
        return false;
    }
    /* EBUSY: a disk of its own is mounted there. */
    if (rmdir(root) < 0 && errno != ENOTEMPTY && errno != ENOENT && errno != EEXIST && errno != EBUSY) {
        return err_set_errno(err, errno, "cannot remove %s", root);
    }
    return true;
}

static bool end_cluster(const struct place *place, const struct down_options *o, bool *ret_was_there, struct err *err)
{
    struct cluster_config c = { .place = *place };
    *ret_was_there = exists(place->state) || exists(place->run);
    if (!*ret_was_there) {
        return true;
    }
    if (place_in_use(place) && !stop_supervisor(place, err)) {
        return false;
    }
    int lock = launch_lock(place, err);
    if (lock < 0) {
        return false;
    }
    bool ok = launch_sweep(&c, err);
    if (ok && !o->keep_state) {
        /* A configuration that cannot be read names no file; the rest goes all the same. */
        if (!cluster_config_load(&c, err)) {
            c.kubeconfig[0] = '\0';
        }
        ok = forget_context(&c, o->kubeconfig, err) && remove_folder(place->state, PLACE_STATE_ROOT, err);
    }
    ok = ok && remove_folder(place->run, PLACE_RUN_ROOT, err);
    close(lock);
    return ok;
}

static int end_one(struct str name, const struct down_options *o)
{
    struct place place;
    struct err err;
    bool was_there;
    uint64_t begin = clock_mono_ms();
    if (!place_init(&place, name, &err) || !end_cluster(&place, o, &was_there, &err)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    if (was_there) {
        printf("The cluster \"%s\" is gone (%llu ms).%s\n", place.name, (unsigned long long)(clock_mono_ms() - begin),
               o->keep_state ? " Its data is kept." : "");
    } else {
        printf("There is no cluster \"%s\".\n", place.name);
    }
    return 0;
}

static int end_every(const struct down_options *o)
{
    static const char *const roots[] = { PLACE_STATE_ROOT, PLACE_RUN_ROOT };
    int status = 0;
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        DIR *d = opendir(roots[i]);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            if (e->d_name[0] != '.' && strcmp(e->d_name, PLACE_HOST_NAME) != 0 && end_one(str_c(e->d_name), o) != 0) {
                status = 1;
            }
        }
        if (d) {
            closedir(d);
        }
    }
    return status;
}

static int run(int argc, char **argv)
{
    static struct down_options o;
    const struct flag_section sections[] = { { "down", down_flags, ARRAY_SIZE(down_flags), &o } };
    const struct flag_program program = { .name = "coracle down",
                                          .about = "Ends a cluster; nothing is left of it.",
                                          .sections = sections,
                                          .n_sections = 1 };
    struct flag_result flags;
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "Error: only root can end a cluster: run it with sudo\n");
        return 1;
    }
    return o.all ? end_every(&o) : end_one(o.name, &o);
}

const struct cluster_command cluster_cmd_down = { .name = "down", .about = "end a cluster; nothing is left", .run = run };
