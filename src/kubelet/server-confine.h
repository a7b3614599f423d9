/*
 * What the server's process cannot do, whatever a peer makes it do: open any file (Landlock, where the kernel has it), run a
 * program, mount, trace, load code into the kernel, make namespaces (seccomp). It keeps sockets, its threads, and the descriptors that
 * the core hands it.
 */
#ifndef KUBELET_SERVER_CONFINE_H
#define KUBELET_SERVER_CONFINE_H

#include "base/err.h"

/* Needs no_new_privs. False with a reason when the kernel refuses; a kernel without Landlock is no failure. */
MUST_CHECK bool server_confine(struct err *err);

#endif
