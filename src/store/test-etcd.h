/* Real etcd members for tests: processes on the loopback with TLS and client certificates, in folders of their own. */
#ifndef STORE_TEST_ETCD_H
#define STORE_TEST_ETCD_H

#include "store/store.h"

enum { TEST_ETCD_MAX = 3 };

struct test_etcd;

/* Starts 'n' members and waits until they answer. Skips the test when etcd is not installed. 'quota' 0: etcd's default. */
struct test_etcd *test_etcd_start(unsigned n, uint64_t quota);
struct test_etcd *test_etcd_stop(struct test_etcd *e);
/* One member for all tests that need nothing special; ends with the program. */
struct test_etcd *test_etcd_shared(void);
/* SIGKILL, SIGSTOP, SIGCONT … to a member. */
void test_etcd_signal(struct test_etcd *e, unsigned member, int signo);
/* Starts a member that was killed again, on its data. */
void test_etcd_again(struct test_etcd *e, unsigned member);
/* Their client addresses; returns how many. */
size_t test_etcd_servers(const struct test_etcd *e, struct str servers[TEST_ETCD_MAX]);
/* Fills in the names of the files for TLS. */
void test_etcd_files(const struct test_etcd *e, struct store_etcd_config *c);
/* Runs etcdctl with these arguments; its output, without the newline at the end (static). */
PRINTF_LIKE(2, 3) const char *test_etcdctl(struct test_etcd *e, const char *fmt, ...);
/* Makes this member the leader. */
void test_etcd_lead(struct test_etcd *e, unsigned member);

#endif
