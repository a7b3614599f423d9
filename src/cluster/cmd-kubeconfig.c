/* coracle kubeconfig */
#include "cluster/command.h"

#include <stdio.h>

#include "base/flags.h"
#include "base/fs.h"
#include "cluster/prepare.h"
#include "cluster/user-config.h"

struct kubeconfig_options {
    struct str name, into;
};

static const struct flag kubeconfig_flags[] = {
    FLAG_STRING(struct kubeconfig_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name."),
    FLAG_STRING(struct kubeconfig_options, into, "into", "", "Writes the context into this file instead of printing one."),
};

/* A whole kubeconfig on stdout: made as a file first, so that there is one way to write them. */
static bool print_config(const struct place *place, const char *context, const struct client_config *config, struct err *err)
{
    char path[PATH_MAX];
    struct buf b;
    path_of(path, "%s/pki/admin.conf", place->state);
    buf_init(&b, 1 << 20);
    bool ok = kubeconfig_write(path, str_c(context), config, err) && fs_read(path, 1 << 20, &b, err);
    if (ok) {
        fwrite(b.ptr, 1, b.len, stdout);
    }
    buf_deinit(&b);
    return ok;
}

static int run(int argc, char **argv)
{
    static struct kubeconfig_options o;
    const struct flag_section sections[] = { { "kubeconfig", kubeconfig_flags, ARRAY_SIZE(kubeconfig_flags), &o } };
    const struct flag_program program = { .name = "coracle kubeconfig",
                                          .about = "Prints a kubeconfig with which the administrator reaches the cluster.",
                                          .sections = sections,
                                          .n_sections = 1 };
    struct flag_result flags;
    struct cluster_config c;
    struct client_config config;
    struct arena a;
    struct err err;
    char context[64], path[PATH_MAX];
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    arena_init(&a, ARENA_NO_BUDGET);
    bool ok = place_init(&c.place, o.name, &err);
    if (ok && !cluster_config_load(&c, &err)) {
        ok = err.code == ERR_NOT_FOUND ? err_set(&err, ERR_NOT_FOUND, "there is no cluster \"%s\"", c.place.name) : false;
    }
    ok = ok && prepare_admin_config(&c, &a, &config, &err);
    if (ok) {
        user_config_context(&c.place, context);
        ok = str_empty(o.into) ? print_config(&c.place, context, &config, &err)
                               : user_config_path(o.into, path, &err) && user_config_add(path, context, &config, &err);
    }
    arena_deinit(&a);
    if (!ok) {
        fprintf(stderr, "Error: %s\n", err.msg);
    }
    return ok ? 0 : 1;
}

const struct cluster_command cluster_cmd_kubeconfig = { .name = "kubeconfig", .about = "print a kubeconfig", .run = run };
