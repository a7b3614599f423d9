/*
 * Our public key in a node's authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT): put there with restrictions, once, and taken
 * out again. Other lines stay byte for byte; the file keeps its owner, and is replaced at once.
 */
#ifndef TUNNEL_AUTHORIZED_KEYS_H
#define TUNNEL_AUTHORIZED_KEYS_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Pure: the new contents of the file. 'key' is a *.pub line. 'permit' are "host:port" targets (permitopen); none: any target that
 * the node reaches. Idempotent: a line of this key that is there already is replaced. False with a reason when the key or a target
 * cannot be used. */
MUST_CHECK bool authorized_keys_add(struct str file, struct str key, const struct str *permit, size_t n_permit, struct buf *ret,
                                    struct err *err);
/* Pure: without lines of this key. '*ret_removed' says how many went. */
MUST_CHECK bool authorized_keys_remove(struct str file, struct str key, struct buf *ret, size_t *ret_removed, struct err *err);

/* The same on a file: makes it (0600) and its folder (0700) for 'uid' and 'gid' where they are absent. Follows no link in the last
 * part of the path, so that a user cannot send root elsewhere. */
MUST_CHECK bool authorized_keys_install(const char *path, uid_t uid, gid_t gid, struct str key, const struct str *permit, size_t n_permit,
                                        struct err *err);
/* An absent file is fine. */
MUST_CHECK bool authorized_keys_uninstall(const char *path, struct str key, struct err *err);

#endif
