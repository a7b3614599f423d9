/* The sandbox of the server's process, tried in a child. */
#include "kubelet/server-confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

static int try_everything(void)
{
    static char name[] = "true";
    char *const argv[] = { name, NULL };
    struct err err = { 0 };
    int log = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char byte;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !server_confine(&err)) {
        return 1;
    }
    if (execve("/bin/true", argv, NULL) == 0 || errno != EPERM) {
        return 2;
    }
    if (mount("x", "/tmp", "tmpfs", 0, NULL) == 0 || unshare(CLONE_NEWNET) == 0) {
        return 3;
    }
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 && errno != EACCES) {
        return 4;
    }
    if (unlink("/nowhere") == 0 || errno != EPERM) {
        return 5;
    }
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return s >= 0 && read(log, &byte, 1) == 1 ? 0 : 6; /* what it has been given it may use */
}

TEST(the_servers_process_keeps_sockets_and_descriptors_and_nothing_else)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(try_everything());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}
