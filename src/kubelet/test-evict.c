/* What folders take, and pods whose volumes grow past their limit. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "kubelet/disk-use.h"
#include "kubelet/test-fixture.h"
#include "kubelet/volume.h"

static void put(const char *path, size_t kib)
{
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char block[1024] = { 'x' };
    CHECK(fd >= 0);
    for (size_t i = 0; i < kib; i++) {
        CHECK_INT(write(fd, block, sizeof(block)), sizeof(block));
    }
}

static struct disk_use walk(const char *dir)
{
    struct disk_use use = { 0 };
    int rc = 0;
    struct disk_walk *w = disk_walk_new(dir, &rc);
    CHECK(w != NULL);
    while (!disk_walk_step(w, 3, &use)) {
    }
    disk_walk_free(w);
    return use;
}

TEST(disk_use_counts_blocks_once_and_follows_nothing)
{
    struct fixture f;
    char dir[200], path[400], other[400];
    fixture_init(&f);
    snprintf(dir, sizeof(dir), "%s/walk", f.dir);
    CHECK_INT(mkdir(dir, 0700), 0);
    uint64_t empty = walk(dir).bytes;
    snprintf(path, sizeof(path), "%s/a", dir);
    put(path, 64);
    snprintf(other, sizeof(other), "%s/b", dir);
    CHECK_INT(link(path, other), 0);
    snprintf(other, sizeof(other), "%s/away", dir);
    CHECK_INT(symlink("/usr", other), 0);
    snprintf(other, sizeof(other), "%s/sub", dir);
    CHECK_INT(mkdir(other, 0700), 0);
    snprintf(path, sizeof(path), "%s/sub/c", dir);
    put(path, 64);
    struct disk_use use = walk(dir);
    CHECK_INT(use.inodes, 6);
    CHECK(use.bytes >= 128 * 1024 && use.bytes <= empty + 160 * 1024);
    CHECK(!use.too_deep);
    int rc = 0;
    snprintf(other, sizeof(other), "%s/away", dir);
    CHECK(!disk_walk_new(other, &rc));
    CHECK(rc < 0);
    fixture_deinit(&f);
}

TEST(folders_deeper_than_the_bound_are_said_to_be_so)
{
    struct fixture f;
    char dir[200];
    fixture_init(&f);
    snprintf(dir, sizeof(dir), "%s/deep", f.dir);
    CHECK_INT(mkdir(dir, 0700), 0);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < DISK_USE_DEPTH + 5; i++) {
        CHECK_INT(mkdirat(fd, "d", 0700), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    CHECK(walk(dir).too_deep);
    fixture_deinit(&f);
}

static void look(struct fixture *f)
{
    evictor_look(&f->k);
    for (int i = 0; i < 20; i++) { /* a folder takes a few pauses of a millisecond */
        loop_turn(f->k.loop, 5);
    }
    fixture_settle(f);
}

TEST(a_pod_whose_empty_dir_is_larger_than_its_limit_is_evicted)
{
    struct fixture f;
    struct volume v;
    struct volume_use use;
    char path[PATH_MAX];
    struct err err = { 0 };
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {terminationGracePeriodSeconds: 30, containers: [{name: a, image: 'x:1'}], volumes:"
                                    " [{name: free, emptyDir: {}}, {name: scratch, emptyDir: {sizeLimit: 100Ki}}]}}");
    fixture_settle(&f);
    evictor_start(&f.k);
    CHECK_OK(volume_find(p, STR("free"), &v, &err), &err);
    snprintf(path, sizeof(path), "%.3000s/file", v.dir);
    put(path, 300);
    CHECK_OK(volume_find(p, STR("scratch"), &v, &err), &err);
    snprintf(path, sizeof(path), "%.3000s/file", v.dir);
    put(path, 50);
    look(&f);
    CHECK(!p->over_limit);
    CHECK_STR_C(fixture_status(&f, p)->phase, "Running");
    CHECK(volume_use_of(p, STR("scratch"), &use));
    CHECK(use.bytes >= 50 * 1024 && use.inodes == 2);
    CHECK(!volume_use_of(p, STR("free"), &use));
    put(path, 150);
    look(&f);
    const struct core_v1_pod_status *s = fixture_status(&f, p);
    CHECK_STR_C(s->phase, "Failed");
    CHECK_STR_C(s->reason, "Evicted");
    CHECK_STR_C(s->message, "Usage of EmptyDir volume \"scratch\" exceeds the limit \"100Ki\". ");
    CHECK_STR_C(s->conditions[s->n_conditions - 1].type, "DisruptionTarget");
    CHECK_STR_C(s->conditions[s->n_conditions - 1].reason, "TerminationByKubelet");
    CHECK_INT(fixture_run(&f, "a")->stop_timeout, 1);
    evictor_stop(&f.k);
    fixture_deinit(&f);
}

TEST(a_volume_of_many_files_is_not_walked_to_its_end_when_it_is_past_its_limit)
{
    struct fixture f;
    struct volume v;
    char path[PATH_MAX];
    struct err err = { 0 };
    fixture_init(&f);
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1'}], volumes:"
                                    " [{name: scratch, emptyDir: {sizeLimit: 100Ki}}]}}");
    fixture_settle(&f);
    evictor_start(&f.k);
    CHECK_OK(volume_find(p, STR("scratch"), &v, &err), &err);
    for (int i = 0; i < 8000; i++) { /* 20 turns */
        snprintf(path, sizeof(path), "%.3000s/%d", v.dir, i);
        put(path, 1);
    }
    evictor_look(&f.k);
    int turns = 0;
    while (!p->over_limit && turns < 100) {
        loop_turn(f.k.loop, 5);
        turns++;
    }
    CHECK(turns < 15);
    fixture_settle(&f);
    CHECK_STR_C(fixture_status(&f, p)->reason, "Evicted");
    evictor_stop(&f.k);
    fixture_deinit(&f);
}
