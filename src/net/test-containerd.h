/*
 * A private containerd for tests: its own root, state and socket in a temporary folder, in mount, network and pid namespaces
 * of its own. No process and no mount of it is left after the test, failed ones included; a failed test leaves the folder
 * /var/tmp/coracle-test-net-* with containerd's log.
 */
#ifndef NET_TEST_CONTAINERD_H
#define NET_TEST_CONTAINERD_H

#include <sys/types.h>

struct test_containerd {
    pid_t pid;
    char dir[64];
    char socket[96];
    char cgroup[64]; /* cgroup_parent for sandboxes */
};

/* Starts it and waits for the socket; skips the test where it cannot run. */
void test_containerd_start(struct test_containerd *t);
/* Imports an image of that name, whose only content is busybox. */
void test_containerd_import_busybox(struct test_containerd *t, const char *name);
/* A TCP connection to 127.0.0.1 inside its network namespace. */
int test_containerd_connect(const struct test_containerd *t, unsigned port);
void test_containerd_stop(struct test_containerd *t);

#endif
