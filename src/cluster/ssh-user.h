/* The user at a node by whom the server's tunnel comes in: made when it is not there, without password and shell, and
 * its one key. */
#ifndef CLUSTER_SSH_USER_H
#define CLUSTER_SSH_USER_H

#include "cluster/host.h"

/* '*ret_made': it was not there before. The key may forward connections and nothing else. */
MUST_CHECK bool ssh_user_authorize(const struct host *h, struct str public_key, bool *ret_made, struct err *err);
/* Takes the key out, and the user when it was made here. */
MUST_CHECK bool ssh_user_remove(const struct host *h, struct err *err);
/* The host's public keys, "type base64" lines, from the files of a pattern ("/etc/ssh/ssh_host_*_key.pub"). */
MUST_CHECK bool ssh_user_host_keys(const char *pattern, struct buf *b, struct err *err);

#endif
