#include "auth/token-file.h"

#include "auth/test-auth.h"

TEST(token_file_reads_users_groups_and_quotes)
{
    struct err err = { 0 };
    struct token_file *f = token_file_parse(STR("t1,alice,uid1,\"devs,ops\"\r\n\n\"t,\"\"2\",bob,"
                                                "uid2\nt3,carol,uid3,one\n,nobody,uid4\n"),
                                            &err);
    CHECK_OK(f, &err);
    CHECK_INT(token_file_count(f), 3);
    const struct auth_user *u = token_file_find(f, STR("t1"));
    CHECK(u && u->n_groups == 2);
    CHECK_STR_C(u->name, "alice");
    CHECK_STR_C(u->uid, "uid1");
    CHECK_STR_C(u->groups[1], "ops");
    u = token_file_find(f, STR("t,\"2"));
    CHECK(u && u->n_groups == 0);
    CHECK_STR_C(u->name, "bob");
    u = token_file_find(f, STR("t3"));
    CHECK(u && u->n_groups == 1);
    CHECK(!token_file_find(f, STR("")) && !token_file_find(f, STR("t2")));
    token_file_free(f);
}

TEST(token_file_says_which_line_is_wrong)
{
    struct err err = { 0 };
    CHECK(!token_file_parse(STR("t1,alice,uid1\nt2,bob\n"), &err));
    CHECK_STR_C(str_c(err.msg),
                "line 2: must have at least 3 columns (token, user name, user uid), found 2");
    CHECK(!token_file_parse(STR("t1,alice,\"uid"), &err));
    CHECK_STR_C(str_c(err.msg), "line 1: a quoted field has no end");
    CHECK(!token_file_parse(STR("t1,al\"ice,uid"), &err) &&
          !token_file_parse(STR("\"t\"x,a,b"), &err));
}

TEST(later_line_of_one_token_wins)
{
    struct err err = { 0 };
    struct token_file *f = token_file_parse(STR("t,alice,1\nt,bob,2"), &err);
    CHECK_OK(f, &err);
    CHECK_STR_C(token_file_find(f, STR("t"))->name, "bob");
    token_file_free(f);
}
