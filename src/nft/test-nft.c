/* Bytes without a kernel; and what the kernel says to them, in a network namespace of our own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <unistd.h>

#include "base/test.h"
#include "nft/rule.h"
#include "nft/socket.h"

#define TABLE "nft-test"

struct fixture {
    int home;
    struct nft_socket *nl;
    struct nft_batch x;
};

static void setup(struct fixture *f)
{
    struct err err = { 0 };
    f->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (f->home < 0 || unshare(CLONE_NEWNET) < 0) {
        test_skip("no rights to make a network namespace");
    }
    f->nl = nft_socket_open(&err);
    CHECK_OK(f->nl != NULL, &err);
}

static void teardown(struct fixture *f)
{
    nft_socket_close(f->nl);
    CHECK_INT(setns(f->home, CLONE_NEWNET), 0);
    close(f->home);
}

static void begin(struct fixture *f, uint32_t generation)
{
    nft_batch_init(&f->x, NFPROTO_IPV4, TABLE, generation, nft_socket_seq(f->nl));
}

static bool send_it(struct fixture *f, int *ret_errno, struct err *err)
{
    nft_batch_end(&f->x);
    bool ok = nft_socket_send(f->nl, &f->x, ret_errno, err);
    nft_batch_deinit(&f->x);
    return ok;
}

TEST(a_batch_is_messages_between_begin_and_end)
{
    struct nft_batch x;
    nft_batch_init(&x, NFPROTO_IPV4, TABLE, 7, 100);
    nft_add_table(&x);
    nft_batch_end(&x);
    CHECK_INT(x.n_messages, 1);
    CHECK_INT(x.seq, 103);
    const uint16_t want[] = { NFNL_MSG_BATCH_BEGIN, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE,
                              NFNL_MSG_BATCH_END };
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        struct nlmsghdr h;
        CHECK(at + sizeof(h) <= x.b.len);
        memcpy(&h, x.b.ptr + at, sizeof(h));
        CHECK_INT(h.nlmsg_type, want[i]);
        CHECK_INT(h.nlmsg_seq, 100 + i);
        at += h.nlmsg_len;
    }
    CHECK_INT(at, x.b.len);
    nft_batch_deinit(&x);
}

TEST(lists_of_elements_are_split_before_an_attribute_is_too_long)
{
    struct nft_batch x;
    static struct nft_element e[5000];
    static uint32_t keys[5000];
    nft_batch_init(&x, NFPROTO_IPV4, TABLE, 0, 1);
    for (uint32_t i = 0; i < ARRAY_SIZE(e); i++) {
        keys[i] = i;
        e[i].key = str_n((const char *)&keys[i], 4);
    }
    nft_add_elements(&x, "set", 0, e, ARRAY_SIZE(e));
    nft_batch_end(&x);
    CHECK(!nft_batch_failed(&x));
    CHECK_INT(x.n_messages, 2);
    nft_batch_deinit(&x);
}

TEST(a_refusal_names_the_message_and_changes_nothing)
{
    struct fixture f;
    struct err err = { 0 };
    int e = 0;
    setup(&f);
    begin(&f, 0);
    nft_add_table(&f.x);
    nft_add_chain(&f.x, "a");
    nft_rule_begin(&f.x, "a");
    nft_verdict(&f.x, NFT_JUMP, "missing");
    nft_rule_end(&f.x);
    CHECK(!send_it(&f, &e, &err));
    CHECK_INT(e, ENOENT);
    CHECK(str_find(str_c(err.msg), STR("add rule")) >= 0);
    CHECK(!nft_socket_has_table(f.nl, NFPROTO_IPV4, TABLE));
    /* And the socket is as good as before. */
    begin(&f, 0);
    nft_add_table(&f.x);
    CHECK_OK(send_it(&f, &e, &err), &err);
    CHECK(nft_socket_has_table(f.nl, NFPROTO_IPV4, TABLE));
    begin(&f, 0);
    nft_delete_table(&f.x, true);
    CHECK_OK(send_it(&f, &e, &err), &err);
    CHECK(!nft_socket_has_table(f.nl, NFPROTO_IPV4, TABLE));
    begin(&f, 0);
    nft_delete_table(&f.x, false);
    CHECK_OK(send_it(&f, &e, &err), &err);
    teardown(&f);
}

TEST(a_batch_for_another_generation_is_refused)
{
    struct fixture f;
    struct err err = { 0 };
    int e = 0;
    setup(&f);
    uint32_t generation = nft_socket_generation(f.nl);
    CHECK(generation != 0);
    begin(&f, generation);
    nft_add_table(&f.x);
    CHECK_OK(send_it(&f, &e, &err), &err);
    CHECK(nft_socket_generation(f.nl) != generation);
    begin(&f, generation);
    nft_add_chain(&f.x, "a");
    CHECK(!send_it(&f, &e, &err));
    CHECK_INT(e, ERESTART);
    teardown(&f);
}

TEST(an_element_can_be_replaced_in_one_batch)
{
    struct fixture f;
    struct err err = { 0 };
    int e = 0;
    uint32_t key = htonl(0x0a000001), one = 1, two = 2;
    setup(&f);
    begin(&f, 0);
    nft_add_table(&f.x);
    struct nft_set s = { .name = "m",
                         .id = 1,
                         .fields = { 4 },
                         .key_type = NFT_TYPE_IPADDR,
                         .data_type = NFT_TYPE_MARK,
                         .data_len = 4 };
    struct nft_element x = { .key = str_n((const char *)&key, 4),
                             .data = str_n((const char *)&one, 4) };
    nft_add_set(&f.x, &s);
    nft_add_elements(&f.x, "m", 1, &x, 1);
    CHECK_OK(send_it(&f, &e, &err), &err);
    begin(&f, 0);
    nft_delete_elements(&f.x, "m", &x, 1);
    x.data = str_n((const char *)&two, 4);
    nft_add_elements(&f.x, "m", 0, &x, 1);
    CHECK_OK(send_it(&f, &e, &err), &err);
    /* Not there: refused, which shows that our picture is wrong. */
    key = htonl(0x0a000002);
    begin(&f, 0);
    nft_delete_elements(&f.x, "m", &x, 1);
    CHECK(!send_it(&f, &e, &err));
    CHECK_INT(e, ENOENT);
    teardown(&f);
}
