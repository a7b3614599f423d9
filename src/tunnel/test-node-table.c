#include "base/test.h"
#include "tunnel/allow.h"
#include "tunnel/node-table.h"

static int one, two;

static struct node_table *table(void)
{
    struct node_table *t = node_table_new();
    const struct str a1[] = { STR("10.0.0.1"), STR("fd00::1"), STR("One.example"), STR("127.0.0.1") };
    const struct str c1[] = { STR("10.244.0.0/24"), STR("fd00:1::/64") };
    const struct str a2[] = { STR("10.0.0.2"), STR("169.254.169.254") };
    const struct str c2[] = { STR("10.244.1.0/24") };
    node_table_put(t, &(struct node_claims){ STR("node-1"), a1, 4, c1, 2 }, &one);
    node_table_put(t, &(struct node_claims){ STR("node-2"), a2, 2, c2, 1 }, &two);
    return t;
}

static void *owner(struct node_table *t, const char *host)
{
    void *ret = NULL;
    return node_table_find(t, str_c(host), &ret) == NODE_FOUND ? ret : NULL;
}

TEST(an_address_belongs_to_the_node_that_has_it_or_whose_pods_do)
{
    struct node_table *t = table();
    CHECK(owner(t, "10.0.0.1") == &one);
    CHECK(owner(t, "10.0.0.2") == &two);
    CHECK(owner(t, "fd00:0:0::1") == &one);
    CHECK(owner(t, "node-2") == &two);
    CHECK(owner(t, "one.EXAMPLE") == &one);
    CHECK(owner(t, "10.244.0.77") == &one);
    CHECK(owner(t, "10.244.1.77") == &two);
    CHECK(owner(t, "fd00:1::99") == &one);
    CHECK(!owner(t, "10.244.2.1"));
    CHECK(!owner(t, "10.0.0.3"));
    CHECK(!owner(t, "node-3"));
    CHECK(!owner(t, "127.0.0.1"));
    CHECK(!owner(t, "169.254.169.254"));
    node_table_remove(t, STR("node-1"));
    CHECK(!owner(t, "10.0.0.1"));
    CHECK(!owner(t, "10.244.0.77"));
    CHECK(owner(t, "10.244.1.77") == &two);
    node_table_free(t);
}

TEST(what_two_nodes_claim_belongs_to_neither)
{
    struct node_table *t = table();
    void *ret = NULL;
    /* node-2 says that node-1's address and one of its pods are its own */
    const struct str a2[] = { STR("10.0.0.2"), STR("10.0.0.1"), STR("10.244.0.5"), STR("node-1") };
    node_table_put(t, &(struct node_claims){ STR("node-2"), a2, 4, NULL, 0 }, &two);
    CHECK_INT(node_table_find(t, STR("10.0.0.1"), &ret), NODE_AMBIGUOUS);
    CHECK_INT(node_table_find(t, STR("10.244.0.5"), &ret), NODE_AMBIGUOUS);
    CHECK_INT(node_table_find(t, STR("node-1"), &ret), NODE_AMBIGUOUS);
    CHECK(owner(t, "10.244.0.6") == &one);
    CHECK(owner(t, "10.0.0.2") == &two);
    /* and takes it back */
    node_table_put(t, &(struct node_claims){ STR("node-2"), a2, 1, NULL, 0 }, &two);
    CHECK(owner(t, "10.0.0.1") == &one);
    node_table_free(t);
}

static bool allowed(const struct tunnel_allow *a, const char *ip, uint16_t port)
{
    struct net_addr addr;
    struct err err;
    CHECK(net_addr_parse_ip(str_c(ip), port, &addr));
    return allow_target(a, &addr, &err);
}

TEST(an_agent_admits_itself_and_its_pods_only)
{
    struct tunnel_allow a = { 0 };
    struct err err;
    const struct str pods[] = { STR("10.244.7.0/24"), STR("fd00:7::/64") };
    CHECK(allow_ports(&a, STR("10250,10255"), &err));
    CHECK(allow_ranges(&a, pods, 2, &err));
    CHECK(allowed(&a, "10.244.7.9", 80));
    CHECK(allowed(&a, "fd00:7::9", 80));
    CHECK(allowed(&a, "127.0.0.1", 10250));
    CHECK(!allowed(&a, "127.0.0.1", 22));
    CHECK(!allowed(&a, "127.0.0.2", 10250));
    CHECK(!allowed(&a, "::1", 6443));
    CHECK(!allowed(&a, "::ffff:127.0.0.1", 22));
    CHECK(!allowed(&a, "10.244.8.9", 80));
    CHECK(!allowed(&a, "169.254.169.254", 80));
    CHECK(!allowed(&a, "0.0.0.0", 10250));
    CHECK(!allow_ports(&a, STR("10250,x"), &err));
}
