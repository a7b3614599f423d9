/* coracle enter [--node NODE] -- COMMAND: runs a command inside a node, as if logged in there. */
#include "cluster/command.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/flags.h"
#include "cluster/cgroup.h"
#include "cluster/config.h"
#include "cluster/control.h"

struct enter_options {
    struct str name, node;
};

static const struct flag enter_flags[] = {
    FLAG_STRING(struct enter_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name."),
    FLAG_STRING(struct enter_options, node, "node", "node-1", "The node."),
};

/* The first process of the node, from the supervisor's list. */
static pid_t find_init(const struct place *place, struct str node, struct err *err)
{
    struct buf b;
    buf_init(&b, 65536);
    pid_t found = -1;
    bool ok = control_ask(place, "nodes", 5000, &b, err);
    struct str rest = buf_str(&b), line;
    while (ok && found < 0 && str_split(&rest, '\n', &line)) {
        struct str name, tail, address, pid;
        int32_t number;
        if (str_cut(line, '\t', &name, &tail) && str_cut(tail, '\t', &address, &pid) && str_eq(name, node) &&
            str_to_i32(pid, &number)) {
            found = number;
        }
    }
    buf_deinit(&b);
    if (ok && found <= 0) {
        err_set(err, ERR_NOT_FOUND, "the cluster \"%s\" has no node \"%.*s\"", place->name, STR_ARG(node));
    }
    return found;
}

static int run(int argc, char **argv)
{
    static struct enter_options o;
    const struct flag_section sections[] = { { "enter", enter_flags, ARRAY_SIZE(enter_flags), &o } };
    const struct flag_program program = { .name = "coracle enter",
                                          .about = "Runs a command inside a node; a shell when none is given.",
                                          .usage = "coracle enter [flags] -- COMMAND...",
                                          .sections = sections,
                                          .n_sections = 1,
                                          .takes_arguments = true };
    struct flag_result flags;
    struct place place;
    struct cgroups groups;
    struct err err;
    char target[16], group[CLUSTER_CGROUP_SIZE];
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    pid_t init = place_init(&place, o.name, &err) ? find_init(&place, o.node, &err) : -1;
    if (init <= 0) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    snprintf(group, sizeof(group), "coracle-%s/%.*s/system", place.name, MIN((int)o.node.len, 16), o.node.ptr);
    if (!cgroups_detect(&groups, &err) || !cgroups_enter(&groups, group, 0, &err)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    snprintf(target, sizeof(target), "%d", (int)init);
    static char nsenter[] = "nsenter", t[] = "-t", spaces[] = "--all", wd[] = "--wd=/", dashes[] = "--", sh[] = "sh";
    char **words = calloc(flags.n_args + 8, sizeof(*words));
    if (!words) {
        abort();
    }
    size_t n = 0;
    words[n++] = nsenter;
    words[n++] = t;
    words[n++] = target;
    words[n++] = spaces;
    words[n++] = wd;
    words[n++] = dashes;
    for (size_t i = 0; i < flags.n_args; i++) {
        words[n++] = flags.args[i];
    }
    if (flags.n_args == 0) {
        words[n++] = sh;
    }
    execvp(nsenter, words);
    fprintf(stderr, "Error: cannot run nsenter: %s\n", strerror(errno));
    free(words);
    return 1;
}

const struct cluster_command cluster_cmd_enter = { .name = "enter", .about = "run a command inside a node", .run = run };
