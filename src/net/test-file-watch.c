#include "base/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "net/file-watch.h"

struct seen {
    struct loop *loop;
    struct file_watch *watch;
    unsigned calls;
};

static void on_change(void *arg)
{
    ((struct seen *)arg)->calls++;
}

static void turns(struct seen *s, int ms)
{
    uint64_t until = loop_now_ms(s->loop) + (uint64_t)ms;
    while (loop_now_ms(s->loop) < until) {
        loop_turn(s->loop, 10);
    }
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    CHECK(fs_write_atomic(path, str_c(text), 0600, &err));
}

TEST(a_pair_of_files_that_is_replaced_is_told_once_and_one_that_vanishes_is_not)
{
    char dir[] = "/tmp/c-watch-XXXXXX", crt[64], key[64];
    struct err err;
    struct seen s = { 0 };
    CHECK(mkdtemp(dir) != NULL);
    snprintf(crt, sizeof(crt), "%s/tls.crt", dir);
    snprintf(key, sizeof(key), "%s/tls.key", dir);
    put(dir, "tls.crt", "one");
    put(dir, "tls.key", "one");
    s.loop = loop_new(&err);
    s.watch = file_watch_new(s.loop, on_change, &s);
    file_watch_add(s.watch, str_c(crt));
    file_watch_add(s.watch, str_c(key));
    file_watch_add(s.watch, str_c(key));
    file_watch_add(s.watch, STR_EMPTY);
    turns(&s, 200);
    CHECK(s.calls == 0);
    put(dir, "tls.crt", "two");
    put(dir, "tls.key", "two");
    put(dir, "other", "is not watched");
    turns(&s, 300);
    CHECK(s.calls == 1);
    put(dir, "other", "is not watched, really");
    unlink(crt);
    turns(&s, 300);
    CHECK(s.calls == 1);
    put(dir, "tls.crt", "three");
    turns(&s, 300);
    CHECK(s.calls == 2);
    file_watch_free(s.watch);
    loop_free(s.loop);
    CHECK(fs_remove_tree(dir, &err));
}

/* How projected volumes and the kubelet's certificates change: the name stays, the link behind it turns. */
TEST(a_link_that_is_turned_to_another_folder_is_a_change)
{
    char dir[] = "/tmp/c-watch-XXXXXX", path[64], data[64], fresh[64], one[64], two[64];
    struct err err;
    struct seen s = { 0 };
    CHECK(mkdtemp(dir) != NULL);
    snprintf(one, sizeof(one), "%s/..1", dir);
    snprintf(two, sizeof(two), "%s/..2", dir);
    snprintf(data, sizeof(data), "%s/..data", dir);
    snprintf(fresh, sizeof(fresh), "%s/..data_tmp", dir);
    snprintf(path, sizeof(path), "%s/tls.crt", dir);
    CHECK(mkdir(one, 0700) == 0 && mkdir(two, 0700) == 0);
    put(one, "tls.crt", "one");
    put(two, "tls.crt", "two");
    CHECK(symlink("..1", data) == 0 && symlink("..data/tls.crt", path) == 0);
    s.loop = loop_new(&err);
    s.watch = file_watch_new(s.loop, on_change, &s);
    file_watch_add(s.watch, str_c(path));
    CHECK(symlink("..2", fresh) == 0 && rename(fresh, data) == 0);
    turns(&s, 300);
    CHECK(s.calls == 1);
    put(two, "tls.crt", "three"); /* behind the link: its folder is watched by now */
    turns(&s, 300);
    CHECK(s.calls == 2);
    file_watch_free(s.watch);
    loop_free(s.loop);
    CHECK(fs_remove_tree(dir, &err));
}
