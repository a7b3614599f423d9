#include "cluster/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"

/* ---- files ---- */

#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define READ (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RUN (READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define WRITE \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* Everything of the first version of Landlock, so that the ruleset works on every kernel that has it. */
#define HANDLED (RUN | WRITE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

/* Access that makes no sense for a file is refused by the kernel, so it is left out for those. */
#define FILE_ONLY (READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE)

static bool allow(int ruleset, const char *path, uint64_t access, struct err *err)
{
    struct stat st;
    CLEANUP(fs_closep) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || err_set_errno(err, errno, "cannot open %s", path);
    }
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        access &= FILE_ONLY;
    }
    const struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ||
           err_set_errno(err, errno, "cannot allow %s", path);
}

bool confine_has_files(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

bool confine_files(const struct confinement *c, struct err *err)
{
    static const struct {
        const char *path;
        uint64_t access;
    } system[] = {
        { "/usr", RUN },          { "/lib", RUN },        { "/lib64", RUN },
        { "/bin", RUN },          { "/etc", READ },       { "/proc", READ },
        { "/sys/fs/cgroup", READ }, { "/sys/devices/system/cpu", READ }, { "/dev/urandom", READ },
        { "/dev/null", READ | LANDLOCK_ACCESS_FS_WRITE_FILE },
    };
    const struct landlock_ruleset_attr handled = { .handled_access_fs = HANDLED };
    CLEANUP(fs_closep) int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
    if (ruleset < 0) {
        return errno == ENOSYS || errno == EOPNOTSUPP || err_set_errno(err, errno, "cannot make a Landlock ruleset");
    }
    for (size_t i = 0; i < ARRAY_SIZE(system); i++) {
        if (!allow(ruleset, system[i].path, system[i].access, err)) {
            return false;
        }
    }
    for (size_t i = 0; i < CONFINE_MAX_PATHS; i++) {
        if ((c->read[i] && !allow(ruleset, c->read[i], RUN, err)) || (c->write[i] && !allow(ruleset, c->write[i], WRITE, err))) {
            return false;
        }
    }
    return (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0) ||
           err_set_errno(err, errno, "cannot enforce the Landlock ruleset");
}

/* ---- system calls ---- */

/* Sockets of the network, of this host, and of netlink (addresses of links); every other family is more kernel than is needed. */
static bool refuse_sockets(scmp_filter_ctx filter)
{
    static const unsigned allowed[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
    for (unsigned family = 0; family < AF_NETLINK; family++) {
        bool is_allowed = false;
        for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
            is_allowed = is_allowed || family == allowed[i];
        }
        if (!is_allowed && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                            SCMP_A0(SCMP_CMP_EQ, family)) != 0) {
            return false;
        }
    }
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                            SCMP_A0(SCMP_CMP_GT, AF_NETLINK)) == 0;
}

/* Loads the filter if it is complete, and frees it. Works for an unprivileged process: sets no_new_privs. */
static bool load(scmp_filter_ctx filter, bool complete, struct err *err)
{
    bool ok = complete && seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1) == 0 && seccomp_load(filter) == 0;
    if (filter) {
        seccomp_release(filter);
    }
    return ok || err_set(err, ERR_IO, "cannot load the filter of system calls");
}

bool confine_exec(struct err *err)
{
#ifdef __SANITIZE_ADDRESS__
    (void)err;
    return true;
#else
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(execve), 0) == 0 &&
              seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(execveat), 0) == 0;
    return load(filter, ok, err);
#endif
}

static bool refuse_calls(bool clock_is_asked, struct err *err)
{
    static const char *const refused[] = {
        /* mounts and namespaces */
        "mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
        "fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at",
        /* other processes */
        "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
        /* the kernel */
        "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
        "io_uring_setup", "io_uring_enter", "io_uring_register", "syslog", "lookup_dcookie", "fanotify_init",
        /* keys, time, power, swap, quotas */
        "keyctl", "add_key", "request_key", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "reboot", "swapon",
        "swapoff", "quotactl", "quotactl_fd", "acct", "iopl", "ioperm", "sethostname", "setdomainname", "vhangup",
        "personality", "modify_ldt",
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = filter != NULL;
    for (size_t i = 0; ok && i < ARRAY_SIZE(refused); i++) {
        if (clock_is_asked && strcmp(refused[i], "adjtimex") == 0) {
            continue;
        }
        int call = seccomp_syscall_resolve_name(refused[i]);
        /* One that this machine or libseccomp does not know cannot be made either. */
        int status = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
        ok = status == 0 || status == -EDOM || status == -EFAULT;
    }
    /* New namespaces by clone(); clone3() cannot be looked into, and glibc falls back when it is not there. */
    ok = ok &&
         seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)) == 0 &&
         seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 && refuse_sockets(filter);
    return load(filter, ok, err);
}

bool confine_calls(struct err *err)
{
    return refuse_calls(false, err);
}

/* ---- by oneself ---- */

static bool give_up_capabilities(uint64_t keep, struct err *err)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { 0 } };
    if (syscall(SYS_capget, &header, data) != 0) {
        return err_set_errno(err, errno, "cannot read the capabilities");
    }
    for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
        data[i].permitted &= (uint32_t)(keep >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, data) == 0 || err_set_errno(err, errno, "cannot give up capabilities");
}

bool confine_is_built_in(void)
{
#ifdef __SANITIZE_ADDRESS__
    return false;
#else
    return true;
#endif
}

bool confine_self(const struct confinement *c, uint64_t keep, struct err *err)
{
    return !confine_is_built_in() || (give_up_capabilities(keep, err) && confine_files(c, err) && refuse_calls(true, err));
}
