/* For tests: the real sshd on a port of loopback, as the user that runs the test, with keys of its own. */
#ifndef TUNNEL_TEST_SSHD_H
#define TUNNEL_TEST_SSHD_H

#include <sys/types.h>

#include "base/str.h"

struct test_sshd {
    char dir[64];
    uint16_t port;
    pid_t pid;
    char host_key[1024]; /* "ssh-ed25519 AAAA…", without its end of line */
    char user[64];
};

/* Makes keys and authorized_keys with 'client_public' (a *.pub line) and starts it. Skips the test when there is no sshd. */
void test_sshd_start(struct test_sshd *s, const char *options, struct str client_public);
/* Starts it again on the same port with the same keys. */
void test_sshd_again(struct test_sshd *s);
/* Ends it and all of its connections. */
void test_sshd_kill(struct test_sshd *s);
/* Sends a signal to it and all of its connections. */
void test_sshd_signal(struct test_sshd *s, int signo);
/* Kills and removes the folder. */
void test_sshd_end(struct test_sshd *s);
/* A port of loopback that nobody listens on. */
uint16_t test_free_port(void);

#endif
