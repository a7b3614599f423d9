/* The client key of SSH tunnels. */
#ifndef TUNNEL_SSH_KEY_H
#define TUNNEL_SSH_KEY_H

#include "base/buf.h"
#include "base/err.h"

struct ssh_key_struct;

/*
 * Reads the private key (OpenSSH or PEM, without a passphrase). When the file is not there, an Ed25519 key is made: 0600, complete
 * before it has its name, never over an existing file; its public half goes to '<path>.pub'. A key that others may read, or that
 * somebody else owns, is refused. 'ret_public' is appended the authorized_keys line, without a line end. NULL with a reason.
 */
MUST_CHECK struct ssh_key_struct *tunnel_ssh_key(const char *path, struct buf *ret_public, struct err *err);

#endif
