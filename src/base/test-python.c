#include "base/test-python.h"

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

/* The repository's folder: the program lies in BUILD/src/ROOM, and __FILE__ is relative to BUILD. */
static void source_path(char dst[4096], const char *file)
{
    char exe[2000], here[1000];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    CHECK(n > 0);
    exe[n] = 0;
    (void)snprintf(here, sizeof(here), "%s", __FILE__);
    (void)snprintf(dst, 4096, here[0] == '/' ? "%.0s%s/../../%s" : "%s/../../%s/../../%s", dirname(exe), dirname(here), file);
}

pid_t test_python_start(const char *script, char word[64], ...)
{
    char path[4096], line[200], python[] = "python3";
    char *argv[24] = { python, path };
    int fds[2];
    size_t n = 2;
    va_list ap;
    va_start(ap, word);
    while (n < ARRAY_SIZE(argv) - 1 && (argv[n] = va_arg(ap, char *)) != NULL) {
        n++;
    }
    va_end(ap);
    source_path(path, script);
    if (access(path, R_OK) < 0 || access("/usr/bin/python3", X_OK) < 0) {
        test_skip("python3 or %s is missing", path);
    }
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a failed check ends the test early */
        (void)dup2(fds[1], 1);
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
        (void)unsetenv("LD_PRELOAD");
        (void)execv("/usr/bin/python3", argv);
        _exit(127);
    }
    (void)close(fds[1]);
    ssize_t got = read(fds[0], line, sizeof(line) - 1);
    (void)close(fds[0]);
    CHECK(got > 6);
    line[got] = 0;
    (void)snprintf(word, 64, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
    return pid;
}

void test_python_stop(pid_t *pid)
{
    if (*pid > 0) {
        (void)kill(*pid, SIGKILL);
        (void)waitpid(*pid, NULL, 0);
        *pid = 0;
    }
}
