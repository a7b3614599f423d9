/* The tunnel process as `coracle tunnel` and kube-apiserver's --ssh-user start it. */
#ifndef CMD_TUNNEL_OPTIONS_H
#define CMD_TUNNEL_OPTIONS_H

#include "base/flags.h"
#include "cmd/sandbox-flags.h"

struct tunnel_options {
    struct sandbox_options sandbox;
    struct str kubeconfig, socket, socket_mode;
    struct str ssh_user, ssh_keyfile, ssh_known_hosts_file, ssh_address_types, reach_label;
    int64_t ssh_port;
    bool ssh_annotation_host_keys;
    struct str reverse_address, reverse_cert_file, reverse_key_file, reverse_client_ca_file;
};

/* --ssh-user, --ssh-keyfile and what belongs to them, over struct tunnel_options: the same in both programs. */
extern const struct flag tunnel_ssh_flags[];
extern const size_t tunnel_n_ssh_flags;

/* Runs until SIGTERM or SIGINT; returns the exit status. */
int tunnel_process_run(const struct tunnel_options *o);
/*
 * Starts the tunnel process beside this one, and again when it ends, and ends it with this one. It is a fork from a moment when
 * nothing secret was read yet, and reads the SSH key itself: the key is never in this process. Call it right after the flags were
 * parsed, before any file, thread or socket. 'ret_socket' (PATH_MAX) is where it will listen: 'o->socket', or a file in 'dir'.
 */
MUST_CHECK bool tunnel_process_start(const struct tunnel_options *o, const char *dir, char *ret_socket, struct err *err);

#endif
