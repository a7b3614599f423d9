#include "kubelet/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "kubelet/test-kubelet.h"

TEST(mount_points_are_read_from_the_kernels_text)
{
    struct arena a;
    struct str path, rest = STR("25 1 8:1 / / rw - ext4 /dev/sda rw\n"
                                "short line\n"
                                "26 25 0:5 / /with\\040space\\134\\011x rw shared:1 - tmpfs t rw\n"
                                "27 25 0:5 / relative rw - tmpfs t rw\n"
                                "28 25 0:5 / /end\\04 rw - tmpfs t rw");
    arena_init(&a, 65536);
    CHECK(mounts_next(&a, &rest, &path));
    CHECK_STR_C(path, "/");
    CHECK(mounts_next(&a, &rest, &path));
    CHECK_STR_C(path, "/with space\\\tx");
    CHECK(mounts_next(&a, &rest, &path));
    CHECK_STR_C(path, "/end\\04");
    CHECK(!mounts_next(&a, &rest, &path));
    arena_deinit(&a);
}

static void path_in(const struct test_world *w, char path[PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", w->k.root, name);
}

TEST(tmpfs_is_mounted_once_with_its_size_mode_and_group)
{
    struct test_world w;
    struct err err = { 0 };
    struct stat st;
    char dir[PATH_MAX], file[PATH_MAX];
    bool there;
    test_needs_mounts();
    test_world_init(&w, false);
    path_in(&w, dir, "a b/t"); /* the kernel escapes the space */
    path_in(&w, file, "a b/t/file");
    CHECK_OK(mounts_has(dir, &there, &err), &err);
    CHECK(!there);
    CHECK_OK(mounts_tmpfs(dir, 1 << 20, 77, &err), &err);
    CHECK_OK(mounts_has(dir, &there, &err), &err);
    CHECK(there && stat(dir, &st) == 0);
    CHECK_INT(st.st_mode & 07777, 02777);
    CHECK_INT(st.st_gid, 77);
    CHECK_OK(fs_write_atomic(file, STR("kept"), 0600, &err), &err);
    CHECK_OK(mounts_tmpfs(dir, 1 << 20, 77, &err), &err);
    CHECK(access(file, F_OK) == 0);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && fallocate(fd, 0, 0, 2 << 20) < 0);
    close(fd);
    CHECK_OK(mounts_clear(w.k.root, &err), &err);
    CHECK_OK(mounts_has(dir, &there, &err), &err);
    CHECK(!there && access(file, F_OK) < 0);
    test_world_deinit(&w);
}

TEST(clearing_takes_off_mounts_in_and_on_each_other)
{
    struct test_world w;
    struct err err = { 0 };
    char dir[PATH_MAX], beside[PATH_MAX];
    bool there;
    test_needs_mounts();
    test_world_init(&w, false);
    path_in(&w, dir, "pods/one/x");
    path_in(&w, beside, "pods/one-more"); /* shares the beginning of its name, and stays */
    CHECK_OK(fs_mkdirs(beside, 0755, &err) && mounts_tmpfs(beside, 0, -1, &err), &err);
    for (int i = 0; i < 300; i++) {
        CHECK_OK(mounts_tmpfs(dir, 4096, -1, &err), &err);
        CHECK(i % 3 || mount("tmpfs", dir, "tmpfs", 0, "size=4096") == 0);
        if (i % 50 == 49) {
            snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/sub");
        } else {
            char *slash = strrchr(dir, '/');
            snprintf(slash, sizeof(dir) - (size_t)(slash - dir), "/x%d", i);
        }
    }
    path_in(&w, dir, "pods/one");
    CHECK_OK(mounts_clear(dir, &err), &err);
    CHECK_OK(fs_remove_tree(dir, &err), &err);
    CHECK_OK(mounts_has(beside, &there, &err), &err);
    CHECK(there);
    test_world_deinit(&w);
}

TEST(clearing_what_is_not_there_is_fine)
{
    struct err err = { 0 };
    CHECK_OK(mounts_clear("/nonexistent/pods/x", &err), &err);
}

TEST(bind_within_one_file_system_is_seen_and_replaced)
{
    struct test_world w;
    struct err err = { 0 };
    char from[PATH_MAX], to[PATH_MAX];
    bool there;
    test_needs_mounts();
    test_world_init(&w, false);
    path_in(&w, from, "from");
    path_in(&w, to, "pod/to");
    CHECK_OK(fs_mkdirs(from, 0755, &err), &err);
    test_write(&w, "from/precious", "1");
    int fd = open(from, O_PATH | O_CLOEXEC);
    CHECK_OK(mounts_bind_fd(fd, to, &err), &err);
    CHECK_OK(mounts_bind_fd(fd, to, &err), &err);
    close(fd);
    CHECK_OK(mounts_has(to, &there, &err), &err);
    CHECK(there);
    CHECK_INT(test_mode(&w, "pod/to/precious"), 0644);
    /* The same place for a file. */
    path_in(&w, from, "from/precious");
    fd = open(from, O_PATH | O_CLOEXEC);
    CHECK_OK(mounts_bind_fd(fd, to, &err), &err);
    close(fd);
    CHECK_INT(test_mode(&w, "pod/to"), 0644);
    path_in(&w, to, "pod");
    CHECK_OK(mounts_clear(to, &err) && fs_remove_tree(to, &err), &err);
    CHECK_INT(test_mode(&w, "from/precious"), 0644);
    test_world_deinit(&w);
}
