#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"
#include "tunnel/authorized-keys.h"

#define OURS "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKmZSmEOiKVAwECU/IVvFaOp3YCXSPdC8Vv6oYfTyXq"
#define OTHER "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA someone@example\n"

static struct str add(const char *file, struct buf *b)
{
    struct err err;
    struct str permit[] = { STR("10.0.0.7:10250"), STR("[fd00::7]:10250") };
    buf_clear(b);
    CHECK_OK(authorized_keys_add(str_c(file), STR(OURS " coracle-tunnel\n"), permit, 2, b, &err), &err);
    return buf_str(b);
}

TEST(our_key_is_added_with_restrictions_and_once)
{
    CLEANUP(buf_deinit) struct buf b, c;
    struct err err;
    size_t removed;
    static const char line[] = "restrict,port-forwarding,permitopen=\"10.0.0.7:10250\",permitopen=\"[fd00::7]:10250\" " OURS " coracle-tunnel\n";
    buf_init(&b, 65536);
    buf_init(&c, 65536);
    CHECK_STR_C(add("", &b), line);
    char *once = strndup(b.ptr, b.len);
    CHECK_STR_C(add(once, &b), line);
    free(once);
    /* others stay, also without an end of line; a line of ours with other options is replaced */
    CHECK(str_starts(add("# mine\n" OTHER OURS " old", &b), STR("# mine\n" OTHER "restrict")));
    CHECK_OK(authorized_keys_remove(buf_str(&b), STR(OURS), &c, &removed, &err), &err);
    CHECK_STR_C(buf_str(&c), "# mine\n" OTHER);
    CHECK_INT(removed, 1);
}

TEST(tabs_part_the_words_of_a_key_as_spaces_do)
{
    CLEANUP(buf_deinit) struct buf once, twice;
    struct err err;
    struct str tabbed = STR("ssh-ed25519\tAAAAC3NzaC1lZDI1NTE5AAAAIJKmZSmEOiKVAwECU/IVvFaOp3YCXSPdC8Vv6oYfTyXq\tme@home");
    size_t removed;
    buf_init(&once, 65536);
    buf_init(&twice, 65536);
    CHECK_OK(authorized_keys_add(STR(""), tabbed, NULL, 0, &once, &err), &err);
    CHECK(str_find(buf_str(&once), STR("me@home")) < 0);
    CHECK_OK(authorized_keys_add(buf_str(&once), STR(OURS), NULL, 0, &twice, &err), &err);
    CHECK(str_find(str_sub(buf_str(&twice), 1, SIZE_MAX), STR("\n")) == (ptrdiff_t)twice.len - 2);
    buf_clear(&once);
    CHECK_OK(authorized_keys_remove(buf_str(&twice), tabbed, &once, &removed, &err), &err);
    CHECK(removed == 1 && once.len == 0);
}

TEST(what_is_no_key_and_no_target_is_refused)
{
    CLEANUP(buf_deinit) struct buf b;
    struct err err;
    struct str bad[] = { STR("a:80\" command=\"x"), STR("nohost"), STR("a:99999") };
    buf_init(&b, 65536);
    CHECK(!authorized_keys_add(STR(""), STR("command=\"x\" " OURS), NULL, 0, &b, &err));
    CHECK(!authorized_keys_add(STR(""), STR(OURS "\n" OURS), NULL, 0, &b, &err));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!authorized_keys_add(STR(""), STR(OURS), &bad[i], 1, &b, &err));
    }
}

TEST(the_file_is_made_private_and_links_are_not_followed)
{
    char dir[] = "/tmp/test-tunnel.XXXXXX", path[100], away[100];
    struct err err;
    struct stat st;
    CHECK(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/.ssh/authorized_keys", dir);
    (void)snprintf(away, sizeof(away), "%s/away", dir);
    CHECK_OK(authorized_keys_uninstall(path, STR(OURS), &err), &err);
    CHECK_OK(authorized_keys_install(path, geteuid(), getegid(), STR(OURS), NULL, 0, &err), &err);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    ino_t inode = st.st_ino;
    CHECK_OK(authorized_keys_install(path, geteuid(), getegid(), STR(OURS), NULL, 0, &err), &err);
    CHECK(stat(path, &st) == 0 && st.st_ino == inode); /* nothing to do: not written */
    CHECK_OK(authorized_keys_uninstall(path, STR(OURS), &err), &err);
    CHECK(stat(path, &st) == 0 && st.st_size == 0);
    CHECK(unlink(path) == 0 && symlink(away, path) == 0);
    CHECK(!authorized_keys_install(path, geteuid(), getegid(), STR(OURS), NULL, 0, &err));
    CHECK(access(away, F_OK) != 0);
    (void)!fs_remove_tree(dir, &err);
}
