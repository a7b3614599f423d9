#include "kubelet/server-confine.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

/* Every right of the first version of Landlock, handled and never granted. */
#define ALL_FILES \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
     LANDLOCK_ACCESS_FS_MAKE_SYM)

static bool no_files(struct err *err)
{
    const struct landlock_ruleset_attr attr = { .handled_access_fs = ALL_FILES };
    CLEANUP(fs_closep) int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) {
        log_warning("this kernel has no Landlock: the server's process is held back from files by its user alone");
        return true;
    }
    return (ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0) ||
           err_set_errno(err, errno, "cannot enforce the Landlock ruleset");
}

static bool few_calls(struct err *err)
{
    static const char *const refused[] = {
        "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
        "mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
        "mount_setattr", "open_by_handle_at", "name_to_handle_at", "init_module", "finit_module", "delete_module", "kexec_load",
        "kexec_file_load", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "syslog",
        "fanotify_init", "keyctl", "add_key", "request_key", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "reboot", "swapon",
        "swapoff", "quotactl", "acct", "iopl", "ioperm", "sethostname", "setdomainname", "vhangup", "personality", "modify_ldt",
        "chmod", "fchmodat", "chown", "fchownat", "lchown", "link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2",
        "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "setxattr", "lsetxattr", "fsetxattr",
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = filter != NULL;
    for (size_t i = 0; ok && i < ARRAY_SIZE(refused); i++) {
        int call = seccomp_syscall_resolve_name(refused[i]);
        /* One that this machine or libseccomp does not know cannot be made either. */
        int status = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
        ok = status == 0 || status == -EDOM || status == -EFAULT;
    }
    /* Threads yes, processes and namespaces no. clone3() cannot be looked into; glibc falls back when it is not there. */
    ok = ok && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) == 0 &&
         seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 &&
         seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1) == 0 && seccomp_load(filter) == 0;
    if (filter) {
        seccomp_release(filter);
    }
    return ok || err_set(err, ERR_IO, "cannot load the filter of system calls");
}

bool server_confine(struct err *err)
{
    return no_files(err) && few_calls(err);
}
