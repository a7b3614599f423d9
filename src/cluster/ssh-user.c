#include "cluster/ssh-user.h"

#include <dirent.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "cluster/host-service.h"

#define HOME "/var/lib/coracle-tunnel"
enum { MAX_KEY = 8192, MAX_KEYS = 8, SESSION_TRIES = 3, SESSION_WAIT_US = 50000 };

static const char *key_file(const struct host *h, char dst[PATH_MAX])
{
    return path_of(dst, "%s/conf/ssh-server.pub", h->place.state);
}

/* coracle tunnel authorize|deauthorize --user=… --public-key-file=… */
static bool change(const struct host *h, const char *what, struct err *err)
{
    char program[PATH_MAX], user[64], file[PATH_MAX], arg[PATH_MAX + 32], verb[16];
    path_of(program, "%s/bin/coracle", h->place.state);
    (void)snprintf(user, sizeof(user), "--user=%s", h->ssh_user);
    (void)snprintf(arg, sizeof(arg), "--public-key-file=%s", key_file(h, file));
    (void)snprintf(verb, sizeof(verb), "%s", what);
    static char tunnel[] = "tunnel";
    char *const argv[] = { program, tunnel, verb, user, arg, NULL };
    return host_run_command(argv, err);
}

bool ssh_user_authorize(const struct host *h, struct str public_key, bool *ret_made, struct err *err)
{
    char file[PATH_MAX], name[64];
    (void)snprintf(name, sizeof(name), "%s", h->ssh_user);
    *ret_made = false;
    if (str_empty(public_key) || !fs_write_atomic(key_file(h, file), public_key, 0644, err)) {
        return str_empty(public_key) ? err_set(err, ERR_INVALID, "the server has not said which key its tunnel has")
                                     : false;
    }
    if (!getpwnam(name)) {
        static char useradd[] = "useradd", system[] = "--system", home_dir[] = "--home-dir", home[] = HOME,
                    create[] = "--create-home", shell[] = "--shell", nologin[] = "/usr/sbin/nologin", skel[] = "--skel",
                    nothing[] = "/nonexistent", password[] = "--password",
                    none[] = "*"; /* none: "!" would be a locked account, which sshd may refuse */
        char *const argv[] = { useradd, system,  home_dir, home, create, skel, nothing,
                               shell,   nologin, password, none, name,   NULL };
        if (!host_run_command(argv, err)) {
            return err_wrap(err, "the user \"%s\" cannot be made", name);
        }
        *ret_made = true;
    }
    return change(h, "authorize", err);
}

/* The tunnel's session may still be open: its sshd process is the user's. */
static void end_processes(uid_t uid)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[PATH_MAX];
        struct stat st;
        int32_t pid;
        if (str_to_i32(str_c(e->d_name), &pid) && pid > 1 && stat(path_of(path, "/proc/%d", pid), &st) == 0 &&
            st.st_uid == uid) {
            (void)kill(pid, SIGKILL);
        }
    }
    if (d) {
        closedir(d);
    }
}

bool ssh_user_remove(const struct host *h, struct err *err)
{
    char file[PATH_MAX], name[64];
    (void)snprintf(name, sizeof(name), "%s", h->ssh_user);
    if (access(key_file(h, file), F_OK) < 0 || !getpwnam(name)) {
        return true;
    }
    if (!change(h, "deauthorize", err)) {
        return false;
    }
    if (h->made_ssh_user) {
        static char userdel[] = "userdel";
        char *const argv[] = { userdel, name, NULL };
        const struct passwd *user = getpwnam(name);
        for (unsigned i = 0; user && user->pw_uid != 0 && i < SESSION_TRIES; i++) {
            end_processes(user->pw_uid);
            usleep(SESSION_WAIT_US); /* until it is reaped */
        }
        return host_run_command(argv, err) && fs_remove_tree(HOME, err);
    }
    return true;
}

bool ssh_user_host_keys(const char *pattern, struct buf *b, struct err *err)
{
    glob_t g = { 0 };
    bool ok = glob(pattern, 0, NULL, &g) == 0 ||
              err_set(err, ERR_NOT_FOUND, "there are no host keys %s: is sshd installed?", pattern);
    for (size_t i = 0; ok && i < g.gl_pathc && i < MAX_KEYS; i++) {
        struct buf one;
        buf_init(&one, MAX_KEY);
        ok = fs_read(g.gl_pathv[i], MAX_KEY, &one, err);
        struct str type, rest, key, comment;
        if (ok && str_cut(str_trim(buf_str(&one)), ' ', &type, &rest)) {
            key = str_cut(rest, ' ', &key, &comment) ? key : rest;
            buf_printf(b, "%.*s %.*s\n", STR_ARG(type), STR_ARG(key));
        }
        buf_deinit(&one);
    }
    globfree(&g);
    return ok;
}
