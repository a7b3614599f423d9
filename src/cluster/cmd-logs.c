/* coracle logs COMPONENT */
#include "cluster/command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/flags.h"
#include "base/fs.h"
#include "cluster/config.h"

#define FOLLOW_POLL_US 200000

struct logs_options {
    struct str name, node;
    int64_t tail;
    bool follow;
};

static const struct flag logs_flags[] = {
    FLAG_STRING(struct logs_options, name, "name", PLACE_DEFAULT_NAME, "The cluster's name; host is this host, where coracle server or join was."),
    FLAG_STRING(struct logs_options, node, "node", "node-1", "The component's node."),
    FLAG_INT(struct logs_options, tail, "tail", "-1", "Only the last lines; -1 for all."),
    FLAG_BOOL(struct logs_options, follow, "follow", "false", "Goes on as more is written.", .letter = 'f'),
};

static void list_logs(const struct place *place)
{
    char dir[PATH_MAX];
    bool host = strcmp(place->name, PLACE_HOST_NAME) == 0; /* its logs are not by node; its supervisor's are the journal's */
    fprintf(stderr, host ? "These are there" : "These are there: supervisor");
    for (unsigned node = host ? 0 : 1; node <= CLUSTER_MAX_NODES; node++) {
        DIR *d = opendir(node ? path_of(dir, "%s/logs/node-%u", place->state, node) : path_of(dir, "%s/logs", place->state));
        struct dirent *e;
        while (d && (e = readdir(d))) {
            struct str name = str_c(e->d_name);
            if (str_ends(name, STR(".log"))) {
                fprintf(stderr, ", %.*s%s", (int)name.len - 4, name.ptr, "");
                if (node > 1) {
                    fprintf(stderr, " (--node node-%u)", node);
                }
            }
        }
        if (d) {
            closedir(d);
        }
    }
    fprintf(stderr, "\n");
}

/* Where the last 'lines' lines begin. */
static off_t tail_start(int fd, off_t size, int64_t lines)
{
    char chunk[4096];
    off_t at = size;
    int64_t seen = 0;
    while (at > 0) {
        size_t n = (size_t)MIN(at, (off_t)sizeof(chunk));
        at -= (off_t)n;
        if (pread(fd, chunk, n, at) != (ssize_t)n) {
            return 0;
        }
        for (size_t i = n; i > 0; i--) {
            if (chunk[i - 1] == '\n' && at + (off_t)i < size && ++seen == lines) {
                return at + (off_t)i;
            }
        }
    }
    return 0;
}

static int print_log(int fd, const struct logs_options *o)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return 1;
    }
    off_t at = o->tail == 0 ? st.st_size : o->tail > 0 ? tail_start(fd, st.st_size, o->tail) : 0;
    for (;;) {
        char chunk[65536];
        ssize_t n = pread(fd, chunk, sizeof(chunk), at);
        if (n < 0 && errno != EINTR) {
            return 1;
        }
        if (n > 0) {
            at += n;
            if (fwrite(chunk, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0) {
                return 1;
            }
            continue;
        }
        if (!o->follow) {
            return 0;
        }
        if (fstat(fd, &st) == 0 && st.st_size < at) {
            at = 0; /* it was shortened */
        }
        usleep(FOLLOW_POLL_US);
    }
}

static int run(int argc, char **argv)
{
    static struct logs_options o;
    const struct flag_section sections[] = { { "logs", logs_flags, ARRAY_SIZE(logs_flags), &o } };
    const struct flag_program program = { .name = "coracle logs",
                                          .about = "Prints a component's log: kubelet, containerd, kube-apiserver, supervisor, …",
                                          .usage = "coracle logs COMPONENT [flags]",
                                          .sections = sections,
                                          .n_sections = 1,
                                          .takes_arguments = true };
    struct flag_result flags;
    struct place place;
    struct err err;
    char path[PATH_MAX];
    int status = flags_main(&program, argc, argv, &flags);
    if (status >= 0) {
        return status;
    }
    if (!place_find(&place, o.name, flags_changed(&flags, "name"), &err)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    if (access(place.state, F_OK) < 0) {
        fprintf(stderr, "Error: there is no cluster \"%s\"\n", place.name);
        return 1;
    }
    const char *name = flags.n_args == 1 ? flags.args[0] : "";
    bool of_node = strcmp(place.name, PLACE_HOST_NAME) != 0 && strcmp(name, "supervisor") != 0 && strcmp(name, "slirp4netns") != 0;
    if (of_node) {
        path_of(path, "%s/logs/%.*s/%.100s.log", place.state, MIN((int)o.node.len, 32), o.node.ptr, name);
    } else {
        path_of(path, "%s/logs/%.100s.log", place.state, name);
    }
    CLEANUP(fs_closep) int fd = *name && !strchr(name, '/') && str_find_char(o.node, '/') < 0
                                    ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                                    : -1;
    if (fd < 0) {
        fprintf(stderr, *name ? "Error: there is no log of \"%s\"\n" : "Error: say which component's log\n", name);
        list_logs(&place);
        return 1;
    }
    return print_log(fd, &o);
}

const struct cluster_command cluster_cmd_logs = { .name = "logs", .about = "print a component's log", .run = run };
