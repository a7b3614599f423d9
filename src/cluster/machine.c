#include "cluster/machine.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fs.h"
#include "cluster/cgroup.h"

/* Programs are looked for where the nodes look: not in the caller's PATH, which may lead to places that a node hides. */
static const char *const program_dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };

static bool has_program(const char *name)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(program_dirs); i++) {
        if (access(path_of(path, "%s/%s", program_dirs[i], name), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

static bool file_has(const char *path, struct str word)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    bool has = fs_read(path, 1 << 20, &b, NULL) && str_find(buf_str(&b), word) >= 0;
    buf_deinit(&b);
    return has;
}

static bool may_lower_oom(void)
{
    cap_flag_value_t value = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps) {
        if (cap_get_flag(caps, CAP_SYS_RESOURCE, CAP_EFFECTIVE, &value) < 0) {
            value = CAP_CLEAR;
        }
        cap_free(caps);
    }
    return value == CAP_SET;
}

/* Overlayfs keeps its upper folder on a real file system only; an overlay on an overlay (a container's root) fails. */
static bool overlay_works(const char *dir)
{
    struct statfs fs;
    if (!file_has("/proc/filesystems", STR("\toverlay\n"))) {
        return false;
    }
    return statfs(dir, &fs) == 0 && (unsigned long)fs.f_type != 0x794c7630ul /* OVERLAYFS_SUPER_MAGIC */;
}

static bool check_kernel(struct err *err)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
        return err_set(err, ERR_IO, "cannot read the kernel's version");
    }
    if (major < 5 || (major == 5 && minor < 12)) {
        return err_set(err, ERR_UNAVAILABLE,
                       "this kernel is %s; nodes need 5.12 or later (mount_setattr). Debian 12 has 6.1", u.release);
    }
    static const char *const spaces[] = { "net", "mnt", "pid", "uts", "ipc", "cgroup" };
    for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
        char path[PATH_MAX];
        if (access(path_of(path, "/proc/self/ns/%s", spaces[i]), F_OK) < 0) {
            return err_set(err, ERR_UNAVAILABLE, "this kernel has no %s namespaces", spaces[i]);
        }
    }
    return true;
}

bool machine_inspect(struct machine *m, const char *state_root, bool offline, bool docker, struct err *err)
{
    static const struct {
        const char *program, *package;
        bool online_only, docker_only;
    } needed[] = {
        { "containerd", "containerd", false },          { "ctr", "containerd", false },
        { "containerd-shim-runc-v2", "containerd", false }, { "runc", "runc", false },
        { "dockerd", "docker.io", false, true },          { "docker", "docker.io", false, true },
        { "slirp4netns", "slirp4netns", true },         { "nft", "nftables", true },
    };
    static const char *const cni_dirs[] = { "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni" };
    char path[PATH_MAX];

    *m = (struct machine){ 0 };
    if (geteuid() != 0) {
        return err_set(err, ERR_FORBIDDEN, "a cluster needs root, for its namespaces: run it with sudo");
    }
    if (!check_kernel(err)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        if (!(offline && needed[i].online_only) && !(needed[i].docker_only && !docker) && !has_program(needed[i].program)) {
            return err_set(err, ERR_NOT_FOUND, "the program %s is missing: apt-get install %s", needed[i].program,
                           needed[i].package);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(cni_dirs) && !m->cni_bin[0]; i++) {
        if (access(path_of(path, "%s/ptp", cni_dirs[i]), X_OK) == 0) {
            snprintf(m->cni_bin, sizeof(m->cni_bin), "%s", cni_dirs[i]);
        }
    }
    if (!m->cni_bin[0]) {
        return err_set(err, ERR_NOT_FOUND, "the CNI plugins are missing: apt-get install containernetworking-plugins");
    }
    struct statvfs space;
    if (!fs_mkdirs(state_root, 0755, err)) {
        return err_wrap(err, "clusters are kept in %s, which must be writable", state_root);
    }
    if (access(state_root, W_OK) < 0) {
        return err_set_errno(err, errno, "clusters are kept in %s, which must be writable", state_root);
    }
    if (statvfs(state_root, &space) == 0 && (uint64_t)space.f_bavail * space.f_frsize < UINT64_C(128) << 20) {
        return err_set(err, ERR_IO, "%s has less than 128 MB free: make room there", state_root);
    }
    struct cgroups groups;
    if (!cgroups_detect(&groups, err) || !cgroups_suffice(&groups, err)) {
        return false;
    }
    m->apparmor = access("/sys/kernel/security/apparmor", F_OK) == 0 && has_program("apparmor_parser") &&
                  file_has("/sys/module/apparmor/parameters/enabled", STR("Y"));
    m->may_lower_oom = may_lower_oom();
    m->hugetlb = file_has("/proc/cgroups", STR("hugetlb\t"));
    m->overlayfs = overlay_works(state_root);
    return true;
}

void containerd_config_write(const struct machine *m, const char *root, const char *state, const char *cni_conf_dir, struct buf *b)
{
    static const char *const words[] = { "false", "true" };
    buf_append_c(b, "# Written by coracle for this machine; see docs/coracle.md.\n"
                    "version = 2\n");
    buf_printf(b, "root = \"%s\"\nstate = \"%s\"\n", root, state);
    if (m->may_lower_oom) {
        buf_append_c(b, "oom_score = -999\n");
    }
    /* What a Kubernetes node never uses costs start-up time and memory. */
    buf_append_c(b, "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\","
                    " \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\","
                    " \"io.containerd.tracing.processor.v1.otlp\", \"io.containerd.internal.v1.tracing\","
                    " \"io.containerd.internal.v1.opt\"]\n"
                    "[grpc]\n");
    buf_printf(b, "  address = \"%s/containerd.sock\"\n", state);
    buf_append_c(b, "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
                    "  sandbox_image = \"coracle.local/pause:1\"\n"
                    "  netns_mounts_under_state_dir = true\n");
    buf_printf(b, "  disable_apparmor = %s\n", words[!m->apparmor]);
    buf_printf(b, "  restrict_oom_score_adj = %s\n", words[!m->may_lower_oom]);
    buf_printf(b, "  disable_hugetlb_controller = %s\n", words[!m->hugetlb]);
    buf_append_c(b, "  tolerate_missing_hugetlb_controller = true\n");
    buf_printf(b,
               "[plugins.\"io.containerd.grpc.v1.cri\".cni]\n"
               "  bin_dir = \"%s\"\n"
               "  conf_dir = \"%s\"\n",
               m->cni_bin, cni_conf_dir);
    buf_printf(b,
               "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
               "  snapshotter = \"%s\"\n"
               "  default_runtime_name = \"runc\"\n"
               "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
               "  runtime_type = \"io.containerd.runc.v2\"\n"
               "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n"
               "  SystemdCgroup = false\n",
               m->overlayfs ? "overlayfs" : "native");
}
