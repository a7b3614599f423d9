/*
 * The gRPC client against a real containerd, started privately: its own root, state and socket in a temporary folder, in
 * mount and network namespaces of its own. Skipped where containerd is missing or namespaces cannot be made.
 */
#include "net/grpc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/test.h"
#include "net/loop.h"

struct result {
    int n_done;
    enum grpc_code code;
    char msg[1024];
    struct buf response;
};

static void done(void *arg, struct str response, const struct grpc_status *st)
{
    struct result *r = arg;
    r->n_done++;
    r->code = st->code;
    snprintf(r->msg, sizeof(r->msg), "%s", st->err.msg);
    buf_clear(&r->response);
    buf_append(&r->response, response);
}

static void write_config(const char *dir)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/config.toml", dir);
    FILE *f = fopen(path, "we");
    CHECK(f);
    fprintf(f,
            "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\n[grpc]\naddress = \"%s/c.sock\"\n"
            "[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n"
            "disable_hugetlb_controller = true\ntolerate_missing_hugetlb_controller = true\n",
            dir, dir, dir);
    fclose(f);
}

static pid_t start_containerd(const char *dir)
{
    char config[128], log[128];
    snprintf(config, sizeof(config), "%s/config.toml", dir);
    snprintf(log, sizeof(log), "%s/log", dir);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing running */
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || fd < 0) {
            _exit(77);
        }
        dup2(fd, 1);
        dup2(fd, 2);
        /* Shim sockets live in /run/containerd whatever the config says. */
        if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) {
            _exit(77);
        }
        execl("/usr/bin/containerd", "containerd", "--config", config, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void remove_tree(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/rm", "rm", "-rf", "--one-file-system", dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void call(struct loop *l, struct grpc_client *c, struct result *r, const char *method, struct str request)
{
    int before = r->n_done;
    grpc_call_wait_for_ready(grpc_unary(c, method, request, 20000, done, r));
    for (int i = 0; i < 2500 && r->n_done == before; i++) {
        loop_turn(l, 10);
    }
    CHECK_INT(r->n_done, before + 1);
}

TEST(grpc_speaks_cri_with_containerd)
{
    char dir[] = "/var/tmp/coracle-test-grpc-XXXXXX", sock[128];
    struct err err;
    if (access("/usr/bin/containerd", X_OK) != 0 || geteuid() != 0) {
        test_skip("needs root and containerd");
    }
    CHECK(mkdtemp(dir));
    write_config(dir);
    snprintf(sock, sizeof(sock), "%s/c.sock", dir);
    pid_t pid = start_containerd(dir);
    struct loop *l = loop_new(&err);
    struct grpc_client *c = grpc_client_new(l, &(struct grpc_config){ .unix_path = sock });
    struct result r = { 0 };
    buf_init(&r.response, BUF_NO_MAX);
    for (int i = 0; i < 200 && access(sock, F_OK) != 0; i++) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            remove_tree(dir);
            test_skip("containerd cannot run here (status %d)", status);
        }
        usleep(50000);
    }

    call(l, c, &r, "/runtime.v1.RuntimeService/Version", STR_EMPTY);
    CHECK_STR_C(str_c(r.msg), "");
    CHECK_INT(r.code, GRPC_OK);
    /* VersionResponse: runtime_name = 2, runtime_api_version = 4. */
    CHECK(str_find(buf_str(&r.response), STR("\x12\x0a" "containerd")) >= 0);
    CHECK(str_find(buf_str(&r.response), STR("\x22\x02" "v1")) >= 0);
    call(l, c, &r, "/runtime.v1.RuntimeService/Status", STR_EMPTY);
    CHECK_INT(r.code, GRPC_OK);
    CHECK(str_find(buf_str(&r.response), STR("RuntimeReady")) >= 0);
    call(l, c, &r, "/runtime.v1.RuntimeService/ListContainers", STR_EMPTY);
    CHECK_INT(r.code, GRPC_OK);
    CHECK_INT(r.response.len, 0);
    /* ContainerStatusRequest: container_id = 1. */
    call(l, c, &r, "/runtime.v1.RuntimeService/ContainerStatus", STR("\x0a\x04gone"));
    CHECK_INT(r.code, GRPC_NOT_FOUND);
    CHECK(str_find(str_c(r.msg), STR("\"gone\"")) >= 0);
    call(l, c, &r, "/runtime.v1.RuntimeService/NoSuchMethod", STR_EMPTY);
    CHECK_INT(r.code, GRPC_UNIMPLEMENTED);

    grpc_client_free(c);
    loop_free(l);
    buf_deinit(&r.response);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    remove_tree(dir);
}
