/* The tunnel process beside kube-apiserver: a keeper that forks it and forks it again. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "cmd/tunnel-options.h"

enum { AGAIN_MS = 250, AGAIN_MAX_MS = 10000, STABLE_S = 10 };

/* The end of the parent ends us; also when it ended before this was set. */
static void end_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(0);
    }
}

/* Flags of the parent that name its credentials and listening sockets mean nothing here: what it was handed is closed. */
static NORETURN void keep_running(const struct tunnel_options *o, pid_t apiserver)
{
    unsigned wait_ms = AGAIN_MS;
    pid_t me = getpid();
    end_with(apiserver);
    (void)prctl(PR_SET_NAME, "tunnel-keeper");
    (void)close_range(3, ~0U, 0);
    for (;;) {
        time_t began = time(NULL);
        pid_t child = fork();
        if (child == 0) {
            end_with(me);
            (void)prctl(PR_SET_NAME, "coracle-tunnel");
            _exit(tunnel_process_run(o));
        }
        int status = 0;
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        wait_ms = time(NULL) - began >= STABLE_S ? AGAIN_MS : MIN(2 * wait_ms, (unsigned)AGAIN_MAX_MS);
        log_warning("tunnel: the tunnel process ended (%s %d); started again in %u ms",
                    WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), wait_ms);
        (void)usleep(wait_ms * 1000);
    }
}

bool tunnel_process_start(const struct tunnel_options *o, const char *dir, char *ret_socket, struct err *err)
{
    static struct tunnel_options mine; /* read by the child as long as it lives */
    pid_t self = getpid();
    if (str_empty(o->ssh_keyfile)) {
        return err_set(err, ERR_INVALID, "--ssh-user needs --ssh-keyfile");
    }
    if (str_empty(o->kubeconfig)) {
        return err_set(err, ERR_INVALID, "--ssh-user needs --tunnel-kubeconfig: the tunnel process watches Nodes with credentials of its own");
    }
    if (str_empty(o->socket)) {
        if (snprintf(ret_socket, PATH_MAX, "%s/tunnel.sock", dir) >= PATH_MAX || !fs_mkdirs(dir, 0700, err)) {
            return err_wrap(err, "the folder of the tunnel's socket");
        }
    } else if (!str_to_cstr(o->socket, ret_socket, PATH_MAX)) {
        return err_set(err, ERR_INVALID, "--tunnel-socket is too long");
    }
    mine = *o;
    mine.socket = str_c(strdup(ret_socket));
    mine.socket_mode = STR("0600");
    pid_t child = fork();
    if (child == 0) {
        keep_running(&mine, self);
    }
    return child > 0 || err_set_errno(err, errno, "cannot start the tunnel process");
}
