#include "cluster/host-service.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"

bool host_service_possible(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

/*
 * One unit that supervises. The programs that need little are confined one by one by the supervisor, with users,
 * seccomp and Landlock of their own. What the unit adds goes to every process below it, so there are two kinds: a
 * server alone needs nothing of the machine but its folders, its port and its routes; on a node everything that is
 * taken away here would be taken from pods as well, and filters of system calls (which ProtectClock=,
 * RestrictAddressFamilies= and their like are) would be the pods' filters, too.
 */
static const char server_hardening[] =
    "ProtectSystem=strict\n"
    "ReadWritePaths=/etc/coracle /var/lib/coracle /run/coracle\n"
    "ProtectHome=yes\n"
    "PrivateTmp=yes\n"
    "PrivateDevices=yes\n"
    "ProtectClock=yes\n"
    "ProtectHostname=yes\n"
    "ProtectKernelLogs=yes\n"
    "ProtectKernelModules=yes\n"
    "ProtectKernelTunables=yes\n"
    "ProtectControlGroups=yes\n"
    "ProtectProc=invisible\n"
    "RestrictNamespaces=yes\n"
    "RestrictRealtime=yes\n"
    "RestrictSUIDSGID=no\n" /* the folder where API server and tunnel meet has a group of its own */
    "LockPersonality=yes\n"
    "MemoryDenyWriteExecute=yes\n"
    "NoNewPrivileges=yes\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
    "SystemCallArchitectures=native\n"
    "SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self\n"
    "SystemCallFilter=~@mount @swap @reboot @module @raw-io @clock @cpu-emulation @debug @obsolete\n"
    "SystemCallErrorNumber=EPERM\n"
    "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL "
    "CAP_NET_ADMIN CAP_NET_BIND_SERVICE\n"
    "RuntimeDirectory=coracle\n"
    "KillMode=mixed\n";

static const char node_hardening[] =
    "Delegate=yes\n"
    "LimitNOFILE=1048576\n"
    "TasksMax=infinity\n"
    "# Containers outlive a restart: the supervisor ends its own programs, and nothing else is ended.\n"
    "KillMode=process\n"
    "# What no pod is to have either, privileged ones included.\n"
    "CapabilityBoundingSet=~CAP_SYS_BOOT CAP_WAKE_ALARM CAP_SYS_RAWIO\n"
    "OOMScoreAdjust=-500\n";

void host_service_write(const struct host *h, struct buf *b)
{
    buf_printf(b,
               "# Written by coracle; see docs/coracle.md. 'coracle leave' takes it away.\n"
               "[Unit]\n"
               "Description=Coracle, a Kubernetes %s\n"
               "After=network-online.target\n"
               "Wants=network-online.target\n"
               "\n"
               "[Service]\n"
               "ExecStart=%s/bin/coracle host\n"
               "Restart=always\n"
               "RestartSec=2\n"
               "TimeoutStopSec=20\n"
               "UMask=0022\n"
               "%s"
               "\n"
               "[Install]\n"
               "WantedBy=multi-user.target\n",
               h->server ? "server" : "node", h->place.state, h->node ? node_hardening : server_hardening);
}

bool host_run_command(char *const argv[], struct err *err)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return (pid > 0 && status == 0) || err_set(err, ERR_IO, "%s %s failed", argv[0], argv[1] ? argv[1] : "");
}

static char systemctl[] = "systemctl", quiet[] = "--quiet", unit[] = "coracle.service", now[] = "--now";

bool host_service_start(const struct host *h, struct err *err)
{
    struct buf b;
    buf_init(&b, 8192);
    host_service_write(h, &b);
    bool ok = fs_write_atomic(HOST_UNIT, buf_str(&b), 0644, err);
    buf_deinit(&b);
    char *const reload[] = { systemctl, quiet, (char[]){ "daemon-reload" }, NULL };
    char *const enable[] = { systemctl, quiet, (char[]){ "enable" }, now, unit, NULL };
    return ok && host_run_command(reload, err) && host_run_command(enable, err);
}

bool host_service_remove(struct err *err)
{
    char *const disable[] = { systemctl, quiet, (char[]){ "disable" }, now, unit, NULL };
    char *const reload[] = { systemctl, quiet, (char[]){ "daemon-reload" }, NULL };
    if (access(HOST_UNIT, F_OK) < 0) {
        return true;
    }
    if (host_service_possible() && !host_run_command(disable, err)) {
        return false;
    }
    if (unlink(HOST_UNIT) < 0) {
        return err_set_errno(err, errno, "cannot remove " HOST_UNIT);
    }
    return !host_service_possible() || host_run_command(reload, err);
}
