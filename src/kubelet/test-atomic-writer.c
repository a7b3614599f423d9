#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "kubelet/test-kubelet.h"

static int n_entries(const char *dir, const char *prefix)
{
    int n = 0;
    DIR *d = opendir(dir);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0 && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return n;
}

static struct str link_of(struct test_world *w, struct arena *a, const char *name)
{
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", w->k.root, name);
    ssize_t n = readlink(path, target, sizeof(target));
    return n < 0 ? STR_NULL : arena_str(a, str_n(target, (size_t)n));
}

struct fixture {
    struct test_world w;
    struct arena a;
    struct err err;
};

static void start(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    test_world_init(&f->w, false);
    arena_init(&f->a, 4 << 20);
}

static void end(struct fixture *f)
{
    arena_deinit(&f->a);
    test_world_deinit(&f->w);
}

TEST(files_are_seen_through_a_folder_with_a_time_in_its_name)
{
    struct fixture f;
    const struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 }, { STR("deep/er/b"), STR("2"), 0400, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 2, -1, &f.err), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, "a"), "1");
    CHECK_STR_C(test_file(&f.w, &f.a, "deep/er/b"), "2");
    CHECK_INT(test_mode(&f.w, "a"), 0644);
    CHECK_INT(test_mode(&f.w, "deep/er/b"), 0400);
    CHECK_STR_C(link_of(&f.w, &f.a, "a"), "..data/a");
    CHECK_STR_C(link_of(&f.w, &f.a, "deep"), "..data/deep");
    CHECK(str_starts(link_of(&f.w, &f.a, "..data"), STR("..20")));
    end(&f);
}

TEST(same_content_moves_nothing)
{
    struct fixture f;
    const struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    struct str before = link_of(&f.w, &f.a, "..data");
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    CHECK_STR(link_of(&f.w, &f.a, "..data"), before);
    end(&f);
}

TEST(changed_content_switches_and_leaves_one_folder)
{
    struct fixture f;
    struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    files[0].data = STR("2");
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, "a"), "2");
    CHECK_INT(n_entries(f.w.k.root, "..20"), 1);
    end(&f);
}

TEST(key_that_went_away_is_gone_from_the_data_too)
{
    struct fixture f;
    const struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 }, { STR("b"), STR("secret"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 2, -1, &f.err), &f.err);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, "a"), "1");
    CHECK_INT(test_mode(&f.w, "b"), -1);
    CHECK_INT(test_mode(&f.w, "..data/b"), -1);
    CHECK_OK(atomic_write(f.w.k.root, files, 0, -1, &f.err), &f.err);
    CHECK_INT(n_entries(f.w.k.root, "a"), 0);
    CHECK_INT(test_mode(&f.w, "..data/a"), -1);
    end(&f);
}

TEST(changed_mode_is_a_change)
{
    struct fixture f;
    struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    files[0].mode = 0400;
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    CHECK_INT(test_mode(&f.w, "a"), 0400);
    end(&f);
}

TEST(group_of_the_pod_reads_along)
{
    struct fixture f;
    struct stat st;
    char path[PATH_MAX];
    const struct volume_file files[] = { { STR("a"), STR("1"), 0600, -1 } };
    if (geteuid() != 0) {
        test_skip("groups are given by root");
    }
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, 4242, &f.err), &f.err);
    snprintf(path, sizeof(path), "%s/a", f.w.k.root);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_gid, 4242);
    CHECK_INT(st.st_mode & 07777, 0640);
    struct str before = link_of(&f.w, &f.a, "..data");
    CHECK_OK(atomic_write(f.w.k.root, files, 1, 4242, &f.err), &f.err);
    CHECK_STR(link_of(&f.w, &f.a, "..data"), before);
    end(&f);
}

TEST(what_an_interrupted_writer_left_is_cleaned_up)
{
    struct fixture f;
    char path[PATH_MAX];
    const struct volume_file files[] = { { STR("a"), STR("1"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    snprintf(path, sizeof(path), "%s/..2020_01_01_00_00_00.abc/x", f.w.k.root);
    CHECK_OK(fs_mkdirs(path, 0755, &f.err), &f.err);
    snprintf(path, sizeof(path), "%s/..data_tmp", f.w.k.root);
    CHECK(symlink("nowhere", path) == 0);
    CHECK_OK(atomic_write(f.w.k.root, files, 1, -1, &f.err), &f.err);
    CHECK_INT(n_entries(f.w.k.root, "..20"), 1);
    CHECK_INT(n_entries(f.w.k.root, "..data_tmp"), 0);
    CHECK_STR_C(test_file(&f.w, &f.a, "a"), "1");
    end(&f);
}

TEST(paths_that_lead_out_are_refused)
{
    struct fixture f;
    static const char *const paths[] = { "", "/etc/x", "../x", "a/../x", "a//b", "./a", "..data", "..x", "a/", "a/.." };
    start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        const struct volume_file file = { str_c(paths[i]), STR("1"), 0644, -1 };
        struct err err = { 0 };
        CHECK(!atomic_write(f.w.k.root, &file, 1, -1, &err));
        CHECK_INT(err.code, ERR_INVALID);
    }
    CHECK_INT(n_entries(f.w.k.root, ""), 0);
    end(&f);
}

TEST(failed_write_leaves_the_old_content)
{
    struct fixture f;
    /* "a" cannot be file and folder at once. */
    const struct volume_file good = { STR("a"), STR("1"), 0644, -1 };
    const struct volume_file bad[] = { { STR("a"), STR("2"), 0644, -1 }, { STR("a/b"), STR("3"), 0644, -1 } };
    start(&f);
    CHECK_OK(atomic_write(f.w.k.root, &good, 1, -1, &f.err), &f.err);
    CHECK(!atomic_write(f.w.k.root, bad, 2, -1, &f.err));
    CHECK_STR_C(test_file(&f.w, &f.a, "a"), "1");
    CHECK_INT(n_entries(f.w.k.root, "..20"), 1);
    end(&f);
}

TEST(later_file_of_a_path_replaces_the_earlier)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct volume_files files = { .a = &a };
    for (int i = 0; i < 40; i++) {
        volume_files_add(&files, arena_printf(&a, "f%d", i % 20), arena_printf(&a, "%d", i), 0644);
    }
    CHECK_INT(files.n, 20);
    CHECK_STR_C(files.items[3].data, "23");
    arena_deinit(&a);
}
