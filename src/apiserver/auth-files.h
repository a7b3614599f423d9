/*
 * --authentication-config and --authorization-config at work: read at the start, looked at every few seconds, and put into the chains
 * when they changed. The chain of authorisers that was is kept until nobody waits in it.
 */
#ifndef APISERVER_AUTH_FILES_H
#define APISERVER_AUTH_FILES_H

#include "apiserver/server.h"
#include "auth/authn.h"
#include "auth/authz.h"

struct auth_files;

/* Fills in what the file says; nothing without a file. What is put into 'cfg' lives until auth_files_close(). */
MUST_CHECK bool auth_files_open_authn(struct apiserver *s, struct authn_config *cfg, struct err *err);
/* Makes s->authz of the file; only with --authorization-config. */
MUST_CHECK bool auth_files_open_authz(struct apiserver *s, struct err *err);
/* Before the chains' helpers (RBAC, clients) are freed: frees the chain of the file, too. */
void auth_files_close(struct apiserver *s);

#endif
