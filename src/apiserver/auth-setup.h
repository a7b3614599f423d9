/* Authentication and authorisation of a server: the chains and what they need, made of its configuration. */
#ifndef APISERVER_AUTH_SETUP_H
#define APISERVER_AUTH_SETUP_H

#include "apiserver/server.h"

MUST_CHECK bool auth_setup_open(struct apiserver *s, struct err *err);
/* Reads keys, CAs and tokens again; what cannot be read stays as it was. */
MUST_CHECK bool auth_setup_reload(struct apiserver *s, struct err *err);
/* After the requests are gone. Safe when opening failed half way. */
void auth_setup_close(struct apiserver *s);

/* The server that a kubeconfig names, under the name of the flag ('flag' is static). True with '*ret' NULL when there is no file. */
MUST_CHECK bool auth_setup_webhook_client(struct apiserver *s, struct str file, const char *flag, uint32_t timeout_ms, struct client **ret,
                                          struct err *err);

#endif
