/* What control groups and networks tell, in both versions of the kernel's interface. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "kubelet/cgroup-usage.h"

static void put(const char *root, const char *path, const char *text)
{
    char full[600], *slash;
    struct err err = { 0 };
    snprintf(full, sizeof(full), "%s/%s", root, path);
    slash = strrchr(full, '/');
    *slash = '\0';
    CHECK_OK(fs_mkdirs(full, 0755, &err), &err);
    *slash = '/';
    CLEANUP(fs_closep) int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

TEST(usage_of_a_group_is_read_from_version_1)
{
    char root[] = "/tmp/coracle-test-XXXXXX";
    struct cgroup_usage u;
    CHECK(mkdtemp(root) != NULL);
    put(root, "cpuacct/kubepods/podX/cpuacct.usage", "2500000000\n");
    put(root, "memory/kubepods/podX/memory.usage_in_bytes", "10000\n");
    put(root, "memory/kubepods/podX/memory.stat",
        "cache 1\nhierarchical_memory_limit 9223372036854771712\ntotal_rss 3000\ntotal_inactive_file 4000\ntotal_pgfault 7\ntotal_pgmajfault 2\n");
    put(root, "pids/kubepods/podX/pids.current", "3\n");
    put(root, "memory/kubepods/podX/cgroup.procs", "");
    put(root, "memory/kubepods/podX/c1/cgroup.procs", "4711\n4712\n");
    cgroup_usage(root, "/kubepods/podX", &u);
    CHECK(u.has_cpu && u.has_memory && u.has_pids);
    CHECK_INT(u.cpu_ns, 2500000000);
    CHECK_INT(u.memory, 10000);
    CHECK_INT(u.working_set, 6000);
    CHECK_INT(u.rss, 3000);
    CHECK_INT(u.page_faults, 7);
    CHECK_INT(u.major_page_faults, 2);
    CHECK_INT(u.limit, 0);
    CHECK_INT(u.pids, 3);
    CHECK_INT(cgroup_first_pid(root, "/kubepods/podX"), 4711);
    CHECK_INT(cgroup_first_pid(root, "/kubepods/podY"), 0);
    cgroup_usage(root, "/kubepods/podY", &u);
    CHECK(!u.has_cpu && !u.has_memory && !u.has_pids);
    CHECK(fs_remove_tree(root, NULL));
}

TEST(usage_of_a_group_is_read_from_version_2)
{
    char root[] = "/tmp/coracle-test-XXXXXX";
    struct cgroup_usage u;
    CHECK(mkdtemp(root) != NULL);
    put(root, "cgroup.controllers", "cpu memory pids\n");
    put(root, "kubepods/podX/cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
    put(root, "kubepods/podX/memory.current", "10000\n");
    put(root, "kubepods/podX/memory.max", "20000\n");
    put(root, "kubepods/podX/memory.stat", "anon 3000\ninactive_file 4000\npgfault 7\npgmajfault 2\n");
    put(root, "kubepods/podX/pids.current", "3\n");
    put(root, "kubepods/podX/cgroup.procs", "");
    put(root, "kubepods/podX/c1/cgroup.procs", "4711\n");
    cgroup_usage(root, "/kubepods/podX", &u);
    CHECK(u.has_cpu && u.has_memory && u.has_pids);
    CHECK_INT(u.cpu_ns, 2500000000);
    CHECK_INT(u.working_set, 6000);
    CHECK_INT(u.rss, 3000);
    CHECK_INT(u.limit, 20000);
    CHECK_INT(cgroup_first_pid(root, "/kubepods/podX"), 4711);
    CHECK(fs_remove_tree(root, NULL));
}

TEST(interfaces_are_counted_without_loopback)
{
    struct net_usage n;
    net_usage_parse(STR("Inter-|   Receive                                                |  Transmit\n"
                        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
                        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"
                        "  eth0: 1234567    8901    2    0    0     0          0         0   765432    1098    3    0    0     0       0          0\n"
                        "broken: 1 2\n"
                        "a\"}\\\xff-1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"),
                    &n);
    CHECK_INT(n.n, 2);
    CHECK_STR_C(str_c(n.interfaces[1].name), "a____-1"); /* a pod may have named it */
    CHECK_STR_C(str_c(n.interfaces[0].name), "eth0");
    CHECK_INT(n.interfaces[0].rx_bytes, 1234567);
    CHECK_INT(n.interfaces[0].rx_errors, 2);
    CHECK_INT(n.interfaces[0].tx_bytes, 765432);
    CHECK_INT(n.interfaces[0].tx_errors, 3);
    CHECK(net_usage_of(0, &n));
}
