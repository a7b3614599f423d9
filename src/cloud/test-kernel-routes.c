/* The route controller with the kernel's routes, in a network namespace of its own. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "cloud/test-provider.h"
#include "net/rtnl.h"

#define NODE(ips, cidrs) \
    "{\"metadata\":{\"name\":\"n1\",\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":{\"podCIDRs\":[" cidrs "]},\"status\":{\"addresses\":[" ips "]}}"
#define IP(ip) "{\"type\":\"InternalIP\",\"address\":\"" ip "\"}"
#define BOTH "\"10.244.1.0/24\",\"fd01:0:0:1::/64\""

static bool shell(const char *command)
{
    return system(command) == 0;
}

TEST(the_kernels_routes_follow_the_nodes_and_others_routes_stay)
{
    struct fixture f;
    struct err err;
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), ns = geteuid() == 0 ? rtnl_new_netns(&err) : -1;
    if (ns < 0) {
        close(home);
        test_skip("network namespaces need root");
    }
    CHECK_INT(setns(ns, CLONE_NEWNET), 0);
    CHECK(shell("ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip link set eth1 up && ip addr add 192.0.2.1/24 dev eth0 && "
                "ip addr add fd00::1/64 dev eth0 nodad && ip route add 10.244.7.0/24 via 192.0.2.7 && ip route add 10.99.0.0/16 via 192.0.2.7 proto 207 && "
                "ip route add 10.244.8.0/24 via 192.0.2.7 proto 207"));
    cloud_begin(&f, &cloud_route_controller, CLOUD_HEAD "routes: {by: router}");
    fixture_put(&f, "", "v1", "nodes", NODE(IP("192.0.2.9") "," IP("fd00::9"), BOTH));
    const char *out = fixture_pass(&f, "routes");
    CHECK(strstr(out, "\"status\":\"False\",\"reason\":\"RouteCreated\"") != NULL);
    CHECK(shell("ip route show 10.244.1.0/24 proto 207 | grep -q 'via 192.0.2.9'"));
    CHECK(shell("ip -6 route show fd01:0:0:1::/64 proto 207 | grep -q 'via fd00::9'"));
    CHECK(shell("! ip route | grep -q 10.244.8.0"));
    fixture_put(&f, "", "v1", "nodes", NODE(IP("192.0.2.8") "," IP("fd00::9"), BOTH));
    fixture_pass(&f, "routes");
    CHECK(shell("ip route show 10.244.1.0/24 proto 207 | grep -q 'via 192.0.2.8'"));
    /* An address on no link cannot be a gateway: the kernel says so, and so does the condition. */
    fixture_put(&f, "", "v1", "nodes", NODE(IP("198.51.100.1") "," IP("fd00::9"), BOTH));
    out = fixture_pass(&f, "routes");
    CHECK(strstr(out, "\"reason\":\"NoRouteCreated\"") != NULL && strstr(out, "failed") != NULL);
    fixture_put(&f, "", "v1", "nodes", NODE(IP("192.0.2.8"), ""));
    fixture_pass(&f, "routes");
    CHECK(shell("! ip route | grep -q 10.244.1.0 && ! ip -6 route | grep -q fd01"));
    CHECK(shell("ip route | grep -q '10.244.7.0/24 via 192.0.2.7' && ip route | grep -q '10.99.0.0/16 via 192.0.2.7'"));
    cloud_end(&f);
    CHECK_INT(setns(home, CLONE_NEWNET), 0);
    close(home);
    close(ns);
}
